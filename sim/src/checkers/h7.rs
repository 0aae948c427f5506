//! H7: what a group has committed is a register for each partition: a look at it gives what was committed last. And
//! nothing is passed over: what a group has committed, its members have read.
//!
//! A coordinator that was cut off from its cluster may answer for a while from what it knew; that is Kafka's promise,
//! too. Source: durability.md (H7); KAFKA-9235 (a coordinator that goes on), KAFKA-8069 (offsets that expire at once).

use super::index::Place;
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::{Entry, Op, Outcome};
use highwater_types::{Instant, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// For how long a coordinator may not know that it is none any more.
const UNAWARE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug, Default)]
pub struct Offsets;

/// A group and a partition.
type Register<'a> = (&'a str, Place<'a>);

/// A commit of one offset.
#[derive(Clone, Copy, Debug)]
struct Write {
    began: Instant,
    /// None: it may have been carried out at any time since.
    ended: Option<Instant>,
    offset: Offset,
}

impl Checker for Offsets {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        if !end.is_strict() {
            return Ok(());
        }
        let writes = writes(end);
        for entry in end.history.entries() {
            if let Op::Committed { group, answer: Outcome::Ok(found) } = &entry.op {
                look(end, &writes, entry, group, found)?;
            }
        }
        nothing_is_passed_over(end)
    }
}

fn writes<'a>(end: &End<'a>) -> BTreeMap<Register<'a>, Vec<Write>> {
    let mut writes: BTreeMap<Register<'a>, Vec<Write>> = BTreeMap::new();
    for entry in end.history.entries() {
        let Op::Commit { group, offsets, answer, .. } = &entry.op else { continue };
        if !answer.is_possible() {
            continue;
        }
        let ended = answer.ok().and(entry.ended);
        for (topic, partition, offset) in offsets {
            let register = (&**group, (&**topic, *partition));
            writes.entry(register).or_default().push(Write { began: entry.began, ended, offset: *offset });
        }
    }
    writes
}

/// One look at all that a group has committed.
fn look(
    end: &End<'_>,
    writes: &BTreeMap<Register<'_>, Vec<Write>>,
    entry: &Entry,
    group: &str,
    found: &[(crate::history::Str, highwater_types::PartitionIndex, Offset)],
) -> Result<(), Violation> {
    let ended = entry.ended.unwrap_or(end.now);
    let known: BTreeMap<Place<'_>, Offset> =
        found.iter().map(|(topic, partition, offset)| ((&**topic, *partition), *offset)).collect();
    for ((_, place), writes) in writes.iter().filter(|((of, _), _)| *of == group) {
        let fail = |what: String| {
            let (topic, partition) = place;
            let text =
                format!("group {group} was said at {} to be at {what} in {topic}-{partition}", clock(ended));
            Err(Violation::new("H7", text))
        };
        // Whoever answered may have been cut off a while before.
        let settled = |write: &Write| {
            write
                .ended
                .filter(|ended| ended.after(UNAWARE) < entry.began || (is_alone(end) && *ended < entry.began))
        };
        let Some(offset) = known.get(place) else {
            if let Some(write) = writes.iter().find(|write| settled(write).is_some()) {
                let at = write.ended.map(clock).unwrap_or_default();
                return fail(format!("nothing, though {} was committed at {at}", write.offset));
            }
            continue;
        };
        let mut may_be: Vec<&Write> =
            writes.iter().filter(|write| write.offset == *offset && write.began <= ended).collect();
        if may_be.is_empty() {
            return fail(format!("{offset}, which nobody committed"));
        }
        let newer = |write: &Write| {
            let before = write.ended?;
            writes.iter().find(|other| other.began > before && settled(other).is_some())
        };
        may_be.retain(|write| newer(write).is_none());
        if may_be.is_empty() {
            return fail(format!("{offset}, though other offsets were committed after that"));
        }
    }
    Ok(())
}

