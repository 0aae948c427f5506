//! When a voter stands for election.
//!
//! The library has a timer of its own, which is switched off: it draws how long a voter waits once and for all, and
//! looks at steps of 1.5 heartbeats. Two voters that drew nearly the same, or began together, stand in the same instant
//! again and again, and nobody is elected.

use crate::quorum::Quorum;
use highwater_env::{Env, Purpose, timeout};
use highwater_types::mutant;
use rand::RngExt;
use std::ops::Range;

/// After how many election timeouts without a leader a voter stands: drawn anew each time. It is longer than
/// [`LEASE_PARTS`], during which others would refuse their votes.
const WAIT_PARTS: Range<f64> = 1.1..1.6;

/// For how many election timeouts after it heard a leader a voter refuses its vote to others.
pub(crate) const LEASE_PARTS: f64 = 0.9;

impl<E: Env> Quorum<E> {
    /// Stands for election each time that no leader was heard for long enough, and that no vote was given to another,
    /// until the member stops. Whoever is no voter waits for nothing here.
    pub(crate) async fn stand_when_due(self) {
        let inner = self.inner();
        let (clock, progress, period) = (inner.env.clock(), &inner.progress, inner.options.election_timeout);
        let mut draws = inner.env.entropy(Purpose::Election);
        loop {
            let (known, began) = (progress.known(), inner.now());
            if known.stopped.is_some() {
                return;
            }
            if self.leads() {
                self.leadership_changed(&known.leadership).await;
                continue;
            }
            let part = if mutant!("stand-in-step") { WAIT_PARTS.end } else { draws.random_range(WAIT_PARTS) };
            let mut wait = period.mul_f64(part);
            let changed = loop {
                let silent_since = progress.known().heard.map_or(began, |heard| heard.max(began));
                let left = silent_since.after(wait).since(inner.now());
                if left.is_zero() {
                    if !progress.take_behind() {
                        break false;
                    }
                    // A voter that had more refused its vote when this one stood last: it is to stand first.
                    wait += period;
                } else if timeout(clock, left, self.leadership_changed(&known.leadership)).await.is_ok() {
                    break true;
                }
            };
            if !changed && self.within(inner.raft.trigger().elect()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_waits_for_the_election_timeout_and_for_less_than_twice_that() {
        let (least, most) = (WAIT_PARTS.start, WAIT_PARTS.end);
        assert!(least >= 1.0 && least < most && most < 2.0, "{least} to {most}");
        // Before that others would refuse it their votes.
        assert!(LEASE_PARTS < least, "{LEASE_PARTS}");
    }
}
