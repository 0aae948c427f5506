//! Random messages: every field of every struct by name, so that a new field cannot be forgotten here.

use bytes::Bytes;
use highwater_types::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Records, Str};
use rand::{Rng, RngExt};

/// A type with random values: biased to the edges, and to what is small.
pub trait Sample: Sized {
    fn sample(rng: &mut impl Rng) -> Self;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            fn sample(rng: &mut impl Rng) -> Self {
                match rng.random_range(0..8) {
                    0 => 0,
                    1 => -1,
                    2 => <$type>::MAX,
                    3 => <$type>::MIN,
                    4 => 1,
                    _ => rng.random(),
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64);

impl Sample for u16 {
    fn sample(rng: &mut impl Rng) -> Self {
        rng.random()
    }
}

macro_rules! newtypes {
    ($($type:ident),*) => {$(
        impl Sample for $type {
            fn sample(rng: &mut impl Rng) -> Self {
                Self(Sample::sample(rng))
            }
        }
    )*};
}

newtypes!(
    BrokerId,
    ErrorCode,
    LeaderEpoch,
    Offset,
    PartitionIndex,
    ProducerEpoch,
    ProducerId,
    Timestamp,
    TopicId
);

impl Sample for bool {
    fn sample(rng: &mut impl Rng) -> Self {
        rng.random()
    }
}

impl Sample for Uuid {
    fn sample(rng: &mut impl Rng) -> Self {
        if rng.random_range(0..4) == 0 { Self::ZERO } else { Self::from_random(rng.random()) }
    }
}

impl Sample for Str {
    fn sample(rng: &mut impl Rng) -> Self {
        // 127 and 128 bytes are where a compact length takes its second byte.
        let length = match rng.random_range(0..16) {
            0..4 => 0,
            4 => 126,
            5 => 127,
            6 => 128,
            _ => rng.random_range(1..12),
        };
        let alphabet = ['a', 'Z', '-', '"', '\\', '\n', 'é', '日', '🦀', '\u{0}'];
        let text: String = (0..length).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
        text.into()
    }
}

impl Sample for Bytes {
    fn sample(rng: &mut impl Rng) -> Self {
        let length = [0, 1, 7, 127, 128][rng.random_range(0..5)];
        Bytes::from_iter((0..length).map(|_| rng.random::<u8>()))
    }
}

impl Sample for Records {
    fn sample(rng: &mut impl Rng) -> Self {
        let length = match rng.random_range(0..6) {
            0 => return Self::Null,
            1 => 0,
            2 => 200,
            _ => rng.random_range(1..80),
        };
        Self::Bytes(Bytes::from_iter((0..length).map(|_| rng.random::<u8>())))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(rng: &mut impl Rng) -> Self {
        let count = [0, 0, 1, 1, 2, 3][rng.random_range(0..6)];
        (0..count).map(|_| T::sample(rng)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut impl Rng) -> Self {
        (rng.random_range(0..4) != 0).then(|| T::sample(rng))
    }
}

macro_rules! structs {
    ($($module:ident::$name:ident { $($field:ident),* $(; $own:ident: $value:expr)? })*) => {$(
        impl Sample for $module::$name {
            fn sample(rng: &mut impl Rng) -> Self {
                // A struct as it is by default is what tagged fields leave out.
                if rng.random_range(0..8) == 0 {
                    return Self::default();
                }
                Self { $($field: Sample::sample(rng),)* $($own: $value)? }
            }
        }
    )*};
}

structs! {
    produce::LeaderIdAndEpoch { leader_id, leader_epoch }
    produce::NodeEndpoint { node_id, host, port, rack }
    produce::ProduceRequest { transactional_id, acks, timeout_ms, topic_data }
    produce::TopicProduceData { name, topic_id, partition_data }
    produce::PartitionProduceData { index, records }
    produce::ProduceResponse { responses, throttle_time_ms, node_endpoints }
    produce::TopicProduceResponse { name, topic_id, partition_responses }
    produce::PartitionProduceResponse {
        index, error_code, base_offset, log_append_time_ms, log_start_offset, record_errors, error_message,
        current_leader
    }
    produce::BatchIndexAndErrorMessage { batch_index, batch_index_error_message }
    fetch::FetchRequest {
        cluster_id, replica_id, replica_state, max_wait_ms, min_bytes, max_bytes, isolation_level,
        session_id, session_epoch, topics, forgotten_topics_data, rack_id
    }
    fetch::ReplicaState { replica_id, replica_epoch }
    fetch::FetchTopic { topic, topic_id, partitions }
    fetch::FetchPartition {
        partition, current_leader_epoch, fetch_offset, last_fetched_epoch, log_start_offset,
        partition_max_bytes, replica_directory_id, high_watermark;
        // Kafka does not know this one.
        synced_end: Offset(-1)
    }
    fetch::ForgottenTopic { topic, topic_id, partitions }
    fetch::FetchResponse { throttle_time_ms, error_code, session_id, responses, node_endpoints }
    fetch::FetchableTopicResponse { topic, topic_id, partitions }
    fetch::PartitionData {
        partition_index, error_code, high_watermark, last_stable_offset, log_start_offset, diverging_epoch,
        current_leader, snapshot_id, aborted_transactions, preferred_read_replica, records
    }
    fetch::EpochEndOffset { epoch, end_offset }
    fetch::SnapshotId { end_offset, epoch }
    fetch::AbortedTransaction { producer_id, first_offset }
    list_offsets::ListOffsetsRequest { replica_id, isolation_level, topics, timeout_ms }
    list_offsets::ListOffsetsTopic { name, partitions }
    list_offsets::ListOffsetsPartition { partition_index, current_leader_epoch, timestamp }
    list_offsets::ListOffsetsResponse { throttle_time_ms, topics }
    list_offsets::ListOffsetsTopicResponse { name, partitions }
    list_offsets::ListOffsetsPartitionResponse {
        partition_index, error_code, timestamp, offset, leader_epoch
    }
    metadata::MetadataRequest {
        topics, allow_auto_topic_creation, include_cluster_authorized_operations,
        include_topic_authorized_operations
    }
    metadata::MetadataRequestTopic { topic_id, name }
    metadata::MetadataResponse {
        throttle_time_ms, brokers, cluster_id, controller_id, topics, cluster_authorized_operations,
        error_code
    }
    metadata::MetadataResponseBroker { node_id, host, port, rack }
    metadata::MetadataResponseTopic {
        error_code, name, topic_id, is_internal, partitions, topic_authorized_operations
    }
    metadata::MetadataResponsePartition {
        error_code, partition_index, leader_id, leader_epoch, replica_nodes, isr_nodes, offline_replicas
    }
    api_versions::ApiVersionsRequest { client_software_name, client_software_version }
    api_versions::ApiVersionsResponse {
        error_code, api_keys, throttle_time_ms, supported_features, finalized_features_epoch,
        finalized_features, zk_migration_ready
    }
    api_versions::ApiVersion { api_key, min_version, max_version }
    api_versions::SupportedFeatureKey { name, min_version, max_version }
    api_versions::FinalizedFeatureKey { name, max_version_level, min_version_level }
    create_topics::CreateTopicsRequest { topics, timeout_ms, validate_only }
    create_topics::CreatableTopic { name, num_partitions, replication_factor, assignments, configs }
    create_topics::CreatableReplicaAssignment { partition_index, broker_ids }
    create_topics::CreatableTopicConfig { name, value }
    create_topics::CreateTopicsResponse { throttle_time_ms, topics }
    create_topics::CreatableTopicResult {
        name, topic_id, error_code, error_message, topic_config_error_code, num_partitions,
        replication_factor, configs
    }
    create_topics::CreatableTopicConfigs { name, value, read_only, config_source, is_sensitive }
    delete_topics::DeleteTopicsRequest { topics, topic_names, timeout_ms }
    delete_topics::DeleteTopicState { name, topic_id }
    delete_topics::DeleteTopicsResponse { throttle_time_ms, responses }
    delete_topics::DeletableTopicResult { name, topic_id, error_code, error_message }
    describe_quorum::DescribeQuorumRequest { topics }
    describe_quorum::DescribeQuorumTopic { topic_name, partitions }
    describe_quorum::DescribeQuorumPartition { partition_index }
    describe_quorum::DescribeQuorumResponse { error_code, error_message, topics, nodes }
    describe_quorum::QuorumTopic { topic_name, partitions }
    describe_quorum::QuorumPartition {
        partition_index, error_code, error_message, leader_id, leader_epoch, high_watermark,
        current_voters, observers
    }
    describe_quorum::QuorumReplica {
        replica_id, replica_directory_id, log_end_offset, last_fetch_timestamp, last_caught_up_timestamp
    }
    describe_quorum::QuorumNode { node_id, listeners }
    describe_quorum::QuorumListener { name, host, port }
    elect_leaders::ElectLeadersRequest { election_type, topic_partitions, timeout_ms }
    elect_leaders::ElectTopic { topic, partitions }
    elect_leaders::ElectLeadersResponse { throttle_time_ms, error_code, replica_election_results }
    elect_leaders::ElectionResult { topic, partition_result }
    elect_leaders::ElectionPartitionResult { partition_id, error_code, error_message }
    alter_partition_reassignments::AlterPartitionReassignmentsRequest {
        timeout_ms, allow_replication_factor_change, topics
    }
    alter_partition_reassignments::ReassignableTopic { name, partitions }
    alter_partition_reassignments::ReassignablePartition { partition_index, replicas }
    alter_partition_reassignments::AlterPartitionReassignmentsResponse {
        throttle_time_ms, allow_replication_factor_change, error_code, error_message, responses
    }
    alter_partition_reassignments::ReassignableTopicResponse { name, partitions }
    alter_partition_reassignments::ReassignablePartitionResponse { partition_index, error_code, error_message }
    list_partition_reassignments::ListPartitionReassignmentsRequest { timeout_ms, topics }
    list_partition_reassignments::ListReassignmentsTopic { name, partition_indexes }
    list_partition_reassignments::ListPartitionReassignmentsResponse {
        throttle_time_ms, error_code, error_message, topics
    }
    list_partition_reassignments::OngoingTopicReassignment { name, partitions }
    list_partition_reassignments::OngoingPartitionReassignment {
        partition_index, replicas, adding_replicas, removing_replicas
    }
    unregister_broker::UnregisterBrokerRequest { broker_id }
    unregister_broker::UnregisterBrokerResponse { throttle_time_ms, error_code, error_message }
    update_features::UpdateFeaturesRequest { timeout_ms, feature_updates, validate_only }
    update_features::FeatureUpdateKey { feature, max_version_level, allow_downgrade, upgrade_type }
    update_features::UpdateFeaturesResponse { throttle_time_ms, error_code, error_message, results }
    update_features::UpdatableFeatureResult { feature, error_code, error_message }
    add_raft_voter::AddRaftVoterRequest { cluster_id, timeout_ms, voter_id, voter_directory_id, listeners }
    add_raft_voter::RaftVoterListener { name, host, port }
    add_raft_voter::AddRaftVoterResponse { throttle_time_ms, error_code, error_message }
    remove_raft_voter::RemoveRaftVoterRequest { cluster_id, voter_id, voter_directory_id }
    remove_raft_voter::RemoveRaftVoterResponse { throttle_time_ms, error_code, error_message }
    delete_records::DeleteRecordsRequest { topics, timeout_ms }
    delete_records::DeleteRecordsTopic { name, partitions }
    delete_records::DeleteRecordsPartition { partition_index, offset }
    delete_records::DeleteRecordsResponse { throttle_time_ms, topics }
    delete_records::DeleteRecordsTopicResult { name, partitions }
    delete_records::DeleteRecordsPartitionResult { partition_index, low_watermark, error_code }
    init_producer_id::InitProducerIdRequest {
        transactional_id, transaction_timeout_ms, producer_id, producer_epoch
    }
    init_producer_id::InitProducerIdResponse { throttle_time_ms, error_code, producer_id, producer_epoch }
    offset_for_leader_epoch::OffsetForLeaderEpochRequest { replica_id, topics }
    offset_for_leader_epoch::OffsetForLeaderTopic { topic, partitions }
    offset_for_leader_epoch::OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch }
    offset_for_leader_epoch::OffsetForLeaderEpochResponse { throttle_time_ms, topics }
    offset_for_leader_epoch::OffsetForLeaderTopicResult { topic, partitions }
    offset_for_leader_epoch::EpochEndOffset { error_code, partition, leader_epoch, end_offset }
    describe_configs::DescribeConfigsRequest { resources, include_synonyms, include_documentation }
    describe_configs::DescribeConfigsResource { resource_type, resource_name, configuration_keys }
    describe_configs::DescribeConfigsResponse { throttle_time_ms, results }
    describe_configs::DescribeConfigsResult {
        error_code, error_message, resource_type, resource_name, configs
    }
    describe_configs::DescribeConfigsResourceResult {
        name, value, read_only, config_source, is_sensitive, synonyms, config_type, documentation
    }
    describe_configs::DescribeConfigsSynonym { name, value, source }
    alter_configs::AlterConfigsRequest { resources, validate_only }
    alter_configs::AlterConfigsResource { resource_type, resource_name, configs }
    alter_configs::AlterableConfig { name, value }
    alter_configs::AlterConfigsResponse { throttle_time_ms, responses }
    alter_configs::AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
    describe_log_dirs::DescribeLogDirsRequest { topics }
    describe_log_dirs::DescribableLogDirTopic { topic, partitions }
    describe_log_dirs::DescribeLogDirsResponse { throttle_time_ms, error_code, results }
    describe_log_dirs::DescribeLogDirsResult {
        error_code, log_dir, topics, total_bytes, usable_bytes, is_cordoned
    }
    describe_log_dirs::DescribeLogDirsTopic { name, partitions }
    describe_log_dirs::DescribeLogDirsPartition { partition_index, partition_size, offset_lag, is_future_key }
    create_partitions::CreatePartitionsRequest { topics, timeout_ms, validate_only }
    create_partitions::CreatePartitionsTopic { name, count, assignments }
    create_partitions::CreatePartitionsAssignment { broker_ids }
    create_partitions::CreatePartitionsResponse { throttle_time_ms, results }
    create_partitions::CreatePartitionsTopicResult { name, error_code, error_message }
    incremental_alter_configs::IncrementalAlterConfigsRequest { resources, validate_only }
    incremental_alter_configs::AlterConfigsResource { resource_type, resource_name, configs }
    incremental_alter_configs::AlterableConfig { name, config_operation, value }
    incremental_alter_configs::IncrementalAlterConfigsResponse { throttle_time_ms, responses }
    describe_cluster::DescribeClusterRequest {
        include_cluster_authorized_operations, endpoint_type, include_fenced_brokers
    }
    describe_cluster::DescribeClusterResponse {
        throttle_time_ms, error_code, error_message, endpoint_type, cluster_id, controller_id, brokers,
        cluster_authorized_operations
    }
    describe_cluster::DescribeClusterBroker { broker_id, host, port, rack, is_fenced }
    describe_topic_partitions::DescribeTopicPartitionsRequest { topics, response_partition_limit, cursor }
    describe_topic_partitions::TopicRequest { name }
    describe_topic_partitions::Cursor { topic_name, partition_index }
    describe_topic_partitions::DescribeTopicPartitionsResponse { throttle_time_ms, topics, next_cursor }
    describe_topic_partitions::DescribeTopicPartitionsResponseTopic {
        error_code, name, topic_id, is_internal, partitions, topic_authorized_operations
    }
    describe_topic_partitions::DescribeTopicPartitionsResponsePartition {
        error_code, partition_index, leader_id, leader_epoch, replica_nodes, isr_nodes,
        eligible_leader_replicas, last_known_elr, offline_replicas
    }
    find_coordinator::FindCoordinatorRequest { key, key_type, coordinator_keys }
    find_coordinator::FindCoordinatorResponse {
        throttle_time_ms, error_code, error_message, node_id, host, port, coordinators
    }
    find_coordinator::Coordinator { key, node_id, host, port, error_code, error_message }
    join_group::JoinGroupRequest {
        group_id, session_timeout_ms, rebalance_timeout_ms, member_id, group_instance_id, protocol_type,
        protocols, reason
    }
    join_group::JoinGroupRequestProtocol { name, metadata }
    join_group::JoinGroupResponse {
        throttle_time_ms, error_code, generation_id, protocol_type, protocol_name, leader, skip_assignment,
        member_id, members
    }
    join_group::JoinGroupResponseMember { member_id, group_instance_id, metadata }
    sync_group::SyncGroupRequest {
        group_id, generation_id, member_id, group_instance_id, protocol_type, protocol_name, assignments
    }
    sync_group::SyncGroupRequestAssignment { member_id, assignment }
    sync_group::SyncGroupResponse { throttle_time_ms, error_code, protocol_type, protocol_name, assignment }
    heartbeat::HeartbeatRequest { group_id, generation_id, member_id, group_instance_id }
    heartbeat::HeartbeatResponse { throttle_time_ms, error_code }
    leave_group::LeaveGroupRequest { group_id, member_id, members }
    leave_group::MemberIdentity { member_id, group_instance_id, reason }
    leave_group::LeaveGroupResponse { throttle_time_ms, error_code, members }
    leave_group::MemberResponse { member_id, group_instance_id, error_code }
    offset_commit::OffsetCommitRequest {
        group_id, generation_id_or_member_epoch, member_id, group_instance_id, retention_time_ms, topics
    }
    offset_commit::OffsetCommitRequestTopic { name, topic_id, partitions }
    offset_commit::OffsetCommitRequestPartition {
        partition_index, committed_offset, committed_leader_epoch, committed_metadata
    }
    offset_commit::OffsetCommitResponse { throttle_time_ms, topics }
    offset_commit::OffsetCommitResponseTopic { name, topic_id, partitions }
    offset_commit::OffsetCommitResponsePartition { partition_index, error_code }
    offset_fetch::OffsetFetchRequest { group_id, topics, groups, require_stable }
    offset_fetch::OffsetFetchRequestTopic { name, partition_indexes }
    offset_fetch::OffsetFetchRequestGroup { group_id, member_id, member_epoch, topics }
    offset_fetch::OffsetFetchRequestTopics { name, topic_id, partition_indexes }
    offset_fetch::OffsetFetchResponse { throttle_time_ms, topics, error_code, groups }
    offset_fetch::OffsetFetchResponseTopic { name, partitions }
    offset_fetch::OffsetFetchResponsePartition {
        partition_index, committed_offset, committed_leader_epoch, metadata, error_code
    }
    offset_fetch::OffsetFetchResponseGroup { group_id, topics, error_code }
    offset_fetch::OffsetFetchResponseTopics { name, topic_id, partitions }
    offset_fetch::OffsetFetchResponsePartitions {
        partition_index, committed_offset, committed_leader_epoch, metadata, error_code
    }
    offset_delete::OffsetDeleteRequest { group_id, topics }
    offset_delete::OffsetDeleteRequestTopic { name, partitions }
    offset_delete::OffsetDeleteRequestPartition { partition_index }
    offset_delete::OffsetDeleteResponse { error_code, throttle_time_ms, topics }
    offset_delete::OffsetDeleteResponseTopic { name, partitions }
    offset_delete::OffsetDeleteResponsePartition { partition_index, error_code }
    describe_groups::DescribeGroupsRequest { groups, include_authorized_operations }
    describe_groups::DescribeGroupsResponse { throttle_time_ms, groups }
    describe_groups::DescribedGroup {
        error_code, error_message, group_id, group_state, protocol_type, protocol_data, members,
        authorized_operations
    }
    describe_groups::DescribedGroupMember {
        member_id, group_instance_id, client_id, client_host, member_metadata, member_assignment
    }
    list_groups::ListGroupsRequest { states_filter, types_filter }
    list_groups::ListGroupsResponse { throttle_time_ms, error_code, groups }
    list_groups::ListedGroup { group_id, protocol_type, group_state, group_type }
    delete_groups::DeleteGroupsRequest { groups_names }
    delete_groups::DeleteGroupsResponse { throttle_time_ms, results }
    delete_groups::DeletableGroupResult { group_id, error_code }
    consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
        group_id, member_id, member_epoch, instance_id, rack_id, rebalance_timeout_ms, subscribed_topic_names,
        subscribed_topic_regex, server_assignor, topic_partitions
    }
    consumer_group_heartbeat::TopicPartitions { topic_id, partitions }
    consumer_group_heartbeat::ConsumerGroupHeartbeatResponse {
        throttle_time_ms, error_code, error_message, member_id, member_epoch, heartbeat_interval_ms, assignment
    }
    consumer_group_heartbeat::Assignment { topic_partitions }
    consumer_group_describe::ConsumerGroupDescribeRequest { group_ids, include_authorized_operations }
    consumer_group_describe::ConsumerGroupDescribeResponse { throttle_time_ms, groups }
    consumer_group_describe::DescribedGroup {
        error_code, error_message, group_id, group_state, group_epoch, assignment_epoch, assignor_name, members,
        authorized_operations
    }
    consumer_group_describe::Member {
        member_id, instance_id, rack_id, member_epoch, client_id, client_host, subscribed_topic_names,
        subscribed_topic_regex, assignment, target_assignment, member_type
    }
    consumer_group_describe::Assignment { topic_partitions }
    consumer_group_describe::TopicPartitions { topic_id, topic_name, partitions }
}
