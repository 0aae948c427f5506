//! Bounds on the bytes per second that replication may take (KIP-73).

use highwater_types::Instant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The rate that stands for none.
const UNLIMITED: i64 = i64::MAX;

/// The quotas of a node: for what it serves to followers, and for what it fetches as one.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) leader: Quota,
    pub(crate) follower: Quota,
}

/// A bound on bytes per second. Up to one second's worth may be taken at once; who took more is held back until that
/// is paid for, so that the rate is kept over time whatever the size of a single fetch.
#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// What was taken and is not paid for.
    bytes: u64,
    at: Instant,
}

/// Whether a rate in bytes per second bounds anything.
pub(crate) fn is_limited(rate: i64) -> bool {
    rate != UNLIMITED
}

impl Quota {
    /// Bytes were taken.
    pub(crate) fn record(&self, bytes: usize, rate: i64, now: Instant) {
        let mut spent = self.settled(rate, now);
        spent.bytes = spent.bytes.saturating_add(bytes as u64);
    }

    /// How many bytes may be taken at once now; 0: none.
    pub(crate) fn left(&self, rate: i64, now: Instant) -> usize {
        let second = rate.unsigned_abs();
        if self.settled(rate, now).bytes >= second {
            0
        } else {
            usize::try_from(second).unwrap_or(usize::MAX)
        }
    }

    /// When bytes may be taken again, if none are any more.
    pub(crate) fn free_at(&self, rate: i64, now: Instant) -> Instant {
        let second = rate.unsigned_abs().max(1);
        let over = self.settled(rate, now).bytes.saturating_sub(second).saturating_add(1);
        now.after(Duration::from_secs_f64(over as f64 / second as f64))
    }

    fn settled(&self, rate: i64, now: Instant) -> MutexGuard<'_, Spent> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = u128::from(rate.unsigned_abs()) * now.since(spent.at).as_nanos() / 1_000_000_000;
        // What would be lost in rounding is left for the next time.
        if paid > 0 || spent.bytes == 0 {
            spent.bytes = spent.bytes.saturating_sub(u64::try_from(paid).unwrap_or(u64::MAX));
            spent.at = spent.at.max(now);
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Takes as much as is allowed, at most `at_once`, every `every` nanoseconds for 100 seconds; bytes per second.
    fn rate_of(rate: i64, at_once: usize, every: u64) -> f64 {
        let quota = Quota::default();
        let mut taken = 0;
        let mut now = 0;
        while now < 100 * SECOND {
            if quota.left(rate, Instant(now)) > 0 {
                quota.record(at_once, rate, Instant(now));
                taken += at_once;
            }
            now += every;
        }
        taken as f64 / 100.0
    }

    #[test]
    fn the_rate_is_kept_whatever_the_size_of_a_fetch() {
        for at_once in [1_000, 100_000, 1_000_000, 10_000_000] {
            let rate = rate_of(1_000_000, at_once, SECOND / 1000);
            let most = 1.02e6 + at_once as f64 / 50.0;
            assert!((0.95e6..most).contains(&rate), "{at_once}: {rate}");
        }
    }

    #[test]
    fn one_seconds_worth_may_be_taken_at_once() {
        let quota = Quota::default();
        assert_eq!(quota.left(1_000, Instant(0)), 1_000);
        quota.record(1_500, 1_000, Instant(0));
        assert_eq!(quota.left(1_000, Instant(SECOND / 4)), 0);
        let free = quota.free_at(1_000, Instant(SECOND / 4));
        assert!(free > Instant(SECOND / 4) && free <= Instant(SECOND * 6 / 10), "{free:?}");
        assert_eq!(quota.left(1_000, free), 1_000);
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_through_and_the_largest_everything() {
        assert_eq!(Quota::default().left(0, Instant(SECOND)), 0);
        assert!(!is_limited(i64::MAX) && is_limited(0));
    }
}
