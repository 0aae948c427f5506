//! The groups of one partition of the offsets topic.

use crate::consumer;
use crate::desk::{Desk, Then, Write};
use crate::group::Group;
use crate::offsets::Commit;
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Action, Answer, Client, CommittedOffset, GroupSettings, Note, Now, Record, Token, WriteId};
use highwater_types::{Instant, Offset, PartitionIndex};
use highwater_wire::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, MemberIdentity, SyncGroupRequest,
    SyncGroupResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// How many groups may be known of which the log knows nothing. Anybody can make one by asking to join it.
const MAX_UNSAVED_GROUPS: usize = 10_000;

/// The groups of one partition of the offsets topic.
///
/// Made from the log's records by [`Coordinator::replay`] and begun by [`Coordinator::loaded`]. From then on: requests
/// come in by their methods, time by [`Coordinator::tick`] (at [`Coordinator::next_due`] at the latest), and what
/// became of writes by [`Coordinator::committed`] and [`Coordinator::failed`], in the order of the writes. After each
/// of these [`Coordinator::poll_action`] is called until there is none.
///
/// Invariant: offsets, and the groups that are there at all, are the fold of the committed records.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) groups: BTreeMap<Str, Group>,
    desk: Desk,
    /// Groups of which records that were replayed left nothing.
    gone: BTreeSet<Str>,
    /// How many groups are there of which the log knows nothing, at least.
    unsaved: usize,
}

impl Coordinator {
    /// A coordinator of nothing.
    pub fn new(settings: GroupSettings) -> Self {
        Self { groups: BTreeMap::new(), desk: Desk::new(settings), gone: BTreeSet::new(), unsaved: 0 }
    }

    /// Takes a record of the log. The last one of a key counts.
    pub fn replay(&mut self, record: Record) {
        let id = record.group().clone();
        let group = group_of(&mut self.groups, &id);
        group.replay(record);
        if group.is_vacant() {
            self.groups.remove(&id);
            self.gone.insert(id);
        }
    }

    /// All records were taken: the sessions of all members begin anew.
    pub fn loaded(&mut self, now: Now) {
        let note = |desk: &mut Desk, group, members| {
            desk.note(Note::Owners { group, all: true, members, said: Vec::new() });
        };
        // Those that are gone may have had members when the coordinator before this one told of them last.
        for id in std::mem::take(&mut self.gone).into_iter().filter(|id| !self.groups.contains_key(id)) {
            note(&mut self.desk, id, Vec::new());
        }
        for group in self.groups.values_mut() {
            if group.saved
                && let Record::Group(_, value) = group.record(now.wall)
            {
                group.tell(&mut self.desk, value.as_ref());
            }
            if group.consumers.is_some() || !group.saved {
                let consumers = group.consumers.as_ref();
                let members = consumers.map(|consumers| consumers.owners()).unwrap_or_default();
                note(&mut self.desk, group.id.clone(), members);
            }
            group.begin_sessions(&mut self.desk, now);
            group.resume_rebalance(&mut self.desk, now);
            group.begin_consumer_sessions(&mut self.desk, now);
        }
        self.desk.timers.set(now.instant.after(self.desk.settings.retention_check_interval), Timer::Expiry);
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.desk.timers.next_due()
    }

    /// Does what is due.
    pub fn tick(&mut self, topics: &dyn Topics, now: Now) {
        while let Some(timer) = self.desk.timers.pop_due(now.instant) {
            match timer {
                Timer::Session { group, member } => {
                    self.with(&group, |group, desk| group.session_due(desk, &member, now));
                }
                Timer::Pending { group, member } => {
                    self.with(&group, |group, desk| group.pending_due(desk, &member, now));
                }
                Timer::Join { group } => {
                    self.with(&group, |group, desk| group.join_due(desk, now));
                }
                Timer::Sync { group } => {
                    self.with(&group, |group, desk| group.sync_due(desk, now));
                }
                Timer::ConsumerSession { group, member } => {
                    self.with(&group, |group, desk| group.consumer_session_due(desk, &member, topics, now));
                }
                Timer::Revocation { group, member, epoch } => {
                    self.with(&group, |group, desk| group.revocation_due(desk, &member, epoch, topics, now));
                }
                Timer::Step { group, member } => {
                    self.with(&group, |group, desk| group.step_due(desk, &member, topics, now));
                }
                Timer::Expiry => self.expire(now),
            }
        }
    }

    fn expire(&mut self, now: Now) {
        for group in self.groups.values_mut() {
            group.expire(&mut self.desk, now);
        }
        self.desk.timers.set(now.instant.after(self.desk.settings.retention_check_interval), Timer::Expiry);
    }

