//! The bounded exhaustive mode: short scripts, cut off before every disk operation, and every state that a power loss
//! can leave there.
//!
//! A script is run up to its operation number n; then each legal state of the disk (all of them, or the most telling
//! ones up to a bound) is opened by a fresh process and held against the record of what was promised by then. That
//! covers every sync boundary of segments, indexes, marks, epochs, snapshots and of recovery itself.

use super::history::{self, Opened, Shared, end_incarnation, listen, usable_logs};
use super::plan::{Ending, Plan, Regime};
use super::producer::{Patience, send};
use super::replica::replicate;
use crate::disk::{DiskState, FaultRates, SimDisk};
use crate::executor::{DiskPace, Failure, NodeId, Simulation, Violation};
use highwater_env::{Env, Purpose, Rng};
use highwater_log::{Log, LogConfig};
use highwater_types::Offset;
use std::time::Duration;

/// What a script does, on the first log of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Appends so many batches and waits for each.
    Append(usize),
    /// Appends so many batches, and waits for none of them.
    Post(usize),
    /// Lets the store's own tasks work.
    Rest,
    /// Deletes the records before the middle of what is synced.
    DeleteHalf,
    /// Deletes all that is synced.
    DeleteAll,
    /// Moves the end back to the middle.
    Truncate,
    /// Appends so many batches as another replica has them, and waits for them.
    Replicate(usize),
    /// Drops everything, and goes on so far behind the log's end.
    RestartAhead(i64),
    /// Drops everything, and goes on at the middle of what was synced.
    RestartHalf,
    CleanUp,
    /// Closes the store and opens it again.
    Reopen,
    CreateLog,
}

/// A script: what happens before the incarnation that is cut, how that ends, and what happens in the cut one.
#[derive(Debug)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    segment_bytes: u32,
    before: &'static [Step],
    ending: Ending,
    steps: &'static [Step],
}

use Step::{
    Append, CleanUp, CreateLog, DeleteAll, DeleteHalf, Post, Reopen, Replicate, Rest, RestartAhead,
    RestartHalf, Truncate,
};

/// All scripts.
pub const SCRIPTS: [Script; 13] = [
    Script {
        name: "first appends",
        segment_bytes: 20_000,
        before: &[],
        ending: Ending::Crash,
        steps: &[Append(2), Post(2), Rest, Append(1)],
    },
    Script {
        name: "rolls",
        segment_bytes: 400,
        before: &[Append(1)],
        ending: Ending::Crash,
        steps: &[Post(4), Append(1), Rest, Post(2)],
    },
    Script {
        name: "recovery after a crash",
        segment_bytes: 500,
        before: &[Append(4), Rest, Append(2), Post(3)],
        ending: Ending::Crash,
        steps: &[Append(1)],
    },
    Script {
        name: "recovery after a power loss",
        segment_bytes: 1_000,
        before: &[Append(3), Rest, Append(3), Post(1)],
        ending: Ending::PowerLoss,
        steps: &[Append(1)],
    },
    Script {
        name: "deletion of records",
        segment_bytes: 400,
        before: &[Append(5), Rest],
        ending: Ending::Close,
        steps: &[DeleteHalf, Append(1), DeleteAll, Append(1), Rest],
    },
    Script {
        name: "truncation",
        segment_bytes: 500,
        before: &[Append(6), Rest],
        ending: Ending::Close,
        steps: &[Truncate, Append(1), Rest, Truncate, Post(1)],
    },
    Script {
        name: "what another replica has",
        segment_bytes: 500,
        before: &[Append(3), Rest],
        ending: Ending::Close,
        steps: &[Replicate(5), Truncate, Replicate(3), Rest, Append(1)],
    },
    Script {
        name: "beginning anew ahead",
        segment_bytes: 500,
        before: &[Append(5), Rest, Append(1)],
        ending: Ending::Crash,
        steps: &[RestartAhead(7), Replicate(2), Rest, Append(1)],
    },
    Script {
        name: "beginning anew in the middle",
        segment_bytes: 400,
        before: &[Append(6), Rest],
        ending: Ending::Close,
        steps: &[RestartHalf, Replicate(2), RestartAhead(0), Append(1)],
    },
    Script {
        name: "beginning anew behind the start",
        segment_bytes: 400,
        before: &[Append(6), DeleteAll, Append(2), Rest],
        ending: Ending::Close,
        steps: &[RestartAhead(-7), Replicate(3), Rest],
    },
    Script {
        name: "close and reopen",
        segment_bytes: 1_000,
        before: &[Append(2)],
        ending: Ending::Close,
        steps: &[Append(2), Reopen, Append(1), Rest, Reopen],
    },
    Script {
        name: "retention",
        segment_bytes: 400,
        before: &[Append(6)],
        ending: Ending::Close,
        steps: &[CleanUp, Append(2), Rest, CleanUp],
    },
    Script {
        name: "another log",
        segment_bytes: 20_000,
        before: &[Append(1)],
        ending: Ending::Close,
        steps: &[CreateLog, Append(1), Rest],
    },
];

