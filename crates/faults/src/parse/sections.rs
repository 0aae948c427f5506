//! The sections of a scenario of a cluster, but for its script.

use super::Result;
use crate::reader::{Section, Value};
use crate::scenario::{ClusterSpec, Expect, Scenario, Verdict};
use crate::{Acks, Churn, FaultKind, RandomFaults, TopicSpec, WorkloadSpec};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

const MOST_BROKERS: u32 = 9;
const MOST_CONTROLLERS: u32 = 7;
const MOST_PARTITIONS: u32 = 100;
const MOST_CLIENTS: u32 = 50;

/// More often than this, nothing but faults happens.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const INTERVALS: RangeInclusive<Duration> = SHORTEST_INTERVAL..=Duration::from_secs(24 * 3600);

const DURABILITIES: &[(&str, &str)] = &[("sync", "sync"), ("replicated", "replicated")];
const ACKS: &[(&str, Acks)] = &[("all", Acks::All), ("leader", Acks::Leader), ("none", Acks::None)];

pub fn cluster(root: &Section<'_>) -> Result<ClusterSpec> {
    let mut cluster = ClusterSpec::default();
    let Some(section) = root.section("cluster", "[cluster]")? else { return Ok(cluster) };
    let brokers = section.get("brokers");
    if let Some(value) = &brokers {
        cluster.brokers = value.integer(1..=MOST_BROKERS)?;
    }
    if let Some(value) = section.get("nodes") {
        if brokers.is_some() {
            return Err(value.error("`nodes` are brokers and controllers at once: leave `brokers` out"));
        }
        cluster.brokers = value.integer(1..=MOST_BROKERS)?;
        if let Some(controllers) = section.get("controllers") {
            let message = "`nodes` are brokers and controllers at once: say `brokers` beside `controllers`";
            return Err(controllers.error(message));
        }
    }
    if let Some(value) = section.get("controllers") {
        cluster.controllers = value.integer(1..=MOST_CONTROLLERS)?;
    }
    if let Some(value) = section.get("racks") {
        cluster.racks =
            value.list()?.iter().map(|rack| Ok(rack.text()?.to_owned())).collect::<Result<_>>()?;
    }
    if let Some(value) = section.get("durability") {
        cluster.durability = value.choice(DURABILITIES)?.to_owned();
    }
    cluster.settings = configs(&section, "settings", "[cluster.settings]")?;
    section.done()?;
    Ok(cluster)
}

/// A table of configurations by their own names.
fn configs(section: &Section<'_>, key: &'static str, title: &str) -> Result<BTreeMap<String, String>> {
    let Some(table) = section.section(key, title)? else { return Ok(BTreeMap::new()) };
    table.entries().into_iter().map(|(name, value)| Ok((name, value.plain()?))).collect()
}

pub fn topics(root: &Section<'_>, cluster: &ClusterSpec) -> Result<Vec<TopicSpec>> {
    let mut topics: Vec<TopicSpec> = Vec::new();
    for section in root.sections("topics", "[[topics]]")? {
        let name = section.require("name")?;
        let topic = topic(&section, &name, cluster)?;
        if topics.iter().any(|other| other.name == topic.name) {
            return Err(name.error(format!("there is a topic {:?} already", topic.name)));
        }
        section.done()?;
        topics.push(topic);
    }
    if topics.is_empty() {
        return Err(root.error("a cluster needs at least one of [[topics]]"));
    }
    Ok(topics)
}

fn topic(section: &Section<'_>, name: &Value<'_>, cluster: &ClusterSpec) -> Result<TopicSpec> {
    let text = name.text()?;
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > 200 || !text.chars().all(legal) {
        return Err(name.error(format!("{text:?} is no name for a topic")));
    }
    let partitions = section.get("partitions").map_or(Ok(1), |value| value.integer(1..=MOST_PARTITIONS))?;
    let mut replicas = cluster.brokers.min(3);
    if let Some(value) = section.get("replicas") {
        replicas = value.integer(1..=MOST_BROKERS)?;
        if replicas > cluster.brokers {
            let brokers = cluster.brokers;
            return Err(
                value.error(format!("{replicas} replicas need as many brokers, and there are {brokers}"))
            );
        }
    }
    let configs = configs(section, "configs", "[topics.configs]")?;
    Ok(TopicSpec { name: text.to_owned(), partitions, replicas, configs })
}

