//! What a consumer asks of brokers, each in a task of its own that ends with a report.

use super::reader::Reader;
use super::{ConsumerConfig, Key};
use crate::{Client, ClientError, EARLIEST, Isolation, LATEST};
use bytes::Bytes;
use highwater_env::{Env, sleep};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use highwater_wire::messages::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use highwater_wire::{ErrorCode, Records, Str};
use std::collections::BTreeSet;
use tokio::sync::mpsc::UnboundedSender;

/// The last version of Fetch that names topics.
const LAST_BY_NAME: i16 = 12;

/// A partition to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub key: Key,
    pub topic_id: TopicId,
    pub generation: u64,
    pub leader_epoch: LeaderEpoch,
    pub offset: Offset,
}

/// What came of one partition.
#[derive(Debug)]
pub(crate) struct Answered {
    pub wanted: Wanted,
    pub result: Result<Fetched, ClientError>,
}

/// What a broker sent of one partition.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub high_watermark: Offset,
    bytes: Bytes,
    aborted: Vec<AbortedTransaction>,
}

impl Fetched {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn into_reader(self, wanted: &Wanted, config: &ConsumerConfig) -> Reader {
        let limit = config.max_decompressed_bytes;
        Reader::new(wanted.key.clone(), wanted.offset, self.bytes, config.isolation, self.aborted, limit)
    }
}

/// What a task has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// A fetch from one broker.
    Fetched { broker: BrokerId, partitions: Vec<Answered> },
    /// A look-up of an offset.
    Found { key: Key, generation: u64, result: Result<Offset, ClientError> },
    /// Metadata was asked for; an error if that showed something that does not pass by itself.
    Refreshed(Result<(), ClientError>),
}

/// Fetches from one broker.
pub(crate) async fn run<E: Env>(
    client: Client<E>,
    config: ConsumerConfig,
    broker: BrokerId,
    wanted: Vec<Wanted>,
    reporter: UnboundedSender<Report>,
) {
    let result = ask(&client, &config, broker, &wanted).await;
    let partitions = wanted
        .into_iter()
        .map(|wanted| {
            let result = match &result {
                Ok(answer) => result_of(answer, &wanted),
                Err(error) => Err(error.clone()),
            };
            Answered { wanted, result }
        })
        .collect();
    // A consumer that is gone wants no report.
    let _ = reporter.send(Report::Fetched { broker, partitions });
}

/// Where a partition's reading is to begin.
pub(crate) struct Sought {
    pub(crate) key: Key,
    pub(crate) generation: u64,
    pub(crate) time: Timestamp,
    /// Where it was to go on, which a broker said is no offset of the partition.
    pub(crate) from: Option<Offset>,
}

/// Looks up where a partition's reading begins. What was out of range at one leader may not be so at the next one,
/// which has not heard yet that records were deleted: then reading goes on where it was, and records are neither handed
/// out again nor left out.
pub(crate) async fn find<E: Env>(
    client: Client<E>,
    sought: Sought,
    isolation: Isolation,
    reporter: UnboundedSender<Report>,
) {
    let Sought { key, generation, time, from } = sought;
    let find = async |time| find_offset(&client, &key, time, isolation).await;
    let result = async {
        if let Some(from) = from
            && find(EARLIEST).await? <= from
            && from <= find(LATEST).await?
        {
            return Ok(from);
        }
        find(time).await
    };
    let result = result.await;
    let _ = reporter.send(Report::Found { key, generation, result });
}

/// Asks for metadata; holds off the next asking for a moment if that told nothing new, or not enough.
pub(crate) async fn refresh<E: Env>(
    client: Client<E>,
    topics: BTreeSet<Str>,
    reporter: UnboundedSender<Report>,
) {
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    let asked = client.refresh(&names, false).await;
    let is_answered = asked.is_ok();
    let result = match asked {
        Ok(refused) => match refused.into_iter().find(|(_, code)| !code.is_retriable()) {
            Some((topic, code)) => {
                Err(ClientError::Refused { what: format!("topic {topic}"), code, message: None })
            }
            None => Ok(()),
        },
        Err(error) if error.is_retriable() => Ok(()),
        Err(error) => Err(error),
    };
    let known = client.metadata();
    let is_led = |topic: &Str| {
        let topic = known.topics.get(topic);
        topic.is_some_and(|topic| topic.partitions.iter().all(|partition| partition.leader.is_some()))
    };
    if !is_answered || !topics.iter().all(is_led) {
        sleep(client.env().clock(), client.backoff(0)).await;
    }
    let _ = reporter.send(Report::Refreshed(result));
}

