//! How a consumer behaves.

use crate::{ClientError, Isolation};
use std::time::Duration;

/// What a consumer does when its position is not in the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// Goes on at the first offset that can be read.
    Earliest,
    /// Goes on at the end.
    #[default]
    Latest,
    /// Reports an error.
    Error,
}

/// How a consumer behaves. Names and defaults are those of Kafka's consumer where it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// What to do when a position is not in the partition.
    pub offset_reset: OffsetReset,
    /// Which records to read.
    pub isolation: Isolation,
    /// How long a broker may wait for `min_bytes`.
    pub max_wait: Duration,
    /// How many bytes a broker waits for.
    pub min_bytes: i32,
    /// The most that one answer carries, but for a first batch that is larger.
    pub max_bytes: i32,
    /// The most of it that is of one partition.
    pub partition_max_bytes: i32,
    /// The most records that one poll returns.
    pub max_poll_records: usize,
    /// How far the records of one batch may grow when decompressed.
    pub max_decompressed_bytes: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            max_poll_records: 500,
            max_decompressed_bytes: highwater_records::MAX_DECOMPRESSED_BYTES,
        }
    }
}

impl ConsumerConfig {
    pub(crate) fn check(&self, request_timeout: Duration) -> Result<(), ClientError> {
        let invalid = |text: &str| Err(ClientError::Invalid(text.to_owned()));
        if self.max_wait >= request_timeout {
            return invalid("max_wait must be shorter than the client's request_timeout");
        }
        if self.max_bytes <= 0 || self.partition_max_bytes <= 0 || self.max_poll_records == 0 {
            return invalid("max_bytes, partition_max_bytes and max_poll_records must be at least 1");
        }
        Ok(())
    }
}
