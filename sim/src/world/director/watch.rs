//! Waits for the events of scripted faults.
//!
//! An event is heard synchronously, before its node makes another step: a fault that must come before a sync stops the
//! node's disk right there, and the director does the rest as soon as it runs.

use crate::executor::{Fuses, NodeId, Simulation};
use crate::world::nodes::Nodes;
use highwater_env::Event;
use highwater_faults::{EventKind, PartitionName, Role, ScriptedFault, Trigger};
use highwater_types::{LogId, TopicId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

/// A scripted fault whose event has happened.
pub struct Fired {
    /// Its place in the script.
    pub fault: usize,
    /// Where the event happened.
    pub node: NodeId,
}

struct Waiting {
    fault: usize,
    kind: EventKind,
    of: Option<PartitionName>,
    /// So many more events.
    left: u32,
    target: Role,
    stops_disk: bool,
}

struct State {
    waiting: Vec<Waiting>,
    fired: VecDeque<Fired>,
    waker: Option<Waker>,
    names: BTreeMap<TopicId, String>,
    /// Disks that stand still because of a fault that was not carried out yet.
    stopped: BTreeSet<NodeId>,
}

/// Waits for the events of scripted faults.
pub struct Watch {
    nodes: Nodes,
    fuses: Fuses,
    state: Mutex<State>,
}

impl Watch {
    /// Waits for what these faults wait for.
    pub fn new(script: &[ScriptedFault], nodes: Nodes, fuses: Fuses) -> Arc<Self> {
        let waiting = script.iter().enumerate().filter_map(|(fault, scripted)| match &scripted.when {
            Trigger::At(_) => None,
            Trigger::Event { kind, of, count } => Some(Waiting {
                fault,
                kind: *kind,
                of: of.clone(),
                left: *count,
                target: scripted.target.clone(),
                stops_disk: scripted.before.is_some(),
            }),
        });
        let state = State {
            waiting: waiting.collect(),
            fired: VecDeque::new(),
            waker: None,
            names: BTreeMap::new(),
            stopped: BTreeSet::new(),
        };
        Arc::new(Self { nodes, fuses, state: Mutex::new(state) })
    }

    /// Listens to a simulation, if there is anything to wait for.
    pub fn listen(this: &Arc<Self>, simulation: &Simulation) {
        if this.lock().waiting.is_empty() {
            return;
        }
        let watch = Arc::clone(this);
        simulation.observe(Box::new(move |node, _, event| {
            watch.hear(node, event);
            Ok(())
        }));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the watch")
    }

    /// The next fault whose event has happened; otherwise the task is woken when one has.
    pub fn poll_fired(&self, cx: &Context<'_>) -> Option<Fired> {
        let mut state = self.lock();
        let fired = state.fired.pop_front();
        state.waker = Some(cx.waker().clone());
        fired
    }

    /// Notes that a node's disk may stand still until the node is stopped.
    pub fn node_stopping(&self, node: NodeId) {
        self.lock().stopped.insert(node);
    }

    /// Notes that a node, whose disk may have stood still, is gone.
    pub fn node_stopped(&self, node: NodeId) {
        self.lock().stopped.remove(&node);
    }

    /// Waits for nothing any more. Returns the nodes whose disks stand still.
    pub fn close(&self) -> BTreeSet<NodeId> {
        let mut state = self.lock();
        state.waiting.clear();
        state.fired.clear();
        std::mem::take(&mut state.stopped)
    }

    fn hear(&self, node: NodeId, event: &Event) {
        let Some((kind, log)) = told(event) else { return };
        let mut state = self.lock();
        if let Event::TopicCreated { topic, name } = event {
            state.names.insert(*topic, name.clone());
        }
        let State { waiting, names, .. } = &mut *state;
        let mut fired = Vec::new();
        waiting.retain_mut(|wait| {
            if wait.kind != kind
                || !concerns(wait.of.as_ref(), log, names)
                || !self.counts(&wait.target, node)
            {
                return true;
            }
            wait.left = wait.left.saturating_sub(1);
            if wait.left > 0 {
                return true;
            }
            fired.push((wait.fault, wait.stops_disk, wait.target.clone()));
            false
        });
        for (fault, stops_disk, target) in fired {
            if stops_disk {
                let nodes = match target {
                    Role::EveryBroker => self.nodes.brokers(),
                    Role::EveryNode => self.nodes.all(),
                    _ => vec![node],
                };
                for node in nodes {
                    self.fuses.lay(node, 0);
                    state.stopped.insert(node);
                }
            }
            state.fired.push_back(Fired { fault, node });
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether what happens at a node counts for a fault that hits that role.
    fn counts(&self, target: &Role, node: NodeId) -> bool {
        match target {
            Role::Broker(number) => {
                let place = usize::try_from(*number).unwrap_or(usize::MAX).wrapping_sub(1);
                self.nodes.brokers().get(place) == Some(&node)
            }
            Role::Leader(partition) => {
                self.nodes.leader(&partition.topic, partition.partition).is_none_or(|leader| leader == node)
            }
            Role::Follower(partition) => {
                self.nodes.followers(&partition.topic, partition.partition).contains(&node)
            }
            Role::ActiveController => self.nodes.controller().is_none_or(|controller| controller == node),
            Role::Controller(number) => {
                let place = usize::try_from(*number).unwrap_or(usize::MAX).wrapping_sub(1);
                self.nodes.controllers().get(place) == Some(&node)
            }
            Role::Nodes(set) => {
                let place = self.nodes.all().iter().position(|&other| other == node);
                place.is_some_and(|place| set >> place & 1 == 1)
            }
            Role::EveryBroker | Role::EveryNode | Role::AnyBroker | Role::Client(_) | Role::Link(..) => true,
        }
    }
}

fn concerns(of: Option<&PartitionName>, log: Option<LogId>, names: &BTreeMap<TopicId, String>) -> bool {
    let Some(of) = of else { return true };
    log.is_some_and(|log| {
        log.partition.0 == of.partition && names.get(&log.topic).is_some_and(|name| *name == of.topic)
    })
}

/// What a trigger calls an event, and the log that it is about.
fn told(event: &Event) -> Option<(EventKind, Option<LogId>)> {
    Some(match event {
        Event::Appended { log, .. } => (EventKind::Append, Some(*log)),
        Event::Synced { log, .. } => (EventKind::Sync, Some(*log)),
        Event::Acknowledged { log, .. } => (EventKind::Acknowledge, Some(*log)),
        Event::HighWatermark { log, .. } => (EventKind::HighWatermark, Some(*log)),
        Event::LogStart { log, .. } => (EventKind::LogStart, Some(*log)),
        Event::Recovered { log, .. } => (EventKind::Recovery, Some(*log)),
        Event::Truncated { log, .. } => (EventKind::Truncation, Some(*log)),
        Event::Poisoned { log } => (EventKind::Poisoning, Some(*log)),
        Event::Damaged { log, .. } => (EventKind::Damage, Some(*log)),
        Event::Leading { log, .. } => (EventKind::Leading, Some(*log)),
        Event::InSync { log, .. } => (EventKind::InSync, Some(*log)),
        Event::QuorumLeader { .. } => (EventKind::ControllerElected, None),
        Event::TopicCreated { .. } => (EventKind::TopicCreated, None),
        Event::TopicDeleted { .. } => (EventKind::TopicDeleted, None),
        _ => return None,
    })
}
