//! What stands in the cluster when all is quiet, as a fresh consumer finds it.

use super::clients::Machine;
use crate::executor::SimEnv;
use crate::history::{FinalPartition, FinalRecord, FinalState, value_of};
use highwater_client::{
    Admin, Client, ClientError, Consumer, ConsumerConfig, EARLIEST, LATEST, MAX_TIMESTAMP, OffsetReset,
    Resource, StartAt, TopicMetadata,
};
use highwater_types::{LogId, Offset, PartitionIndex, Timestamp};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeMap;
use std::time::Duration;

/// For how long a partition is read that brings nothing more.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of how many records one has its time looked up.
const LOOK_UP_ONE_IN: usize = 40;
/// How long to wait before a broker is asked again that does not know a topic.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a partition is read anew whose start was moved by retention in the middle of it, and how often a broker is
/// asked for a topic that it does not know.
const MOST_ATTEMPTS: u32 = 10;

/// Reads everything. A partition that cannot be read is written down as such.
pub(super) async fn read(machine: &Machine) -> Result<FinalState, ClientError> {
    let client = machine.try_connect().await?;
    let admin = Admin::new(client.clone());
    let cluster = client.refresh_all().await?;
    let mut state = FinalState::default();
    // What brokers keep for themselves was sent by no client.
    for (name, topic) in cluster.topics.iter().filter(|(_, topic)| !topic.is_internal) {
        let Some(config) = config(machine, &client, &admin, name).await? else { continue };
        for partition in &topic.partitions {
            let key = (name.clone(), partition.index);
            match read_steadily(machine, &client, &admin, &key, topic).await {
                Ok(mut read) => {
                    if config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
                        // Compaction may have removed what was read, before it was looked up.
                        read.list_offsets.retain(|&(query, _)| [EARLIEST.0, LATEST.0].contains(&query));
                    }
                    state.partitions.insert(key, FinalPartition { config: config.clone(), ..read });
                }
                // Its deletion had not come to the broker that listed it.
                Err(_) if !client.refresh_all().await?.topics.contains_key(name) => {}
                Err(why) => {
                    machine.env.note(&format!("the final read of {}-{} fails: {why}", key.0, key.1));
                    state.unreadable.insert(key, why);
                }
            }
        }
    }
    state.at = machine.env.true_now();
    Ok(state)
}

/// The configuration of a topic; None if the topic is gone. Another broker than the one that listed it may hear of it a
/// little later, or of its deletion a little earlier.
async fn config(
    machine: &Machine,
    client: &Client<SimEnv>,
    admin: &Admin<SimEnv>,
    topic: &str,
) -> Result<Option<BTreeMap<String, String>>, ClientError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match admin.describe_configs(&Resource::Topic(topic.to_owned())).await {
            Ok(described) => {
                let set =
                    described.into_iter().filter_map(|it| Some((it.name.to_string(), it.value?.to_string())));
                return Ok(Some(set.collect()));
            }
            Err(error)
                if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                    && attempts < MOST_ATTEMPTS =>
            {
                machine.pause(PAUSE).await;
                if !client.refresh_all().await?.topics.contains_key(topic) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads a partition, and reads it anew if retention took away what was to be read next.
async fn read_steadily(
    machine: &Machine,
    client: &Client<SimEnv>,
    admin: &Admin<SimEnv>,
    key: &(Str, PartitionIndex),
    metadata: &TopicMetadata,
) -> Result<FinalPartition, String> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (start, why) = match read_partition(machine, client, admin, key, metadata).await {
            Ok(read) => return Ok(read),
            Err(failed) => failed,
        };
        let now = admin.list_offset(&key.0, key.1, EARLIEST).await.ok().and_then(|found| found.offset);
        if attempts >= MOST_ATTEMPTS || now.is_none_or(|now| now <= start) {
            return Err(why);
        }
    }
}

/// Reads a partition once. An error comes with the start that was found before.
async fn read_partition(
    machine: &Machine,
    client: &Client<SimEnv>,
    admin: &Admin<SimEnv>,
    (topic, partition): &(Str, PartitionIndex),
    metadata: &TopicMetadata,
) -> Result<FinalPartition, (Offset, String)> {
    let text = |error: ClientError| (Offset(i64::MAX), error.to_string());
    let find = async |query: Timestamp| admin.list_offset(topic, *partition, query).await.map_err(text);
    let start = find(EARLIEST).await?.offset.unwrap_or_default();
    let end = find(LATEST).await?.offset.unwrap_or_default();
    let config = ConsumerConfig { offset_reset: OffsetReset::Error, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client.clone(), config).map_err(text)?;
    consumer.assign([(topic.clone(), *partition, StartAt::Offset(start))]);
    let records =
        read_records(machine, &mut consumer, (topic, *partition), end).await.map_err(|why| (start, why))?;
    // What was sent without waiting for an answer may still arrive, and is then a part of the log.
    let end = records.last().map_or(end, |last| end.max(last.offset.next()));
    let mut queries = vec![EARLIEST, LATEST, MAX_TIMESTAMP];
    for record in records.iter().step_by(LOOK_UP_ONE_IN) {
        queries.extend([record.timestamp, Timestamp(record.timestamp.0 + 1)]);
    }
    let mut list_offsets = Vec::new();
    for query in queries {
        let found = find(query).await?;
        list_offsets.push((query.0, found.offset.map(|offset| (offset, found.timestamp))));
    }
    // Retention may have gone on while the partition was read, and late records may have come.
    let now = find(EARLIEST).await?.offset.unwrap_or_default();
    let moved = now > start || find(LATEST).await?.offset != Some(end);
    Ok(FinalPartition {
        log: LogId { topic: metadata.id, partition: *partition },
        start: now,
        end,
        records: records.into_iter().filter(|record| record.offset >= now).collect(),
        list_offsets: if moved { Vec::new() } else { list_offsets },
        config: BTreeMap::new(),
    })
}

async fn read_records(
    machine: &Machine,
    consumer: &mut Consumer<SimEnv>,
    (topic, partition): (&Str, PartitionIndex),
    end: Offset,
) -> Result<Vec<FinalRecord>, String> {
    let mut records = Vec::new();
    let mut until = machine.env.true_now().after(PATIENCE);
    while consumer.position(topic, partition).is_none_or(|position| position < end) {
        let read = match consumer.poll(Duration::from_secs(1)).await {
            Ok(read) => read,
            Err(error) => return Err(error.to_string()),
        };
        let now = machine.env.true_now();
        if !read.is_empty() {
            until = now.after(PATIENCE);
        } else if now >= until {
            let at = consumer.position(topic, partition).unwrap_or_default();
            return Err(format!("nothing comes from offset {at} on, and the end is {end}"));
        }
        records.extend(read.into_iter().map(|record| FinalRecord {
            offset: record.offset,
            key: record.key,
            value: value_of(record.value, &record.headers),
            timestamp: record.timestamp,
        }));
    }
    Ok(records)
}
