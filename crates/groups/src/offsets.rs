//! How far groups have read.

use crate::classic::{Classic, State};
use crate::consumer::Consumers;
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::{Answer, Now, OffsetCommitKey, OffsetCommitValue, Record, Token};
use highwater_assign::protocol::CONSUMER;
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, mutant};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read.
    pub leader_epoch: LeaderEpoch,
    /// What the client keeps with it.
    pub metadata: Str,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it expires, if the client said so.
    pub expires_at: Option<Timestamp>,
}

/// A partition's part of a request to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOffset {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read.
    pub leader_epoch: LeaderEpoch,
    /// What the client keeps with it.
    pub metadata: Str,
}

/// A request to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The generation, or -1 from one that is no member.
    pub generation: i32,
    /// The member, empty for one that is none.
    pub member: Str,
    /// The name of a static member.
    pub instance: Option<Str>,
    /// For how long to keep the offsets, if the client says so.
    pub retention: Option<Duration>,
    /// The offsets.
    pub offsets: Vec<NewOffset>,
}

/// The offsets of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    topics: BTreeMap<Str, BTreeMap<PartitionIndex, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Str, PartitionIndex, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(index, offset)| (topic, *index, offset))
        })
    }

    /// Takes what a record says. Texts are copied: they do not keep the batch in memory that they were read from.
    pub(crate) fn set(&mut self, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        let Some(value) = value else {
            if let Some(partitions) = self.topics.get_mut(&key.topic) {
                partitions.remove(&key.partition);
                if partitions.is_empty() {
                    self.topics.remove(&key.topic);
                }
            }
            return;
        };
        let said = value.expire_timestamp != Timestamp::NONE;
        let offset = CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: Str::from(&*value.metadata),
            committed_at: value.commit_timestamp,
            expires_at: said.then_some(value.expire_timestamp),
        };
        if !self.topics.contains_key(&key.topic) {
            self.topics.insert(Str::from(&*key.topic), BTreeMap::new());
        }
        let partitions = self.topics.get_mut(&key.topic).expect("it was put there if it was missing");
        partitions.insert(key.partition, offset);
    }

    /// Those that have expired (KIP-211): of a group without members once it has been so for as long as offsets are
    /// kept, of a group of consumers those of topics that none of them wants.
    pub(crate) fn expired(
        &self,
        classic: &Classic,
        retention: Duration,
        now: Timestamp,
    ) -> Vec<(Str, PartitionIndex)> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let is_old = |since: Timestamp| now.0.saturating_sub(since.0) >= retention;
        let is_expired = |topic: &Str, offset: &CommittedOffset| {
            let since = match classic.state {
                State::Empty => classic.since.unwrap_or(offset.committed_at).max(offset.committed_at),
                State::Stable
                    if classic.subscribed.as_ref().is_some_and(|wanted| !wanted.contains(topic)) =>
                {
                    offset.committed_at
                }
                _ => return false,
            };
            offset.expires_at.map_or_else(|| is_old(since), |at| now >= at)
        };
        self.iter()
            .filter(|(topic, _, offset)| is_expired(topic, offset))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect()
    }

    /// Those of a group of the new protocol that have expired: of topics that no member wants.
    pub(crate) fn expired_of(
        &self,
        consumers: &Consumers,
        retention: Duration,
        now: Timestamp,
    ) -> Vec<(Str, PartitionIndex)> {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let mut expired = Vec::new();
        for (topic, partitions) in self.topics.iter().filter(|(topic, _)| !consumers.wants(topic)) {
            for (partition, offset) in partitions {
                let old = now.0.saturating_sub(offset.committed_at.0) >= retention;
                if offset.expires_at.map_or(old, |at| now >= at) {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }

    /// The records by which some of them are forgotten.
    pub(crate) fn forgotten(
        &self,
        group: &Str,
        which: impl IntoIterator<Item = (Str, PartitionIndex)>,
    ) -> Vec<Record> {
        which
            .into_iter()
            .map(|(topic, partition)| {
                Record::Offset(OffsetCommitKey { group: group.clone(), topic, partition }, None)
            })
            .collect()
    }
}

impl Group {
    /// Commits offsets.
    pub(crate) fn commit(&mut self, desk: &mut Desk, token: Token, commit: Commit, now: Now) {
        if let Err(code) = self.may_commit(&commit) {
            return desk.answer(token, Answer::Commit(Err(code)));
        }
        // A commit is a sign of life.
        self.touch(&commit.member, now);
        self.touch_mixed(desk, &commit.member, now);
        let expire_timestamp = commit.retention.map_or(Timestamp::NONE, |retention| {
            let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
            Timestamp(now.wall.0.saturating_add(millis))
        });
        let mut codes = Vec::with_capacity(commit.offsets.len());
        let mut records = Vec::with_capacity(commit.offsets.len());
        for new in commit.offsets {
            if new.metadata.len() > desk.settings.offset_metadata_max_bytes {
                codes.push(ErrorCode::OFFSET_METADATA_TOO_LARGE);
                continue;
            }
            codes.push(ErrorCode::NONE);
            let key = OffsetCommitKey { group: self.id.clone(), topic: new.topic, partition: new.partition };
            let value = OffsetCommitValue {
                offset: new.offset,
                leader_epoch: new.leader_epoch,
                metadata: new.metadata,
                commit_timestamp: now.wall,
                expire_timestamp,
                ..OffsetCommitValue::default()
            };
            records.push(Record::Offset(key, Some(value)));
        }
        let answer = Answer::Commit(Ok(codes));
        if records.is_empty() {
            return desk.answer(token, answer);
        }
        let (generation, member) = (commit.generation, Str::from(&*commit.member));
        self.write(desk, records, Then::Commit { token, answer, generation, member });
    }

    fn may_commit(&self, commit: &Commit) -> Result<(), ErrorCode> {
        if let Some(consumers) = &self.consumers {
            return consumers.may_commit(&commit.member, commit.generation);
        }
        let classic = &self.classic;
        if commit.generation < 0 && classic.state == State::Empty {
            // Whoever reads without being a member may name itself all the same.
            return Ok(());
        }
        if commit.generation >= 0 || !commit.member.is_empty() || commit.instance.is_some() {
            if mutant!("group-no-generation") {
                return Ok(());
            }
            classic.validate(&commit.member, commit.instance.as_ref())?;
            if commit.generation != classic.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else {
            // Only a group without members is read by one that is none.
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if classic.state == State::CompletingRebalance {
            // Nobody knows yet whose partitions these are.
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// Forgets offsets at a client's wish.
    pub(crate) fn delete_offsets(
        &mut self,
        desk: &mut Desk,
        token: Token,
        partitions: Vec<(Str, PartitionIndex)>,
    ) {
        let wants = |topic: &Str| self.consumers.as_ref().is_some_and(|consumers| consumers.wants(topic));
        let wanted = match (&self.classic.state, &self.classic.subscribed) {
            (State::Empty, _) => None,
            (_, Some(wanted)) if self.classic.protocol_type.as_deref() == Some(CONSUMER) => Some(wanted),
            _ => return desk.answer(token, Answer::DeleteOffsets(Err(ErrorCode::NON_EMPTY_GROUP))),
        };
        let mut codes = Vec::with_capacity(partitions.len());
        let mut forgotten = Vec::new();
        for (topic, partition) in partitions {
            if wanted.is_some_and(|wanted| wanted.contains(&topic)) || wants(&topic) {
                codes.push(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
                continue;
            }
            codes.push(ErrorCode::NONE);
            if self.offsets.get(&topic, partition).is_some() {
                forgotten.push((topic, partition));
            }
        }
        let answer = Answer::DeleteOffsets(Ok(codes));
        if forgotten.is_empty() {
            return desk.answer(token, answer);
        }
        let records = self.offsets.forgotten(&self.id, forgotten);
        self.write(desk, records, Then::Answer(token, answer));
    }

    /// Forgets the offsets of topics that are gone.
    pub(crate) fn forget_topics(&mut self, desk: &mut Desk, is_gone: &dyn Fn(&str) -> bool) {
        let gone: Vec<_> = self
            .offsets
            .iter()
            .filter(|(topic, ..)| is_gone(topic))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        if !gone.is_empty() {
            let records = self.offsets.forgotten(&self.id, gone);
            self.write(desk, records, Then::Nothing);
        }
    }

    /// Deletes the group, if it has no members.
    pub(crate) fn delete(&mut self, desk: &mut Desk, token: Token) {
        let has_members = self.consumers.as_ref().is_some_and(|consumers| !consumers.members.is_empty());
        if !self.classic.is_vacant() || has_members {
            return desk.answer(token, Answer::DeleteGroup(ErrorCode::NON_EMPTY_GROUP));
        }
        let all: Vec<_> =
            self.offsets.iter().map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        let mut records = self.offsets.forgotten(&self.id, all);
        match &self.consumers {
            Some(_) => records.extend(self.dissolved()),
            None => records.push(Record::Group(self.id.clone(), None)),
        }
        self.write(desk, records, Then::Answer(token, Answer::DeleteGroup(ErrorCode::NONE)));
    }
}

#[cfg(test)]
mod tests;
