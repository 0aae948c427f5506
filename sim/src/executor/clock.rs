//! A node's clocks: virtual time, skewed.

use super::NodeId;
use super::machine::Machine;
use highwater_env::{Clock, Sleep};
use highwater_types::{Instant, Timestamp};
use std::sync::Arc;

/// 2026-01-01: where the wall clocks of all nodes start, in milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_767_225_600_000;
const MILLION: i128 = 1_000_000;

/// How a node's clocks differ from virtual time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockState {
    anchor_sim_ns: u64,
    anchor_local_ns: u64,
    drift_ppm: i32,
    pub(super) wall_offset_ms: i64,
    frozen_wall: Option<Timestamp>,
}

impl ClockState {
    fn local_ns(&self, sim_ns: u64) -> u64 {
        let elapsed = i128::from(sim_ns.saturating_sub(self.anchor_sim_ns));
        let drifted = elapsed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.anchor_local_ns.saturating_add(u64::try_from(drifted).unwrap_or(u64::MAX))
    }

    /// The earliest virtual time at which the local clock has reached `local_ns`.
    fn sim_ns(&self, local_ns: u64) -> u64 {
        let elapsed = i128::from(local_ns.saturating_sub(self.anchor_local_ns));
        let rate = MILLION + i128::from(self.drift_ppm);
        let undrifted = (elapsed * MILLION + rate - 1) / rate;
        self.anchor_sim_ns.saturating_add(u64::try_from(undrifted).unwrap_or(u64::MAX))
    }

    fn wall(&self, sim_ns: u64) -> Timestamp {
        let running = EPOCH_MS + (self.local_ns(sim_ns) / 1_000_000) as i64 + self.wall_offset_ms;
        self.frozen_wall.unwrap_or(Timestamp(running))
    }

    /// Changes how fast the clocks run from now on.
    pub(super) fn set_drift(&mut self, sim_ns: u64, drift_ppm: i32) {
        *self = Self {
            anchor_sim_ns: sim_ns,
            anchor_local_ns: self.local_ns(sim_ns),
            drift_ppm: drift_ppm.clamp(-500_000, 500_000),
            ..*self
        };
    }

    /// Stops the wall clock, or lets it run again from where it would be.
    pub(super) fn freeze(&mut self, sim_ns: u64, frozen: bool) {
        self.frozen_wall = None;
        if frozen {
            self.frozen_wall = Some(self.wall(sim_ns));
        }
    }
}

/// A node's clocks.
#[derive(Clone)]
pub(super) struct SimClock {
    pub(super) machine: Arc<Machine>,
    pub(super) node: NodeId,
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        let inner = self.machine.lock();
        Instant(inner.nodes[self.node.0].clock.local_ns(inner.now_ns))
    }

    fn wall(&self) -> Timestamp {
        let inner = self.machine.lock();
        inner.nodes[self.node.0].clock.wall(inner.now_ns)
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let until = {
            let inner = self.machine.lock();
            inner.nodes[self.node.0].clock.sim_ns(deadline.0)
        };
        Box::pin(self.machine.sleep(until))
    }
}
