//! The checkers: what must hold at every event of every node, and of what clients saw.
//!
//! One file per property of the durability promise, named as it is there: S for state, which is checked as nodes tell
//! of it; H for histories and L for liveness, which are checked when a run has ended. A checker never asks a broker.

mod committed;
mod compared;
mod controlled;
pub mod durable;
mod ghost;
mod h1;
mod h2;
mod h3;
mod h4;
mod h5;
mod h7;
mod h8;
mod h9;
mod index;
mod keyed;
#[cfg(test)]
mod kit;
mod l1;
mod l2;
mod l3;
mod licence;
mod machine;
pub mod members;
mod quorum;
mod replica;
pub mod rules;
pub mod s1;
mod s10;
mod s11;
mod s12;
mod s14;
mod s1b;
pub mod s2;
pub mod s3;
pub mod s4;
mod s5;
mod s6;
mod s7;
mod s8;
mod s9;
mod terms;

pub use committed::{Committed, CommittedBatch};
pub use controlled::{Controlled, PartitionState, Registration};
pub use ghost::Ghost;
pub use index::{Got, Index, Sent};
pub use machine::{Machine, Stop};
pub use quorum::{Elected, Quorum};
pub use replica::{AppendedBatch, Cut, InSync, Removal, Replica, Role};
pub use terms::Terms;

use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use crate::history::{FinalState, History};
use highwater_env::Event;
use highwater_types::{BrokerId, Instant, LogId};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The disks of all brokers.
    pub disks: &'a BTreeMap<NodeId, SimDisk>,
}