fn interval(section: &Section<'_>, key: &'static str) -> Result<Option<Duration>> {
    section.get(key).map(|value| value.duration(INTERVALS)).transpose()
}

pub fn workload(root: &Section<'_>, cluster: &ClusterSpec) -> Result<WorkloadSpec> {
    let mut workload = WorkloadSpec::default();
    let Some(section) = root.section("workload", "[workload]")? else { return Ok(workload) };
    let number = |key, bounds: RangeInclusive<u32>, into: &mut u32| -> Result<()> {
        if let Some(value) = section.get(key) {
            *into = value.integer(bounds)?;
        }
        Ok(())
    };
    number("producers", 1..=MOST_CLIENTS, &mut workload.producers)?;
    number("consumers", 0..=MOST_CLIENTS, &mut workload.consumers)?;
    number("members", 0..=MOST_CLIENTS, &mut workload.members)?;
    number("admins", 0..=MOST_CLIENTS, &mut workload.admins)?;
    number("operations_per_second", 1..=100_000, &mut workload.operations_per_second)?;
    number("keys", 1..=1_000_000, &mut workload.keys)?;
    number("burst_records", 1..=100_000, &mut workload.burst_records)?;
    if let Some(value) = section.get("idempotent_share") {
        workload.idempotent_share = value.share()?;
    }
    if let Some(value) = section.get("keyless_share") {
        workload.keyless_share = value.share()?;
    }
    if let Some(value) = section.get("value_bytes") {
        workload.value_bytes = value_bytes(&value)?;
    }
    if let Some(value) = section.get("acks") {
        workload.acks = value.list()?.iter().map(|item| item.choice(ACKS)).collect::<Result<_>>()?;
        if workload.acks.is_empty() {
            return Err(value.error("`acks` needs something to draw from"));
        }
    }
    if let Some(timeout) = interval(&section, "request_timeout")? {
        workload.request_timeout = timeout;
    }
    workload.bursts = interval(&section, "bursts")?;
    workload.seeks = interval(&section, "seeks")?;
    workload.churn = churn(&section, workload.admins, cluster)?;
    section.done()?;
    Ok(workload)
}

/// The least and the largest size, as a list of two.
fn value_bytes(value: &Value<'_>) -> Result<RangeInclusive<u32>> {
    // A value is unique in its run, which takes some bytes.
    const BOUNDS: RangeInclusive<u32> = 12..=1_000_000;
    let items = value.list()?;
    let [least, most] = items.as_slice() else {
        return Err(value.error("`value_bytes` is the least and the largest size, such as [16, 200]"));
    };
    let (least, most) = (least.integer(BOUNDS)?, most.integer(BOUNDS)?);
    if least > most {
        return Err(value.error(format!("no size is at least {least} and at most {most}")));
    }
    Ok(least..=most)
}

fn churn(workload: &Section<'_>, admins: u32, cluster: &ClusterSpec) -> Result<Churn> {
    let Some(section) = workload.section("churn", "[workload.churn]")? else { return Ok(Churn::default()) };
    if admins == 0 {
        return Err(section.error("[workload.churn] needs an admin, and `admins` is 0"));
    }
    let mut churn = Churn {
        topics: interval(&section, "topics")?,
        configs: interval(&section, "configs")?,
        delete_records: interval(&section, "delete_records")?,
        list_offsets: interval(&section, "list_offsets")?,
        describes: interval(&section, "describes")?,
        reassignments: of_several(&section, "reassignments", cluster.brokers)?,
        elections: of_several(&section, "elections", cluster.brokers)?,
        voters: of_several(&section, "voters", cluster.voters())?,
        alter: BTreeMap::new(),
    };
    if let Some(table) = section.section("alter", "[workload.churn.alter]")? {
        for (name, value) in table.entries() {
            let values: Vec<String> = value.list()?.iter().map(Value::plain).collect::<Result<_>>()?;
            if values.is_empty() {
                return Err(value.error(format!("`{name}` needs values to draw from")));
            }
            churn.alter.insert(name, values);
        }
    }
    if churn.configs.is_some() && churn.alter.is_empty() {
        return Err(section.error("`configs` needs [workload.churn.alter]: what is changed, and to what"));
    }
    section.done()?;
    Ok(churn)
}