    /// Records are committed.
    pub fn committed(&mut self, id: WriteId, now: Now) {
        let Write { group, records, then, behind, .. } = self.desk.written(id);
        // Assignments are those that stand in the log now.
        let assigned = match (&then, records.first()) {
            (Then::Assign { .. }, Some(Record::Group(_, Some(value)))) => value.members.clone(),
            _ => Vec::new(),
        };
        let known = group_of(&mut self.groups, &group);
        known.tell_owners(&mut self.desk, &records);
        for record in records {
            if let Record::Group(_, value) = &record {
                known.tell(&mut self.desk, value.as_ref());
            }
            known.apply(record);
        }
        known.writing -= 1;
        self.with(&group, |group, desk| match then {
            Then::Nothing => {}
            Then::Answer(token, answer) | Then::Replaced { token, answer, .. } => desk.answer(token, answer),
            Then::Commit { token, answer, generation, member } => {
                desk.note(Note::Committed { group: group.id.clone(), generation, member });
                desk.answer(token, answer);
            }
            Then::Assign { generation } => group.assigned(desk, generation, &assigned, now),
        });
        for (token, answer) in behind {
            self.desk.answer(token, answer);
        }
    }

    /// Records were not written, and never will be.
    pub fn failed(&mut self, id: WriteId, code: ErrorCode, now: Now) {
        let Write { group, records, then, behind, .. } = self.desk.written(id);
        if records.iter().any(Record::is_of_consumers) {
            self.desk.reload();
        }
        group_of(&mut self.groups, &group).writing -= 1;
        self.with(&group, |group, desk| match then {
            Then::Nothing => {}
            Then::Answer(token, answer) | Then::Commit { token, answer, .. } => {
                desk.answer(token, answer.failed(code));
            }
            Then::Assign { generation } => group.not_assigned(desk, generation, code, now),
            Then::Replaced { token, answer, instance, old, new } => {
                group.take_back(desk, &instance, &old, &new, now);
                desk.answer(token, answer.failed(code));
            }
        });
        for (token, answer) in behind {
            self.desk.answer(token, answer.failed(code));
        }
    }

