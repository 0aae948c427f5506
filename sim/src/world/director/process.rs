//! Crashes, power losses, restarts, pauses.

use super::Director;
use crate::disk::PowerRates;
use crate::executor::{NodeId, Simulation};
use highwater_faults::{Action, Unsynced};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long a recovery is waited for that shall be cut off in its middle.
const RECOVERY_WITHIN: Duration = Duration::from_secs(5);
/// How long an orderly stop may take before the process is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Before which of its next operations on its disk an application dies, at most.
const OPERATIONS_AHEAD: u64 = 40;
/// How long an application is waited for that makes none, at most.
const OPERATION_WITHIN: Duration = Duration::from_secs(1);

/// How a process ends.
#[derive(Clone, Copy)]
enum Death {
    Crash,
    Power(Unsynced),
    Wipe,
}

/// A recovery that is cut off in its middle.
#[derive(Clone, Copy)]
struct Recovery {
    /// What it is a recovery from.
    first: Death,
    down: Duration,
    /// How many disk operations it gets to make.
    operations: u64,
    unsynced: Unsynced,
}

impl Director {
    pub(super) async fn act_on_process(&self, simulation: &Simulation, what: Action, targets: Vec<NodeId>) {
        if !self.is_bearable(simulation, &what, &targets).await {
            simulation.note(&format!("the cluster could not bear a {} now", what.name()));
            return;
        }
        match what {
            Action::Crash { down } => self.kill_for(simulation, &targets, Death::Crash, down).await,
            Action::PowerCut { down, unsynced } => {
                self.kill_for(simulation, &targets, Death::Power(unsynced), down).await;
            }
            Action::Wipe { down } | Action::ReplaceDisk { down } => {
                self.kill_for(simulation, &targets, Death::Wipe, down).await;
            }
            Action::PowerCutInRecovery { down, operations, unsynced } => {
                for &node in &targets {
                    let cut = Recovery { first: Death::Power(unsynced), down, operations, unsynced };
                    self.cut_recovery(simulation, node, cut).await;
                }
            }
            Action::CrashThenPowerCut { down, operations, unsynced } => {
                for &node in &targets {
                    let cut = Recovery { first: Death::Crash, down, operations, unsynced };
                    self.cut_recovery(simulation, node, cut).await;
                }
            }
            Action::RollingRestart { down, pause } => {
                for &node in &targets {
                    self.restart(simulation, node, down).await;
                    simulation.sleep(pause).await;
                }
            }
            Action::Restart { down } => {
                for &node in &targets {
                    self.restart(simulation, node, down).await;
                }
            }
            Action::Pause { lasting } => {
                for &node in &targets {
                    simulation.note(&format!("{} stands still for {lasting:?}", self.name(node)));
                    self.count("pause");
                    super::disks::stall(&simulation.disk(node), lasting);
                }
                let pairs: Vec<_> = targets.iter().flat_map(|&node| self.both_ways(node)).collect();
                self.hold(simulation, &pairs);
                simulation.sleep(lasting).await;
                self.release(simulation, &pairs);
            }
            _ => {}
        }
    }

    /// Ends processes at one instant, and starts them again after a while. Those that are down already stay so.
    async fn kill_for(&self, simulation: &Simulation, targets: &[NodeId], death: Death, down: Duration) {
        for &node in targets {
            if self.nodes.client_name(node).is_some() {
                self.reach_operation(simulation, node).await;
            }
        }
        let killed: Vec<NodeId> =
            targets.iter().copied().filter(|&node| self.kill(simulation, node, death)).collect();
        if killed.is_empty() {
            return;
        }
        simulation.sleep(down).await;
        killed.iter().for_each(|&node| self.revive(simulation, node));
    }

