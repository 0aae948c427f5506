//! What a leader knows of one follower.

use highwater_types::{BrokerEpoch, Instant, Offset};
use std::time::Duration;

/// What a leader knows of one incarnation of a follower, from its fetches in the leader's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The incarnation.
    pub(crate) broker_epoch: BrokerEpoch,
    /// Whether it was, when it last fetched, one that may be in sync.
    pub(crate) eligible: bool,
    /// The end of its log, all of which is as here.
    pub(crate) end: Offset,
    /// How far its log is on its disk.
    pub(crate) synced: Offset,
    /// When it last had all that there was, if it ever had.
    pub(crate) caught_up: Option<Instant>,
    /// Once it counts up to here, it had all that there was then.
    pub(crate) goal: Option<(Instant, Offset)>,
}

impl Remote {
    /// Nothing is known of it but when it last had all that there was.
    pub(crate) fn new(caught_up: Option<Instant>) -> Self {
        Self {
            broker_epoch: BrokerEpoch::NONE,
            eligible: false,
            end: Offset(-1),
            synced: Offset(-1),
            caught_up,
            goal: None,
        }
    }

    /// Up to where it counts.
    pub(crate) fn acknowledged(&self, sync: bool) -> Offset {
        if sync { self.synced } else { self.end }
    }

    /// Notes how far it is, when the leader's log ended at `leader_end`.
    pub(crate) fn reached(
        &mut self,
        end: Offset,
        synced: Offset,
        sync: bool,
        leader_end: Offset,
        now: Instant,
    ) {
        // A fetch that was overtaken says less than is known. It cannot say more than is true: within one epoch of the
        // leader and one incarnation of the follower, a log that agrees with the leader's only grows.
        self.end = self.end.max(end);
        self.synced = self.synced.max(synced.min(end));
        let acknowledged = self.acknowledged(sync);
        if acknowledged >= leader_end {
            (self.caught_up, self.goal) = (Some(now), None);
            return;
        }
        // Under load it never has all that there is now; what counts is when it had all that there was then. The goal
        // stays until it is reached: reports are more frequent than a disk is quick.
        if let Some((then, goal)) = self.goal
            && acknowledged >= goal
        {
            (self.caught_up, self.goal) = (self.caught_up.max(Some(then)), None);
        }
        self.goal.get_or_insert((now, leader_end));
    }

    /// Whether it has had all that there was within the last `max_lag`.
    pub(crate) fn is_caught_up(
        &self,
        sync: bool,
        leader_end: Offset,
        now: Instant,
        max_lag: Duration,
    ) -> bool {
        self.acknowledged(sync) >= leader_end
            || self.caught_up.is_some_and(|caught_up| now.since(caught_up) <= max_lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_nanos(30);

    #[test]
    fn a_disk_slower_than_the_reports_does_not_make_a_laggard() {
        let mut remote = Remote::new(Some(Instant(0)));
        // The leader's log grows by one at each tick; the follower syncs what it had five ticks ago.
        for tick in 1..1_000 {
            let (end, synced) = (Offset(tick), Offset((tick - 5).max(0)));
            remote.reached(end, synced, true, Offset(tick + 1), Instant(tick.unsigned_abs()));
            assert!(remote.is_caught_up(true, Offset(tick + 1), Instant(tick.unsigned_abs()), LAG), "{tick}");
        }
    }

    #[test]
    fn a_disk_that_stands_still_makes_a_laggard() {
        let mut remote = Remote::new(Some(Instant(0)));
        for tick in 1..100 {
            remote.reached(Offset(tick), Offset(1), true, Offset(tick), Instant(tick.unsigned_abs()));
        }
        assert!(!remote.is_caught_up(true, Offset(100), Instant(100), LAG));
        assert!(remote.is_caught_up(false, Offset(99), Instant(100), LAG));
    }

    #[test]
    fn who_has_everything_is_caught_up_however_long_ago_it_fetched() {
        let mut remote = Remote::new(Some(Instant(0)));
        remote.reached(Offset(7), Offset(7), true, Offset(7), Instant(1));
        assert!(remote.is_caught_up(true, Offset(7), Instant(1_000), LAG));
        assert!(!remote.is_caught_up(true, Offset(8), Instant(1_000), LAG));
    }

    #[test]
    fn an_overtaken_fetch_takes_nothing_back() {
        let mut remote = Remote::new(Some(Instant(0)));
        remote.reached(Offset(7), Offset(6), true, Offset(9), Instant(1));
        remote.reached(Offset(5), Offset(5), true, Offset(9), Instant(2));
        assert_eq!((remote.end, remote.synced), (Offset(7), Offset(6)));
    }
}
