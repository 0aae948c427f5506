//! S12: a partition of a group has one owner, and what is committed was committed by one of its members.
//!
//! In the classic protocol that is asked in each generation; with `cooperative-sticky` a partition is also given to
//! none while another member says that it has it. In the consumer protocol it is asked at every record of what a
//! member has, or has to give up; what is committed is of the epoch that the member is in. The log alone would not show
//! that a partition was taken from a member that still reads it: one of the classic protocol, which says what it has
//! when it joins such a group, must keep that until it joins without it.
//!
//! Source: KIP-447 (fencing of commits), KAFKA-8500 (a static member and its successor side by side), KIP-429, KIP-848.

use super::rules::check;
use super::{Checker, Seen};
use crate::executor::Violation;
use highwater_env::{Event, GroupOwner};
use highwater_types::{LeaderEpoch, PartitionIndex, TopicId};
use highwater_wire::{Decoder, Message, Str};
use std::collections::BTreeMap;

/// The protocol whose members keep their partitions while they join.
const COOPERATIVE: &str = "cooperative-sticky";

/// See the module.
#[derive(Debug, Default)]
pub struct Owners {
    /// The epoch of each group's latest coordinator.
    coordinators: BTreeMap<String, LeaderEpoch>,
    groups: BTreeMap<String, Generation>,
    consumers: BTreeMap<String, Consumers>,
    /// Topics by their names, which is how members of the classic protocol speak of them.
    topics: BTreeMap<String, TopicId>,
}

/// What is known of a group of the classic protocol.
#[derive(Debug)]
struct Generation {
    number: i32,
    members: Vec<String>,
}

/// What is known of a group of the consumer protocol.
#[derive(Debug, Default)]
struct Consumers {
    epochs: BTreeMap<String, i32>,
    owners: BTreeMap<Place, String>,
}

/// A partition, as the coordinator's log has it.
type Place = (TopicId, PartitionIndex);

