//! Kafka's error codes.

use std::fmt;

/// The outcome of a request or of a part of it. Every code is representable; those that Kafka defines have
/// constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($(($code:literal, $constant:ident, $class:ident),)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("Code ", stringify!($code), ".")]
                pub const $constant: Self = Self($code);
            )*

            /// Every code that Kafka defines, ascending.
            pub const ALL: &'static [Self] = &[$(Self($code)),*];

            /// Kafka's name; "UNKNOWN_CODE" for a code that Kafka does not define.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($constant),)*
                    _ => "UNKNOWN_CODE",
                }
            }

            /// Whether Kafka's own client tries again after this.
            pub fn is_retriable(self) -> bool {
                match self.0 {
                    $($code => error_codes!(@ $class),)*
                    _ => false,
                }
            }
        }
    };
    (@ retriable) => { true };
    (@ permanent) => { false };
}

error_codes! {
    (-1, UNKNOWN_SERVER_ERROR, permanent),
    (0, NONE, permanent),
    (1, OFFSET_OUT_OF_RANGE, permanent),
    (2, CORRUPT_MESSAGE, retriable),
    (3, UNKNOWN_TOPIC_OR_PARTITION, retriable),
    (4, INVALID_FETCH_SIZE, permanent),
    (5, LEADER_NOT_AVAILABLE, retriable),
    (6, NOT_LEADER_OR_FOLLOWER, retriable),
    (7, REQUEST_TIMED_OUT, retriable),
    (8, BROKER_NOT_AVAILABLE, permanent),
    (9, REPLICA_NOT_AVAILABLE, retriable),
    (10, MESSAGE_TOO_LARGE, permanent),
    (11, STALE_CONTROLLER_EPOCH, permanent),
    (12, OFFSET_METADATA_TOO_LARGE, permanent),
    (13, NETWORK_EXCEPTION, retriable),
    (14, COORDINATOR_LOAD_IN_PROGRESS, retriable),
    (15, COORDINATOR_NOT_AVAILABLE, retriable),
    (16, NOT_COORDINATOR, retriable),
    (17, INVALID_TOPIC_EXCEPTION, permanent),
    (18, RECORD_LIST_TOO_LARGE, permanent),
    (19, NOT_ENOUGH_REPLICAS, retriable),
    (20, NOT_ENOUGH_REPLICAS_AFTER_APPEND, retriable),
    (21, INVALID_REQUIRED_ACKS, permanent),
    (22, ILLEGAL_GENERATION, permanent),
    (23, INCONSISTENT_GROUP_PROTOCOL, permanent),
    (24, INVALID_GROUP_ID, permanent),
    (25, UNKNOWN_MEMBER_ID, permanent),
    (26, INVALID_SESSION_TIMEOUT, permanent),
    (27, REBALANCE_IN_PROGRESS, permanent),
    (28, INVALID_COMMIT_OFFSET_SIZE, permanent),
    (29, TOPIC_AUTHORIZATION_FAILED, permanent),
    (30, GROUP_AUTHORIZATION_FAILED, permanent),
    (31, CLUSTER_AUTHORIZATION_FAILED, permanent),
    (32, INVALID_TIMESTAMP, permanent),
    (33, UNSUPPORTED_SASL_MECHANISM, permanent),
    (34, ILLEGAL_SASL_STATE, permanent),
    (35, UNSUPPORTED_VERSION, permanent),
    (36, TOPIC_ALREADY_EXISTS, permanent),
    (37, INVALID_PARTITIONS, permanent),
    (38, INVALID_REPLICATION_FACTOR, permanent),
    (39, INVALID_REPLICA_ASSIGNMENT, permanent),
    (40, INVALID_CONFIG, permanent),
    (41, NOT_CONTROLLER, retriable),
    (42, INVALID_REQUEST, permanent),
    (43, UNSUPPORTED_FOR_MESSAGE_FORMAT, permanent),
    (44, POLICY_VIOLATION, permanent),
    (45, OUT_OF_ORDER_SEQUENCE_NUMBER, permanent),
    (46, DUPLICATE_SEQUENCE_NUMBER, permanent),
    (47, INVALID_PRODUCER_EPOCH, permanent),
    (48, INVALID_TXN_STATE, permanent),
    (49, INVALID_PRODUCER_ID_MAPPING, permanent),
    (50, INVALID_TRANSACTION_TIMEOUT, permanent),
    (51, CONCURRENT_TRANSACTIONS, retriable),
    (52, TRANSACTION_COORDINATOR_FENCED, permanent),
    (53, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, permanent),
    (54, SECURITY_DISABLED, permanent),
    (55, OPERATION_NOT_ATTEMPTED, permanent),
    (56, KAFKA_STORAGE_ERROR, retriable),
    (57, LOG_DIR_NOT_FOUND, permanent),
    (58, SASL_AUTHENTICATION_FAILED, permanent),
    (59, UNKNOWN_PRODUCER_ID, permanent),
    (60, REASSIGNMENT_IN_PROGRESS, permanent),
    (61, DELEGATION_TOKEN_AUTH_DISABLED, permanent),
    (62, DELEGATION_TOKEN_NOT_FOUND, permanent),
    (63, DELEGATION_TOKEN_OWNER_MISMATCH, permanent),
    (64, DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, permanent),
    (65, DELEGATION_TOKEN_AUTHORIZATION_FAILED, permanent),
    (66, DELEGATION_TOKEN_EXPIRED, permanent),
    (67, INVALID_PRINCIPAL_TYPE, permanent),
    (68, NON_EMPTY_GROUP, permanent),
    (69, GROUP_ID_NOT_FOUND, permanent),
    (70, FETCH_SESSION_ID_NOT_FOUND, retriable),
    (71, INVALID_FETCH_SESSION_EPOCH, retriable),
    (72, LISTENER_NOT_FOUND, retriable),
    (73, TOPIC_DELETION_DISABLED, permanent),
    (74, FENCED_LEADER_EPOCH, retriable),
    (75, UNKNOWN_LEADER_EPOCH, retriable),
    (76, UNSUPPORTED_COMPRESSION_TYPE, permanent),
    (77, STALE_BROKER_EPOCH, permanent),
    (78, OFFSET_NOT_AVAILABLE, retriable),
    (79, MEMBER_ID_REQUIRED, permanent),
    (80, PREFERRED_LEADER_NOT_AVAILABLE, retriable),
    (81, GROUP_MAX_SIZE_REACHED, permanent),
    (82, FENCED_INSTANCE_ID, permanent),
    (83, ELIGIBLE_LEADERS_NOT_AVAILABLE, retriable),
    (84, ELECTION_NOT_NEEDED, retriable),
    (85, NO_REASSIGNMENT_IN_PROGRESS, permanent),
    (86, GROUP_SUBSCRIBED_TO_TOPIC, permanent),
    (87, INVALID_RECORD, permanent),
    (88, UNSTABLE_OFFSET_COMMIT, retriable),
    (89, THROTTLING_QUOTA_EXCEEDED, retriable),
    (90, PRODUCER_FENCED, permanent),
    (91, RESOURCE_NOT_FOUND, permanent),
    (92, DUPLICATE_RESOURCE, permanent),
    (93, UNACCEPTABLE_CREDENTIAL, permanent),
    (94, INCONSISTENT_VOTER_SET, permanent),
    (95, INVALID_UPDATE_VERSION, permanent),
    (96, FEATURE_UPDATE_FAILED, permanent),
    (97, PRINCIPAL_DESERIALIZATION_FAILURE, permanent),
    (98, SNAPSHOT_NOT_FOUND, permanent),
    (99, POSITION_OUT_OF_RANGE, permanent),
    (100, UNKNOWN_TOPIC_ID, retriable),
    (101, DUPLICATE_BROKER_REGISTRATION, permanent),
    (102, BROKER_ID_NOT_REGISTERED, permanent),
    (103, INCONSISTENT_TOPIC_ID, retriable),
    (104, INCONSISTENT_CLUSTER_ID, permanent),
    (105, TRANSACTIONAL_ID_NOT_FOUND, permanent),
    (106, FETCH_SESSION_TOPIC_ID_ERROR, retriable),
    (107, INELIGIBLE_REPLICA, permanent),
    (108, NEW_LEADER_ELECTED, permanent),
    (109, OFFSET_MOVED_TO_TIERED_STORAGE, permanent),
    (110, FENCED_MEMBER_EPOCH, permanent),
    (111, UNRELEASED_INSTANCE_ID, permanent),
    (112, UNSUPPORTED_ASSIGNOR, permanent),
    (113, STALE_MEMBER_EPOCH, permanent),
    (114, MISMATCHED_ENDPOINT_TYPE, permanent),
    (115, UNSUPPORTED_ENDPOINT_TYPE, permanent),
    (116, UNKNOWN_CONTROLLER_ID, permanent),
    (117, UNKNOWN_SUBSCRIPTION_ID, permanent),
    (118, TELEMETRY_TOO_LARGE, permanent),
    (119, INVALID_REGISTRATION, permanent),
    (120, TRANSACTION_ABORTABLE, permanent),
    (121, INVALID_RECORD_STATE, permanent),
    (122, SHARE_SESSION_NOT_FOUND, retriable),
    (123, INVALID_SHARE_SESSION_EPOCH, retriable),
    (124, FENCED_STATE_EPOCH, permanent),
    (125, INVALID_VOTER_KEY, permanent),
    (126, DUPLICATE_VOTER, permanent),
    (127, VOTER_NOT_FOUND, permanent),
    (128, INVALID_REGULAR_EXPRESSION, permanent),
    (129, REBOOTSTRAP_REQUIRED, permanent),
    (130, STREAMS_INVALID_TOPOLOGY, permanent),
    (131, STREAMS_INVALID_TOPOLOGY_EPOCH, permanent),
    (132, STREAMS_TOPOLOGY_FENCED, permanent),
    (133, SHARE_SESSION_LIMIT_REACHED, retriable),
    (134, GROUP_DELETION_FAILED, permanent),
    (135, STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED, permanent),
    (136, CONTROLLER_ID_NOT_REGISTERED, permanent),
}

impl ErrorCode {
    /// Whether there was no error.
    pub fn is_ok(self) -> bool {
        self == Self::NONE
    }

    /// Whether there was an error.
    pub fn is_error(self) -> bool {
        self != Self::NONE
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