/// One node never answers for another.
fn is_alone(end: &End<'_>) -> bool {
    end.disks.len() == 1
}

/// What a group has committed its members have read, but for what is not there any more.
fn nothing_is_passed_over(end: &End<'_>) -> Result<(), Violation> {
    let mut members: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut committed: BTreeMap<Register<'_>, Offset> = BTreeMap::new();
    for entry in end.history.entries() {
        match &entry.op {
            Op::Assigned { group, .. } => {
                members.entry(group).or_default().insert(entry.client);
            }
            Op::Commit { group, offsets, answer: Outcome::Ok(()), .. } => {
                for (topic, partition, offset) in offsets {
                    let highest = committed.entry((group, (topic, *partition))).or_insert(*offset);
                    *highest = offset.max(highest).to_owned();
                }
            }
            _ => {}
        }
    }
    for ((group, place), highest) in committed {
        let Some(members) = members.get(group) else { continue };
        let Some(partition) = end.state.partition(place.0, place.1) else { continue };
        let read: BTreeSet<Offset> = end
            .index
            .reads
            .iter()
            .filter(|read| (read.topic, read.partition) == place && members.contains(&read.client))
            .map(|read| read.offset)
            .collect();
        let below =
            partition.records.iter().map(|record| record.offset).take_while(|offset| *offset < highest);
        if let Some(missed) = below.into_iter().find(|offset| !read.contains(offset)) {
            let (topic, partition) = place;
            let text = format!(
                "group {group} committed {highest} of {topic}-{partition}, and none of its members ever read {missed}"
            );
            return Err(Violation::new("H7", text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kit::Tale;
    use super::Offsets;
    use crate::history::{Op, Outcome};
    use highwater_types::{Offset, PartitionIndex};

    const P0: PartitionIndex = PartitionIndex(0);

    fn commit(offset: i64, answer: Outcome<()>) -> Op {
        let offsets = vec![("orders".into(), P0, Offset(offset))];
        Op::Commit { group: "g".into(), member: "m".into(), generation: 1, offsets, answer }
    }

    fn look(offset: Option<i64>) -> Op {
        let found = offset.map(|offset| ("orders".into(), P0, Offset(offset))).into_iter().collect();
        Op::Committed { group: "g".into(), answer: Outcome::Ok(found) }
    }

    fn tale(ops: impl IntoIterator<Item = Op>) -> Tale {
        let mut tale = Tale::of_three();
        ops.into_iter().for_each(|op| {
            tale.op(op);
        });
        tale
    }

    #[test]
    fn a_look_gives_what_was_committed_last() {
        let open = || Outcome::Unknown("timeout".into());
        tale([
            look(None),
            commit(1, Outcome::Ok(())),
            look(Some(1)),
            commit(2, open()),
            look(Some(1)),
            look(Some(2)),
        ])
        .passes(Offsets);
        tale([commit(1, Outcome::Ok(())), look(None)]).finds(
            Offsets,
            "H7",
            "nothing, though 1 was committed",
        );
        tale([commit(1, Outcome::Ok(())), look(Some(2))]).finds(Offsets, "H7", "2, which nobody committed");
        tale([commit(1, Outcome::Ok(())), commit(2, Outcome::Ok(())), look(Some(1))]).finds(
            Offsets,
            "H7",
            "1, though other offsets were committed after that",
        );
    }

    #[test]
    fn what_is_passed_over_is_found() {
        let joined = Op::Assigned {
            group: "g".into(),
            member: "m".into(),
            generation: 1,
            partitions: vec![("orders".into(), P0)],
        };
        let mut all = tale([joined.clone()]);
        all.read(3, 0, "v-0").read(3, 1, "v-1").op(commit(2, Outcome::Ok(())));
        all.passes(Offsets);
        let mut gap = tale([joined]);
        gap.read(3, 1, "v-1").op(commit(2, Outcome::Ok(())));
        gap.finds(Offsets, "H7", "none of its members ever read 0");
    }
}
