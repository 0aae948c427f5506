//! The engines that a simulation can run on.

#[cfg(madsim)]
pub(super) mod madsim;
pub(super) mod turmoil;

use super::machine::Machine;
use super::network::Link;
use super::task::MAIN;
use super::{Failure, Hangup, NodeId};
use std::fmt;
use std::sync::Arc;
use std::task::Poll;

/// What runs the tasks of the nodes and carries their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum EngineKind {
    /// A small executor and network of the simulator's own, which skip idle time.
    #[default]
    Executor,
    /// turmoil: a host per node, byte-stream TCP, time in ticks.
    Turmoil,
    /// madsim: a node per node, whole messages, skips idle time. Needs a build with --cfg madsim.
    #[cfg(madsim)]
    Madsim,
}

impl EngineKind {
    /// All engines of this build.
    pub const ALL: &[Self] = &[
        Self::Executor,
        Self::Turmoil,
        #[cfg(madsim)]
        Self::Madsim,
    ];

    /// Whether a peer may keep a connection that the other side has lost without a word, as after a power loss.
    pub fn has_half_open_connections(self) -> bool {
        match self {
            Self::Executor | Self::Turmoil => true,
            #[cfg(madsim)]
            Self::Madsim => false,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Executor => "executor",
            Self::Turmoil => "turmoil",
            #[cfg(madsim)]
            Self::Madsim => "madsim",
        })
    }
}

/// Polls the main future once.
pub(super) type PollMain<'a> = &'a mut dyn FnMut() -> Poll<()>;

/// An engine, as a simulation has it.
pub(super) enum Engine {
    Executor,
    Turmoil(Box<turmoil::Turmoil>),
    #[cfg(madsim)]
    Madsim(Box<madsim::Madsim>),
}

impl Engine {
    pub(super) fn new(kind: EngineKind, seed: u64) -> Self {
        match kind {
            EngineKind::Executor => Self::Executor,
            EngineKind::Turmoil => Self::Turmoil(Box::new(turmoil::Turmoil::new(seed))),
            #[cfg(madsim)]
            EngineKind::Madsim => Self::Madsim(Box::new(madsim::Madsim::new(seed))),
        }
    }

    /// Adds a node.
    pub(super) fn add(&self, machine: &Arc<Machine>, node: NodeId) {
        match self {
            Self::Executor => {}
            Self::Turmoil(turmoil) => turmoil.add(machine, node),
            #[cfg(madsim)]
            Self::Madsim(madsim) => madsim.add(machine, node),
        }
    }

    /// Ends a node's tasks. Its next incarnation may begin at once.
    pub(super) fn stop(&self, machine: &Machine, node: NodeId, hangup: Hangup) {
        match self {
            Self::Executor => {
                super::pipes::hang_up(machine, node, hangup);
                machine.stop_tasks(node);
            }
            Self::Turmoil(turmoil) => turmoil.stop(machine, node, hangup),
            #[cfg(madsim)]
            Self::Madsim(madsim) => madsim.stop(machine, node),
        }
    }

    /// Sets the link between two nodes that are both on the network.
    pub(super) fn set_link(&self, a: NodeId, b: NodeId, link: Link) {
        match self {
            Self::Executor => {}
            Self::Turmoil(turmoil) => turmoil.set_link(a, b, link),
            #[cfg(madsim)]
            Self::Madsim(madsim) => madsim.set_link(a, b, link),
        }
    }

    /// Lets nothing arrive that one node sends to another, or lets it arrive again.
    pub(super) fn block_one_way(&self, machine: &Machine, from: NodeId, to: NodeId, blocked: bool) {
        match self {
            Self::Executor => {}
            Self::Turmoil(turmoil) => turmoil.block_one_way(machine, from, to, blocked),
            #[cfg(madsim)]
            Self::Madsim(madsim) => madsim.block_one_way(from, to, blocked),
        }
    }

    /// Runs all nodes until the main future is done or the run has failed.
    ///
    /// # Errors
    /// Nothing can go on, or the engine itself has failed.
    pub(super) fn run(&self, machine: &Arc<Machine>, main: PollMain<'_>) -> Result<(), Failure> {
        match self {
            Self::Executor => loop {
                if machine.has_failed() {
                    return Ok(());
                }
                match machine.next_task() {
                    Some(MAIN) if main().is_ready() => return Ok(()),
                    Some(MAIN) => {}
                    Some(task) => machine.run_task(task),
                    None if machine.advance() => {}
                    None => return Err(Failure::Deadlock { parked: machine.lock().parked() }),
                }
            },
            Self::Turmoil(turmoil) => loop {
                if run_main(machine, main).is_ready() {
                    return Ok(());
                }
                turmoil.step(machine)?;
            },
            #[cfg(madsim)]
            Self::Madsim(madsim) => madsim.run(machine, main),
        }
    }
}

/// Polls the main future while it is woken, where nodes run elsewhere; ready when it is done or the run has failed.
fn run_main(machine: &Machine, main: PollMain<'_>) -> Poll<()> {
    while !machine.has_failed() {
        match machine.next_task() {
            Some(_) if main().is_ready() => return Poll::Ready(()),
            Some(_) => {}
            None => return Poll::Pending,
        }
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests;