/// What came of one script.
#[derive(Clone, Debug)]
pub struct Report {
    /// The script.
    pub name: &'static str,
    /// Points at which it was cut.
    pub cuts: u64,
    /// States that were opened.
    pub states: u64,
    /// Cuts of which every legal state was opened.
    pub complete_cuts: u64,
    /// The first failure: the cut, the number of the state, and what failed, with the events before.
    pub failure: Option<(u64, usize, Failure, Vec<String>)>,
}

fn plan(script: &Script) -> Plan {
    Plan {
        regime: Regime::Honest,
        logs: 1,
        producers: 1,
        config: LogConfig {
            segment_bytes: script.segment_bytes,
            index_interval_bytes: 1,
            retention_bytes: (script.name == "retention").then_some(600),
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        },
        checkpoint_interval: Duration::from_millis(1),
        pace: DiskPace { yield_one_in: 2, delay_one_in: 0, delay_max: Duration::ZERO },
        incarnations: Vec::new(),
    }
}

/// Runs a script, cut at every operation, with at most `limit` states per cut.
pub fn run(script: &Script, seed: u64, limit: usize) -> Report {
    let mut report = Report { name: script.name, cuts: 0, states: 0, complete_cuts: 0, failure: None };
    for cut in 0.. {
        let (shared, disk, done) = match play(script, seed, cut) {
            Ok(played) => played,
            Err((failure, events)) => {
                report.failure = Some((cut, 0, failure, events));
                return report;
            }
        };
        report.cuts += 1;
        let mut rng = Rng::from_stream(seed, cut);
        let found = disk.snapshot().crash_states(limit, &mut rng);
        report.complete_cuts += u64::from(found.complete);
        for (number, state) in found.states.into_iter().enumerate() {
            report.states += 1;
            if let Err((failure, events)) = reopen(&shared.fork(), state, seed) {
                report.failure = Some((cut, number, failure, events));
                return report;
            }
        }
        if done {
            return report;
        }
    }
    report
}

type Failed = (Failure, Vec<String>);

fn outcome(simulation: &Simulation, result: Result<Result<(), Violation>, Failure>) -> Result<(), Failed> {
    let failure = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(violation)) => Failure::Violation(violation),
        Err(failure) => failure,
    };
    Err((failure, simulation.recent_events()))
}

/// Plays a script up to the cut; also says whether it came to its end before.
fn play(script: &Script, seed: u64, cut: u64) -> Result<(Shared, SimDisk, bool), Failed> {
    let simulation = Simulation::new(seed);
    simulation.trace(200);
    let shared = Shared::new(plan(script));
    simulation.set_disk_pace(shared.plan.pace);
    let node = simulation.node("a").node();
    listen(&simulation, node, &shared);
    let mut rng = simulation.rng(1);
    let before = simulation.run(live(&simulation, node, &shared, script.before, script.ending, None));
    outcome(&simulation, before.map(|done| done.map(drop)))?;
    end_incarnation(&simulation, node, &shared, script.ending, &mut rng);
    let played = simulation.run(live(&simulation, node, &shared, script.steps, Ending::Crash, Some(cut)));
    let done = matches!(played, Ok(Ok(true)));
    outcome(&simulation, played.map(|done| done.map(drop)))?;
    Ok((shared, simulation.disk(node), done))
}

