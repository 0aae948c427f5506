//! S12: in one generation of a group a partition has one owner, and what is committed was committed by a member of the
//! generation.
//!
//! Source: KIP-447 (fencing of commits), KAFKA-8500 (a static member and its successor side by side).

use super::rules::check;
use super::{Checker, Seen};
use crate::executor::Violation;
use highwater_env::Event;
use highwater_types::PartitionIndex;
use highwater_wire::{Decoder, Message, Str};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Owners {
    groups: BTreeMap<String, Generation>,
}

/// What is known of a group.
#[derive(Debug)]
struct Generation {
    number: i32,
    members: Vec<String>,
}

/// What consumers are assigned, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "none")]
struct Assignment {
    topics: Vec<Part>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
struct Part {
    topic: Str,
    partitions: Vec<PartitionIndex>,
}

impl Owners {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::GroupGeneration { group, generation, members } => {
                one_owner(group, *generation, members)?;
                let members = members.iter().map(|(member, _)| member.clone()).collect();
                self.groups.insert(group.clone(), Generation { number: *generation, members });
                Ok(())
            }
            Event::OffsetsCommitted { group, generation, member } if *generation >= 0 => {
                let Some(known) = self.groups.get(group) else { return Ok(()) };
                check(known.number == *generation, "S12", || {
                    format!(
                        "a commit of generation {generation} of group {group} was accepted in {}",
                        known.number
                    )
                })?;
                check(known.members.contains(member), "S12", || {
                    format!(
                        "a commit of {member} was accepted, who is none of the members of {group} in {generation}"
                    )
                })
            }
            _ => Ok(()),
        }
    }
}

fn one_owner(group: &str, generation: i32, members: &[(String, Vec<u8>)]) -> Result<(), Violation> {
    let mut owners: BTreeMap<(Str, PartitionIndex), &str> = BTreeMap::new();
    for (member, assignment) in members {
        for key in partitions(assignment) {
            if let Some(other) = owners.insert(key.clone(), member) {
                let text = format!(
                    "{other} and {member} both have {}-{} in generation {generation} of group {group}",
                    key.0, key.1
                );
                return Err(Violation::new("S12", text));
            }
        }
    }
    Ok(())
}

/// The partitions of an assignment; none if it is not one of consumers.
fn partitions(assignment: &[u8]) -> Vec<(Str, PartitionIndex)> {
    let Some((_version, body)) = assignment.split_first_chunk::<2>() else { return Vec::new() };
    let Ok(assignment) = Assignment::decode(&mut Decoder::new(body.to_vec().into()), 0) else {
        return Vec::new();
    };
    let of_topic =
        |part: Part| part.partitions.into_iter().map(move |partition| (part.topic.clone(), partition));
    assignment.topics.into_iter().flat_map(of_topic).collect()
}

impl Checker for Owners {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.hear_of(seen.event).map_err(|violation| seen.place(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
    const FIRST: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
    const SECOND: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";

    fn generation(generation: i32, members: &[(&str, &[u8])]) -> Event {
        let members = members.iter().map(|(member, share)| ((*member).to_owned(), share.to_vec())).collect();
        Event::GroupGeneration { group: "g".to_owned(), generation, members }
    }

    fn commit(generation: i32, member: &str) -> Event {
        Event::OffsetsCommitted { group: "g".to_owned(), generation, member: member.to_owned() }
    }

    fn check(events: &[Event], expected: bool) {
        let mut checker = Owners::default();
        let heard = events.iter().try_for_each(|event| checker.hear_of(event));
        assert_eq!(heard.is_ok(), expected, "{events:?}: {heard:?}");
    }

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        check(
            &[generation(1, &[("a", FIRST), ("b", SECOND)]), generation(2, &[("a", BOTH), ("b", b"")])],
            true,
        );
        check(&[generation(1, &[("a", BOTH), ("b", SECOND)])], false);
    }

    #[test]
    fn members_of_the_generation_commit() {
        let first = generation(1, &[("a", FIRST), ("b", SECOND)]);
        check(
            &[first.clone(), commit(1, "a"), generation(2, &[("b", BOTH)]), commit(2, "b"), commit(-1, "")],
            true,
        );
        check(&[first.clone(), generation(2, &[("b", BOTH)]), commit(1, "b")], false);
        check(&[first, commit(1, "c")], false);
    }
}