async fn find_offset<E: Env>(
    client: &Client<E>,
    (topic, partition): &Key,
    time: Timestamp,
    isolation: Isolation,
) -> Result<Offset, ClientError> {
    let found = client.list_offset(topic, *partition, time, isolation).await?;
    match found.offset {
        Some(offset) => Ok(offset),
        None if time == EARLIEST || time == LATEST => Ok(Offset::ZERO),
        None => {
            let end = client.list_offset(topic, *partition, LATEST, isolation).await?;
            Ok(end.offset.unwrap_or(Offset::ZERO))
        }
    }
}

async fn ask<E: Env>(
    client: &Client<E>,
    config: &ConsumerConfig,
    broker: BrokerId,
    wanted: &[Wanted],
) -> Result<FetchResponse, ClientError> {
    let by_id = wanted.iter().all(|wanted| wanted.topic_id != TopicId::default());
    let limit = if by_id { i16::MAX } else { LAST_BY_NAME };
    let answer = client.call(broker, &request(config, wanted), limit).await?;
    ClientError::check(answer.error_code, None, || format!("fetching from broker {broker}"))?;
    Ok(answer)
}

fn request(config: &ConsumerConfig, wanted: &[Wanted]) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for wanted in wanted {
        let (name, partition) = &wanted.key;
        let partition = FetchPartition {
            partition: *partition,
            current_leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.offset,
            partition_max_bytes: config.partition_max_bytes,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|topic| topic.topic == *name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: name.clone(),
                topic_id: wanted.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.min_bytes,
        max_bytes: config.max_bytes,
        isolation_level: config.isolation.wire(),
        topics,
        ..FetchRequest::default()
    }
}

fn result_of(answer: &FetchResponse, wanted: &Wanted) -> Result<Fetched, ClientError> {
    let (name, partition) = &wanted.key;
    let topic = answer.responses.iter().find(|topic| {
        // Versions by id leave the name empty, and those by name the id.
        topic.topic == *name || (topic.topic.is_empty() && topic.topic_id == wanted.topic_id)
    });
    let data =
        topic.and_then(|topic| topic.partitions.iter().find(|data| data.partition_index == *partition));
    let Some(data) = data else {
        return Err(missing(name, *partition));
    };
    if data.error_code == ErrorCode::CORRUPT_MESSAGE {
        // Kafka counts it among what may pass. A reader that waits in silence for a disk to heal is worse off than one
        // that is told, as the Java client tells it.
        return Err(ClientError::Corrupt {
            topic: name.to_string(),
            partition: partition.0,
            offset: wanted.offset.0,
            cause: "the broker found its records damaged there, and does not serve them".to_owned(),
        });
    }
    ClientError::check(data.error_code, None, || {
        format!("{name}-{partition} cannot be read at {}", wanted.offset)
    })?;
    Ok(Fetched {
        high_watermark: data.high_watermark,
        bytes: record_bytes(data, name, *partition)?,
        aborted: data.aborted_transactions.clone().unwrap_or_default(),
    })
}

fn missing(topic: &str, partition: PartitionIndex) -> ClientError {
    ClientError::Protocol {
        peer: "the broker".to_owned(),
        cause: format!("the answer says nothing of {topic}-{partition}"),
    }
}

fn record_bytes(data: &PartitionData, topic: &str, partition: PartitionIndex) -> Result<Bytes, ClientError> {
    match &data.records {
        Records::Null => Ok(Bytes::new()),
        Records::Bytes(bytes) => Ok(bytes.clone()),
        // Decoding gives one of the two above.
        Records::Chain(_) | Records::External { .. } => Err(missing(topic, partition)),
    }
}
