//! Consuming: each partition from its beginning to its end, by large fetches.

use super::connection::Connection;
use super::{Outcome, frames, in_parallel, measured};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use highwater_records::BatchHeader;
use highwater_wire::messages::fetch::FetchResponse;
use highwater_wire::{ApiKey, ErrorCode, Message, Records, decode_response_header};
use std::net::SocketAddr;

/// The version of [`frames::fetch`].
const FETCH_VERSION: i16 = 12;

/// What stands in front of a batch's length, with the length.
const LENGTH_PREFIX: usize = highwater_records::LENGTH_PREFIX;

/// A load of Fetch requests.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsumeLoad {
    /// The server.
    #[arg(long)]
    pub server: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pub pid: u32,
    /// The topic.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// How many partitions it has; each is read over a connection of its own.
    #[arg(long, default_value_t = 1)]
    pub partitions: usize,
    /// The most bytes per fetch.
    #[arg(long, default_value_t = 1 << 20)]
    pub max_bytes: i32,
}

/// Reads everything once.
pub fn consume(load: &ConsumeLoad) -> Result<Outcome> {
    measured(&[load.pid], || {
        in_parallel(load.partitions, |partition| {
            let mut reader = Reader { connection: Connection::open(load.server)?, load, partition };
            reader.run().with_context(|| format!("partition {partition}"))
        })
    })
}

struct Reader<'a> {
    connection: Connection,
    load: &'a ConsumeLoad,
    partition: usize,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<(u64, u64)> {
        let (mut next, mut bytes) = (0, 0);
        loop {
            let (records, end) = self.fetch(next)?;
            if next == end {
                return Ok((next as u64, bytes));
            }
            let fetched = next;
            for batch in WholeBatches(&records) {
                let (header, length) = batch?;
                next = header.base_offset.0 + i64::from(header.last_offset_delta) + 1;
                bytes += length as u64;
            }
            ensure!(next > fetched, "no records at {fetched}, though the end is {end}");
        }
    }

    /// The records from an offset on, and the partition's end.
    fn fetch(&mut self, offset: i64) -> Result<(Bytes, i64)> {
        let Self { connection, load, partition } = self;
        connection.send(&frames::fetch(&load.topic, *partition, offset, load.max_bytes)?)?;
        // The copy is the load's own expense and the same for every server.
        let mut frame = Bytes::copy_from_slice(connection.receive()?);
        decode_response_header(&mut frame, ApiKey::FETCH, FETCH_VERSION)?;
        let response = FetchResponse::decode_body(frame, FETCH_VERSION)?;
        let answer = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.context("an answer without a partition")?;
        ensure!(answer.error_code == ErrorCode::NONE, "at {offset}: {:?}", answer.error_code);
        let records = match answer.records {
            Records::Bytes(bytes) => bytes,
            _ => Bytes::new(),
        };
        Ok((records, answer.high_watermark.0))
    }
}

/// The batches of an answer, whose last one may be cut off.
struct WholeBatches<'a>(&'a [u8]);

impl Iterator for WholeBatches<'_> {
    type Item = Result<(BatchHeader, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = i32::from_be_bytes(*self.0.get(LENGTH_PREFIX - 4..)?.first_chunk()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(LENGTH_PREFIX);
        let (batch, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(BatchHeader::parse(batch).map(|header| (header, length)).map_err(Into::into))
    }
}
