//! Links: held, slowed down, reset.

use super::Director;
use crate::executor::{Link, NodeId, Simulation};
use highwater_faults::{Action, LinkDelays, Others, Way};
use std::collections::BTreeMap;
use std::time::Duration;

/// From whom to whom.
pub type Hop = (NodeId, NodeId);

/// What a fault of links hits.
#[derive(Clone)]
pub struct Ends {
    /// The machines.
    pub nodes: Vec<NodeId>,
    /// Whether all links of each are meant, and not the one between the two.
    pub whole: bool,
    /// Whose links with these, if all are meant.
    pub from: Others,
}

/// What faults do to links at the moment. They overlap, so that each link is worked out anew.
pub struct Links {
    base: Link,
    /// How many faults hold back what goes this way.
    holds: BTreeMap<Hop, u32>,
    /// By how much faults slow down a link, either way; the smaller node first.
    late: BTreeMap<Hop, Vec<Duration>>,
}

impl Links {
    /// Links with these delays, or those of a good network.
    pub fn new(delays: Option<LinkDelays>) -> Self {
        let base = delays.map_or_else(Link::default, |delays| {
            let latency_max = (delays.mean * 2).saturating_sub(delays.min).max(delays.min);
            Link { latency_min: delays.min, latency_max, blocked: false }
        });
        Self { base, holds: BTreeMap::new(), late: BTreeMap::new() }
    }

    fn is_held(&self, from: NodeId, to: NodeId) -> bool {
        self.holds.get(&(from, to)).is_some_and(|&count| count > 0)
    }

    fn apply(&self, simulation: &Simulation, a: NodeId, b: NodeId) {
        let by: Duration = self.late.get(&(a.min(b), a.max(b))).into_iter().flatten().sum();
        let blocked = self.is_held(a, b) && self.is_held(b, a);
        let Link { latency_min, latency_max, .. } = self.base;
        let link = Link { latency_min: latency_min + by, latency_max: latency_max + by * 2, blocked };
        simulation.set_link(a, b, link);
        simulation.block_one_way(a, b, !blocked && self.is_held(a, b));
        simulation.block_one_way(b, a, !blocked && self.is_held(b, a));
    }

    /// Sets all links between these machines.
    pub fn apply_all(&self, simulation: &Simulation, machines: &[NodeId]) {
        for (place, &one) in machines.iter().enumerate() {
            machines[place + 1..].iter().for_each(|&other| self.apply(simulation, one, other));
        }
    }

    /// Ends all faults and delays.
    pub fn heal(&mut self, simulation: &Simulation, machines: &[NodeId]) {
        *self = Self::new(None);
        self.apply_all(simulation, machines);
    }
}

impl Director {
    pub(super) async fn act_on_links(&self, simulation: &Simulation, what: Action, ends: &Ends) {
        match what {
            Action::Isolate { lasting, way, flaps, from } => {
                let ends = &Ends { from, ..ends.clone() };
                self.isolate(simulation, ends, lasting, way, flaps.max(1)).await;
            }
            Action::Split { lasting, sides } => self.split(simulation, lasting, sides).await,
            Action::Reset => {
                simulation.note(&format!("connections of {} are reset", self.names(&ends.nodes)));
                for (a, b) in self.pairs(ends) {
                    simulation.reset_connections(a, b);
                    self.count("connections reset");
                }
            }
            Action::SlowLink { lasting, by } => {
                simulation.note(&format!("{} is late by {by:?} for {lasting:?}", self.names(&ends.nodes)));
                let pairs = self.pairs(ends);
                self.count("slow link");
                self.change(simulation, &pairs, |links, (a, b)| {
                    links.late.entry((a.min(b), a.max(b))).or_default().push(by);
                });
                simulation.sleep(lasting).await;
                self.change(simulation, &pairs, |links, (a, b)| {
                    let late = links.late.entry((a.min(b), a.max(b))).or_default();
                    if let Some(place) = late.iter().position(|&other| other == by) {
                        late.swap_remove(place);
                    }
                });
            }
            _ => {}
        }
    }