impl Seen<'_> {
    /// The log that the event is about.
    pub fn log(&self) -> Option<LogId> {
        match *self.event {
            Event::Appended { log, .. }
            | Event::Synced { log, .. }
            | Event::HighWatermark { log, .. }
            | Event::LogStart { log, .. }
            | Event::Compacting { log, .. }
            | Event::Truncating { log, .. }
            | Event::Made { log, .. }
            | Event::Lost { log }
            | Event::Deleting { log }
            | Event::Restarted { log, .. }
            | Event::Truncated { log, .. }
            | Event::Recovered { log, .. }
            | Event::Damaged { log, .. }
            | Event::Poisoned { log }
            | Event::Leading { log, .. }
            | Event::Following { log, .. }
            | Event::InSync { log, .. }
            | Event::PartitionState { log, .. }
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

    /// The partitions that the entry of the metadata before this event changed, if the event shows that all of it has
    /// been told.
    pub fn closed(&self) -> Option<&BTreeSet<LogId>> {
        let controlled = self.ghost.controlled();
        controlled.is_closed_by(self.event).then(|| controlled.touched())
    }

    /// Puts time and partition before what was found of it in what the controller decided.
    fn tell(&self, log: LogId, violation: Violation) -> Violation {
        let text = format!("at {}, {}: {}", clock(self.now), self.ghost.name(log), violation.message);
        Violation::new(violation.property, text)
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
    /// The disks of all brokers.
    pub disks: &'a BTreeMap<NodeId, SimDisk>,
    /// The history, sorted.
    pub index: Index<'a>,
    /// When the final read was made, or no earlier than the last operation.
    pub now: Instant,
}

impl<'a> End<'a> {
    /// The end of a run.
    pub fn new(
        history: &'a History,
        state: &'a FinalState,
        ghost: &'a Ghost,
        disks: &'a BTreeMap<NodeId, SimDisk>,
        regime: Regime,
    ) -> Self {
        let ended = history.entries().iter().filter_map(|entry| entry.ended);
        let now = ended.fold(state.at, Instant::max);
        Self { history, state, ghost, regime, disks, index: Index::new(history), now }
    }

    /// Whether nothing at all may be lost. Otherwise what was reported may.
    pub fn is_strict(&self) -> bool {
        self.regime == Regime::WithinBudget || (self.ghost.is_honest() && !self.ghost.is_beyond_promise())
    }
}

/// Hears every event of every node, synchronously; must not change what runs.
pub trait Checker: Send {
    /// An event.
    fn hear(&mut self, _seen: &Seen<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// A node's process ended, one way or another.
    fn node_stopped(&mut self, _node: NodeId, _how: Stop) {}

    /// A node's disk is replaced by an empty one.
    fn node_wiped(&mut self, _node: NodeId) {}

    /// A node has made a log anew which it had deleted.
    fn log_reopened(&mut self, _node: NodeId, _log: LogId) {}

    /// The run ended, and all is quiet.
    fn finish(&mut self, _end: &End<'_>) -> Result<(), Violation> {
        Ok(())
    }
}

/// All checkers of a run, and what they know.
pub struct Checkers {
    regime: Regime,
    ghost: Ghost,
    disks: BTreeMap<NodeId, SimDisk>,
    checkers: Vec<Box<dyn Checker>>,
}

impl Checkers {
    /// Every checker that there is, for brokers that promise this.
    pub fn all(regime: Regime, terms: Terms) -> Self {
        Self::with(
            regime,
            terms,
            vec![
                Box::new(s1::OneLeader::default()),
                Box::new(s1b::OwnEpoch),
                Box::new(s2::OneVote::default()),
                Box::new(s3::OneLog::default()),
                Box::new(s4::Majority::default()),
                Box::new(s5::Members::default()),
                Box::new(s6::Copies::default()),
                Box::new(s7::Watermark),
                Box::new(s8::Bounds),
                Box::new(s9::WrittenOnce::default()),
                Box::new(s10::Recovery::default()),
                Box::new(s11::Sets),
                Box::new(s12::Owners::default()),
                Box::new(s14::Acknowledgements::default()),
                Box::new(h1::NothingLost),
                Box::new(h2::Agreement),
                Box::new(h3::NothingUnsent),
                Box::new(h4::Order),
                Box::new(h5::NothingTwice::default()),
                Box::new(h7::Offsets),
                Box::new(h8::Retention),
                Box::new(h9::Metadata),
                Box::new(l1::Leaders),
                Box::new(l2::Converged),
                Box::new(l3::Resolution),
            ],
        )
    }

    /// These checkers alone.
    pub fn with(regime: Regime, terms: Terms, checkers: Vec<Box<dyn Checker>>) -> Self {
        Self { regime, ghost: Ghost::new(terms), disks: BTreeMap::new(), checkers }
    }

    /// A broker, its machine and its disk. Others' events are not heard.
    pub fn add_broker(&mut self, node: NodeId, broker: BrokerId, disk: SimDisk) {
        self.ghost.add_machine(node, broker);
        self.disks.insert(node, disk);
    }

    /// What nodes told so far.
    pub fn ghost(&self) -> &Ghost {
        &self.ghost
    }

    /// What keeps the cluster from being as it should some time after the last fault (L1, L2), if anything does.
    pub fn unsettled(&self, now: Instant) -> Option<Violation> {
        l1::unsettled(&self.ghost, now).or_else(|| l2::unsettled(&self.ghost))
    }

    /// Takes in an event of a node.
    ///
    /// # Errors
    /// The first violation.
    pub fn hear(&mut self, node: NodeId, now: Instant, event: &Event) -> Result<(), Violation> {
        let Some(disk) = self.disks.get(&node) else { return Ok(()) };
        if matches!(event, Event::Reached(_)) {
            return Ok(());
        }
        self.ghost.look_at(node, disk);
        if let Some(log) = self.ghost.reopens(node, event) {
            self.checkers.iter_mut().for_each(|checker| checker.log_reopened(node, log));
        }
        let seen = Seen { node, now, event, ghost: &self.ghost, disk, disks: &self.disks };
        for checker in &mut self.checkers {
            checker.hear(&seen)?;
        }
        self.ghost.take(node, now, event);
        if let Event::Recovered { log, .. } = event {
            self.ghost.learn(node, now, *log, disk);
        }
        Ok(())
    }

    /// A node's process ended, one way or another.
    pub fn node_stopped(&mut self, node: NodeId, how: Stop) {
        self.ghost.stopped(node, how);
        for checker in &mut self.checkers {
            checker.node_stopped(node, how);
            if how == Stop::Wiped {
                checker.node_wiped(node);
            }
        }
    }

    /// A node's process starts, with its wall clock so far ahead of true time, or has got so far ahead since because
    /// its clocks run too fast. Retention cannot tell a clock that was ahead at its start, or is fast, from one that
    /// is right.
    pub fn node_started(&mut self, node: NodeId, wall_ahead_ms: i64) {
        self.ghost.started(node, wall_ahead_ms);
    }

    #[cfg(test)]
    fn set_terms(&mut self, terms: Terms) {
        self.ghost.set_terms(terms);
    }

    #[cfg(test)]
    fn forget_names(&mut self) {
        self.ghost.forget_names();
    }

    /// The run ended, and all is quiet.
    ///
    /// # Errors
    /// The first violation.
    pub fn finish(&mut self, history: &History, state: &FinalState) -> Result<(), Violation> {
        for (node, disk) in &self.disks {
            self.ghost.look_at(*node, disk);
        }
        let end = End::new(history, state, &self.ghost, &self.disks, self.regime);
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
        ("S5", "every member of the in-sync or eligible set holds all that is committed"),
        ("S6", "two replicas agree below the smaller of their high watermarks"),
        ("S7", "the high watermark moves with enough in-sync replicas alone, and waits for pending ones too"),
        ("S8", "log start <= high watermark <= end; neither they nor the synced end fall while a node runs"),
        ("S9", "a log's offset is written once per epoch, epochs never fall, appends are contiguous"),
        ("S10", "after a restart a log has at least what its last sync covered, and reads as it was written"),
        (
            "S11",
            "in-sync and eligible sets are replicas, disjoint, and without those who have to catch up first",
        ),
        (
            "S12",
            "a partition of a group has one owner, and its members alone commit, each in its generation or epoch",
        ),
        ("S14", "an acknowledgement by all in-sync replicas is below the high watermark and on their disks"),
        (
            "H1",
            "every acknowledged record is at its offset on every replica, unless something allowed removed it",
        ),
        ("H2", "all acknowledgements and reads of an offset agree"),
        (
            "H3",
            "nothing is read that was not sent, whose send failed for certain, or that does not check out",
        ),
        ("H4", "a producer's order is the offset order, and a consumer neither skips nor goes back"),
        ("H5", "what an idempotent producer sent stands in the log once"),
        (
            "H7",
            "a look at a group's offsets gives what was committed last, and members read all that is committed",
        ),
        ("H8", "nothing younger than its retention disappears, and offset lookups equal a linear scan"),
        ("H9", "operations on metadata and reads of it are linearizable"),
        ("L1", "when faults are over there is one stable controller, and partitions have leaders"),
        ("L2", "when faults are over all replicas are in sync and hold the same, what rotted included"),
        ("L3", "every operation ends, and when faults are over new records are taken"),
        ("L5", "when faults are over a group reads all there is"),
    ]
}
