//! Warnings about what peers do, bounded in number: a broken client repeats itself without end.

use highwater_types::Instant;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many warnings may come at once.
const BURST: u32 = 20;
/// After how long one more may come.
const REFILL: Duration = Duration::from_secs(1);

/// Decides which warnings are written.
#[derive(Debug)]
pub(crate) struct Warnings(Mutex<State>);

#[derive(Debug)]
struct State {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Warnings {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { left: BURST, refilled: now, suppressed: 0 }))
    }

    /// Whether a warning may be written now, and how many were not since the last one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.since(state.refilled).as_nanos() / REFILL.as_nanos();
        if earned > 0 {
            state.left = state.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            state.refilled = now;
        }
        if state.left == 0 {
            state.suppressed += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let warnings = Warnings::new(Instant(0));
        let written = (0..100).filter(|_| warnings.admit(Instant(0)).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(warnings.admit(Instant(0).after(REFILL)), Some(80));
        assert_eq!(warnings.admit(Instant(0).after(REFILL)), None);
    }
}
