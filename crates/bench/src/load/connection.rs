//! A connection of the load: whole frames in, whole frames out.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// How much is read at once, unless one frame is longer.
const BUFFER_BYTES: usize = 1 << 20;

/// The longest answer that is believed.
const MAX_FRAME_BYTES: usize = 128 << 20;

/// A server that is silent for this long has failed.
const SILENCE: Duration = Duration::from_secs(60);

const LENGTH_BYTES: usize = 4;

/// A connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was read and not yet taken.
    ready: Range<usize>,
}

impl Connection {
    /// Connects.
    pub fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).with_context(|| format!("connecting to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], ready: 0..0 })
    }

    /// Sends frames.
    pub fn send(&mut self, frames: &[u8]) -> Result<()> {
        self.stream.write_all(frames).context("sending")
    }

    /// Waits for the next frame and returns it, without its length.
    pub fn receive(&mut self) -> Result<&[u8]> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(&self.buffer[frame]);
            }
            self.fill()?;
        }
    }

    /// The next frame if it has come already.
    pub fn received(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.take()?.map(|frame| &self.buffer[frame]))
    }

    fn take(&mut self) -> Result<Option<Range<usize>>> {
        let start = self.ready.start + LENGTH_BYTES;
        match self.frame_bytes()? {
            Some(length) if length <= self.ready.len() => {
                self.ready.start += length;
                Ok(Some(start..self.ready.start))
            }
            _ => Ok(None),
        }
    }

    /// The length of the frame that is next, with its prefix.
    fn frame_bytes(&self) -> Result<Option<usize>> {
        let Some(prefix) = self.buffer[self.ready.clone()].first_chunk() else { return Ok(None) };
        let length = LENGTH_BYTES + u32::from_be_bytes(*prefix) as usize;
        ensure!(length <= MAX_FRAME_BYTES, "an answer of {length} bytes");
        Ok(Some(length))
    }

    fn fill(&mut self) -> Result<()> {
        let wanted = self.frame_bytes()?.unwrap_or(LENGTH_BYTES);
        if self.ready.is_empty() || self.ready.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.ready.clone(), 0);
            self.ready = 0..self.ready.len();
            self.buffer.resize(self.buffer.len().max(wanted), 0);
        }
        let count = self.stream.read(&mut self.buffer[self.ready.end..]).context("receiving")?;
        ensure!(count > 0, "the server closed the connection");
        self.ready.end += count;
        Ok(())
    }
}
