//! Carries out what a plan says: machines die and start, links are held, disks are lost; and in the end all is well
//! again, and everything must come back by itself.

use super::links::Links;
use super::node::{self, Exit, Lost, Shared, Stage};
use super::plan::Kind;
use super::{lock, rot};
use crate::checkers::members::broker_of;
use crate::checkers::rules::check;
use crate::disk::{FaultRates, PowerRates};
use crate::executor::{NodeId, Simulation, Violation};
use highwater_env::{Env, Rng};
use highwater_quorum::Status;
use highwater_types::BrokerId;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long everything may take to come back after the last fault.
const RECOVERY: Duration = Duration::from_secs(120);

/// How long a rotten disk may stay in its place.
const ROTTEN: Duration = Duration::from_secs(5);

/// See the module.
pub struct Director<'a> {
    simulation: &'a Simulation,
    shared: Shared,
    nodes: Vec<NodeId>,
    rng: Rng,
    links: Links,
    /// When nodes that are down start again.
    starts: BTreeMap<NodeId, Duration>,
    /// When nodes lose power that have come back from a crash just before.
    outages: BTreeMap<NodeId, Duration>,
    /// Disks that stop after some operations.
    fuses: BTreeMap<NodeId, Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When each fault comes next.
    due: BTreeMap<Kind, Duration>,
    rotten_since: Duration,
}

impl<'a> Director<'a> {
    pub fn new(simulation: &'a Simulation, shared: Shared, nodes: Vec<NodeId>) -> Self {
        let links = Links::new(simulation, shared.plan.link, &nodes);
        let starts = nodes.iter().map(|&node| (node, Duration::ZERO)).collect();
        let rng = simulation.rng(3);
        let (outages, fuses) = (BTreeMap::new(), BTreeMap::new());
        let (due, rotten_since) = (BTreeMap::new(), Duration::ZERO);
        Self { simulation, shared, nodes, rng, links, starts, outages, fuses, due, rotten_since }
    }

    /// The run.
    pub async fn drive(mut self) -> Result<(), Violation> {
        let plan = self.shared.plan.clone();
        for &(kind, mean) in &plan.faults {
            let first = self.draw(mean);
            self.due.insert(kind, Duration::from_secs(1) + first);
        }
        while self.simulation.now() < plan.duration {
            self.turn().await;
            let now = self.simulation.now();
            let kinds: Vec<(Kind, Duration)> =
                plan.faults.iter().copied().filter(|(kind, _)| self.due[kind] <= now).collect();
            for (kind, mean) in kinds {
                let next = self.draw(mean);
                self.due.insert(kind, now + next);
                self.act(kind);
            }
        }
        self.heal();
        self.recover().await?;
        self.check_end()
    }

