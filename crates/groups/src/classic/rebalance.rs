//! From one generation to the next.

use super::{FirstRound, State};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::timers::Timer;
use crate::{Answer, Now};
use highwater_assign::protocol::{CONSUMER, topics_of};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;

impl Group {
    /// Begins a rebalance, or takes part in the one that goes on.
    pub(crate) fn rebalance(&mut self, desk: &mut Desk, now: Now) {
        if self.classic.state == State::PreparingRebalance {
            self.complete_if_all_joined(desk, now);
        } else {
            self.prepare(desk, now);
        }
    }

    fn prepare(&mut self, desk: &mut Desk, now: Now) {
        if self.classic.state == State::CompletingRebalance {
            self.refuse_syncs(desk, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        desk.timers.cancel(&mut self.classic.sync_timer);
        let first = self.classic.state == State::Empty;
        self.classic.state = State::PreparingRebalance;
        self.classic.assigning = false;
        let timeout = self.classic.rebalance_timeout();
        if !first {
            self.set_join_timer(desk, timeout, now);
            return self.complete_if_all_joined(desk, now);
        }
        let delay = desk.settings.initial_rebalance_delay;
        let (left, quiet_at) = (timeout.saturating_sub(delay), now.instant.after(delay));
        self.classic.first_round = Some(FirstRound { left, quiet_at });
        if delay.is_zero() {
            return self.join_due(desk, now);
        }
        self.set_join_timer(desk, delay, now);
    }

    fn set_join_timer(&mut self, desk: &mut Desk, after: std::time::Duration, now: Now) {
        desk.timers.cancel(&mut self.classic.join_timer);
        let timer = Timer::Join { group: self.id.clone() };
        self.classic.join_timer = Some(desk.timers.set(now.instant.after(after), timer));
    }

    /// Goes on if nobody is waited for.
    pub(super) fn complete_if_all_joined(&mut self, desk: &mut Desk, now: Now) {
        let classic = &self.classic;
        let all = classic.joining == classic.members.len() && classic.pending.is_empty();
        if classic.state == State::PreparingRebalance && classic.first_round.is_none() && all {
            self.begin_generation(desk, now);
        }
    }

    /// Members have had their time to join.
    pub(crate) fn join_due(&mut self, desk: &mut Desk, now: Now) {
        self.classic.join_timer = None;
        if self.classic.state != State::PreparingRebalance {
            return;
        }
        if let Some(round) = &mut self.classic.first_round {
            let more = round.quiet_at.since(now.instant).min(round.left);
            if !more.is_zero() {
                round.left -= more;
                return self.set_join_timer(desk, more, now);
            }
        }
        self.begin_generation(desk, now);
    }

    fn begin_generation(&mut self, desk: &mut Desk, now: Now) {
        self.drop_missing(desk);
        if !self.classic.members.is_empty() && !self.elect_leader() {
            // Static members alone, none of which is here: their sessions decide.
            let timeout = self.classic.rebalance_timeout();
            return self.set_join_timer(desk, timeout, now);
        }
        let classic = &mut self.classic;
        desk.timers.cancel(&mut classic.join_timer);
        classic.first_round = None;
        classic.generation = classic.generation.wrapping_add(1).max(1);
        if classic.members.is_empty() {
            return self.become_empty(desk, now);
        }
        classic.state = State::CompletingRebalance;
        classic.since = Some(now.wall);
        classic.protocol = classic.select_protocol();
        classic.subscribed = classic.subscriptions();
        classic.unsynced = classic.members.keys().cloned().collect();
        let timer = Timer::Sync { group: self.id.clone() };
        let timeout = classic.rebalance_timeout();
        classic.sync_timer = Some(desk.timers.set(now.instant.after(timeout), timer));
        let ids: Vec<Str> = classic.members.keys().cloned().collect();
        for id in ids {
            let classic = &mut self.classic;
            let Some(member) = classic.members.get_mut(&id) else { continue };
            let Some(waiting) = member.join.take() else { continue };
            classic.joining -= 1;
            member.is_new = false;
            let response = classic.joined(&id, waiting.version);
            desk.answer(waiting.token, Answer::Join(response));
            self.set_session(desk, &id, now);
        }
    }

    /// Drops members that did not come back. Static ones stay for as long as their sessions do.
    fn drop_missing(&mut self, desk: &mut Desk) {
        let missing: Vec<Str> = self
            .classic
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            self.remove_member(desk, &id);
        }
    }

    /// Sees to it that a member leads that is here; false if none is.
    fn elect_leader(&mut self) -> bool {
        let classic = &mut self.classic;
        let is_here = |id: &Str| classic.members.get(id).is_some_and(|member| member.join.is_some());
        if classic.leader.as_ref().is_some_and(is_here) {
            return true;
        }
        let here = classic.members.values().find(|member| member.join.is_some());
        let Some(member) = here else { return false };
        classic.leader = Some(member.id.clone());
        true
    }

    fn become_empty(&mut self, desk: &mut Desk, now: Now) {
        let classic = &mut self.classic;
        classic.state = State::Empty;
        classic.since = Some(now.wall);
        (classic.protocol, classic.leader, classic.subscribed) = (None, None, None);
        let record = self.record(now.wall);
        self.write(desk, vec![record], Then::Nothing);
    }

    /// Removes a member, and answers what it waits for.
    pub(super) fn remove_member(&mut self, desk: &mut Desk, id: &Str) {
        let classic = &mut self.classic;
        let Some(mut member) = classic.members.remove(id) else { return };
        classic.drop_support(&member);
        desk.timers.cancel(&mut member.timer);
        if let Some(waiting) = member.join.take() {
            classic.joining -= 1;
            let response = super::join::refusal(waiting.version, id, ErrorCode::UNKNOWN_MEMBER_ID);
            desk.answer(waiting.token, Answer::Join(response));
        }
        if let Some(token) = member.sync.take() {
            desk.answer(token, super::sync::sync_refused(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        classic.unsynced.remove(id);
        if let Some(instance) = &member.instance
            && classic.statics.get(instance) == Some(id)
        {
            classic.statics.remove(instance);
        }
        if classic.leader.as_ref() == Some(id) {
            classic.leader = classic.members.keys().next().cloned();
        }
    }
}

impl super::Classic {
    /// The topics that the members subscribe to, if they are consumers and all say so in a way that can be read.
    pub(super) fn subscriptions(&self) -> Option<BTreeSet<Str>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol.as_ref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            // The names do not keep the bytes in memory.
            let topics = topics_of(&member.metadata(protocol)).ok()?;
            all.extend(topics.iter().map(|topic| Str::from(&**topic)));
        }
        Some(all)
    }
}
