//! The classic protocol: members join, the leader among them assigns, all fetch what they were assigned.
//!
//! A group goes from *empty* over *preparing* (members are waited for) and *completing* (the leader's assignment is
//! waited for, and then written) to *stable*, and back to preparing with every member that comes, goes or changes what
//! it knows. Each time it gets to completing a new generation begins. No member gets an assignment before the record is
//! committed that says so.

mod hand_over;
mod join;
mod leave;
mod member;
mod persist;
mod rebalance;
mod rejoin;
mod session;
mod sync;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use join::{ID_FIRST_FROM, NULL_PROTOCOL_FROM, join_refused, new_id};
pub(crate) use member::Member;
pub(crate) use sync::sync_refused;

use crate::timers::TimerKey;
use highwater_types::{Instant, Timestamp, mutant};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It has no members.
    #[default]
    Empty,
    /// Members are waited for.
    PreparingRebalance,
    /// The leader's assignment is waited for.
    CompletingRebalance,
    /// All have their assignments.
    Stable,
}

/// The members of a group, and what they agreed on.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    pub(crate) state: State,
    /// Since when the group is empty, or since when it was as it was last written.
    pub(crate) since: Option<Timestamp>,
    pub(crate) generation: i32,
    /// The kind of protocols. It outlives the members.
    pub(crate) protocol_type: Option<Str>,
    /// The protocol of the generation.
    pub(crate) protocol: Option<Str>,
    pub(crate) leader: Option<Str>,
    pub(crate) members: BTreeMap<Str, Member>,
    /// The members that keep a name over restarts, by that name.
    statics: BTreeMap<Str, Str>,
    /// The ids that were given to new members that did not come back with them yet.
    pending: BTreeMap<Str, Option<TimerKey>>,
    /// How many members know each protocol.
    support: BTreeMap<Str, usize>,
    /// How many members wait for the next generation.
    joining: usize,
    /// Members of the generation that did not ask for their assignment yet.
    unsynced: BTreeSet<Str>,
    /// The topics that the generation's consumers subscribe to, if all said so in a way that can be read.
    pub(crate) subscribed: Option<BTreeSet<Str>>,
    /// When members have had their time to join, and to fetch their assignments.
    join_timer: Option<TimerKey>,
    sync_timer: Option<TimerKey>,
    /// The first rebalance of an empty group.
    first_round: Option<FirstRound>,
    /// Whether an assignment of this generation is being written.
    assigning: bool,
}

/// How an empty group waits for members: until none has come for a while.
#[derive(Debug)]
struct FirstRound {
    /// How much longer it may wait in all.
    left: Duration,
    /// When it will have been so long since the last one came.
    quiet_at: Instant,
}

impl Classic {
    /// Whether there is nobody.
    pub(crate) fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.state == State::Empty
    }

    /// Whether a member may speak for itself: it is one, and the one that bears its name.
    pub(crate) fn validate(&self, member: &Str, instance: Option<&Str>) -> Result<(), ErrorCode> {
        match instance.map(|instance| self.statics.get(instance)) {
            Some(None) => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(Some(current)) if current != member && !mutant!("group-static-dup") => {
                Err(ErrorCode::FENCED_INSTANCE_ID)
            }
            _ if self.members.contains_key(member) => Ok(()),
            _ => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// The longest time that a member may take to rejoin.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or(Duration::ZERO)
    }

    fn add_support(&mut self, member: &Member) {
        for (name, _) in &member.protocols {
            *self.support.entry(name.clone()).or_default() += 1;
        }
    }

    fn drop_support(&mut self, member: &Member) {
        for (name, _) in &member.protocols {
            if let Some(count) = self.support.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.support.remove(name);
                }
            }
        }
    }

    /// Whether every member knows that protocol.
    fn all_support(&self, name: &Str) -> bool {
        self.support.get(name).is_some_and(|count| *count == self.members.len())
    }

    /// The protocol that most members prefer of those that all know. Of those with as many votes, the leader's first.
    pub(crate) fn select_protocol(&self) -> Option<Str> {
        let mut votes = BTreeMap::<&Str, usize>::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| self.all_support(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let of_leader = leader.into_iter().flat_map(|leader| leader.protocols.iter().map(|(name, _)| name));
        let mut best = of_leader.chain(votes.keys().copied());
        best.find(|name| votes.get(name) == Some(&most)).cloned()
    }
}