    /// A time that is `mean` on average.
    fn draw(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-self.rng.random_range(0.001_f64..1.0).ln())
    }

    /// Lets some time pass, and sees to what has happened.
    async fn turn(&mut self) {
        let wait = Duration::from_millis(self.rng.random_range(5..80));
        self.simulation.sleep(wait).await;
        self.links.release(self.simulation);
        let blown: Vec<NodeId> = self
            .fuses
            .iter_mut()
            .filter_map(|(&node, fuse)| {
                let mut context = Context::from_waker(Waker::noop());
                (fuse.as_mut().poll(&mut context) == Poll::Ready(())).then_some(node)
            })
            .collect();
        for node in blown {
            self.fuses.remove(&node);
            let power = self.rng.random_bool(0.5);
            self.stop(node, power, "at a disk operation");
            // What the process saw when it came back may not have been on disk.
            if !power && self.rng.random_bool(0.8) {
                let after = Duration::from_millis(self.rng.random_range(20..800));
                self.outages.insert(node, self.starts[&node] + after);
            }
        }
        let exits = std::mem::take(&mut *lock(&self.shared.exits));
        for (node, exit) in exits {
            if self.starts.contains_key(&node) {
                continue;
            }
            self.shared.count("member stopped by itself");
            self.stop(node, false, "by itself");
            if exit == Exit::Damaged {
                self.replace_disk(node);
            }
        }
        self.replace_rotten();
        let now = self.simulation.now();
        for node in take_due(&mut self.outages, now) {
            self.stop(node, true, "soon after it started");
        }
        for node in take_due(&mut self.starts, now) {
            let env = self.simulation.restart(node);
            env.spawn("member", node::run(env.clone(), self.shared.clone())).detach();
        }
    }

    fn act(&mut self, kind: Kind) {
        let node = self.nodes[self.rng.random_range(0..self.nodes.len())];
        match kind {
            Kind::Crash | Kind::PowerLoss => self.stop(node, kind == Kind::PowerLoss, "by a fault"),
            Kind::PowerLossOfAll => {
                self.nodes.clone().into_iter().for_each(|node| self.stop(node, true, "with all others"));
            }
            Kind::Fuse => {
                if self.rng.random_bool(0.3) {
                    let operations = self.rng.random_range(0..12);
                    let fuse = self.simulation.fuse_of_directories(node, operations);
                    self.fuses.insert(node, Box::pin(fuse));
                } else {
                    let operations = self.rng.random_range(0..120);
                    self.fuses.insert(node, Box::pin(self.simulation.fuse(node, operations)));
                }
                return;
            }
            Kind::Isolate | Kind::Split => self.cut(kind, node),
            Kind::Reset => {
                let other = self.nodes[self.rng.random_range(0..self.nodes.len())];
                self.simulation.reset_connections(node, other);
            }
            Kind::Jump => {
                let most = if self.rng.random_bool(0.2) { 4_000_000 } else { 20_000 };
                let by = self.rng.random_range(-most..most);
                // Where all follow one source of the time, all jump.
                let all = self.rng.random_bool(0.3);
                for jumps in self.nodes.iter().copied().filter(|other| all || *other == node) {
                    self.simulation.jump_clock(jumps, by);
                }
            }
            Kind::Drift => {
                let ppm = self.rng.random_range(-100_000..100_000);
                self.simulation.drift_clock(node, ppm);
            }
            Kind::Wipe => {
                if !self.may_lose(node) {
                    return;
                }
                self.stop(node, true, "and loses its disk");
                self.replace_disk(node);
            }
            Kind::Rot => {
                if !self.may_lose(node) {
                    return;
                }
                let Some(path) = rot::flip(&self.simulation.disk(node), &mut self.rng) else { return };
                self.simulation.note(&format!("a bit of {} on node {} flips", path.display(), node.0));
                *lock(&self.shared.lost) = Some(Lost { node, stage: Stage::Rotten });
                self.rotten_since = self.simulation.now();
            }
            // The admins see to that.
            Kind::Members => return,
        }
        self.shared.count(kind.name());
    }

    fn cut(&mut self, kind: Kind, node: NodeId) {
        let until = self.simulation.now() + Duration::from_millis(self.rng.random_range(50..6_000));
        let way = self.rng.random_range(0..3u32);
        let side: BTreeSet<NodeId> = match kind {
            Kind::Split => self.nodes.iter().copied().filter(|_| self.rng.random_bool(0.5)).collect(),
            _ => BTreeSet::from([node]),
        };
        let mut hops = BTreeSet::new();
        for &one in &side {
            for &other in self.nodes.iter().filter(|other| !side.contains(other)) {
                if way != 1 {
                    hops.insert((one, other));
                }
                if way != 2 {
                    hops.insert((other, one));
                }
            }
        }
        self.simulation.note(&format!("{} {side:?} until {until:?}, way {way}", kind.name()));
        self.links.hold(self.simulation, hops, until);
    }

    /// Whether a disk may be lost: no other one is, and the quorum has begun.
    fn may_lose(&self, node: NodeId) -> bool {
        let begun = lock(&self.shared.record).acknowledged() > 0;
        let known = lock(&self.shared.disk_ids).contains_key(&node);
        begun && known && lock(&self.shared.lost).is_none()
    }

    /// Ends a node's process, which starts again after a while.
    fn stop(&mut self, node: NodeId, power: bool, how: &str) {
        self.simulation.note(&format!("node {} stops {how}", node.0));
        self.fuses.remove(&node);
        if power {
            let rates = PowerRates::random(&mut self.rng);
            self.simulation.power_loss(node, rates);
        } else {
            self.simulation.crash(node);
        }
        lock(&self.shared.checks).stopped(node);
        lock(&self.shared.running).remove(&node);
        let pause = self.rng.random_range(0..3_000);
        let pause = if self.rng.random_bool(0.3) { pause / 20 } else { pause };
        self.starts.insert(node, self.simulation.now() + Duration::from_millis(pause));
    }

    /// Puts an empty disk into a node that is down.
    fn replace_disk(&mut self, node: NodeId) {
        self.simulation.note(&format!("node {} gets an empty disk", node.0));
        let _ = self.simulation.disk(node).wipe();
        lock(&self.shared.checks).wiped(node);
        lock(&self.shared.disk_ids).remove(&node);
        *lock(&self.shared.lost) = Some(Lost { node, stage: Stage::Replaced });
        self.shared.count("empty disk");
    }

    /// Nobody lives with a disk that rots for long.
    fn replace_rotten(&mut self) {
        let lost = *lock(&self.shared.lost);
        let late = self.simulation.now() > self.rotten_since + ROTTEN;
        if let Some(Lost { node, stage: Stage::Rotten }) = lost
            && late
        {
            self.stop(node, true, "because its disk rots");
            self.replace_disk(node);
        }
    }

    fn heal(&mut self) {
        self.simulation.note("faults are over");
        *lock(&self.shared.healed) = true;
        self.links.heal(self.simulation);
        self.fuses.clear();
        self.outages.clear();
        for &node in &self.nodes.clone() {
            self.simulation.reset_clock(node);
            self.simulation.drift_clock(node, 0);
            self.simulation.disk(node).set_rates(FaultRates::default());
            // A fuse that did not blow yet must not do so later.
            self.simulation.fuses().lay(node, u64::MAX);
        }
    }

    /// Waits until the quorum works, all lost disks are replaced, and all members have the same.
    async fn recover(&mut self) -> Result<(), Violation> {
        let until = self.simulation.now() + RECOVERY;
        let before = lock(&self.shared.record).acknowledged();
        loop {
            self.turn().await;
            let goes_on = lock(&self.shared.record).acknowledged() > before;
            let whole = lock(&self.shared.lost).is_none();
            if goes_on && whole && self.has_leader() {
                return self.settle(until).await;
            }
            self.in_time(until, || {
                format!(
                    "commands are taken: {goes_on}, no disk is lost: {whole}, and there is one leader: {}",
                    { self.has_leader() }
                )
            })?;
        }
    }

    /// Waits until all members have what is committed now.
    async fn settle(&mut self, until: Duration) -> Result<(), Violation> {
        let goal =
            lock(&self.shared.checks).members.committed.keys().next_back().copied().unwrap_or_default();
        loop {
            let behind = self.behind(goal);
            if behind.is_empty() {
                return Ok(());
            }
            self.in_time(until, || format!("members {behind:?} have not got to entry {goal}"))?;
            self.turn().await;
        }
    }

    fn in_time(&self, until: Duration, what: impl Fn() -> String) -> Result<(), Violation> {
        check(self.simulation.now() < until, "L1", || {
            let states: Vec<String> = lock(&self.shared.running)
                .iter()
                .map(|(node, running)| {
                    format!(
                        "\n  node {}: {:?}",
                        node.0,
                        running.quorum.as_ref().map(|quorum| quorum.status())
                    )
                })
                .collect();
            format!("{RECOVERY:?} after the last fault: {}{}", what(), states.concat())
        })
    }

    /// Whether one node leads, and no other member knows a later term. Who was forgotten may stand for ever.
    fn has_leader(&self) -> bool {
        let running = lock(&self.shared.running);
        let quorums =
            running.iter().filter_map(|(node, running)| Some((broker_of(*node), running.quorum.as_ref()?)));
        let statuses: BTreeMap<BrokerId, Status> =
            quorums.map(|(id, quorum)| (id, quorum.status())).collect();
        let leads = |(id, status): &(&BrokerId, &Status)| status.leader == Some(**id);
        let Some((_, leader)) = statuses.iter().filter(leads).max_by_key(|(_, status)| status.term) else {
            return false;
        };
        let mut members = leader.voters.iter().flatten().chain(&leader.learners);
        members.all(|member| statuses.get(member).is_none_or(|status| status.term <= leader.term))
    }

    /// The members that have not applied an entry.
    fn behind(&self, goal: u64) -> Vec<NodeId> {
        let running = lock(&self.shared.running);
        let leader = running.iter().filter_map(|(node, running)| {
            let quorum = running.quorum.as_ref()?;
            (quorum.leadership().leader == Some(broker_of(*node))).then(|| quorum.status())
        });
        let leader = leader.max_by_key(|status| status.term);
        let Some(status) = leader else { return self.nodes.clone() };
        let members: BTreeSet<_> = status.voters.iter().flatten().chain(&status.learners).copied().collect();
        let has = |node: &NodeId| {
            let quorum = running.get(node).and_then(|running| running.quorum.as_ref());
            quorum.is_some_and(|quorum| quorum.status().applied >= Some(goal))
        };
        self.nodes.iter().copied().filter(|node| members.contains(&broker_of(*node)) && !has(node)).collect()
    }

    /// Checks what the members have in the end.
    fn check_end(&self) -> Result<(), Violation> {
        let record = lock(&self.shared.record);
        let running = lock(&self.shared.running);
        let states: Vec<_> = running.values().map(|running| lock(&running.applied).clone()).collect();
        let longest = states.iter().max_by_key(|state| state.last());
        let Some(longest) = longest else { return Ok(()) };
        record.check(longest)?;
        for (state, node) in states.iter().zip(running.keys()) {
            let same = longest.commands.starts_with(&state.commands);
            check(same, "S3", || format!("node {} has other commands than the others have", node.0))?;
        }
        Ok(())
    }
}

/// Takes out whose time has come.
fn take_due(times: &mut BTreeMap<NodeId, Duration>, now: Duration) -> Vec<NodeId> {
    let due: Vec<NodeId> = times.iter().filter(|&(_, at)| *at <= now).map(|(&node, _)| node).collect();
    due.iter().for_each(|node| {
        times.remove(node);
    });
    due
}
