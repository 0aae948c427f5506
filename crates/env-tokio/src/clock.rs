//! The system's clocks.

use highwater_env::{Clock, Sleep};
use highwater_types::{Instant, Timestamp};
use std::time::{Duration, SystemTime};

/// The system's monotonic clock, counted from the start of the environment, and its wall clock.
pub struct TokioClock {
    start: std::time::Instant,
}

impl TokioClock {
    /// A clock that reads zero now.
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::default().after(self.start.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp(millis(since)),
            Err(error) => Timestamp(-millis(error.duration())),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        // A passed deadline ends at the first poll; tokio's timer would round it up to its next tick.
        if deadline <= self.now() {
            return Box::pin(std::future::ready(()));
        }
        // 2^64 nanoseconds are 584 years, which every clock of a running system can add.
        Box::pin(tokio::time::sleep_until((self.start + Duration::from_nanos(deadline.0)).into()))
    }
}