/// What a consumer says of itself, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "none")]
struct Subscription {
    topics: Vec<Str>,
    #[field(nullable = "0+")]
    user_data: Option<bytes::Bytes>,
    #[field(versions = "1+")]
    owned: Vec<Part>,
    #[field(versions = "2+", default = -1)]
    generation: i32,
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

type Key = (Str, PartitionIndex);
type Members = [(String, Vec<u8>, Vec<u8>)];

impl Owners {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, event: &Event) -> Result<(), Violation> {
        if let Event::GroupGeneration { group, coordinator, .. }
        | Event::GroupOwners { group, coordinator, .. }
        | Event::OffsetsCommitted { group, coordinator, .. } = event
        {
            let latest = self.coordinators.entry(group.clone()).or_insert(*coordinator);
            if coordinator < latest {
                // It was replaced and has not heard of that: what it says is of the time before.
                return Ok(());
            }
            *latest = *coordinator;
        }
        match event {
            Event::GroupGeneration { group, generation, protocol, members, .. } => {
                one_owner(group, *generation, members)?;
                let is_new = self.groups.get(group).is_none_or(|known| known.number != *generation);
                if protocol == COOPERATIVE && is_new {
                    nothing_is_taken(group, *generation, members)?;
                }
                if *generation < 0 {
                    self.groups.remove(group);
                    return Ok(());
                }
                self.consumers.remove(group);
                let members = members.iter().map(|(member, ..)| member.clone()).collect();
                self.groups.insert(group.clone(), Generation { number: *generation, members });
                Ok(())
            }
            Event::GroupOwners { group, all, members, said, .. } => {
                self.groups.remove(group);
                let known = self.consumers.entry(group.clone()).or_default();
                let claims =
                    said.iter().map(|(member, said)| (member, known.claims(member, said, &self.topics)));
                let claims: Vec<_> = claims.collect();
                known.hear(group, *all, members)?;
                claims.iter().try_for_each(|(member, claims)| known.kept(group, member, claims))
            }
            Event::TopicCreated { topic, name } => {
                self.topics.insert(name.clone(), *topic);
                Ok(())
            }
            Event::TopicDeleted { topic } => {
                self.topics.retain(|_, known| known != topic);
                Ok(())
            }
            Event::OffsetsCommitted { group, generation, member, .. } if *generation >= 0 => {
                match (self.consumers.get(group), self.groups.get(group)) {
                    (Some(known), _) => known.committed(group, *generation, member),
                    (None, Some(known)) => known.committed(group, *generation, member),
                    (None, None) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Generation {
    fn committed(&self, group: &str, generation: i32, member: &String) -> Result<(), Violation> {
        check(self.number == generation, "S12", || {
            format!("a commit of generation {generation} of group {group} was accepted in {}", self.number)
        })?;
        check(self.members.contains(member), "S12", || {
            format!(
                "a commit of {member} was accepted, who is none of the members of {group} in {generation}"
            )
        })
    }
}

impl Consumers {
    fn hear(
        &mut self,
        group: &str,
        all: bool,
        members: &[(String, Option<GroupOwner>)],
    ) -> Result<(), Violation> {
        if all {
            self.epochs.clear();
            self.owners.clear();
        }
        for (member, owner) in members {
            self.owners.retain(|_, known| known != member);
            let Some((epoch, partitions)) = owner else {
                self.epochs.remove(member);
                continue;
            };
            self.epochs.insert(member.clone(), *epoch);
            for key in partitions {
                if let Some(other) = self.owners.insert(*key, member.clone()) {
                    let (topic, partition) = key;
                    let text = format!(
                        "{member} of group {group} is given {topic}-{partition} in epoch {epoch}, which {other} has"
                    );
                    return Err(Violation::new("S12", text));
                }
            }
        }
        Ok(())
    }

    /// What a member of the classic protocol has, and says that it has. What it never had, or gave up, it may say for
    /// long: that counts for nothing.
    fn claims(&self, member: &str, said: &[u8], topics: &BTreeMap<String, TopicId>) -> Vec<Place> {
        let Some(said) = decoded::<Subscription>(said) else { return Vec::new() };
        each(said.owned)
            .filter_map(|(topic, partition)| Some((*topics.get(&*topic)?, partition)))
            .filter(|place| self.has(member, place))
            .collect()
    }

    /// A member that stays still has what it did not give up.
    fn kept(&self, group: &str, member: &str, claims: &[Place]) -> Result<(), Violation> {
        let Some(epoch) = self.epochs.get(member) else { return Ok(()) };
        let taken = claims.iter().find(|place| !self.has(member, place));
        check(taken.is_none(), "S12", || {
            let place = taken.map_or_else(String::new, |(topic, partition)| format!("{topic}-{partition}"));
            format!(
                "{member} of group {group} has {place} no more in epoch {epoch}, which it said that it has"
            )
        })
    }

    fn has(&self, member: &str, place: &Place) -> bool {
        self.owners.get(place).is_some_and(|owner| owner == member)
    }

    fn committed(&self, group: &str, epoch: i32, member: &str) -> Result<(), Violation> {
        let known = self.epochs.get(member);
        check(known == Some(&epoch), "S12", || {
            let known =
                known.map_or_else(|| "who is none of its members".to_owned(), |at| format!("who is in {at}"));
            format!("a commit of epoch {epoch} of {member} was accepted in group {group}, {known}")
        })
    }
}

fn one_owner(group: &str, generation: i32, members: &Members) -> Result<(), Violation> {
    let mut owners: BTreeMap<Key, &str> = BTreeMap::new();
    for (member, _, assignment) in members {
        for key in assigned(assignment) {
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

/// No member is given what another one has, as of the same generation or a later one than its own.
fn nothing_is_taken(group: &str, generation: i32, members: &Members) -> Result<(), Violation> {
    let mut claims: BTreeMap<Key, Vec<(&str, i32)>> = BTreeMap::new();
    for (member, said, _) in members {
        let Some(said) = decoded::<Subscription>(said) else { continue };
        for key in each(said.owned) {
            claims.entry(key).or_default().push((member, said.generation));
        }
    }
    for (member, _, assignment) in members {
        for key in assigned(assignment) {
            let Some(claims) = claims.get(&key) else { continue };
            let own = claims.iter().find(|(owner, _)| owner == member).map(|(_, of)| *of);
            let other = claims.iter().find(|(owner, of)| owner != member && Some(*of) >= own);
            check(other.is_none(), "S12", || {
                let other = other.map_or("nobody", |(owner, _)| *owner);
                format!(
                    "{member} is given {}-{} in generation {generation} of group {group}, which {other} has not given up",
                    key.0, key.1
                )
            })?;
        }
    }
    Ok(())
}

/// The partitions of an assignment; none if it is not one of consumers.
fn assigned(assignment: &[u8]) -> Vec<Key> {
    decoded::<Assignment>(assignment).map_or_else(Vec::new, |assignment| each(assignment.topics).collect())
}

/// What stands behind its version, read as far as it is known here.
fn decoded<M: Message>(bytes: &[u8]) -> Option<M> {
    let (version, body) = bytes.split_first_chunk::<2>()?;
    let version = i16::from_be_bytes(*version).clamp(0, *M::VERSIONS.end());
    M::decode(&mut Decoder::new(body.to_vec().into()), version).ok()
}

fn each(topics: Vec<Part>) -> impl Iterator<Item = Key> {
    topics.into_iter().flat_map(|Part { topic, partitions }| {
        partitions.into_iter().map(move |partition| (topic.clone(), partition))
    })
}

impl Checker for Owners {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.hear_of(seen.event).map_err(|violation| seen.place(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::Uuid;

    const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(3);
    const BOTH: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
    const FIRST: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
    const SECOND: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";
    /// Who wants nothing and has the first partition, as of generation 1 and 2.
    const HAS: &[u8] = b"\0\x02\0\0\0\0\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x01";
    const HAS_LATER: &[u8] = b"\0\x02\0\0\0\0\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x02";

    fn generation(generation: i32, members: &[(&str, &[u8])]) -> Event {
        let members = members
            .iter()
            .map(|(member, share)| ((*member).to_owned(), Vec::new(), share.to_vec()))
            .collect();
        Event::GroupGeneration {
            group: "g".to_owned(),
            coordinator: FIRST_EPOCH,
            generation,
            protocol: "range".to_owned(),
            members,
        }
    }

    fn cooperative(generation: i32, members: &[(&str, &[u8], &[u8])]) -> Event {
        let of_member = |(member, said, share): &(&str, &[u8], &[u8])| {
            ((*member).to_owned(), said.to_vec(), share.to_vec())
        };
        let (group, protocol) = ("g".to_owned(), COOPERATIVE.to_owned());
        Event::GroupGeneration {
            group,
            coordinator: FIRST_EPOCH,
            generation,
            protocol,
            members: members.iter().map(of_member).collect(),
        }
    }

    /// A member's epoch, and what it has.
    type Has<'a> = (i32, &'a [i32]);

    fn owners(all: bool, members: &[(&str, Option<Has<'_>>)]) -> Event {
        let owner = |(epoch, partitions): Has<'_>| {
            let topic = TopicId(Uuid([1; 16]));
            (epoch, partitions.iter().map(|partition| (topic, PartitionIndex(*partition))).collect())
        };
        let members = members.iter().map(|(member, has)| ((*member).to_owned(), has.map(owner))).collect();
        Event::GroupOwners { group: "g".to_owned(), coordinator: FIRST_EPOCH, all, members, said: Vec::new() }
    }

    /// The same, and what one of the members had to say, of the classic protocol.
    fn saying(mut event: Event, member: &str, bytes: &[u8]) -> Event {
        if let Event::GroupOwners { said, .. } = &mut event {
            said.push((member.to_owned(), bytes.to_vec()));
        }
        event
    }

    fn commit(generation: i32, member: &str) -> Event {
        let (group, member) = ("g".to_owned(), member.to_owned());
        Event::OffsetsCommitted { group, coordinator: FIRST_EPOCH, generation, member }
    }

    fn check(events: &[Event], expected: bool) {
        let mut checker = Owners::default();
        let heard = events.iter().try_for_each(|event| checker.hear_of(event));
        assert_eq!(heard.is_ok(), expected, "{events:?}: {heard:?}");
    }

    /// What the next coordinator says.
    fn next(mut event: Event) -> Event {
        if let Event::GroupGeneration { coordinator, .. }
        | Event::GroupOwners { coordinator, .. }
        | Event::OffsetsCommitted { coordinator, .. } = &mut event
        {
            *coordinator = LeaderEpoch(FIRST_EPOCH.0 + 1);
        }
        event
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
        check(&[first.clone(), commit(1, "c")], false);
        // One that was cut off reads its log again before it hears that it was replaced.
        check(&[first.clone(), next(generation(5, &[("b", BOTH)])), first, next(commit(5, "b"))], true);
    }

    #[test]
    fn with_cooperative_sticky_nothing_is_given_that_another_has() {
        check(&[cooperative(2, &[("a", HAS, b""), ("b", b"", SECOND)])], true);
        check(&[cooperative(2, &[("a", HAS, FIRST), ("b", b"", SECOND)])], true);
        check(&[cooperative(2, &[("a", HAS, b""), ("b", b"", FIRST)])], false);
        check(&[cooperative(3, &[("a", HAS, b""), ("b", HAS_LATER, FIRST)])], true);
        check(&[cooperative(3, &[("a", HAS, FIRST), ("b", HAS_LATER, b"")])], false);
        check(&[cooperative(3, &[("a", HAS, FIRST), ("b", HAS, b"")])], false);
    }

    #[test]
    fn in_the_consumer_protocol_a_partition_has_one_owner_at_a_time() {
        let first = owners(false, &[("a", Some((1, &[0, 1])))]);
        let shared = owners(false, &[("a", Some((2, &[0]))), ("b", Some((2, &[1])))]);
        check(
            &[first.clone(), shared.clone(), owners(false, &[("b", None), ("a", Some((3, &[0, 1])))])],
            true,
        );
        check(&[first.clone(), owners(false, &[("b", Some((2, &[1])))])], false);
        // What another coordinator reads in its log counts, and what those before it say late does not.
        let late = owners(false, &[("a", Some((2, &[0, 1])))]);
        let read = owners(true, &[("a", Some((2, &[0])))]);
        check(&[first, next(read), late.clone(), next(shared)], true);
        check(&[owners(true, &[("b", Some((1, &[1])))]), late], false);
    }

    #[test]
    fn in_the_consumer_protocol_a_classic_member_keeps_what_it_says_it_has() {
        let named = Event::TopicCreated { topic: TopicId(Uuid([1; 16])), name: "t".to_owned() };
        let both = owners(false, &[("a", Some((1, &[0, 1])))]);
        let without = owners(false, &[("a", Some((2, &[1])))]);
        let taken = saying(without.clone(), "a", HAS);
        check(&[named.clone(), both.clone(), taken.clone()], false);
        check(&[named.clone(), both.clone(), saying(both.clone(), "a", HAS), without.clone()], true);
        // It says that it has nothing, is gone, or says more than it has; or nobody knows of what it speaks.
        check(&[named.clone(), both.clone(), saying(without.clone(), "a", b"")], true);
        check(&[named.clone(), both.clone(), saying(owners(false, &[("a", None)]), "a", HAS)], true);
        check(&[named, without, taken.clone()], true);
        check(&[both, taken], true);
    }

    #[test]
    fn in_the_consumer_protocol_members_commit_in_their_epoch() {
        let first = owners(false, &[("a", Some((1, &[0])))]);
        let second = owners(false, &[("a", Some((2, &[0])))]);
        check(&[first.clone(), commit(1, "a"), second.clone(), commit(2, "a"), commit(-1, "")], true);
        check(&[first.clone(), second, commit(1, "a")], false);
        check(&[first.clone(), commit(1, "b")], false);
        check(&[first, owners(false, &[("a", None)]), commit(1, "a")], false);
    }
}