/// Lets an incarnation work through its steps, up to a cut; whether it came to their end.
async fn live(
    simulation: &Simulation,
    node: NodeId,
    shared: &Shared,
    steps: &'static [Step],
    ending: Ending,
    cut: Option<u64>,
) -> Result<bool, Violation> {
    let env = simulation.restart(node);
    let disk = simulation.disk(node);
    let fuse = cut.map(|operations| simulation.fuse(node, operations));
    let work = {
        let (shared, env) = (shared.clone(), env.clone());
        async move {
            let worked = async {
                let mut opened = history::open(&shared, &env, &disk).await?;
                for &step in steps {
                    act(&shared, &mut opened, &disk, step).await?;
                }
                if ending == Ending::Close {
                    let _ = opened.store.close().await;
                }
                Ok(())
            };
            if let Err(violation) = worked.await {
                env.violate(violation);
            }
        }
    };
    let task = env.spawn("script", work);
    Ok(history::finished(task, fuse).await)
}

async fn act(shared: &Shared, opened: &mut Opened, disk: &SimDisk, step: Step) -> Result<(), Violation> {
    let env = opened.context.env.clone();
    let Some(log) = usable_logs(shared, opened).into_iter().next() else { return Ok(()) };
    let synced_half = Offset((log.start_offset().0 + log.synced_end().0 + 1) / 2);
    match step {
        Append(count) => append(shared, opened, &log, count, Patience::Each).await?,
        Post(count) => append(shared, opened, &log, count, Patience::Never).await?,
        Rest => highwater_env::sleep(env.clock(), Duration::from_millis(5)).await,
        DeleteHalf => shared.delete_records(&log, synced_half).await,
        DeleteAll => shared.delete_records(&log, log.synced_end()).await,
        Truncate => {
            shared.truncate(opened, &log, synced_half).await?;
        }
        Replicate(count) => {
            let mut rng = env.entropy(Purpose::User(5));
            replicate(shared, opened, &log, &mut rng, count, Patience::AtTheEnd).await?;
        }
        RestartAhead(by) => shared.restart_log(opened, &log, log.end_offset().plus(by)).await?,
        RestartHalf => shared.restart_log(opened, &log, synced_half).await?,
        CleanUp => {
            opened.store.clean_up(|_| None).await;
        }
        Reopen => {
            let _ = opened.store.close().await;
            *opened = history::open(shared, &env, disk).await?;
        }
        CreateLog => {
            let id = shared.expect_log(shared.plan.config.clone());
            history::create_log(shared, opened, id, shared.plan.config.clone()).await;
        }
    }
    Ok(())
}

async fn append(
    shared: &Shared,
    opened: &Opened,
    log: &Log<crate::SimEnv>,
    count: usize,
    patience: Patience,
) -> Result<(), Violation> {
    let Some(producer) = shared.producers_of(log.id()).into_iter().next() else { return Ok(()) };
    let mut rng = opened.context.env.entropy(Purpose::User(4));
    send(&opened.context, log, &producer, &mut rng, count, patience).await
}

/// Opens a store on what a power loss left, twice, and uses it in between.
fn reopen(shared: &Shared, state: DiskState, seed: u64) -> Result<(), Failed> {
    let simulation = Simulation::new(seed);
    simulation.trace(200);
    simulation.set_disk_pace(shared.plan.pace);
    let disk = SimDisk::with_state(seed, state);
    disk.set_rates(FaultRates::default());
    let node = simulation.node_with_disk("a", disk).node();
    listen(&simulation, node, shared);
    shared.ghost().restart();
    shared.restart_producers();
    for steps in [&[Append(1)][..], &[Append(1)]] {
        let lived = simulation.run(live(&simulation, node, shared, steps, Ending::Close, None));
        outcome(&simulation, lived.map(|done| done.map(drop)))?;
        end_incarnation(&simulation, node, shared, Ending::Close, &mut simulation.rng(1));
    }
    Ok(())
}
