//! A node's clocks.

use highwater_types::{Instant, Timestamp};
use std::future::Future;
use std::pin::Pin;

/// Ends at the instant it was made for.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A node's monotonic clock and wall clock. Both are its own: in the simulator they are skewed, drift and jump per
/// node.
pub trait Clock: Send + Sync {
    /// Now, on the monotonic clock.
    fn now(&self) -> Instant;

    /// Now, on the wall clock; may jump both ways.
    fn wall(&self) -> Timestamp;

    /// Ends at `deadline` on the monotonic clock; at once if that has passed. Resolution is a millisecond.
    fn sleep_until(&self, deadline: Instant) -> Sleep;
}
