//! Links: held, one way or both, and freed again.

use crate::executor::{Link, NodeId, Simulation};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From whom to whom.
type Hop = (NodeId, NodeId);

/// The holds of a run, each until a time of its own.
pub struct Links {
    base: Link,
    nodes: Vec<NodeId>,
    holds: BTreeMap<u64, (Duration, BTreeSet<Hop>)>,
    next: u64,
}

impl Links {
    pub fn new(simulation: &Simulation, base: Link, nodes: &[NodeId]) -> Self {
        let links = Self { base, nodes: nodes.to_vec(), holds: BTreeMap::new(), next: 0 };
        links.apply(simulation);
        links
    }

    /// Holds back what goes these ways.
    pub fn hold(&mut self, simulation: &Simulation, hops: BTreeSet<Hop>, until: Duration) {
        self.holds.insert(self.next, (until, hops));
        self.next += 1;
        self.apply(simulation);
    }

    /// Frees what is due.
    pub fn release(&mut self, simulation: &Simulation) {
        let now = simulation.now();
        let before = self.holds.len();
        self.holds.retain(|_, (until, _)| *until > now);
        if self.holds.len() < before {
            self.apply(simulation);
        }
    }

    /// Frees all, and lets messages travel well.
    pub fn heal(&mut self, simulation: &Simulation) {
        self.holds.clear();
        self.base = Link::default();
        self.apply(simulation);
    }

    fn apply(&self, simulation: &Simulation) {
        let held = |from: NodeId, to: NodeId| self.holds.values().any(|(_, hops)| hops.contains(&(from, to)));
        for (place, &one) in self.nodes.iter().enumerate() {
            for &other in &self.nodes[place + 1..] {
                let (there, back) = (held(one, other), held(other, one));
                let blocked = there && back;
                simulation.set_link(one, other, Link { blocked, ..self.base });
                simulation.block_one_way(one, other, there && !blocked);
                simulation.block_one_way(other, one, back && !blocked);
            }
        }
    }
}
