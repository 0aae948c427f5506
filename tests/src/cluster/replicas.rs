//! What the replicas of a partition have on their disks, as `highwater log inspect` tells it.

use super::node::NodeSetup;
use crate::stored::highwater;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// A batch as it lies on a disk. The checksum covers all its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first offset, and the one after the last.
    pub offsets: Range<i64>,
    /// The epoch of the leader that took it.
    pub epoch: i64,
    /// The checksum.
    pub crc: i64,
}

/// The batches of a topic, by partition.
pub type Logs = BTreeMap<i32, Vec<Batch>>;

/// Reads the logs of a topic from the disk of a node that does not run. Damage is an error.
pub fn read(setup: &NodeSetup, topic_id: &str) -> Result<Logs> {
    let data = setup.data();
    let data = data.to_str().context("a path that is text")?;
    let inspected = highwater(&setup.binary, &["log", "inspect", data])?;
    parse(&inspected, topic_id).with_context(|| format!("node {}", setup.id))
}

/// Checks that all replicas hold the same batches, from offset 0 to the ends that clients saw.
pub fn check(replicas: &[(u8, Logs)], ends: &BTreeMap<i32, i64>, factor: usize) -> Result<()> {
    for (partition, end) in ends {
        let holders: Vec<(u8, &Vec<Batch>)> =
            replicas.iter().filter_map(|(node, logs)| Some((*node, logs.get(partition)?))).collect();
        if holders.len() != factor {
            let nodes: Vec<u8> = holders.iter().map(|(node, _)| *node).collect();
            bail!("partition {partition} lies on nodes {nodes:?}; {factor} replicas were asked for");
        }
        for (node, batches) in &holders {
            let last = whole(batches).with_context(|| format!("partition {partition} on node {node}"))?;
            if last != *end {
                bail!("partition {partition} on node {node} ends at {last}, and clients read to {end}");
            }
        }
        let (first, rest) = holders.split_first().context("a replica")?;
        for (node, batches) in rest {
            let differs = first.1.iter().zip(*batches).find(|(one, other)| one != other);
            if let Some((one, other)) = differs {
                bail!("partition {partition} differs: {one:?} on node {}, {other:?} on node {node}", first.0);
            }
        }
    }
    Ok(())
}

/// Where the batches end, if they follow each other from 0 on.
fn whole(batches: &[Batch]) -> Result<i64> {
    batches.iter().try_fold(0, |expected, batch| match batch.offsets.start == expected {
        true => Ok(batch.offsets.end),
        false => bail!("{batch:?} follows offset {expected}"),
    })
}

fn parse(inspected: &str, topic_id: &str) -> Result<Logs> {
    let mut logs = Logs::new();
    let mut partition = None;
    for line in inspected.lines() {
        let found: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if let Some(log) = found["log"].as_str() {
            let index = log.strip_prefix(topic_id).and_then(|rest| rest.strip_prefix('-'));
            partition = index.map(str::parse).transpose()?;
            logs.extend(partition.map(|partition| (partition, Vec::new())));
        } else if let (Some(partition), Some(first)) = (partition, found["base_offset"].as_i64())
            && let Some(last) = found["last_offset"].as_i64()
        {
            let number = |field: &str| found[field].as_i64().with_context(|| field.to_owned());
            let batch =
                Batch { offsets: first..last + 1, epoch: number("leader_epoch")?, crc: number("crc")? };
            logs.entry(partition).or_default().push(batch);
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(change: impl FnOnce(&mut Logs)) -> Logs {
        let batch = |offsets, crc| Batch { offsets, epoch: 1, crc };
        let mut logs = Logs::from([(0, vec![batch(0..2, 7), batch(2..5, 8)])]);
        change(&mut logs);
        logs
    }

    #[test]
    fn replicas_that_differ_are_found() {
        let ends = BTreeMap::from([(0, 5)]);
        let check = |other: Logs| check(&[(1, logs(|_| ())), (2, other)], &ends, 2);
        check(logs(|_| ())).unwrap();
        for (other, part) in [
            (Logs::new(), "lies on nodes [1]"),
            (logs(|logs| logs.get_mut(&0).unwrap().truncate(1)), "node 2 ends at 2, and clients read to 5"),
            (logs(|logs| logs.get_mut(&0).unwrap().reverse()), "partition 0 on node 2"),
            (logs(|logs| logs.get_mut(&0).unwrap()[1].crc = 9), "partition 0 differs"),
            (logs(|logs| logs.get_mut(&0).unwrap()[1].epoch = 2), "partition 0 differs"),
        ] {
            let error = format!("{:#}", check(other).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn only_the_topic_is_looked_at() {
        let inspected = r#"{"log":"abc-1","dir":"d"}
{"base_offset":0,"last_offset":4,"leader_epoch":3,"crc":9}
{"log":"def-1","dir":"d"}
{"base_offset":0,"last_offset":9,"leader_epoch":3,"crc":9}"#;
        let logs = parse(inspected, "abc").unwrap();
        assert_eq!(logs, Logs::from([(1, vec![Batch { offsets: 0..5, epoch: 3, crc: 9 }])]));
    }
}
