//! L3: every operation ends, within the time that a scenario allows for sends and commits, and when faults are over new
//! records are taken.
//!
//! Source: durability.md (L3); "availability is not promised, but after faults end the cluster comes back by itself".

use super::index::{Place, Sent, shown};
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::{Entry, Op, Outcome};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Resolution;

impl Checker for Resolution {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        for entry in end.history.entries() {
            if entry.ended.is_none() || is_open(&entry.op) {
                let text = format!(
                    "client {} began at {} to {}; that never ended",
                    entry.client,
                    clock(entry.began),
                    what(entry)
                );
                return Err(Violation::new("L3", text));
            }
        }
        sends_in_time(end)?;
        commits_in_time(end)?;
        produces(end)
    }
}

/// No send took longer than the scenario allows.
fn sends_in_time(end: &End<'_>) -> Result<(), Violation> {
    let Some(longest) = end.ghost.terms().longest_send else { return Ok(()) };
    let took = |sent: &Sent<'_>| sent.ended.map(|ended| ended.since(sent.began));
    let slow = end.index.sends.iter().filter(|sent| took(sent).is_some_and(|took| took > longest));
    let Some(sent) = slow.max_by_key(|sent| took(sent)) else { return Ok(()) };
    let text = format!(
        "client {} began at {} to send {} to {}, and knew no outcome for {:?}, where {longest:?} are allowed",
        sent.client,
        clock(sent.began),
        shown(Some(sent.value)),
        sent.topic,
        took(sent).unwrap_or_default(),
    );
    Err(Violation::new("L3", text))
}

/// No commit of a group's offsets took longer than the scenario allows.
fn commits_in_time(end: &End<'_>) -> Result<(), Violation> {
    let Some(longest) = end.ghost.terms().longest_commit else { return Ok(()) };
    let took = |entry: &Entry| entry.ended.map(|ended| ended.since(entry.began)).unwrap_or_default();
    let commits = end.history.entries().iter().filter(|entry| matches!(entry.op, Op::Commit { .. }));
    let Some(slow) = commits.max_by_key(|entry| took(entry)).filter(|entry| took(entry) > longest) else {
        return Ok(());
    };
    let text = format!(
        "client {} began at {} to {}, and knew no outcome for {:?}, where {longest:?} are allowed",
        slow.client,
        clock(slow.began),
        what(slow),
        took(slow),
    );
    Err(Violation::new("L3", text))
}

/// Of what was sent after the faults, something arrived in every partition that it was sent to.
fn produces(end: &End<'_>) -> Result<(), Violation> {
    let Some(healed) = end.state.healed else { return Ok(()) };
    let mut tried: BTreeMap<Place<'_>, Result<(), String>> = BTreeMap::new();
    let mut taken = 0;
    for sent in end.index.sends.iter().filter(|sent| sent.began >= healed) {
        taken += u64::from(sent.outcome.ok().is_some());
        let Some(partition) = sent.partition else { continue };
        let known = tried.entry((sent.topic, partition)).or_insert(Ok(()));
        let place = end.state.partition(sent.topic, partition);
        match sent.outcome {
            Outcome::Ok(_) => *known = Ok(()),
            Outcome::Failed(reason) | Outcome::Unknown(reason) if place.is_some() => {
                *known = Err(format!("client {} sent {}: {reason}", sent.client, shown(Some(sent.value))));
            }
            _ => {}
        }
    }
    for ((topic, partition), last) in tried {
        if let Err(reason) = last {
            let text = format!(
                "all faults were over at {}, and {topic}-{partition} still takes no records; {reason}",
                clock(healed)
            );
            return Err(Violation::new("L3", text));
        }
    }
    if taken == 0 && !end.state.partitions.is_empty() {
        let text = format!("all faults were over at {}, and no record was taken since", clock(healed));
        return Err(Violation::new("L3", text));
    }
    Ok(())
}

fn is_open(op: &Op) -> bool {
    match op {
        Op::Send { outcome, .. } => *outcome == Outcome::Open,
        Op::Read { .. } | Op::Assigned { .. } => false,
        Op::Commit { answer, .. } => *answer == Outcome::Open,
        Op::Committed { answer, .. } => *answer == Outcome::Open,
        Op::ListOffset { answer, .. } => *answer == Outcome::Open,
        Op::DeleteRecords { answer, .. } => *answer == Outcome::Open,
        Op::CreateTopic { answer, .. } => *answer == Outcome::Open,
        Op::DeleteTopic { answer, .. } | Op::AlterConfigs { answer, .. } => *answer == Outcome::Open,
        Op::DescribeTopic { answer, .. } => *answer == Outcome::Open,
        Op::DescribeConfigs { answer, .. } => *answer == Outcome::Open,
    }
}

