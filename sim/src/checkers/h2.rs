//! H2: all acknowledgements and reads of (partition, offset) agree in key, value and timestamp.
//!
//! An acknowledgement by one replica promises nothing, so it is not asked. Source: durability.md (H2); "inconsistent
//! offsets" of the Jepsen Kafka workload; KIP-279, where two replicas served different records at one offset.

use super::index::{Place, shown};
use super::licence::loss_reported;
use super::{Checker, End, clock};
use crate::executor::Violation;
use bytes::Bytes;
use highwater_types::{Instant, Offset, Timestamp};

/// See the module.
#[derive(Debug, Default)]
pub struct Agreement;

/// What somebody was told to stand at an offset.
struct Claim<'a> {
    place: Place<'a>,
    offset: Offset,
    key: Option<&'a Bytes>,
    value: Option<&'a Bytes>,
    timestamp: Timestamp,
    by: By,
}

#[derive(Clone, Copy)]
enum By {
    Acknowledged(u32, Option<Instant>),
    Read(u32, Instant),
    FinalRead,
}

impl Claim<'_> {
    fn agrees(&self, other: &Self) -> bool {
        (self.key, self.value, self.timestamp) == (other.key, other.value, other.timestamp)
    }

    fn told(&self) -> String {
        let who = match self.by {
            By::Acknowledged(client, at) => {
                format!("client {client} was told at {} that it holds", at.map(clock).unwrap_or_default())
            }
            By::Read(client, at) => format!("client {client} read at {}", clock(at)),
            By::FinalRead => "the final read has".to_owned(),
        };
        let (key, value) = (self.key.map(|key| &key[..]), self.value.map(|value| &value[..]));
        format!("{who} {} (key {}, timestamp {})", shown(value), shown(key), self.timestamp)
    }
}

impl Checker for Agreement {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let mut claims = claims(end);
        // The sort is stable: of one offset, acknowledgements come first, and the final read last.
        claims.sort_by_key(|claim| (claim.place, claim.offset));
        for pair in claims.windows(2) {
            let [first, second] = pair else { continue };
            let same = (first.place, first.offset) == (second.place, second.offset);
            if !same || first.agrees(second) || excused(end, first) {
                continue;
            }
            let (topic, partition) = first.place;
            let text = format!(
                "of {topic}-{partition} offset {}: {}; {}",
                first.offset,
                first.told(),
                second.told()
            );
            return Err(Violation::new("H2", text));
        }
        Ok(())
    }
}

fn claims<'a>(end: &'a End<'_>) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for sent in &end.index.sends {
        if let Some((partition, offset, timestamp)) = sent.promised().filter(|(_, offset, _)| offset.0 >= 0) {
            claims.push(Claim {
                place: (sent.topic, partition),
                offset,
                key: sent.key.as_ref(),
                value: Some(sent.value),
                timestamp,
                by: By::Acknowledged(sent.client, sent.ended),
            });
        }
    }
    claims.extend(end.index.reads.iter().map(|read| Claim {
        place: (read.topic, read.partition),
        offset: read.offset,
        key: read.key.as_ref(),
        value: read.value.as_ref(),
        timestamp: read.timestamp,
        by: By::Read(read.client, read.at),
    }));
    for ((topic, partition), found) in &end.state.partitions {
        claims.extend(found.records.iter().map(|record| Claim {
            place: (topic, *partition),
            offset: record.offset,
            key: record.key.as_ref(),
            value: record.value.as_ref(),
            timestamp: record.timestamp,
            by: By::FinalRead,
        }));
    }
    claims
}

/// A disk that is not honest may lose an offset, which is used again then, or put another intact batch there.
fn excused(end: &End<'_>, claim: &Claim<'_>) -> bool {
    let (topic, index) = claim.place;
    let reported = || {
        let log = end.state.partition(topic, index).map(|partition| partition.log);
        let log = log.or_else(|| {
            let topic = end.ghost.topic(topic)?;
            Some(highwater_types::LogId { topic, partition: index })
        });
        log.is_some_and(|log| loss_reported(end.ghost, log, claim.offset))
    };
    !end.is_strict() && (end.ghost.has_misplaced() || reported())
}

#[cfg(test)]
mod tests {
    use super::super::kit::{LOG, Tale};
    use super::Agreement;
    use highwater_env::Event;
    use highwater_types::{Offset, Timestamp};

    #[test]
    fn those_who_agree_pass() {
        Tale::of_three().read(1, 0, "v-0").read(2, 0, "v-0").acked_by(1, "other", 1, false).passes(Agreement);
    }

    #[test]
    fn an_acknowledgement_and_a_read_that_disagree_are_found() {
        let mut tale = Tale::of_three();
        tale.read(1, 1, "v-7");
        tale.finds(
            Agreement,
            "H2",
            "of orders-0 offset 1: client 3 was told at 5.000 s that it holds \"v-1\"",
        );
    }

    #[test]
    fn two_acknowledgements_of_one_offset_are_found() {
        Tale::of_three().acked(1, "v-7").finds(Agreement, "H2", "of orders-0 offset 1");
    }

    #[test]
    fn the_final_read_is_held_against_all() {
        let mut tale = Tale::of_three();
        tale.partition().records[2].timestamp = Timestamp(5);
        tale.finds(Agreement, "H2", "the final read has \"v-2\" (key nothing, timestamp 5)");
        let mut tale = Tale::of_three();
        tale.partition().records[2].key = Some("k".into());
        tale.finds(Agreement, "H2", "key \"k\"");
    }

    #[test]
    fn an_offset_may_be_used_again_after_a_loss_that_was_reported() {
        let mut tale = Tale::of_three();
        tale.read(1, 1, "v-7").lie();
        tale.finds(Agreement, "H2", "of orders-0 offset 1");
        tale.tell(Event::Damaged { log: LOG, from: Offset(1), to: Offset(2) }).passes(Agreement);
    }
}
