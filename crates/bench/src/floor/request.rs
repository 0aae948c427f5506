//! Requests, as far as the floor reads them.

use anyhow::{Context, Result, bail, ensure};
use std::ops::Range;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

/// A request for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Append a batch.
    Produce {
        /// Where the batch stands in the bytes that were parsed.
        batch: Range<usize>,
    },
    /// Read batches.
    Fetch {
        /// The first offset wanted.
        offset: i64,
        /// The most bytes wanted.
        max_bytes: usize,
    },
}

/// A request's envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// Where the topic's name stands in the bytes that were parsed.
    pub topic: Range<usize>,
    /// The partition.
    pub partition: usize,
    /// What is asked.
    pub request: Request,
}

/// Reads a request without its length.
pub fn parse(frame: &[u8]) -> Result<Parsed> {
    let mut input = Cursor { bytes: frame, at: 0 };
    let key = input.i16()?;
    let version = input.i16()?;
    let correlation_id = input.i32()?;
    let client_id_length = usize::try_from(input.i16()?).unwrap_or(0);
    input.skip(client_id_length)?;
    input.no_tags()?;
    match (key, version) {
        (PRODUCE, PRODUCE_VERSION) => produce(input, correlation_id),
        (FETCH, FETCH_VERSION) => fetch(input, correlation_id),
        _ => bail!("the floor does not know API {key} version {version}"),
    }
}

fn produce(mut input: Cursor<'_>, correlation_id: i32) -> Result<Parsed> {
    ensure!(input.uvarint()? == 0, "a transactional producer");
    let _acks = input.i16()?;
    let _timeout_ms = input.i32()?;
    input.one()?;
    let topic = input.compact()?;
    input.one()?;
    let partition = usize::try_from(input.i32()?)?;
    let batch = input.compact()?;
    Ok(Parsed { correlation_id, topic, partition, request: Request::Produce { batch } })
}

fn fetch(mut input: Cursor<'_>, correlation_id: i32) -> Result<Parsed> {
    let _replica_id = input.i32()?;
    let _max_wait_ms = input.i32()?;
    let _min_bytes = input.i32()?;
    let max_bytes = input.i32()?;
    input.skip(1 + 4 + 4)?; // Isolation level, session id, session epoch.
    input.one()?;
    let topic = input.compact()?;
    input.one()?;
    let partition = usize::try_from(input.i32()?)?;
    let _leader_epoch = input.i32()?;
    let offset = input.i64()?;
    input.skip(4 + 8)?; // Last fetched epoch, log start offset.
    let partition_max_bytes = input.i32()?;
    let max_bytes = usize::try_from(max_bytes.min(partition_max_bytes))?;
    Ok(Parsed { correlation_id, topic, partition, request: Request::Fetch { offset, max_bytes } })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let bytes = bytes.context("the request ends too early")?;
        self.at += N;
        Ok(*bytes)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a length without an end")
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        ensure!(length <= self.bytes.len() - self.at, "the request ends too early");
        self.at += length;
        Ok(())
    }

    /// The place of a compact string or bytes.
    fn compact(&mut self) -> Result<Range<usize>> {
        let length = self.uvarint()?.checked_sub(1).context("null where it may not be")?;
        let start = self.at;
        self.skip(length)?;
        Ok(start..self.at)
    }

    /// A compact array's length, which must be one.
    fn one(&mut self) -> Result<()> {
        ensure!(self.uvarint()? == 2, "the floor serves one partition per request");
        Ok(())
    }

    fn no_tags(&mut self) -> Result<()> {
        ensure!(self.uvarint()? == 0, "tagged fields");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::frames;

    #[test]
    fn the_loads_own_requests_are_understood() {
        let (batch, _) = frames::batch(100, 1000);
        let frame = frames::produce("bench", 3, &batch).unwrap();
        let parsed = parse(&frame[4..]).unwrap();
        assert_eq!(&frame[4..][parsed.topic.clone()], b"bench");
        assert_eq!(parsed.partition, 3);
        let Request::Produce { batch: place } = parsed.request else { panic!("{parsed:?}") };
        assert_eq!(frame[4..][place], batch);

        let frame = frames::fetch("bench", 5, 77, 1 << 20).unwrap();
        let parsed = parse(&frame[4..]).unwrap();
        assert_eq!(parsed.partition, 5);
        assert_eq!(parsed.request, Request::Fetch { offset: 77, max_bytes: 1 << 20 });
    }

    #[test]
    fn cut_requests_are_errors() {
        let (batch, _) = frames::batch(100, 300);
        let frame = frames::produce("bench", 3, &batch).unwrap();
        // The last two bytes are the ends of topic and request, which the floor does not look at.
        for end in 4..frame.len() - 3 {
            assert!(parse(&frame[4..end]).is_err(), "{end} of {}", frame.len());
        }
    }
}
