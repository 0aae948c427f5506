//! What came of a run.

use super::nodes::Tally;
use crate::executor::{EngineKind, Failure, Simulation};
use crate::hash::EventHash;
use crate::history::{Entry, History, Op, Outcome as Done};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many records must have been acknowledged for a run to count.
const ENOUGH_RECORDS: u64 = 200;

/// What is wanted of a run beside its verdict.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What runs the nodes.
    pub engine: EngineKind,
    /// Keep so many of the newest events, disk operations among them, whatever the verdict.
    pub trace: Option<usize>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The newest events, if it failed or they were asked for.
    pub events: Vec<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// How many records were acknowledged.
    pub acknowledged: u64,
    /// How many operations clients began.
    pub operations: u64,
    /// How long it took, in simulated time.
    pub simulated: Duration,
    /// How often each fault hit.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each reach mark was passed.
    pub reached: BTreeMap<&'static str, u64>,
    /// Whether it says anything: enough records were acknowledged, and a fault hit bytes that no sync had covered.
    pub counts: bool,
}

/// What a world knows of itself at the end.
pub(super) struct Summary {
    pub acknowledged: u64,
    pub operations: u64,
    pub history: u64,
    pub tally: Tally,
    pub faults: BTreeMap<&'static str, u64>,
    pub hit_unsynced: bool,
}

impl Outcome {
    pub(super) fn new(
        seed: u64,
        failure: Option<Failure>,
        simulation: &Simulation,
        summary: Summary,
        options: &Options,
    ) -> Self {
        let Summary { acknowledged, operations, history, tally, mut faults, hit_unsynced } = summary;
        for (name, count) in [
            ("start that failed", tally.failed_starts),
            ("restart after a log failed", tally.operator_restarts),
            ("stop with unsynced bytes", tally.hit_unsynced),
        ] {
            if count > 0 {
                faults.insert(name, count);
            }
        }
        let mut hash = EventHash::default();
        hash.word(simulation.hash());
        hash.word(history);
        let shown = failure.is_some() || options.trace.is_some();
        Self {
            seed,
            failure,
            events: if shown { simulation.recent_events() } else { Vec::new() },
            hash: hash.value(),
            acknowledged,
            operations,
            simulated: simulation.now(),
            faults,
            reached: simulation.reached(),
            counts: acknowledged >= ENOUGH_RECORDS && (tally.hit_unsynced > 0 || hit_unsynced),
        }
    }

    /// The scenario cannot be run at all.
    pub(super) fn impossible(seed: u64, why: String) -> Self {
        let failure = Failure::Panic { node: "the run".to_owned(), task: "start".to_owned(), message: why };
        Self {
            seed,
            failure: Some(failure),
            events: Vec::new(),
            hash: 0,
            acknowledged: 0,
            operations: 0,
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            reached: BTreeMap::new(),
            counts: false,
        }
    }
}

/// The hash of what clients saw.
pub(super) fn hash_of(history: &History) -> u64 {
    let mut hash = EventHash::default();
    for Entry { client, began, ended, op } in history.entries() {
        hash.word((*client).into());
        hash.word(began.0);
        hash.word(ended.map_or(u64::MAX, |ended| ended.0));
        match op {
            Op::Send { value, outcome, .. } => {
                hash.feed(value);
                match outcome {
                    Done::Ok((partition, offset, timestamp)) => {
                        hash.word(partition.0 as u64);
                        hash.word(offset.0 as u64);
                        hash.word(timestamp.0 as u64);
                    }
                    Done::Open => hash.word(1),
                    Done::Failed(why) | Done::Unknown(why) => hash.feed(why.as_bytes()),
                }
            }
            Op::Read { offset, value, .. } => {
                hash.word(offset.0 as u64);
                hash.feed(value.as_deref().unwrap_or_default());
            }
            // These are few.
            other => hash.feed(format!("{other:?}").as_bytes()),
        }
    }
    hash.value()
}