    /// Ends a process and keeps its node down; false if another fault does already.
    fn kill(&self, simulation: &Simulation, node: NodeId, death: Death) -> bool {
        // A cluster of empty disks is another one, and there is nothing left to tell what the first one lost.
        if matches!(death, Death::Wipe) && self.nodes.is_last_disk(node) {
            return false;
        }
        if !self.lock().held.insert(node) {
            return false;
        }
        let disk = simulation.disk(node);
        let pending = disk.has_pending();
        self.lock().hit_unsynced |= pending;
        let name = self.name(node);
        let unsynced = if pending { ", with unsynced bytes" } else { "" };
        match death {
            Death::Crash => {
                simulation.note(&format!("crash of {name}{unsynced}"));
                self.count("process crash");
                self.nodes.crash(simulation, node);
            }
            // The disk counts it.
            Death::Power(fate) => {
                simulation.note(&format!("power cut of {name}{unsynced}"));
                let rates = match fate {
                    Unsynced::Drawn => PowerRates::random(&mut self.lock().rng),
                    Unsynced::Lost => PowerRates::DROP_ALL,
                    Unsynced::Kept => PowerRates::KEEP_ALL,
                    Unsynced::Mixed => PowerRates::MIXED,
                };
                self.nodes.power_loss(simulation, node, rates);
            }
            Death::Wipe => {
                simulation.note(&format!("{name} gets an empty disk"));
                self.count("wiped disk");
                self.nodes.wipe(simulation, node);
            }
        }
        self.watch.node_stopped(node);
        true
    }

    fn revive(&self, simulation: &Simulation, node: NodeId) {
        self.lock().held.remove(&node);
        self.nodes.start(simulation, node);
    }

    /// Ends a process, and cuts the power when the recovery has made so many disk operations.
    async fn cut_recovery(&self, simulation: &Simulation, node: NodeId, cut: Recovery) {
        let Recovery { first, down, operations, unsynced } = cut;
        if !self.kill(simulation, node, first) {
            return;
        }
        simulation.sleep(down).await;
        self.revive(simulation, node);
        let blown = self.stop_disk(simulation, node, operations, RECOVERY_WITHIN).await;
        if !self.kill(simulation, node, Death::Power(unsynced)) {
            return;
        }
        if blown {
            simulation.note(&format!("{} had made {operations} disk operations since", self.name(node)));
            self.count("power loss during recovery");
        }
        simulation.sleep(down).await;
        self.revive(simulation, node);
    }

    /// Stops a node's disk before one of its next operations, and waits until that has happened; false if it has not in
    /// time. Whoever calls this stops the node then.
    async fn stop_disk(
        &self,
        simulation: &Simulation,
        node: NodeId,
        operations: u64,
        within: Duration,
    ) -> bool {
        // Until then the node's disk may stand still.
        self.watch.node_stopping(node);
        let mut blown = pin!(simulation.fuse(node, operations));
        let mut timer = pin!(simulation.sleep(within));
        poll_fn(|cx| match blown.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| false),
        })
        .await
    }

    /// Waits for one of the next steps of an application. Most of the time it does nothing, and a death then is worth
    /// little: between any two of its operations it shall be as likely.
    async fn reach_operation(&self, simulation: &Simulation, node: NodeId) {
        if self.lock().held.contains(&node) {
            return;
        }
        let (operations, share) = {
            let mut state = self.lock();
            (state.below(OPERATIONS_AHEAD), state.below(1_000) as u32)
        };
        self.stop_disk(simulation, node, operations, OPERATION_WITHIN * share / 1_000).await;
    }

    /// Stops a node in order and starts it again. It counts as down only once it has stopped: until then it can crash.
    async fn restart(&self, simulation: &Simulation, node: NodeId, down: Duration) {
        if self.lock().held.contains(&node) {
            return;
        }
        simulation.note(&format!("{} is restarted", self.name(node)));
        self.count("restart");
        let stopped = {
            let mut stop = pin!(self.nodes.stop(simulation, node));
            let mut timer = pin!(simulation.sleep(STOP_WITHIN));
            poll_fn(|cx| match stop.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => timer.as_mut().poll(cx).map(|()| false),
            })
            .await
        };
        let is_down = if stopped {
            self.lock().held.insert(node)
        } else {
            simulation.note(&format!("{} does not stop, and is killed", self.name(node)));
            self.kill(simulation, node, Death::Crash)
        };
        if is_down {
            simulation.sleep(down).await;
            self.revive(simulation, node);
        }
    }
}
