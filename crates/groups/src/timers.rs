//! What is to happen when a time has come.

use highwater_types::Instant;
use highwater_wire::Str;
use std::collections::BTreeMap;

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A member was not heard of, or was since.
    Session { group: Str, member: Str },
    /// A new member got its id and did not come back with it.
    Pending { group: Str, member: Str },
    /// Members had their time to join.
    Join { group: Str },
    /// Members had their time to fetch their assignments.
    Sync { group: Str },
    /// A member of the new protocol was not heard of, or was since.
    ConsumerSession { group: Str, member: Str },
    /// A member had its time to give up partitions in an epoch.
    Revocation { group: Str, member: Str, epoch: i32 },
    /// A member of the classic protocol in a group of the new one had its time to join or to ask for its assignment.
    Step { group: Str, member: Str },
    /// Offsets may have expired.
    Expiry,
}

/// One timer, by which it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Instant, u64);

impl TimerKey {
    /// When it goes off.
    pub(crate) fn due(self) -> Instant {
        self.0
    }
}

/// All timers of a coordinator.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<TimerKey, Timer>,
    next: u64,
}

impl Timers {
    /// Has something happen at an instant.
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) -> TimerKey {
        let key = TimerKey(at, self.next);
        self.next += 1;
        self.due.insert(key, timer);
        key
    }

    /// Takes a timer back, if it is set.
    pub(crate) fn cancel(&mut self, key: &mut Option<TimerKey>) {
        if let Some(key) = key.take() {
            self.due.remove(&key);
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(key, _)| key.0)
    }

    /// The first one that is due, which is set no more.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
