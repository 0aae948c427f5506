//! The checkers: what must hold at every event of every node, and of what clients saw.
//!
//! One file per property of the durability promise, named as it is there: S for state, which is checked as nodes tell
//! of it; H for histories and L for liveness, which are checked when a run has ended. A checker never asks a broker.

pub mod durable;
mod ghost;
mod h1;
mod h2;
mod h3;
mod h4;
mod h5;
mod h8;
mod index;
#[cfg(test)]
mod kit;
mod l3;
mod licence;
pub mod members;
mod replica;
pub mod rules;
pub mod s1;
mod s10;
mod s14;
pub mod s2;
pub mod s3;
pub mod s4;
mod s8;
mod s9;

pub use ghost::Ghost;
pub use index::{Got, Index, Sent};
pub use replica::{AppendedBatch, Cut, Removal, Replica};

use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use crate::history::{FinalState, History};
use highwater_env::Event;
use highwater_types::{Instant, LogId};
use std::sync::LazyLock;

/// Of a log that nobody spoke of yet.
static NOTHING: LazyLock<Replica> = LazyLock::new(Replica::default);

/// What the faults of a run may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// A good copy always stays: nothing that was acknowledged may be lost.
    WithinBudget,
    /// Anything goes: loss must be reported, and damage never served.
    Unlimited,
}

/// An event of a node.
pub struct Seen<'a> {
    /// Whose event.
    pub node: NodeId,
    /// True time.
    pub now: Instant,
    /// What it said.
    pub event: &'a Event,
    /// What was known before the event.
    pub ghost: &'a Ghost,
    /// The node's disk.
    pub disk: &'a SimDisk,
}

impl Seen<'_> {
    /// The log that the event is about.
    pub fn log(&self) -> Option<LogId> {
        match *self.event {
            Event::Appended { log, .. }
            | Event::Synced { log, .. }
            | Event::HighWatermark { log, .. }
            | Event::LogStart { log, .. }
            | Event::Truncated { log, .. }
            | Event::Recovered { log, .. }
            | Event::Damaged { log, .. }
            | Event::Poisoned { log }
            | Event::Acknowledged { log, .. } => Some(log),
            _ => None,
        }
    }

    /// What was known of the node's copy of that log.
    pub fn replica(&self) -> &Replica {
        self.log().and_then(|log| self.ghost.replica(self.node, log)).unwrap_or(&NOTHING)
    }

    /// Whether the node's disk kept all that its syncs covered.
    pub fn is_honest(&self) -> bool {
        self.ghost.is_honest_at(self.node)
    }

    /// Whether the log belongs to a topic, and not to the brokers themselves.
    pub fn is_topic(&self) -> bool {
        self.log().is_some_and(|log| self.ghost.is_topic(log))
    }

    /// Puts time and place before what was found.
    fn place(&self, violation: Violation) -> Violation {
        let log = self.log().map(|log| format!(", {}", self.ghost.name(log))).unwrap_or_default();
        let text = format!("at {} on node {}{log}: {}", clock(self.now), self.node.0, violation.message);
        Violation::new(violation.property, text)
    }
}

/// A point in simulated time, for people.
fn clock(at: Instant) -> String {
    format!("{:.3} s", at.0 as f64 / 1e9)
}

/// The end of a run, when all is quiet.
pub struct End<'a> {
    /// What clients did and saw.
    pub history: &'a History,
    /// What stands in the cluster.
    pub state: &'a FinalState,
    /// What nodes told.
    pub ghost: &'a Ghost,
    /// What the faults of the run may have done.
    pub regime: Regime,
    /// The history, sorted.
    pub index: Index<'a>,
    /// When the final read was made, or no earlier than the last operation.
    pub now: Instant,
}

impl<'a> End<'a> {
    /// The end of a run.
    pub fn new(history: &'a History, state: &'a FinalState, ghost: &'a Ghost, regime: Regime) -> Self {
        let ended = history.entries().iter().filter_map(|entry| entry.ended);
        let now = ended.fold(state.at, Instant::max);
        Self { history, state, ghost, regime, index: Index::new(history), now }
    }

    /// Whether nothing at all may be lost. Otherwise what was reported may.
    pub fn is_strict(&self) -> bool {
        self.regime == Regime::WithinBudget || self.ghost.is_honest()
    }
}

/// Hears every event of every node, synchronously; must not change what runs.
pub trait Checker: Send {
    /// An event.
    fn hear(&mut self, _seen: &Seen<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// A node's process ended: by itself, by a crash, or with its machine's power.
    fn node_stopped(&mut self, _node: NodeId, _power_loss: bool) {}

    /// A node's disk is replaced by an empty one.
    fn node_wiped(&mut self, _node: NodeId) {}

    /// The run ended, and all is quiet.
    fn finish(&mut self, _end: &End<'_>) -> Result<(), Violation> {
        Ok(())
    }
}

/// All checkers of a run, and what they know.
pub struct Checkers {
    regime: Regime,
    ghost: Ghost,
    checkers: Vec<Box<dyn Checker>>,
}

impl Checkers {
    /// Every checker that there is, for brokers that acknowledge what is on disk.
    pub fn all(regime: Regime) -> Self {
        Self::for_brokers(regime, true)
    }

