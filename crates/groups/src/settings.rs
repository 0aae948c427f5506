//! What coordinators go by.

use crate::consumer::ConsumerSettings;
use std::time::Duration;

/// What a coordinator goes by. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The shortest session that a classic member may ask for (`group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
    /// The longest one (`group.max.session.timeout.ms`).
    pub max_session_timeout: Duration,
    /// How long the first rebalance of an empty classic group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// The most members of a classic group (`group.max.size`).
    pub max_size: usize,
    /// The longest text that a client may keep with an offset (`offset.metadata.max.bytes`).
    pub offset_metadata_max_bytes: usize,
    /// For how long the offsets of a group are kept that is not in use (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often they are looked through (`offsets.retention.check.interval.ms`).
    pub retention_check_interval: Duration,
    /// Groups of the new protocol.
    pub consumer: ConsumerSettings,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            retention_check_interval: Duration::from_secs(600),
            consumer: ConsumerSettings::default(),
        }
    }
}
