//! The calls of the cluster's administration, with refusals as errors.

use super::plan::Plan;
use anyhow::bail;
use highwater_client::{Admin, Client, ClientError};
use highwater_env_tokio::TokioEnv;
use highwater_types::{BrokerId, PartitionIndex};
use highwater_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, DescribeQuorumPartition,
    DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic, ElectLeadersRequest,
    ElectLeadersResponse, ElectTopic, ListPartitionReassignmentsRequest, QuorumPartition,
    ReassignablePartition, ReassignableTopic, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeMap;

/// The name under which Kafka tells of the quorum's log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A partition's name and number.
pub type PartitionName = (String, i32);

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ongoing {
    /// The partition.
    pub partition: PartitionName,
    /// All its replicas, old and new.
    pub replicas: Vec<BrokerId>,
    /// Those that come.
    pub adding: Vec<BrokerId>,
    /// Those that go.
    pub removing: Vec<BrokerId>,
}

/// The calls.
pub struct Ask<'a> {
    client: &'a Client<TokioEnv>,
    timeout_ms: i32,
}

impl<'a> Ask<'a> {
    /// The calls through a client.
    pub fn new(admin: &'a Admin<TokioEnv>) -> Self {
        let client = admin.client();
        let timeout_ms = i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
        Self { client, timeout_ms }
    }

    /// The quorum's log, as its leader knows it if that can be reached; None if the broker cannot tell.
    pub async fn quorum(&self) -> anyhow::Result<Option<(QuorumPartition, DescribeQuorumResponse)>> {
        let partitions = vec![DescribeQuorumPartition { partition_index: PartitionIndex(0) }];
        let topic = DescribeQuorumTopic { topic_name: Str::from(METADATA_TOPIC), partitions };
        let request = DescribeQuorumRequest { topics: vec![topic] };
        let first = match self.client.call_any(&request).await {
            Ok(answer) => log_of(answer)?,
            Err(ClientError::Unsupported { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only the leader knows how far the others are. A controller alone cannot be asked.
        match self.client.call(first.0.leader_id, &request, i16::MAX).await {
            Ok(answer) => log_of(answer).map(Some),
            Err(_) => Ok(Some(first)),
        }
    }

    /// Elects leaders of these partitions, or of all: the preferred ones, or any that is left. Tells each that did not
    /// stay as it was, and why another could not be elected.
    pub async fn elect(
        &self,
        partitions: Option<&[PartitionName]>,
        is_unclean: bool,
    ) -> anyhow::Result<Vec<(PartitionName, ErrorCode, Option<String>)>> {
        let topics = partitions.map(|partitions| {
            by_topic(partitions.iter().map(|(topic, index)| (topic.as_str(), PartitionIndex(*index))))
                .into_iter()
                .map(|(topic, partitions)| ElectTopic { topic: Str::from(topic), partitions })
                .collect()
        });
        let request = ElectLeadersRequest {
            election_type: i8::from(is_unclean),
            topic_partitions: topics,
            timeout_ms: self.timeout_ms,
        };
        let answer = self
            .client
            .call_controller(&request, |answer: ElectLeadersResponse| {
                check("leaders cannot be elected", answer.error_code, None).map(|()| answer)
            })
            .await?;
        let results = answer.replica_election_results.into_iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            topic.partition_result.into_iter().map(move |result| {
                let message = result.error_message.map(|message| message.to_string());
                ((name.clone(), result.partition_id.0), result.error_code, message)
            })
        });
        Ok(results.collect())
    }

    /// Moves partitions to where a plan has them.
    pub async fn reassign(&self, plan: &Plan) -> anyhow::Result<()> {
        self.alter(plan.iter().map(|(partition, replicas)| (partition, Some(replicas.clone())))).await
    }

    /// Calls off moves.
    pub async fn cancel(&self, partitions: &[PartitionName]) -> anyhow::Result<()> {
        self.alter(partitions.iter().map(|partition| (partition, None))).await
    }

    async fn alter(
        &self,
        changes: impl Iterator<Item = (&PartitionName, Option<Vec<BrokerId>>)>,
    ) -> anyhow::Result<()> {
        let changes = changes.map(|((topic, index), replicas)| {
            (topic.as_str(), ReassignablePartition { partition_index: PartitionIndex(*index), replicas })
        });
        let topics = by_topic(changes)
            .into_iter()
            .map(|(name, partitions)| ReassignableTopic { name: Str::from(name), partitions })
            .collect();
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms,
            topics,
            ..AlterPartitionReassignmentsRequest::default()
        };
        let answer = self
            .client
            .call_controller(&request, |answer: AlterPartitionReassignmentsResponse| {
                check("partitions cannot be moved", answer.error_code, answer.error_message.as_ref())
                    .map(|()| answer)
            })
            .await?;
        let mut refused = Vec::new();
        for topic in &answer.responses {
            for partition in topic.partitions.iter().filter(|partition| !partition.error_code.is_ok()) {
                let what = format!("{}-{}", topic.name, partition.partition_index);
                refused.extend(check(&what, partition.error_code, partition.error_message.as_ref()).err());
            }
        }
        match refused.split_first() {
            None => Ok(()),
            Some((first, [])) => bail!("{first}"),
            Some((first, rest)) => bail!("{first}; and {} more partitions were refused", rest.len()),
        }
    }

    /// The moves that are under way, as the controller knows them: another broker may not have heard of one yet that
    /// was just begun.
    pub async fn ongoing(&self) -> anyhow::Result<Vec<Ongoing>> {
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms, topics: None };
        let controller = Admin::new(self.client.clone()).describe_cluster().await?.controller_id;
        let answer = self.client.call(controller, &request, i16::MAX).await?;
        check("moves cannot be listed", answer.error_code, answer.error_message.as_ref())?;
        let ongoing = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.into_iter().map(move |partition| Ongoing {
                partition: (name.clone(), partition.partition_index.0),
                replicas: partition.replicas,
                adding: partition.adding_replicas,
                removing: partition.removing_replicas,
            })
        });
        Ok(ongoing.collect())
    }

    /// Has the cluster forget a broker that is gone.
    pub async fn unregister(&self, broker: BrokerId) -> Result<(), ClientError> {
        let forgotten = |answer: UnregisterBrokerResponse| {
            let what = format!("broker {broker} cannot be unregistered");
            check(&what, answer.error_code, answer.error_message.as_ref())
        };
        self.client.call_controller(&UnregisterBrokerRequest { broker_id: broker }, forgotten).await
    }
}

fn log_of(answer: DescribeQuorumResponse) -> anyhow::Result<(QuorumPartition, DescribeQuorumResponse)> {
    const WHAT: &str = "the quorum cannot be described";
    check(WHAT, answer.error_code, answer.error_message.as_ref())?;
    let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next().cloned();
    let Some(found) = found else { bail!("{WHAT}: the answer is empty") };
    check(WHAT, found.error_code, found.error_message.as_ref())?;
    Ok((found, answer))
}

fn check(what: &str, code: ErrorCode, message: Option<&Str>) -> Result<(), ClientError> {
    if code.is_ok() {
        return Ok(());
    }
    let message = message.filter(|message| !message.is_empty()).map(ToString::to_string);
    Err(ClientError::Refused { what: what.to_owned(), code, message })
}

fn by_topic<'a, T>(partitions: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}
