//! H3: nothing is read that was not sent, or whose send failed for certain.
//!
//! Aborted and uncommitted records join them with transactions. Source: durability.md (H3); "aborted read" of the
//! Jepsen Kafka workload; damage that is served shows here, as a value that nobody sent (FAST 2017).

use super::index::{Place, shown};
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::Outcome;
use bytes::Bytes;

/// See the module.
#[derive(Debug, Default)]
pub struct NothingUnsent;

impl Checker for NothingUnsent {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        for read in &end.index.reads {
            origin(end, (read.topic, read.partition), read.key.as_ref(), read.value.as_ref()).map_err(
                |found| {
                    let text = format!(
                        "client {} read {} at {} from {}-{} offset {}; {found}",
                        read.client,
                        shown(read.value.as_deref()),
                        clock(read.at),
                        read.topic,
                        read.partition,
                        read.offset
                    );
                    Violation::new("H3", text)
                },
            )?;
        }
        for ((topic, partition), state) in &end.state.partitions {
            for record in &state.records {
                let place = (&**topic, *partition);
                origin(end, place, record.key.as_ref(), record.value.as_ref()).map_err(|found| {
                    let value = shown(record.value.as_deref());
                    let text = format!(
                        "the final read has {value} at {topic}-{partition} offset {}; {found}",
                        record.offset
                    );
                    Violation::new("H3", text)
                })?;
            }
        }
        Ok(())
    }
}

fn origin(end: &End<'_>, place: Place<'_>, key: Option<&Bytes>, value: Option<&Bytes>) -> Result<(), String> {
    let sent = value.and_then(|value| end.index.sent(value));
    let Some(sent) = sent else { return Err("nobody ever sent that".to_owned()) };
    if let Outcome::Failed(reason) = sent.outcome {
        let at = sent.ended.map(clock).unwrap_or_default();
        return Err(format!("client {} was told at {at} that it was not written ({reason})", sent.client));
    }
    let fits = sent.topic == place.0 && sent.partition.is_none_or(|partition| partition == place.1);
    if !fits && !end.ghost.has_misplaced() {
        let partition = sent.partition.map(|partition| format!("-{partition}")).unwrap_or_default();
        return Err(format!("client {} sent it to {}{partition}", sent.client, sent.topic));
    }
    if sent.key.as_ref() != key {
        let (there, was) = (key.map(|key| &key[..]), sent.key.as_deref());
        return Err(format!("its key is {} and was {} when it was sent", shown(there), shown(was)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kit::Tale;
    use super::NothingUnsent;
    use crate::history::Outcome;

    #[test]
    fn what_was_sent_may_be_read_whatever_came_of_it() {
        let mut tale = Tale::of_three();
        tale.sent("open", Outcome::Unknown("timeout".into())).read(1, 3, "open").stands(3, "open");
        tale.passes(NothingUnsent);
    }

    #[test]
    fn a_value_that_nobody_sent_is_found() {
        Tale::of_three().read(1, 1, "x").finds(NothingUnsent, "H3", "offset 1; nobody ever sent that");
        Tale::of_three().stands(3, "x").finds(NothingUnsent, "H3", "the final read has \"x\"");
        let mut tale = Tale::of_three();
        tale.partition().records[0].value = None;
        tale.finds(NothingUnsent, "H3", "the final read has nothing");
    }

    #[test]
    fn a_value_whose_send_failed_is_found() {
        let mut tale = Tale::of_three();
        tale.sent("no", Outcome::Failed("too large".into())).stands(3, "no");
        tale.finds(NothingUnsent, "H3", "client 3 was told at 9.000 s that it was not written (too large)");
    }

    #[test]
    fn a_value_in_another_topic_is_found() {
        let mut tale = Tale::of_three();
        let stray = tale.partition().clone();
        tale.state.partitions.insert(("other".into(), 0.into()), stray);
        tale.finds(NothingUnsent, "H3", "client 3 sent it to orders-0");
    }

    #[test]
    fn another_key_is_found() {
        let mut tale = Tale::of_three();
        tale.partition().records[1].key = Some("k".into());
        tale.finds(NothingUnsent, "H3", "its key is \"k\" and was nothing");
    }
}
