//! What is sent, and what comes of it.

use crate::ClientError;
use bytes::Bytes;
use highwater_records::Header;
use highwater_types::{Offset, PartitionIndex, Timestamp};
use highwater_wire::Str;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What a record takes in the buffer beside its bytes, at most but for its headers.
const RECORD_OVERHEAD: usize = 64;

/// A record to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The topic. One that does not exist is made, if the broker's configuration allows that.
    pub topic: Str,
    /// The partition; None to choose by the key, or any without one.
    pub partition: Option<PartitionIndex>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// When it was created; None for now.
    pub timestamp: Option<Timestamp>,
}

impl ProducerRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<Str>, value: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), value: Some(value.into()), ..Self::default() }
    }

    /// The record with a key.
    #[must_use]
    pub fn with_key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The record for one partition.
    #[must_use]
    pub fn with_partition(self, partition: PartitionIndex) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// No less than what the record takes in a batch.
    pub(crate) fn size_bound(&self) -> usize {
        let length = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let headers: usize =
            self.headers.iter().map(|header| header.key.len() + length(&header.value) + 10).sum();
        RECORD_OVERHEAD + length(&self.key) + length(&self.value) + headers
    }
}

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset. None if nobody said: with acks=0, and where the broker had the record already and no longer knows
    /// where.
    pub offset: Option<Offset>,
    /// The record's timestamp, which the topic may set at the append.
    pub timestamp: Timestamp,
}

/// The outcome of a record, to be awaited. It comes about whether it is awaited or not.
///
/// An error that is retriable by itself leaves open whether the record was written.
#[must_use = "whether the record was written is known only from this"]
pub struct Delivery(pub(crate) oneshot::Receiver<Result<Delivered, ClientError>>);

impl Future for Delivery {
    type Output = Result<Delivered, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or(Err(ClientError::Closed)))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}
