//! A broker's configuration as values of their types.

use super::key::{Key, parse_bool, parse_long};
use super::registry::broker_key;

/// A broker's configuration, but for what sets the defaults of topics and for its addresses and directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_interval_ms: i32,
    /// `broker.session.timeout.ms`.
    pub broker_session_timeout_ms: i32,
    /// `connections.max.idle.ms`.
    pub connections_max_idle_ms: i64,
    /// `controller.quorum.election.timeout.ms`.
    pub controller_quorum_election_timeout_ms: i32,
    /// `default.replication.factor`, where it is set.
    pub default_replication_factor: Option<i16>,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `follower.replication.throttled.rate`.
    pub follower_replication_throttled_rate: i64,
    /// `group.consumer.heartbeat.interval.ms`.
    pub group_consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`.
    pub group_consumer_max_size: i32,
    /// `group.consumer.migration.policy`.
    pub group_consumer_migration_policy: String,
    /// `group.consumer.session.timeout.ms`.
    pub group_consumer_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub group_max_size: i32,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `initial.broker.registration.timeout.ms`.
    pub initial_broker_registration_timeout_ms: i32,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval_seconds: i64,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_per_broker_percentage: i32,
    /// `leader.replication.throttled.rate`.
    pub leader_replication_throttled_rate: i64,
    /// `log.cleaner.backoff.ms`.
    pub log_cleaner_backoff_ms: i64,
    /// `log.cleaner.dedupe.buffer.size`.
    pub log_cleaner_dedupe_buffer_size: i64,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: i64,
    /// `log.scrub.interval.ms`.
    pub log_scrub_interval_ms: i64,
    /// `log.scrub.io.max.bytes.per.second`.
    pub log_scrub_io_max_bytes_per_second: i64,
    /// `max.connections`.
    pub max_connections: i32,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: i32,
    /// `offsets.commit.timeout.ms`.
    pub offsets_commit_timeout_ms: i32,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.retention.minutes`.
    pub offsets_retention_minutes: i32,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i32,
    /// `replica.fetch.backoff.ms`.
    pub replica_fetch_backoff_ms: i32,
    /// `replica.fetch.max.bytes`.
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.min.bytes`.
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub replica_fetch_response_max_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub replica_fetch_wait_max_ms: i32,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// `replica.selector.class`, where it is set.
    pub replica_selector_class: Option<String>,
    /// `replica.socket.timeout.ms`.
    pub replica_socket_timeout_ms: i32,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: i32,
}

impl BrokerSettings {
    /// Reads the values; `value` gives one that its configuration takes.
    pub(super) fn from_lookup<'a>(value: impl Fn(&'static Key) -> Option<&'a str>) -> Self {
        let optional =
            |name: &str| value(broker_key(name).expect("fields are named after configurations in the table"));
        let text = |name| optional(name).expect("this configuration has a default");
        let long = |name| parse_long(text(name)).expect("values in force are checked");
        let int = |name| i32::try_from(long(name)).expect("values in force are checked");
        let flag = |name| parse_bool(text(name)).expect("values in force are checked");
        Self {
            auto_create_topics_enable: flag("auto.create.topics.enable"),
            auto_leader_rebalance_enable: flag("auto.leader.rebalance.enable"),
            broker_heartbeat_interval_ms: int("broker.heartbeat.interval.ms"),
            broker_session_timeout_ms: int("broker.session.timeout.ms"),
            connections_max_idle_ms: long("connections.max.idle.ms"),
            controller_quorum_election_timeout_ms: int("controller.quorum.election.timeout.ms"),
            default_replication_factor: optional("default.replication.factor")
                .map(|factor| factor.trim().parse().expect("values in force are checked")),
            delete_topic_enable: flag("delete.topic.enable"),
            fetch_max_bytes: int("fetch.max.bytes"),
            follower_replication_throttled_rate: long("follower.replication.throttled.rate"),
            group_consumer_heartbeat_interval_ms: int("group.consumer.heartbeat.interval.ms"),
            group_consumer_max_size: int("group.consumer.max.size"),
            group_consumer_migration_policy: text("group.consumer.migration.policy").to_owned(),
            group_consumer_session_timeout_ms: int("group.consumer.session.timeout.ms"),
            group_initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms"),
            group_max_session_timeout_ms: int("group.max.session.timeout.ms"),
            group_max_size: int("group.max.size"),
            group_min_session_timeout_ms: int("group.min.session.timeout.ms"),
            initial_broker_registration_timeout_ms: int("initial.broker.registration.timeout.ms"),
            leader_imbalance_check_interval_seconds: long("leader.imbalance.check.interval.seconds"),
            leader_imbalance_per_broker_percentage: int("leader.imbalance.per.broker.percentage"),
            leader_replication_throttled_rate: long("leader.replication.throttled.rate"),
            log_cleaner_backoff_ms: long("log.cleaner.backoff.ms"),
            log_cleaner_dedupe_buffer_size: long("log.cleaner.dedupe.buffer.size"),
            log_retention_check_interval_ms: long("log.retention.check.interval.ms"),
            log_scrub_interval_ms: long("log.scrub.interval.ms"),
            log_scrub_io_max_bytes_per_second: long("log.scrub.io.max.bytes.per.second"),
            max_connections: int("max.connections"),
            num_partitions: int("num.partitions"),
            offset_metadata_max_bytes: int("offset.metadata.max.bytes"),
            offsets_commit_timeout_ms: int("offsets.commit.timeout.ms"),
            offsets_retention_check_interval_ms: long("offsets.retention.check.interval.ms"),
            offsets_retention_minutes: int("offsets.retention.minutes"),
            offsets_topic_num_partitions: int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: int("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: int("offsets.topic.segment.bytes"),
            producer_id_expiration_ms: int("producer.id.expiration.ms"),
            replica_fetch_backoff_ms: int("replica.fetch.backoff.ms"),
            replica_fetch_max_bytes: int("replica.fetch.max.bytes"),
            replica_fetch_min_bytes: int("replica.fetch.min.bytes"),
            replica_fetch_response_max_bytes: int("replica.fetch.response.max.bytes"),
            replica_fetch_wait_max_ms: int("replica.fetch.wait.max.ms"),
            replica_lag_time_max_ms: long("replica.lag.time.max.ms"),
            replica_selector_class: optional("replica.selector.class").map(str::to_owned),
            replica_socket_timeout_ms: int("replica.socket.timeout.ms"),
            socket_request_max_bytes: int("socket.request.max.bytes"),
        }
    }
}
