//! Plans of where replicas shall be: read from files, or made for a broker that leaves. Nothing is asked or changed
//! here.

use super::view::{PartitionView, View, parse_partition};
use anyhow::{Context, bail, ensure};
use highwater_types::BrokerId;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where the replicas of partitions shall be: by topic and partition, the preferred leader first.
pub type Plan = BTreeMap<(String, i32), Vec<BrokerId>>;

/// Kafka's file of a reassignment.
#[derive(Debug, Deserialize)]
struct PlanFile {
    version: i32,
    partitions: Vec<PlanPartition>,
}

#[derive(Debug, Deserialize)]
struct PlanPartition {
    topic: String,
    partition: i32,
    #[serde(default)]
    replicas: Vec<i32>,
}

/// Reads a plan in the format of Kafka's `kafka-reassign-partitions`. Log directories are ignored: a node has one.
pub fn parse_file(text: &str) -> anyhow::Result<Plan> {
    let file: PlanFile = serde_json::from_str(text).context(
        "expected {\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2]}]}",
    )?;
    ensure!(file.version == 1, "the file's version is {}; 1 is known", file.version);
    let mut plan = Plan::new();
    for PlanPartition { topic, partition, replicas } in file.partitions {
        let replicas = replicas.into_iter().map(BrokerId).collect();
        if plan.insert((topic.clone(), partition), replicas).is_some() {
            bail!("{topic}-{partition} is in the file twice");
        }
    }
    Ok(plan)
}

/// Understands `TOPIC-PARTITION=1,2,3`.
pub fn parse_move(text: &str) -> anyhow::Result<((String, i32), Vec<BrokerId>)> {
    let (partition, replicas) =
        text.split_once('=').with_context(|| format!("{text:?}: expected such as orders-0=1,2,3"))?;
    let ids: Result<Vec<i32>, _> = replicas.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.with_context(|| format!("{text:?}: {replicas:?} is no list of brokers, such as 1,2,3"))?;
    Ok((parse_partition(partition)?, ids.into_iter().map(BrokerId).collect()))
}

/// Says what is wrong with a plan before anything is changed.
pub fn check(plan: &Plan, view: &View) -> anyhow::Result<()> {
    for ((topic, index), replicas) in plan {
        let name = format!("{topic}-{index}");
        let known = view.partitions.iter().any(|known| known.topic == *topic && known.index == *index);
        ensure!(known, "there is no partition {name}");
        ensure!(!replicas.is_empty(), "{name}: no replicas are named");
        let distinct: BTreeSet<_> = replicas.iter().collect();
        ensure!(distinct.len() == replicas.len(), "{name}: a broker is named twice");
        if let Some(unknown) = replicas.iter().find(|id| !view.brokers.contains_key(id)) {
            bail!("{name}: there is no broker {unknown}");
        }
    }
    Ok(())
}

/// Moves every replica of a broker to another: to a rack that has none of the partition if there is one, else to the
/// broker with the fewest replicas. The others stay where they are, and so does the order.
pub fn without(view: &View, leaving: BrokerId) -> anyhow::Result<Plan> {
    let mut counts: BTreeMap<BrokerId, usize> =
        view.loads().into_iter().map(|(id, load)| (id, load.replicas)).collect();
    let mut plan = Plan::new();
    for partition in view.partitions.iter().filter(|partition| partition.replicas.contains(&leaving)) {
        let target = target(view, partition, leaving, &counts).with_context(|| {
            format!(
                "{} has {} replicas, and no other live broker is left for the one on broker {leaving}: add a broker \
                 first",
                partition.name(),
                partition.replicas.len()
            )
        })?;
        *counts.entry(target).or_default() += 1;
        let moved = partition.replicas.iter().map(|id| if *id == leaving { target } else { *id });
        plan.insert((partition.topic.clone(), partition.index), moved.collect());
    }
    Ok(plan)
}

fn target(
    view: &View,
    partition: &PartitionView,
    leaving: BrokerId,
    counts: &BTreeMap<BrokerId, usize>,
) -> Option<BrokerId> {
    let rack = |id: &BrokerId| view.brokers.get(id).and_then(|broker| broker.rack.as_deref());
    let used: BTreeSet<&str> =
        partition.replicas.iter().filter(|id| **id != leaving).filter_map(rack).collect();
    view.brokers
        .iter()
        .filter(|(id, broker)| !broker.is_fenced && !partition.replicas.contains(id))
        .map(|(id, _)| (rack(id).is_some_and(|rack| used.contains(rack)), counts.get(id).copied(), *id))
        .min()
        .map(|(_, _, id)| id)
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{cluster, partition};
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn kafkas_files_are_read() {
        let text = r#"{"version":1,"partitions":[
            {"topic":"t","partition":1,"replicas":[3,1],"log_dirs":["any","any"]}]}"#;
        assert_eq!(parse_file(text).unwrap(), Plan::from([(("t".to_owned(), 1), ids(&[3, 1]))]));
        for (text, part) in [
            ("{", "expected {\"version\":1"),
            (r#"{"version":2,"partitions":[]}"#, "the file's version is 2"),
            (
                r#"{"version":1,"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":1}]}"#,
                "t-1 is in the file twice",
            ),
        ] {
            let error = parse_file(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn moves_are_understood() {
        assert_eq!(parse_move("my-topic-0=2, 1").unwrap(), (("my-topic".to_owned(), 0), ids(&[2, 1])));
        for text in ["t-0", "t=1", "t-0=", "t-0=a"] {
            parse_move(text).unwrap_err();
        }
    }

    #[test]
    fn nonsense_is_found_before_anything_is_changed() {
        let view = cluster(&[(1, ""), (2, "")], vec![partition(0, 1, &[1], &[1])]);
        for (text, part) in
            [("t-1=1", "no partition t-1"), ("t-0=1,1", "named twice"), ("t-0=1,3", "there is no broker 3")]
        {
            let error = check(&Plan::from([parse_move(text).unwrap()]), &view).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        check(&Plan::from([parse_move("t-0=2,1").unwrap()]), &view).unwrap();
    }

    #[test]
    fn replicas_move_to_free_racks_and_idle_brokers() {
        let view = cluster(
            &[(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "c")],
            vec![
                partition(0, 1, &[1, 2, 4], &[1, 2, 4]),
                partition(1, 2, &[2, 1, 4], &[2, 1, 4]),
                partition(2, 2, &[2, 3, 4], &[2, 3, 4]),
            ],
        );
        let plan = without(&view, BrokerId(4)).unwrap();
        let moved: Vec<_> = plan.values().cloned().collect();
        assert_eq!(moved, [ids(&[1, 2, 5]), ids(&[2, 1, 5]), ids(&[2, 3, 5])]);
        let plan = without(&view, BrokerId(1)).unwrap();
        let moved: Vec<_> = plan.values().cloned().collect();
        // Rack a has no other replica: broker 3 stands there.
        assert_eq!(moved, [ids(&[3, 2, 4]), ids(&[2, 3, 4])]);
    }

    #[test]
    fn a_broker_that_is_needed_cannot_leave() {
        let mut view = cluster(&[(1, ""), (2, ""), (3, "")], vec![partition(0, 1, &[1, 2], &[1, 2])]);
        view.brokers.get_mut(&BrokerId(3)).unwrap().is_fenced = true;
        let error = without(&view, BrokerId(1)).unwrap_err().to_string();
        assert!(error.contains("add a broker first"), "{error}");
    }
}
