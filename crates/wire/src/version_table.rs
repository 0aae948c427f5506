//! Which APIs a broker serves, in which versions.

use crate::ApiKey;

/// The versions of one API that a broker advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedVersions {
    /// The API.
    pub key: ApiKey,
    /// The lowest version advertised.
    pub first: i16,
    /// The highest version advertised.
    pub last: i16,
}

const fn served(key: ApiKey, first: i16, last: i16) -> ServedVersions {
    ServedVersions { key, first, last }
}

/// Ascending by key. The ranges are those of Kafka 4.3 but for Produce: librdkafka before 2.11 silently stops
/// compressing when the advertised minimum is above 0, so 0-2 are advertised and then refused.
const TABLE: &[ServedVersions] = &[
    served(ApiKey::PRODUCE, 0, 13),
    served(ApiKey::FETCH, 4, 18),
    served(ApiKey::LIST_OFFSETS, 1, 11),
    served(ApiKey::METADATA, 0, 13),
    served(ApiKey::OFFSET_COMMIT, 2, 10),
    served(ApiKey::OFFSET_FETCH, 1, 10),
    served(ApiKey::FIND_COORDINATOR, 0, 6),
    served(ApiKey::JOIN_GROUP, 0, 9),
    served(ApiKey::HEARTBEAT, 0, 4),
    served(ApiKey::LEAVE_GROUP, 0, 5),
    served(ApiKey::SYNC_GROUP, 0, 5),
    served(ApiKey::DESCRIBE_GROUPS, 0, 6),
    served(ApiKey::LIST_GROUPS, 0, 5),
    served(ApiKey::API_VERSIONS, 0, 4),
    served(ApiKey::CREATE_TOPICS, 2, 7),
    served(ApiKey::DELETE_TOPICS, 1, 6),
    served(ApiKey::DELETE_RECORDS, 0, 2),
    served(ApiKey::INIT_PRODUCER_ID, 0, 5),
    served(ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, 4),
    served(ApiKey::DESCRIBE_CONFIGS, 1, 4),
    served(ApiKey::ALTER_CONFIGS, 0, 2),
    served(ApiKey::DESCRIBE_LOG_DIRS, 1, 5),
    served(ApiKey::CREATE_PARTITIONS, 0, 3),
    served(ApiKey::DELETE_GROUPS, 0, 2),
    served(ApiKey::ELECT_LEADERS, 0, 2),
    served(ApiKey::INCREMENTAL_ALTER_CONFIGS, 0, 1),
    served(ApiKey::ALTER_PARTITION_REASSIGNMENTS, 0, 1),
    served(ApiKey::LIST_PARTITION_REASSIGNMENTS, 0, 0),
    served(ApiKey::OFFSET_DELETE, 0, 0),
    served(ApiKey::DESCRIBE_QUORUM, 0, 2),
    served(ApiKey::UPDATE_FEATURES, 0, 2),
    served(ApiKey::DESCRIBE_CLUSTER, 0, 2),
    served(ApiKey::UNREGISTER_BROKER, 0, 0),
    served(ApiKey::CONSUMER_GROUP_HEARTBEAT, 0, 1),
    served(ApiKey::CONSUMER_GROUP_DESCRIBE, 0, 1),
    served(ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, 0),
    served(ApiKey::ADD_RAFT_VOTER, 0, 0),
    served(ApiKey::REMOVE_RAFT_VOTER, 0, 0),
];

/// The APIs that a broker serves and the versions that it advertises, ascending by key.
pub fn version_table() -> &'static [ServedVersions] {
    TABLE
}