/// The interval of something that takes several nodes.
fn of_several(section: &Section<'_>, key: &'static str, nodes: u32) -> Result<Option<Duration>> {
    match section.get(key) {
        Some(value) if nodes < 2 => {
            Err(value.error(format!("`{key}` takes several nodes, and there is one")))
        }
        Some(value) => Ok(Some(value.duration(INTERVALS)?)),
        None => Ok(None),
    }
}

pub fn random(root: &Section<'_>, scenario: &Scenario) -> Result<RandomFaults> {
    let mut random = RandomFaults::default();
    let Some(section) = root.section("faults", "[faults]")? else { return Ok(random) };
    let flag = |key, into: &mut bool| -> Result<()> {
        if let Some(value) = section.get(key) {
            *into = value.boolean()?;
        }
        Ok(())
    };
    flag("swarm", &mut random.swarm)?;
    flag("link_delays", &mut random.link_delays)?;
    flag("disk_delays", &mut random.disk_delays)?;
    let mut usual = false;
    flag("usual", &mut usual)?;
    for &kind in FaultKind::ALL {
        let possible = scenario.regime >= scenario.cluster.regime_of(kind)
            && scenario.cluster.nodes() >= kind.least_nodes();
        let interval = match section.get(kind.name()) {
            None => (usual && possible).then(|| kind.usual()),
            Some(value) => match value.text()? {
                "usual" => Some(checked(kind, &value, kind.usual(), scenario)?),
                "never" => None,
                _ => Some(checked(kind, &value, value.duration(INTERVALS)?, scenario)?),
            },
        };
        random.intervals.extend(interval.map(|interval| (kind, interval)));
    }
    section.done()?;
    Ok(random)
}

fn checked(kind: FaultKind, value: &Value<'_>, interval: Duration, scenario: &Scenario) -> Result<Duration> {
    if scenario.regime < kind.regime() {
        return Err(value.error(format!("`{}` needs regime = \"unlimited\": {BEYOND}", kind.name())));
    }
    if scenario.regime < scenario.cluster.regime_of(kind) {
        let why = "page caches are the promise, and more of them would go than it covers";
        return Err(value.error(format!("`{}` needs regime = \"unlimited\": {why}", kind.name())));
    }
    let (least, nodes) = (kind.least_nodes(), scenario.cluster.nodes());
    if nodes < least {
        let name = kind.name();
        return Err(value.error(format!("`{name}` needs {least} nodes at least, and there are {nodes}")));
    }
    Ok(interval)
}

/// Why a fault is not within the budget.
pub const BEYOND: &str = "an honest disk keeps what it has synced";

pub fn expect(root: &Section<'_>) -> Result<Expect> {
    let mut expect = Expect::default();
    let Some(section) = root.section("expect", "[expect]")? else { return Ok(expect) };
    if let Some(value) = section.get("verdict") {
        let text = value.text()?;
        expect.verdict = match text.split_once(' ') {
            Some(("violates", property)) if !property.trim().is_empty() => {
                Verdict::Violates(property.trim().to_owned())
            }
            _ if text == "pass" => Verdict::Pass,
            _ => {
                let message = format!("`verdict` is \"pass\" or \"violates\" and a property, not {text:?}");
                return Err(value.source.unknown(value.at, message, text, ["pass"].into_iter()));
            }
        };
    }
    if let Some(value) = section.get("reach") {
        let marks = value.list()?;
        expect.reach = marks.iter().map(|mark| Ok(mark.text()?.to_owned())).collect::<Result<_>>()?;
    }
    expect.longest_send = interval(&section, "longest_send")?;
    expect.longest_commit = interval(&section, "longest_commit")?;
    section.done()?;
    Ok(expect)
}
