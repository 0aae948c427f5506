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
