//! A partition: one file, and a sparse index in memory.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// An index entry is made after this many bytes, as in Kafka.
const INDEX_INTERVAL_BYTES: u64 = 4096;

/// How many buffers go into one system call; the kernel takes up to 1024.
const BUFFERS_PER_CALL: usize = 512;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const CHECKSUM_AT: usize = 17;
const CHECKED_FROM: usize = 21;
const LAST_DELTA_AT: usize = 23;
const HEADER_BYTES: usize = 61;
const LENGTH_PREFIX: usize = 12;

/// A partition.
pub struct Partition {
    file: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    end_offset: i64,
    end_position: u64,
    /// Where some batches begin: (base offset, position), the first one of each [`INDEX_INTERVAL_BYTES`].
    index: Vec<(i64, u64)>,
}

/// A range of whole batches.
pub struct Found {
    /// Where they stand in the file.
    pub position: u64,
    /// How many bytes they take.
    pub length: usize,
    /// The partition's end.
    pub end_offset: i64,
}

impl Partition {
    /// Makes the file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Self { file, state: Mutex::default() })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    /// Gives the batches at those places of `buffer` their offsets and writes them, one after another. The offsets
    /// go to `offsets`, in order.
    pub fn append(&self, buffer: &mut [u8], batches: &[Range<usize>], offsets: &mut Vec<i64>) -> Result<()> {
        let mut state = self.state();
        let State { end_offset, end_position, index } = &mut *state;
        let start = *end_position;
        for place in batches {
            let batch = &mut buffer[place.clone()];
            if index.last().is_none_or(|last| *end_position - last.1 >= INDEX_INTERVAL_BYTES) {
                index.push((*end_offset, *end_position));
            }
            batch[..8].copy_from_slice(&end_offset.to_be_bytes());
            batch[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&0i32.to_be_bytes());
            offsets.push(*end_offset);
            *end_offset += i64::from(be_u32(batch, LAST_DELTA_AT)?) + 1;
            *end_position += batch.len() as u64;
        }
        self.write(start, buffer, batches)
    }

    fn write(&self, mut position: u64, buffer: &[u8], batches: &[Range<usize>]) -> Result<()> {
        for batches in batches.chunks(BUFFERS_PER_CALL) {
            let slices: Vec<IoSlice<'_>> =
                batches.iter().map(|place| IoSlice::new(&buffer[place.clone()])).collect();
            let length: usize = batches.iter().map(Range::len).sum();
            let written = rustix::io::pwritev(&self.file, &slices, position)?;
            // The page cache takes all or the disk is full.
            ensure!(written == length, "a short write");
            position += written as u64;
        }
        Ok(())
    }

    /// Whole batches from the one before `offset` on: at most `max_bytes`, or at least one run of the index.
    pub fn find(&self, offset: i64, max_bytes: usize) -> Found {
        let state = self.state();
        let State { end_offset, end_position, ref index } = *state;
        let after = index.partition_point(|entry| entry.0 <= offset);
        if offset >= end_offset || after == 0 {
            return Found { position: end_position, length: 0, end_offset };
        }
        let position = index[after - 1].1;
        let limit = position + max_bytes as u64;
        let end = if end_position <= limit {
            end_position
        } else {
            let fits = index.partition_point(|entry| entry.1 <= limit).max(after + 1);
            index.get(fits - 1).map_or(end_position, |entry| entry.1)
        };
        Found { position, length: (end - position) as usize, end_offset }
    }

    /// Reads a range and checks every batch in it.
    pub fn read_checked(&self, found: &Found, into: &mut Vec<u8>) -> Result<()> {
        into.resize(found.length, 0);
        self.file.read_exact_at(into, found.position)?;
        let mut rest = &into[..];
        while !rest.is_empty() {
            let length = be_u32(rest, LENGTH_AT)? as usize + LENGTH_PREFIX;
            let (batch, following) = rest.split_at_checked(length).context("a batch that is cut off")?;
            check(batch)?;
            rest = following;
        }
        Ok(())
    }
}

/// Checks the one batch that `bytes` are.
pub fn check(bytes: &[u8]) -> Result<()> {
    ensure!(bytes.len() >= HEADER_BYTES, "{} bytes are no batch", bytes.len());
    ensure!(
        be_u32(bytes, LENGTH_AT)? as usize + LENGTH_PREFIX == bytes.len(),
        "the batch's length is another"
    );
    let checksum = crc_fast::crc32_iscsi(&bytes[CHECKED_FROM..]);
    ensure!(be_u32(bytes, CHECKSUM_AT)? == checksum, "the checksum does not fit");
    Ok(())
}

fn be_u32(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk()).context("a batch that is cut off")?;
    Ok(u32::from_be_bytes(*field))
}