fn what(entry: &Entry) -> String {
    match &entry.op {
        Op::Send { topic, value, .. } => format!("send {} to {topic}", shown(Some(value))),
        Op::Read { topic, partition, .. } => format!("read from {topic}-{partition}"),
        Op::Assigned { group, .. } => format!("read for group {group}"),
        Op::Commit { group, .. } => format!("commit the offsets of group {group}"),
        Op::Committed { group, .. } => format!("look up the offsets of group {group}"),
        Op::ListOffset { topic, partition, query, .. } => format!("look up {query} in {topic}-{partition}"),
        Op::DeleteRecords { topic, partition, before, .. } => {
            format!("delete the records of {topic}-{partition} before {before}")
        }
        Op::CreateTopic { topic, .. } => format!("create the topic {topic}"),
        Op::DeleteTopic { topic, .. } => format!("delete the topic {topic}"),
        Op::AlterConfigs { topic, .. } => format!("configure the topic {topic}"),
        Op::DescribeTopic { topic, .. } => format!("look for the topic {topic}"),
        Op::DescribeConfigs { topic, .. } => format!("look up the configuration of {topic}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Tale;
    use super::Resolution;
    use crate::checkers::Terms;
    use crate::history::{Op, Outcome};
    use std::time::Duration;

    #[test]
    fn a_run_that_ends_passes() {
        let mut tale = Tale::of_three();
        tale.sent("open", Outcome::Unknown("timeout".into())).passes(Resolution);
        tale.state.healed = Some(tale.now());
        tale.sent("early", Outcome::Unknown("timeout".into())).acked(3, "after").passes(Resolution);
    }

    #[test]
    fn an_operation_that_never_ends_is_found() {
        let mut tale = Tale::of_three();
        let op = tale.send("slow", Outcome::Open);
        let began = tale.now();
        tale.history.begin(5, began, op);
        tale.finds(
            Resolution,
            "L3",
            "client 5 began at 8.000 s to send \"slow\" to orders; that never ended",
        );
        Tale::of_three().sent("slow", Outcome::Open).finds(Resolution, "L3", "that never ended");
    }

    #[test]
    fn a_send_that_takes_too_long_is_found() {
        let mut tale = Tale::of_three();
        let op = tale.send("slow", Outcome::Unknown("timeout".into()));
        let (began, ended) = (tale.now(), tale.now());
        let id = tale.history.begin(5, began, op);
        tale.history.end(id, ended, |_| {});
        tale.passes(Resolution);
        let terms = |longest| Terms { longest_send: Some(longest), ..Terms::default() };
        tale.terms(terms(ended.since(began))).passes(Resolution);
        tale.terms(terms(Duration::from_millis(1)));
        tale.finds(Resolution, "L3", "to send \"slow\" to orders, and knew no outcome for");
    }

    #[test]
    fn a_commit_that_takes_too_long_is_found() {
        let mut tale = Tale::of_three();
        let commit = Op::Commit {
            group: "g".into(),
            member: "m".into(),
            generation: 1,
            offsets: Vec::new(),
            answer: Outcome::Ok(()),
        };
        let (began, ended) = (tale.now(), tale.now());
        let id = tale.history.begin(5, began, commit);
        tale.history.end(id, ended, |_| {});
        let terms = |longest| Terms { longest_commit: Some(longest), ..Terms::default() };
        tale.passes(Resolution);
        tale.terms(terms(ended.since(began))).passes(Resolution);
        tale.terms(terms(Duration::from_millis(1)));
        tale.finds(Resolution, "L3", "to commit the offsets of group g, and knew no outcome for");
    }

    #[test]
    fn a_partition_that_takes_nothing_after_healing_is_found() {
        let mut tale = Tale::of_three();
        tale.state.healed = Some(tale.now());
        tale.finds(Resolution, "L3", "no record was taken since");
        tale.sent("probe", Outcome::Unknown("timeout".into()));
        tale.finds(Resolution, "L3", "orders-0 still takes no records; client 3 sent \"probe\": timeout");
        tale.acked(3, "after").passes(Resolution);
    }
}
