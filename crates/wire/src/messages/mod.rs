//! The messages: one module per API, request and response together.
//!
//! Struct and field names are those of Kafka's schemas, and so are the defaults, but for one rule: whatever
//! may be null is null by default, even where a schema has an empty string or array instead. Some nested
//! structs of different APIs share a name (`EpochEndOffset`, `AlterConfigsResource`, `AlterableConfig`,
//! `DescribedGroup`, `Assignment`, `TopicPartitions`): those are named with their module.

pub mod add_raft_voter;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod remove_raft_voter;
mod shared;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;

// A name that two modules have cannot be used from here, and the compiler says so at its use.
#[allow(ambiguous_glob_reexports)]
mod all {
    pub use super::add_raft_voter::*;
    pub use super::alter_configs::*;
    pub use super::alter_partition_reassignments::*;
    pub use super::api_versions::*;
    pub use super::consumer_group_describe::*;
    pub use super::consumer_group_heartbeat::*;
    pub use super::create_partitions::*;
    pub use super::create_topics::*;
    pub use super::delete_groups::*;
    pub use super::delete_records::*;
    pub use super::delete_topics::*;
    pub use super::describe_cluster::*;
    pub use super::describe_configs::*;
    pub use super::describe_groups::*;
    pub use super::describe_log_dirs::*;
    pub use super::describe_quorum::*;
    pub use super::describe_topic_partitions::*;
    pub use super::elect_leaders::*;
    pub use super::fetch::*;
    pub use super::find_coordinator::*;
    pub use super::heartbeat::*;
    pub use super::incremental_alter_configs::*;
    pub use super::init_producer_id::*;
    pub use super::join_group::*;
    pub use super::leave_group::*;
    pub use super::list_groups::*;
    pub use super::list_offsets::*;
    pub use super::list_partition_reassignments::*;
    pub use super::metadata::*;
    pub use super::offset_commit::*;
    pub use super::offset_delete::*;
    pub use super::offset_fetch::*;
    pub use super::offset_for_leader_epoch::*;
    pub use super::produce::*;
    pub use super::remove_raft_voter::*;
    pub use super::sync_group::*;
    pub use super::unregister_broker::*;
    pub use super::update_features::*;
}

pub use all::*;

/// Calls a macro with every request, as `module: Request,` pairs: for what is to be done with each of them,
/// such as testing it.
#[macro_export]
macro_rules! for_each_request {
    ($callback:ident) => {
        $callback! {
            add_raft_voter: AddRaftVoterRequest,
            alter_configs: AlterConfigsRequest,
            alter_partition_reassignments: AlterPartitionReassignmentsRequest,
            api_versions: ApiVersionsRequest,
            consumer_group_describe: ConsumerGroupDescribeRequest,
            consumer_group_heartbeat: ConsumerGroupHeartbeatRequest,
            create_partitions: CreatePartitionsRequest,
            create_topics: CreateTopicsRequest,
            delete_groups: DeleteGroupsRequest,
            delete_records: DeleteRecordsRequest,
            delete_topics: DeleteTopicsRequest,
            describe_cluster: DescribeClusterRequest,
            describe_configs: DescribeConfigsRequest,
            describe_groups: DescribeGroupsRequest,
            describe_log_dirs: DescribeLogDirsRequest,
            describe_quorum: DescribeQuorumRequest,
            describe_topic_partitions: DescribeTopicPartitionsRequest,
            elect_leaders: ElectLeadersRequest,
            fetch: FetchRequest,
            find_coordinator: FindCoordinatorRequest,
            heartbeat: HeartbeatRequest,
            incremental_alter_configs: IncrementalAlterConfigsRequest,
            init_producer_id: InitProducerIdRequest,
            join_group: JoinGroupRequest,
            leave_group: LeaveGroupRequest,
            list_groups: ListGroupsRequest,
            list_offsets: ListOffsetsRequest,
            list_partition_reassignments: ListPartitionReassignmentsRequest,
            metadata: MetadataRequest,
            offset_commit: OffsetCommitRequest,
            offset_delete: OffsetDeleteRequest,
            offset_fetch: OffsetFetchRequest,
            offset_for_leader_epoch: OffsetForLeaderEpochRequest,
            produce: ProduceRequest,
            remove_raft_voter: RemoveRaftVoterRequest,
            sync_group: SyncGroupRequest,
            unregister_broker: UnregisterBrokerRequest,
            update_features: UpdateFeaturesRequest,
        }
    };
}