    /// A member joins, or rejoins.
    pub fn join(
        &mut self,
        token: Token,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let settings = &self.desk.settings;
        let session = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        let sessions = settings.min_session_timeout.as_millis()..=settings.max_session_timeout.as_millis();
        let known = self.groups.contains_key(&request.group_id);
        let refused = if request.group_id.is_empty() {
            Some(ErrorCode::INVALID_GROUP_ID)
        } else if !sessions.contains(&u128::from(session)) {
            Some(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if !known && !request.member_id.is_empty() {
            Some(ErrorCode::UNKNOWN_MEMBER_ID)
        } else if !known && !self.has_room() {
            Some(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        } else {
            None
        };
        if let Some(code) = refused {
            return self.desk.answer(token, crate::classic::join_refused(client, &request.member_id, code));
        }
        if !known {
            self.unsaved += 1;
            group_of(&mut self.groups, &request.group_id);
        }
        self.with(&request.group_id, |group, desk| group.join(desk, token, client, request, topics, now));
    }

    /// Whether one more group may be known of which the log knows nothing.
    fn has_room(&mut self) -> bool {
        if self.unsaved >= MAX_UNSAVED_GROUPS {
            self.unsaved =
                self.groups.values().filter(|group| !group.saved && group.offsets.is_empty()).count();
        }
        self.unsaved < MAX_UNSAVED_GROUPS
    }

    /// A member brings or fetches assignments.
    pub fn sync(&mut self, token: Token, request: &SyncGroupRequest, topics: &dyn Topics, now: Now) {
        let known = self.with(&request.group_id, |group, desk| group.sync(desk, token, request, topics, now));
        if known.is_none() {
            let error_code = unknown_group(&request.group_id);
            let response = SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
            self.desk.answer(token, Answer::Sync(response));
        }
    }

    /// A member is alive.
    pub fn heartbeat(&mut self, token: Token, request: &HeartbeatRequest, topics: &dyn Topics, now: Now) {
        let known =
            self.with(&request.group_id, |group, desk| group.heartbeat(desk, token, request, topics, now));
        if known.is_none() {
            self.desk.heartbeat(token, unknown_group(&request.group_id));
        }
    }

    /// A member of the new protocol says what it wants and has.
    pub fn consumer_heartbeat(
        &mut self,
        token: Token,
        client: &Client<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let known = self.groups.contains_key(&request.group_id);
        let refused = match consumer::check(client, request) {
            Err(refusal) => Some(refusal),
            Ok(()) if known => None,
            Ok(()) if request.member_epoch != consumer::JOINS => {
                Some((ErrorCode::GROUP_ID_NOT_FOUND, "The group is not known."))
            }
            Ok(()) => None,
        };
        if let Some(refusal) = refused {
            return self.desk.answer(token, consumer::heartbeat_refused(refusal));
        }
        group_of(&mut self.groups, &request.group_id);
        self.with(&request.group_id, |group, desk| {
            group.consumer_heartbeat(desk, token, client, request, topics, now);
        });
    }

    /// Whether a member of the new protocol may ask for the group's offsets. Whoever says nothing of itself may.
    pub fn may_fetch(&self, group: &str, member: Option<&Str>, epoch: i32) -> Result<(), ErrorCode> {
        let consumers = self.groups.get(group).and_then(|group| group.consumers.as_ref());
        match (consumers, member) {
            (Some(consumers), Some(member)) if epoch >= 0 => consumers.may_commit(member, epoch),
            _ => Ok(()),
        }
    }

    /// Members leave.
    pub fn leave(
        &mut self,
        token: Token,
        group: &Str,
        members: &[MemberIdentity],
        topics: &dyn Topics,
        now: Now,
    ) {
        let known = self.with(group, |group, desk| group.leave(desk, token, members, topics, now));
        if known.is_none() {
            self.desk.answer(token, Answer::Leave(vec![unknown_group(group); members.len()]));
        }
    }

    /// Offsets are committed.
    pub fn commit(&mut self, token: Token, group: &Str, commit: Commit, now: Now) {
        if !self.groups.contains_key(group) {
            if commit.generation >= 0 {
                // Its generation was one of a group that is gone.
                return self.desk.answer(token, Answer::Commit(Err(ErrorCode::ILLEGAL_GENERATION)));
            }
            group_of(&mut self.groups, group);
        }
        self.with(group, |group, desk| group.commit(desk, token, commit, now));
    }

    /// How far a group has read a partition.
    pub fn offset(&self, group: &str, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.groups.get(group)?.offsets.get(topic, partition)
    }

    /// All offsets of a group.
    pub fn offsets(&self, group: &str) -> impl Iterator<Item = (&Str, PartitionIndex, &CommittedOffset)> {
        self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter())
    }

    /// Offsets are forgotten.
    pub fn delete_offsets(&mut self, token: Token, group: &Str, partitions: Vec<(Str, PartitionIndex)>) {
        let known = self.groups.contains_key(group);
        if !known {
            return self.desk.answer(token, Answer::DeleteOffsets(Err(ErrorCode::GROUP_ID_NOT_FOUND)));
        }
        self.with(group, |group, desk| group.delete_offsets(desk, token, partitions));
    }

    /// A group is deleted.
    pub fn delete_group(&mut self, token: Token, group: &Str) {
        let known = self.with(group, |group, desk| group.delete(desk, token));
        if known.is_none() {
            self.desk.answer(token, Answer::DeleteGroup(ErrorCode::GROUP_ID_NOT_FOUND));
        }
    }

    /// Topics are gone: nobody will ask for their offsets.
    pub fn forget_topics(&mut self, is_gone: &dyn Fn(&str) -> bool) {
        for group in self.groups.values_mut() {
            group.forget_topics(&mut self.desk, is_gone);
        }
    }

    /// How far each group has read, group by group.
    pub fn all_offsets(&self) -> impl Iterator<Item = (&Str, &Str, PartitionIndex, Offset)> {
        self.groups.iter().flat_map(|(id, group)| {
            group.offsets.iter().map(move |(topic, partition, at)| (id, topic, partition, at.offset))
        })
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Does something with a group, if it is known, and forgets the group if there is nothing left of it.
    fn with<T>(&mut self, id: &Str, work: impl FnOnce(&mut Group, &mut Desk) -> T) -> Option<T> {
        let group = self.groups.get_mut(id)?;
        let result = work(group, &mut self.desk);
        if group.is_vacant() {
            self.groups.remove(id);
        }
        Some(result)
    }
}

/// A group, which is made if it is not there.
fn group_of<'a>(groups: &'a mut BTreeMap<Str, Group>, id: &Str) -> &'a mut Group {
    if !groups.contains_key(id) {
        let group = Group::new(id);
        groups.insert(group.id.clone(), group);
    }
    groups.get_mut(id).expect("it was put there if it was missing")
}

/// The answer to a member of a group that is not known.
fn unknown_group(id: &str) -> ErrorCode {
    if id.is_empty() { ErrorCode::INVALID_GROUP_ID } else { ErrorCode::UNKNOWN_MEMBER_ID }
}
