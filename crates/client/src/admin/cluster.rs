//! Administration of the cluster itself: where replicas are, who leads, who votes.

use super::Admin;
use crate::ClientError;
use highwater_env::Env;
use highwater_types::{BrokerId, PartitionIndex, Uuid};
use highwater_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumTopic,
    ElectLeadersRequest, ElectLeadersResponse, ElectTopic, QuorumPartition, ReassignablePartition,
    ReassignableTopic, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use highwater_wire::{ErrorCode, Str};

/// What Kafka calls the log of the metadata.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl<E: Env> Admin<E> {
    /// Gives a partition other replicas, the preferred leader first; None gives up a reassignment that is under way.
    pub async fn reassign(
        &self,
        topic: &str,
        partition: PartitionIndex,
        replicas: Option<&[BrokerId]>,
    ) -> Result<(), ClientError> {
        let reassignable =
            ReassignablePartition { partition_index: partition, replicas: replicas.map(<[_]>::to_vec) };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change: true,
            topics: vec![ReassignableTopic { name: Str::from(topic), partitions: vec![reassignable] }],
        };
        let begun = |answer: AlterPartitionReassignmentsResponse| {
            let what = || format!("{topic}-{partition} cannot be given other replicas");
            ClientError::check(answer.error_code, answer.error_message.as_deref(), what)?;
            let result = self.first::<AlterPartitionReassignmentsRequest, _>(answer.responses)?;
            let result = self.first::<AlterPartitionReassignmentsRequest, _>(result.partitions)?;
            ClientError::check(result.error_code, result.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, begun).await
    }

    /// Lets the preferred replica of a partition lead, if it is in sync. That it leads already is no error.
    pub async fn elect_preferred(&self, topic: &str, partition: PartitionIndex) -> Result<(), ClientError> {
        let wanted = ElectTopic { topic: Str::from(topic), partitions: vec![partition] };
        let request = ElectLeadersRequest {
            election_type: 0,
            topic_partitions: Some(vec![wanted]),
            timeout_ms: self.timeout_ms(),
        };
        let elected = |answer: ElectLeadersResponse| {
            let what = || format!("no leader of {topic}-{partition} can be elected");
            ClientError::check(answer.error_code, None, what)?;
            let results = answer.replica_election_results.into_iter().flat_map(|of| of.partition_result);
            match results.into_iter().find(|result| result.error_code != ErrorCode::ELECTION_NOT_NEEDED) {
                Some(result) => ClientError::check(result.error_code, result.error_message.as_deref(), what),
                None => Ok(()),
            }
        };
        self.client.call_controller(&request, elected).await
    }

    /// The quorum of the metadata, as some broker sees it.
    pub async fn describe_quorum(&self) -> Result<QuorumPartition, ClientError> {
        let partition = DescribeQuorumPartition { partition_index: PartitionIndex(0) };
        let topic =
            DescribeQuorumTopic { topic_name: Str::from(METADATA_TOPIC), partitions: vec![partition] };
        let answer = self.client.call_any(&DescribeQuorumRequest { topics: vec![topic] }).await?;
        let what = || "the quorum cannot be described".to_owned();
        ClientError::check(answer.error_code, answer.error_message.as_deref(), what)?;
        let topic = self.first::<DescribeQuorumRequest, _>(answer.topics)?;
        let quorum = self.first::<DescribeQuorumRequest, _>(topic.partitions)?;
        ClientError::check(quorum.error_code, quorum.error_message.as_deref(), what)?;
        Ok(quorum)
    }

    /// Makes a node with that disk a voter, which follows the metadata already.
    pub async fn add_voter(&self, voter: BrokerId, disk: Uuid) -> Result<(), ClientError> {
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: self.timeout_ms(),
            voter_id: voter,
            voter_directory_id: disk,
            listeners: Vec::new(),
        };
        let added = |answer: AddRaftVoterResponse| {
            let what = || format!("node {voter} cannot be made a voter");
            ClientError::check(answer.error_code, answer.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, added).await
    }

    /// Takes a node with that disk out of the voters.
    pub async fn remove_voter(&self, voter: BrokerId, disk: Uuid) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: voter, voter_directory_id: disk };
        let removed = |answer: RemoveRaftVoterResponse| {
            let what = || format!("node {voter} cannot be taken out of the voters");
            ClientError::check(answer.error_code, answer.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, removed).await
    }
}