    /// Every checker, for brokers that acknowledge what is in page caches, in a run without power losses.
    pub fn cached(regime: Regime) -> Self {
        Self::for_brokers(regime, false)
    }

    fn for_brokers(regime: Regime, durable: bool) -> Self {
        Self::with(
            regime,
            vec![
                Box::new(s8::Bounds),
                Box::new(s9::WrittenOnce::default()),
                Box::new(s10::Recovery::default()),
                Box::new(s14::Acknowledgements::new(durable)),
                Box::new(h1::NothingLost),
                Box::new(h2::Agreement),
                Box::new(h3::NothingUnsent),
                Box::new(h4::Order),
                Box::new(h5::NothingTwice::default()),
                Box::new(h8::Retention),
                Box::new(l3::Resolution),
            ],
        )
    }

    /// These checkers alone.
    pub fn with(regime: Regime, checkers: Vec<Box<dyn Checker>>) -> Self {
        Self { regime, ghost: Ghost::default(), checkers }
    }

    /// What nodes told so far.
    pub fn ghost(&self) -> &Ghost {
        &self.ghost
    }

    /// Takes in an event of a node, whose disk is given.
    ///
    /// # Errors
    /// The first violation.
    pub fn hear(
        &mut self,
        node: NodeId,
        now: Instant,
        event: &Event,
        disk: &SimDisk,
    ) -> Result<(), Violation> {
        if matches!(event, Event::Reached(_)) {
            return Ok(());
        }
        self.ghost.look_at(node, disk);
        let seen = Seen { node, now, event, ghost: &self.ghost, disk };
        for checker in &mut self.checkers {
            checker.hear(&seen)?;
        }
        self.ghost.take(node, now, event);
        if let Event::Recovered { log, .. } = event {
            self.ghost.learn(node, now, *log, disk);
        }
        Ok(())
    }

    /// A node's process ended: by itself, by a crash, or with its machine's power.
    pub fn node_stopped(&mut self, node: NodeId, power_loss: bool) {
        self.ghost.stopped(node);
        for checker in &mut self.checkers {
            checker.node_stopped(node, power_loss);
        }
    }

    /// A node's process starts, with its wall clock so far ahead of true time, or has got so far ahead since because
    /// its clocks run too fast. Retention cannot tell a clock that was ahead at its start, or is fast, from one that
    /// is right.
    pub fn node_started(&mut self, node: NodeId, wall_ahead_ms: i64) {
        self.ghost.started(node, wall_ahead_ms);
    }

    /// A node's disk is replaced by an empty one.
    pub fn node_wiped(&mut self, node: NodeId) {
        self.ghost.wiped(node);
        for checker in &mut self.checkers {
            checker.node_wiped(node);
        }
    }

    #[cfg(test)]
    fn forget_names(&mut self) {
        self.ghost.forget_names();
    }

    /// The run ended, and all is quiet. The disks are those of all brokers.
    ///
    /// # Errors
    /// The first violation.
    pub fn finish(
        &mut self,
        history: &History,
        state: &FinalState,
        disks: &[(NodeId, SimDisk)],
    ) -> Result<(), Violation> {
        for (node, disk) in disks {
            self.ghost.look_at(*node, disk);
        }
        let end = End::new(history, state, &self.ghost, self.regime);
        self.checkers.iter_mut().try_for_each(|checker| checker.finish(&end))
    }
}

/// Every property that is checked, and what it says.
pub fn all_names() -> &'static [(&'static str, &'static str)] {
    &[
        ("S1", "a term of the quorum has one leader, and a leader epoch of a partition one appender"),
        ("S2", "a member of the quorum votes once per term, and the terms of its votes never fall"),
        ("S3", "all members apply the same committed log without a gap, and each new leader has all of it"),
        ("S4", "a committed entry of the quorum is on the disks of a majority, and no member gives it up"),
        ("S8", "log start <= high watermark <= end; neither they nor the synced end fall while a node runs"),
        ("S9", "a log's offset is written once per epoch, epochs never fall, appends are contiguous"),
        ("S10", "after a restart a log has at least what its last sync covered, and reads as it was written"),
        ("S14", "an acknowledgement by all in-sync replicas is below the high watermark and on their disks"),
        ("H1", "every acknowledged record is at its offset, unless something that was allowed removed it"),
        ("H2", "all acknowledgements and reads of an offset agree"),
        ("H3", "nothing is read that was not sent, or whose send failed for certain"),
        ("H4", "a producer's order is the offset order, and a consumer neither skips nor goes back"),
        ("H5", "what an idempotent producer sent stands in the log once"),
        ("H8", "nothing younger than its retention disappears, and offset lookups equal a linear scan"),
        ("L3", "every operation ends, and when faults are over new records are taken"),
    ]
}
