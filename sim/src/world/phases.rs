//! The phases of a run, one after another.

use super::World;
use super::final_read;
use super::workload;
use crate::checkers::Regime;
use crate::executor::Violation;
use crate::history::FinalState;
use highwater_env::Env;
use highwater_types::{Instant, PartitionIndex};
use highwater_wire::Str;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long brokers may take to come up when nothing is wrong any more.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How long clients may take to end what they have under way, and new records to be taken.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether that is so.
const GLANCE: Duration = Duration::from_millis(20);

/// Goes through all phases. Beside them, somebody looks after the brokers.
pub(super) async fn run(world: &World<'_>) -> FinalState {
    beside(phases(world), world.nodes.supervise(world.simulation)).await
}

/// Runs `other` as long as `main` is not done.
pub(crate) async fn beside<T>(main: impl Future<Output = T>, other: impl Future) -> T {
    let (mut main, mut other) = (pin!(main), pin!(other));
    let mut ended = false;
    poll_fn(|cx| {
        if !ended {
            ended = other.as_mut().poll(cx).is_ready();
        }
        match main.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn phases(world: &World<'_>) -> FinalState {
    let simulation = world.simulation;
    for node in world.nodes.all() {
        world.nodes.start(simulation, node);
    }
    if world.scenario.cluster.nodes() > 1 && !wait(world, UP_WITHIN, || world.nodes.all_well()).await {
        violate(world, format!("a node does not serve {UP_WITHIN:?} after the first start"));
        return FinalState::default();
    }
    world.verifier.work("create-topics", workload::create_all(world.verifier.clone()));
    wait(world, SETTLED_WITHIN, || world.shared.busy() == 0).await;
    if world.scenario.cluster.nodes() > 1 {
        let operator = super::operator::look_after(world.verifier.clone(), world.nodes.clone());
        world.verifier.env.spawn("operator", operator).detach();
    }
    if let Some(why) = world.shared.refused_topic() {
        violate(world, format!("before any fault, {why}"));
        return FinalState::default();
    }
    workload::start(&world.machines);
    world.director.run(simulation).await;
    world.director.heal(simulation);
    let well = || world.nodes.all_well() && world.nodes.replaced_voters().is_empty();
    let up = wait(world, UP_WITHIN, well).await;
    if !up && is_strict(world) {
        violate(world, format!("a broker does not serve {UP_WITHIN:?} after faults ended"));
        return FinalState::default();
    }
    world.shared.end();
    if !wait(world, SETTLED_WITHIN, || world.shared.busy() == 0).await {
        let busy = world.shared.busy();
        let text = format!("{busy} tasks of clients have not ended {SETTLED_WITHIN:?} after faults did");
        violate(world, text);
        return FinalState::default();
    }
    if is_strict(world) && !settles(world).await {
        return FinalState::default();
    }
    if !up {
        // After damage that may be all that a broker can do: it refuses, and so tells of the loss.
        simulation.note("a broker refuses to serve what is damaged");
        return unreadable(world, "its broker does not start");
    }
    let state = look(world).await;
    // What was written to see whether it is taken has to arrive everywhere as well.
    if is_strict(world) {
        settles(world).await;
    }
    state
}

/// Waits until the cluster is as it should be when nothing is wrong; false if it is not in time (L1, L2).
async fn settles(world: &World<'_>) -> bool {
    let now = || Instant(u64::try_from(world.simulation.now().as_nanos()).unwrap_or(u64::MAX));
    let rotten = || {
        let start = |node, path: &Path| super::lock(&world.checkers).ghost().start_of(node, path);
        Some(Violation::new("L2", world.director.rotten(world.simulation, start)?))
    };
    let unsettled = || {
        let found = super::lock(&world.checkers).unsettled(now());
        found.or_else(rotten)
    };
    if wait(world, SETTLED_WITHIN, || unsettled().is_none()).await {
        return true;
    }
    if let Some(Violation { property, message }) = unsettled() {
        let text = format!("{message}; so it is {SETTLED_WITHIN:?} after faults ended");
        world.simulation.violate(Violation::new(property, text));
    }
    false
}

/// Waits until something is so; false if it is not in time.
async fn wait(world: &World<'_>, within: Duration, is_so: impl Fn() -> bool) -> bool {
    let until = world.simulation.now() + within;
    while !is_so() {
        if world.simulation.now() >= until {
            return false;
        }
        world.simulation.sleep(GLANCE).await;
    }
    true
}

fn violate(world: &World<'_>, message: String) {
    world.simulation.violate(Violation::new("L3", message));
}

fn is_strict(world: &World<'_>) -> bool {
    super::regime(world.scenario) == Regime::WithinBudget
}

/// The state of a cluster of which nothing can be read.
fn unreadable(world: &World<'_>, why: &str) -> FinalState {
    let mut state =
        FinalState { at: Instant(world.simulation.now().as_nanos() as u64), ..FinalState::default() };
    for entry in world.shared.history().entries() {
        if let crate::history::Op::CreateTopic { topic, partitions, .. } = &entry.op {
            for partition in 0..*partitions {
                state.unreadable.insert((topic.clone(), PartitionIndex(partition)), why.to_owned());
            }
        }
    }
    state
}

/// New records are taken, and all there is is read.
async fn look(world: &World<'_>) -> FinalState {
    let found: std::sync::Arc<std::sync::Mutex<Option<Look>>> = std::sync::Arc::default();
    let (slot, machine) = (found.clone(), world.verifier.clone());
    let topics: Vec<(Str, u32)> =
        world.scenario.topics.iter().map(|topic| (topic.name.as_str().into(), topic.partitions)).collect();
    world.verifier.work("final-look", async move {
        let refused = workload::probe(&machine, &topics).await;
        let read = final_read::read(&machine).await.map_err(|error| error.to_string());
        let drained = match &read {
            Ok(state) => workload::drain(&machine, state).await,
            Err(_) => Ok(()),
        };
        *slot.lock().expect("nobody panics") = Some(Look { refused, read, drained });
    });
    wait(world, SETTLED_WITHIN * 10, || world.shared.busy() == 0).await;
    let Some(Look { refused, read, drained }) = found.lock().expect("nobody panics").take() else {
        violate(world, "the final read does not end".to_owned());
        return FinalState::default();
    };
    if let Err(why) = drained
        && is_strict(world)
    {
        world.simulation.violate(Violation::new("L5", why));
        return FinalState::default();
    }
    match (refused.into_iter().next(), read) {
        (Some(why), _) | (None, Err(why)) if is_strict(world) => {
            violate(world, format!("after faults ended, {why}"));
            FinalState::default()
        }
        (_, Ok(state)) => {
            if is_strict(world)
                && let Some(((topic, partition), why)) = state.unreadable.iter().next()
            {
                violate(world, format!("after faults ended, {topic}-{partition} cannot be read: {why}"));
            }
            state
        }
        (_, Err(why)) => unreadable(world, &why),
    }
}

/// What the final look found.
struct Look {
    /// New records that were not taken, and why.
    refused: Vec<String>,
    read: Result<FinalState, String>,
    /// What the group did not read.
    drained: Result<(), String>,
}
