//! turmoil as the engine: each node is a host, whose program runs the node's tasks.
//!
//! turmoil carries bytes and moves time, tick by tick. Disks, clocks, timers and the choice among ready tasks are the
//! simulator's own on all engines.

use crate::executor::hosted::NodeRunner;
use crate::executor::machine::Machine;
use crate::executor::network::{Link, address_of};
use crate::executor::{Failure, Hangup, NodeId, pipes};
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use turmoil::net::{TcpListener, TcpStream};

/// How far time moves at once. Half as far costs half as much again; turmoil takes nothing below a millisecond.
const TICK: Duration = Duration::from_millis(2);
/// How many segments a stream holds between writer and reader.
const SEGMENTS: usize = 4_096;

/// Listens on a port of the node whose program this runs in.
pub(in crate::executor) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
}

/// Connects from the node whose program this runs in.
pub(in crate::executor) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// A simulation of turmoil's, and what is to be done to it before its next step.
pub(in crate::executor) struct Turmoil {
    sim: RefCell<turmoil::Sim<'static>>,
}

impl Turmoil {
    pub(in crate::executor) fn new(seed: u64) -> Self {
        let default = Link::default();
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + Duration::from_millis(crate::executor::EPOCH_MS.unsigned_abs()))
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
            .min_message_latency(default.latency_min)
            .max_message_latency(default.latency_max)
            .tcp_capacity(SEGMENTS)
            .enable_random_order()
            .build();
        Self { sim: RefCell::new(sim) }
    }

    /// Adds a host for a node.
    pub(in crate::executor) fn add(&self, machine: &Arc<Machine>, node: NodeId) {
        let machine = Arc::downgrade(machine);
        self.sim.borrow_mut().host(address_of(node), move || {
            let runner = machine.upgrade().map(|machine| NodeRunner::new(&machine, node));
            async move {
                if let Some(runner) = runner {
                    // One poll runs all that is ready, which is more than the runtime's budget for a task.
                    tokio::task::unconstrained(runner).await;
                }
                Ok(())
            }
        });
    }

    /// Ends a node's tasks. Its program is ready for the next incarnation at once.
    pub(in crate::executor) fn stop(&self, machine: &Machine, node: NodeId, hangup: Hangup) {
        let mut sim = self.sim.borrow_mut();
        if hangup == Hangup::Silent {
            let others = machine.lock().nodes.len();
            for other in (0..others).map(NodeId).filter(|&other| other != node) {
                sim.partition(address_of(node), address_of(other));
            }
        }
        sim.bounce(address_of(node));
    }

    /// Brings nodes back to the network on which something runs again.
    fn light_up(&self, machine: &Machine) {
        let lit = std::mem::take(&mut machine.lock().lit);
        for node in lit {
            let dark: Vec<bool> = machine.lock().nodes.iter().map(|node| node.dark).collect();
            for other in (0..dark.len()).map(NodeId).filter(|&other| other != node && !dark[other.0]) {
                self.sim.borrow_mut().repair(address_of(node), address_of(other));
                let link = pipes::lock(machine).link(node, other);
                self.set_link(node, other, link);
            }
        }
    }

    /// Sets the link between two nodes that are both on the network.
    pub(in crate::executor) fn set_link(&self, a: NodeId, b: NodeId, link: Link) {
        let (a, b) = (address_of(a), address_of(b));
        let sim = self.sim.borrow_mut();
        sim.set_link_latency(a, b, link.latency_min);
        sim.set_link_max_message_latency(a, b, link.latency_max.max(link.latency_min));
        match link.blocked {
            true => sim.hold(a, b),
            false => sim.release(a, b),
        }
    }

    /// Lets nothing arrive that one node sends to another, or lets it arrive again. What was sent meanwhile is lost,
    /// and nobody sends it again as TCP would: the connections end with a reset.
    pub(in crate::executor) fn block_one_way(
        &self,
        machine: &Machine,
        from: NodeId,
        to: NodeId,
        blocked: bool,
    ) {
        let (source, destination) = (address_of(from), address_of(to));
        if blocked {
            self.sim.borrow().partition_oneway(source, destination);
        } else {
            self.sim.borrow().repair_oneway(source, destination);
            pipes::reset_between(machine, from, to);
        }
    }

    /// Lets every node run what is ready, and carries bytes; then time has moved by a tick.
    ///
    /// # Errors
    /// What turmoil says when a program failed, which none of them does.
    pub(in crate::executor) fn step(&self, machine: &Machine) -> Result<(), Failure> {
        self.light_up(machine);
        self.sim.borrow_mut().step().map_err(|error| Failure::Panic {
            node: "turmoil".to_owned(),
            task: "step".to_owned(),
            message: error.to_string(),
        })?;
        machine.advance_to(u64::try_from(self.sim.borrow().elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }
}
