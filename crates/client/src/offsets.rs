//! Finding offsets: the ends of a partition, and the first record of a time.

use crate::{Client, ClientError};
use highwater_env::Env;
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use highwater_wire::Str;
use highwater_wire::messages::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

/// Asks ListOffsets for the end of a partition: the next offset.
pub const LATEST: Timestamp = Timestamp(-1);
/// Asks ListOffsets for the first offset that can be read.
pub const EARLIEST: Timestamp = Timestamp(-2);
/// Asks ListOffsets for the record with the largest timestamp.
pub const MAX_TIMESTAMP: Timestamp = Timestamp(-3);

/// The reader's -1: a consumer, not a replica.
const CONSUMER: BrokerId = BrokerId(-1);

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All below the high watermark.
    #[default]
    ReadUncommitted,
    /// Those below the last stable offset, without those of aborted transactions.
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    pub(crate) fn wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// What ListOffsets found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; None if no record is that late.
    pub offset: Option<Offset>,
    /// The record's timestamp, where one was looked for.
    pub timestamp: Timestamp,
    /// The leader epoch of that place.
    pub leader_epoch: LeaderEpoch,
}

impl<E: Env> Client<E> {
    /// Finds an offset: [`EARLIEST`], [`LATEST`], [`MAX_TIMESTAMP`], or the first record at or after a time.
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: PartitionIndex,
        timestamp: Timestamp,
        isolation: Isolation,
    ) -> Result<FoundOffset, ClientError> {
        let partition_request =
            ListOffsetsPartition { partition_index: partition, timestamp, ..ListOffsetsPartition::default() };
        let request = ListOffsetsRequest {
            replica_id: CONSUMER,
            isolation_level: isolation.wire(),
            topics: vec![ListOffsetsTopic { name: Str::from(topic), partitions: vec![partition_request] }],
            timeout_ms: i32::try_from(self.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
        };
        self.retry("finding an offset", || self.list_offset_once(topic, partition, &request)).await
    }

    async fn list_offset_once(
        &self,
        topic: &str,
        partition: PartitionIndex,
        request: &ListOffsetsRequest,
    ) -> Result<FoundOffset, ClientError> {
        let leader = self.leader(topic, partition).await?;
        let answer = self.call(leader.broker, request, i16::MAX).await.inspect_err(|_| self.forget(topic))?;
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let found = found.ok_or_else(|| ClientError::Protocol {
            peer: format!("broker {}", leader.broker),
            cause: "the answer to ListOffsets is empty".to_owned(),
        })?;
        if found.error_code.is_retriable() {
            self.forget(topic);
        }
        ClientError::check(found.error_code, None, || {
            format!("no offset of {topic}-{partition} can be found")
        })?;
        Ok(FoundOffset {
            offset: Some(found.offset).filter(|offset| *offset >= Offset::ZERO),
            timestamp: found.timestamp,
            leader_epoch: found.leader_epoch,
        })
    }
}
