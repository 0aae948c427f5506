//! One connection: reads what has come, appends, answers.

use super::partition::{Partition, check};
use super::request::{Parsed, Request, parse};
use super::{Reading, Shared, answer};
use anyhow::{Context, Result, ensure};
use rustix::net::SendFlags;
use std::io::{Read, Write};
use std::mem;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

/// How much is read at once, unless one request is longer.
const BUFFER_BYTES: usize = 256 << 10;

/// The longest request.
const MAX_FRAME_BYTES: usize = 64 << 20;

const LENGTH_BYTES: usize = 4;

/// A connection.
pub struct Connection {
    stream: Arc<TcpStream>,
    shared: Arc<Shared>,
    /// What was read and not yet handled stands at `handled..filled`.
    buffer: Vec<u8>,
    handled: usize,
    filled: usize,
    /// Answers that were not sent yet.
    out: Vec<u8>,
    /// Memory for reads that are checked.
    checked: Vec<u8>,
}

/// Requests to append that were read and not yet written.
#[derive(Default)]
struct Appends {
    requests: Vec<Append>,
    batches: Vec<Range<usize>>,
    offsets: Vec<i64>,
}

struct Append {
    correlation_id: i32,
    topic: Range<usize>,
    partition: usize,
}

impl Connection {
    /// A connection that has not read anything.
    pub fn new(stream: Arc<TcpStream>, shared: Arc<Shared>) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { stream, shared, buffer, handled: 0, filled: 0, out: Vec::new(), checked: Vec::new() }
    }

    /// Serves until the client goes.
    pub fn run(mut self) -> Result<()> {
        let mut appends = Appends::default();
        while self.read()? {
            while let Some(frame) = self.next_frame()? {
                let parsed = parse(&self.buffer[frame.clone()])?;
                self.handle(parsed, frame.start, &mut appends)?;
            }
            self.append(&mut appends)?;
            self.flush(&mut appends)?;
        }
        Ok(())
    }

    /// Reads once, into room for at least the rest of a frame that has begun. False when the client has gone.
    fn read(&mut self) -> Result<bool> {
        if self.handled == self.filled {
            (self.handled, self.filled) = (0, 0);
        }
        let wanted = self.handled + self.frame_bytes()?.unwrap_or(LENGTH_BYTES);
        if wanted > self.buffer.len() || self.filled == self.buffer.len() {
            self.buffer.copy_within(self.handled..self.filled, 0);
            self.filled -= self.handled;
            self.buffer.resize(self.buffer.len().max(wanted - self.handled), 0);
            self.handled = 0;
        }
        let count = (&*self.stream).read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        Ok(count > 0)
    }

    /// The length of the first frame that was not handled, its prefix included, if that has come.
    fn frame_bytes(&self) -> Result<Option<usize>> {
        let Some(prefix) = self.buffer[self.handled..self.filled].first_chunk() else { return Ok(None) };
        let length = LENGTH_BYTES + u32::from_be_bytes(*prefix) as usize;
        ensure!(length <= MAX_FRAME_BYTES, "a request of {length} bytes");
        Ok(Some(length))
    }

    /// The place of the next whole frame, without its prefix.
    fn next_frame(&mut self) -> Result<Option<Range<usize>>> {
        let start = self.handled;
        match self.frame_bytes()? {
            Some(length) if start + length <= self.filled => {
                self.handled += length;
                Ok(Some(start + LENGTH_BYTES..start + length))
            }
            _ => Ok(None),
        }
    }

    fn handle(&mut self, parsed: Parsed, base: usize, appends: &mut Appends) -> Result<()> {
        let Parsed { correlation_id, topic, partition, request } = parsed;
        let moved = |range: Range<usize>| base + range.start..base + range.end;
        let topic = moved(topic);
        match request {
            Request::Produce { batch } => {
                let batch = moved(batch);
                check(&self.buffer[batch.clone()])?;
                appends.requests.push(Append { correlation_id, topic, partition });
                appends.batches.push(batch);
                Ok(())
            }
            Request::Fetch { offset, max_bytes } => {
                let partition_index = partition;
                let partition = self.partition(partition_index)?;
                let found = partition.find(offset, max_bytes);
                let topic = &self.buffer[topic];
                let out = &mut self.out;
                answer::fetch(out, correlation_id, topic, partition_index, found.end_offset, found.length);
                match self.shared.reading {
                    Reading::Hot => self.send_file(&partition, found.position, found.length)?,
                    Reading::Cold => {
                        partition.read_checked(&found, &mut self.checked)?;
                        self.send_more()?;
                        send_all(&self.stream, &self.checked, SendFlags::MORE)?;
                    }
                }
                self.out.extend_from_slice(&answer::FETCH_TAIL);
                Ok(())
            }
        }
    }

    fn partition(&self, index: usize) -> Result<Arc<Partition>> {
        self.shared.partitions.get(index).cloned().with_context(|| format!("there is no partition {index}"))
    }

    /// Sends the answers so far, with more to follow.
    fn send_more(&mut self) -> Result<()> {
        send_all(&self.stream, &self.out, SendFlags::MORE)?;
        self.out.clear();
        Ok(())
    }

    fn send_file(&mut self, partition: &Partition, mut position: u64, length: usize) -> Result<()> {
        self.send_more()?;
        let end = position + length as u64;
        while position < end {
            let left = (end - position) as usize;
            let sent = rustix::fs::sendfile(&*self.stream, partition.file(), Some(&mut position), left)?;
            ensure!(sent > 0, "the file is shorter than its index");
        }
        Ok(())
    }

    /// Writes the batches that were read, a run of batches for the same partition at a time, and makes the answers.
    fn append(&mut self, appends: &mut Appends) -> Result<()> {
        let Appends { requests, batches, offsets } = appends;
        let mut start = 0;
        for run in requests.chunk_by(|one, other| one.partition == other.partition) {
            let partition = self.partition(run[0].partition)?;
            partition.append(&mut self.buffer, &batches[start..start + run.len()], offsets)?;
            start += run.len();
        }
        for (request, &offset) in requests.iter().zip(&*offsets) {
            let topic = &self.buffer[request.topic.clone()];
            answer::produce(&mut self.out, request.correlation_id, topic, request.partition, offset);
        }
        offsets.clear();
        batches.clear();
        Ok(())
    }

    /// Sends the answers, or has them sent after the next sync.
    fn flush(&mut self, appends: &mut Appends) -> Result<()> {
        match &self.shared.syncer {
            Some(syncer) if !appends.requests.is_empty() => {
                let written =
                    appends.requests.iter().map(|request| &self.shared.partitions[request.partition]);
                syncer.after_sync(written.cloned(), &self.stream, mem::take(&mut self.out));
            }
            _ => {
                (&*self.stream).write_all(&self.out)?;
                self.out.clear();
            }
        }
        appends.requests.clear();
        Ok(())
    }
}

fn send_all(stream: &TcpStream, mut bytes: &[u8], flags: SendFlags) -> Result<()> {
    while !bytes.is_empty() {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(stream, bytes, flags))?;
        bytes = &bytes[sent..];
    }
    Ok(())
}
