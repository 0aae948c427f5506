//! What a member shares with the task that speaks for it.

use super::Partitions;
use crate::ClientError;
use highwater_types::Instant;
use highwater_wire::Str;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a member is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    /// Empty before the coordinator gave it one.
    pub(super) id: Str,
    /// The generation that it has its share of, or the member's epoch; -1 while it is no member.
    pub(super) generation: i32,
    /// The generation that it joined last, of which it may have no share yet; in the consumer protocol the same.
    pub(super) joined: i32,
    pub(super) instance: Option<Str>,
}

/// What a member has heard.
#[derive(Clone, Debug, Default)]
pub(super) enum Heard {
    /// It may go on.
    #[default]
    Fine,
    /// The group shares its partitions anew: it is to join.
    Rebalance,
    /// It is no member any more, or may be none: others may have its partitions.
    Lost,
    /// The group does not take it.
    Refused(ClientError),
}

/// What a member shares with the task that speaks for it. Each task has its own, so that one that ends late says
/// nothing to those that come after it.
pub(super) struct Line {
    state: Mutex<State>,
    /// There is something to hear.
    pub(super) news: Notify,
    /// There is something to tell the coordinator.
    pub(super) wake: Notify,
    /// When the user last polled.
    polled: AtomicU64,
}

struct State {
    membership: Membership,
    heard: Heard,
    target: Option<Partitions>,
    owned: Partitions,
}

impl Line {
    pub(super) fn new(membership: Membership, owned: Partitions, now: Instant) -> Self {
        let state = State { membership, heard: Heard::Fine, target: None, owned };
        Self {
            state: Mutex::new(state),
            news: Notify::new(),
            wake: Notify::new(),
            polled: AtomicU64::new(now.0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn membership(&self) -> Membership {
        self.state().membership.clone()
    }

    /// The coordinator knows it by that.
    pub(super) fn identify(&self, id: Str, generation: i32) {
        let membership = &mut self.state().membership;
        (membership.id, membership.generation, membership.joined) = (id, generation, generation);
    }

    /// It joined a generation, of which it is to have a share.
    pub(super) fn join(&self, id: Str, generation: i32) {
        let membership = &mut self.state().membership;
        (membership.id, membership.joined) = (id, generation);
    }

    pub(super) fn heard(&self) -> Heard {
        self.state().heard.clone()
    }

    pub(super) fn hear(&self, heard: Heard) {
        self.state().heard = heard;
        self.news.notify_one();
    }

    /// What the member is to have, until it has taken it.
    pub(super) fn target(&self) -> Option<Partitions> {
        self.state().target.clone()
    }

    /// It has a share of what it joined last.
    pub(super) fn offer(&self, target: Partitions) {
        let mut state = self.state();
        state.membership.generation = state.membership.joined;
        state.target = Some(target);
        drop(state);
        self.news.notify_one();
    }

    /// The member has taken a target, which may not be the last one any more.
    pub(super) fn took(&self, target: &Partitions) {
        self.state().target.take_if(|known| known == target);
    }

    /// What the member has.
    pub(super) fn owned(&self) -> Partitions {
        self.state().owned.clone()
    }

    pub(super) fn own(&self, owned: Partitions) {
        self.state().owned = owned;
        self.wake.notify_one();
    }

    pub(super) fn polled(&self, now: Instant) {
        self.polled.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn last_poll(&self) -> Instant {
        Instant(self.polled.load(Ordering::Relaxed))
    }
}
