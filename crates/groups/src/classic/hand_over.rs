//! Groups that become classic ones while they have members, and those that are none any more.

use super::{Classic, Member, State};
use crate::desk::Desk;
use crate::group::Group;
use crate::{Answer, Now};
use highwater_assign::protocol::CONSUMER;
use highwater_types::Timestamp;
use highwater_wire::{ErrorCode, Str};

impl Classic {
    /// A group of consumers that were members of a group of the new protocol. Nobody leads it, so that a coordinator
    /// that finds it in the log knows that its members have yet to share out what is there.
    pub(crate) fn taken_over(generation: i32, members: Vec<Member>, now: Timestamp) -> Self {
        let mut classic = Self {
            state: State::Stable,
            since: Some(now),
            generation,
            protocol_type: Some(Str::from_static(CONSUMER)),
            ..Self::default()
        };
        for member in members {
            classic.insert(member);
        }
        classic.protocol = classic.select_protocol();
        classic.subscribed = classic.subscriptions();
        classic
    }

    /// Puts a member there that waits for nothing.
    pub(super) fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.add_support(&member);
        self.members.insert(member.id.clone(), member);
    }
}

impl Group {
    /// The group is a classic one no more. Whoever waits is to join again.
    pub(crate) fn end_classic(&mut self, desk: &mut Desk) {
        let mut classic = std::mem::take(&mut self.classic);
        desk.timers.cancel(&mut classic.join_timer);
        desk.timers.cancel(&mut classic.sync_timer);
        classic.pending.values_mut().for_each(|timer| desk.timers.cancel(timer));
        for member in classic.members.values_mut() {
            desk.timers.cancel(&mut member.timer);
            if let Some(waiting) = member.join.take() {
                let code = ErrorCode::REBALANCE_IN_PROGRESS;
                let response = super::join::refusal(waiting.version, &member.id, code);
                desk.answer(waiting.token, Answer::Join(response));
            }
            if let Some(token) = member.sync.take() {
                desk.answer(token, super::sync_refused(ErrorCode::REBALANCE_IN_PROGRESS));
            }
        }
    }

    /// The coordinator was made from the log: a group whose members have yet to share out what is there goes on with
    /// that.
    pub(crate) fn resume_rebalance(&mut self, desk: &mut Desk, now: Now) {
        if !self.classic.members.is_empty() && self.classic.leader.is_none() {
            self.rebalance(desk, now);
        }
    }
}