    async fn isolate(&self, simulation: &Simulation, ends: &Ends, lasting: Duration, way: Way, flaps: u32) {
        let how = match way {
            Way::Both if ends.from == Others::Nodes => "is cut off from the other nodes",
            Way::Both => "is cut off",
            Way::In => "hears nothing",
            Way::Out => "is not heard",
        };
        simulation.note(&format!("{} {how} for {lasting:?}, in {flaps} parts", self.names(&ends.nodes)));
        self.count(if way == Way::Both { "link held" } else { "link held one way" });
        let mut hops = Vec::new();
        for (own, other) in self.pairs(ends) {
            if way != Way::Out {
                hops.push((other, own));
            }
            if way != Way::In {
                hops.push((own, other));
            }
        }
        let slot = lasting / (2 * flaps - 1);
        for flap in 0..flaps {
            if flap > 0 {
                simulation.sleep(slot).await;
            }
            self.hold(simulation, &hops);
            simulation.sleep(slot).await;
            self.release(simulation, &hops);
        }
    }

    async fn split(&self, simulation: &Simulation, lasting: Duration, sides: u64) {
        let is_left = |place: usize| sides >> (place % 64) & 1 == 0;
        let machines = self.machines();
        let mut hops = Vec::new();
        for (place, &one) in machines.iter().enumerate() {
            for (other_place, &other) in machines.iter().enumerate() {
                if is_left(place) != is_left(other_place) {
                    hops.push((one, other));
                }
            }
        }
        let left: Vec<NodeId> =
            (0..machines.len()).filter(|&place| is_left(place)).map(|place| machines[place]).collect();
        simulation.note(&format!("a split for {lasting:?}: on one side {}", self.names(&left)));
        self.count("split");
        self.hold(simulation, &hops);
        simulation.sleep(lasting).await;
        self.release(simulation, &hops);
    }

    /// The links of a fault: the one between two machines, or all of each. The machine that is meant comes first.
    fn pairs(&self, ends: &Ends) -> Vec<Hop> {
        match *ends.nodes {
            [one, other] if !ends.whole => vec![(one, other)],
            _ => {
                let clients = if ends.from == Others::Nodes { self.nodes.clients() } else { Vec::new() };
                let links = ends.nodes.iter().flat_map(|&own| self.links_of(own));
                links.filter(|(_, other)| !clients.contains(other)).collect()
            }
        }
    }

    fn links_of(&self, own: NodeId) -> Vec<Hop> {
        let machines = self.machines().into_iter();
        machines.filter(|&other| other != own).map(|other| (own, other)).collect()
    }

    /// Both ways of all links of a machine.
    pub(super) fn both_ways(&self, node: NodeId) -> Vec<Hop> {
        self.links_of(node).into_iter().flat_map(|(one, other)| [(one, other), (other, one)]).collect()
    }

    pub(super) fn hold(&self, simulation: &Simulation, hops: &[Hop]) {
        self.change(simulation, hops, |links, hop| *links.holds.entry(hop).or_default() += 1);
    }

    pub(super) fn release(&self, simulation: &Simulation, hops: &[Hop]) {
        self.change(simulation, hops, |links, hop| {
            let count = links.holds.entry(hop).or_default();
            *count = count.saturating_sub(1);
        });
    }

    fn change(&self, simulation: &Simulation, hops: &[Hop], change: impl Fn(&mut Links, Hop)) {
        let mut state = self.lock();
        hops.iter().for_each(|&hop| change(&mut state.links, hop));
        hops.iter().for_each(|&(a, b)| state.links.apply(simulation, a, b));
    }

    fn names(&self, targets: &[NodeId]) -> String {
        let names: Vec<String> = targets.iter().map(|&node| self.name(node)).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") }
    }
}
