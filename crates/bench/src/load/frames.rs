//! Requests, built once.

use anyhow::{Result, bail};
use bytes::Bytes;
use highwater_records::{BatchBuilder, Codec};
use highwater_types::{BrokerId, Offset, PartitionIndex, Timestamp};
use highwater_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use highwater_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use highwater_wire::{Frame, Records, Request, Segment, encode_request};

/// What the load calls itself.
pub const CLIENT_ID: &str = "highwater-load";

/// The version of [`produce`].
pub const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const TIMEOUT_MS: i32 = 30_000;
const MAX_WAIT_MS: i32 = 500;

/// A batch of as many records with values of `record_bytes` as `batch_bytes` hold, and how many they are. At least
/// one.
pub fn batch(record_bytes: usize, batch_bytes: usize) -> (Bytes, u64) {
    let mut builder = BatchBuilder::new(Codec::None, batch_bytes);
    // Bytes that differ from place to place, in case something in between compresses or deduplicates.
    let noise: Vec<u8> = (0..record_bytes as u64 + 8)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
    let mut shift = 0;
    while builder.try_push(Timestamp(now), None, Some(&noise[shift % 8..][..record_bytes]), &[]) {
        shift += 1;
    }
    let records = builder.record_count() as u64;
    (builder.build(), records)
}

/// A Produce request for one partition, as bytes on the wire.
pub fn produce(topic: &str, partition: usize, batch: &Bytes) -> Result<Vec<u8>> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: index(partition)?,
                records: Records::Bytes(batch.clone()),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    encoded(PRODUCE_VERSION, &request)
}

/// A Fetch request for one partition, as bytes on the wire.
pub fn fetch(topic: &str, partition: usize, offset: i64, max_bytes: i32) -> Result<Vec<u8>> {
    let request = FetchRequest {
        replica_id: BrokerId(-1),
        max_wait_ms: MAX_WAIT_MS,
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition: index(partition)?,
                fetch_offset: Offset(offset),
                partition_max_bytes: max_bytes,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    encoded(FETCH_VERSION, &request)
}

fn index(partition: usize) -> Result<PartitionIndex> {
    Ok(PartitionIndex(i32::try_from(partition)?))
}

/// A request as bytes on the wire.
pub fn encoded<R: Request>(version: i16, request: &R) -> Result<Vec<u8>> {
    let Frame { segments, length } = encode_request(0, Some(CLIENT_ID), version, request)?;
    let mut out = Vec::with_capacity(length);
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => out.extend_from_slice(&bytes),
            Segment::External { .. } => bail!("the load sends bytes in memory only"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::batch;
    use highwater_records::Batch;

    fn check(record_bytes: usize, batch_bytes: usize, expected_records: u64) {
        let (bytes, records) = batch(record_bytes, batch_bytes);
        assert_eq!(records, expected_records);
        assert!(records == 1 || bytes.len() <= batch_bytes);
        let batch = Batch::check(bytes.clone()).unwrap();
        assert_eq!(batch.header().record_count as u64, records);
    }

    #[test]
    fn batches_are_filled_and_valid() {
        check(1024, 64 << 10, 63);
        check(100, 64 << 10, 595);
        check(100, 0, 1);
    }
}
