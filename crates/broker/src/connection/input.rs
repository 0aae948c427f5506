//! Frames off a connection.
//!
//! Small requests are read on the stack, many at a time, and copied once into memory of their exact size; the bytes of
//! a large one are received where they stay. Between requests nothing is held.

use crate::budget::{Budget, Charge};
use crate::buffers::Buffers;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_wire::{FrameError, frame_length};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What is read at once while requests are small.
const READ_BYTES: usize = 16 << 10;
/// What is read at once after a large request, which another one most often follows: little of it need be copied.
const SHORT_READ_BYTES: usize = 512;
/// The largest frame that is taken out of what was read on the stack.
const SMALL_FRAME_BYTES: usize = 8 << 10;
/// The memory that a large frame starts with. More is taken only as its bytes arrive: a length is only a claim.
const FIRST_FRAME_BYTES: usize = 1 << 20;
/// The length in front of a frame.
const PREFIX_BYTES: usize = 4;

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("{0}{1}")]
    Frame(FrameError, &'static str),
    #[error("the peer closed the connection in the middle of a request")]
    PartialFrame,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What the first bytes of something else than a frame look like.
fn other_protocol(prefix: [u8; PREFIX_BYTES]) -> &'static str {
    match &prefix {
        [0x16, 3, ..] => ": the peer speaks TLS, and this listener does not",
        b"GET " | b"POST" | b"HEAD" | b"PUT " => {
            ": the peer speaks HTTP, and this is a listener for Kafka's protocol"
        }
        _ => "",
    }
}

/// A request's bytes.
#[derive(Debug)]
pub(super) struct Received {
    /// The frame without its length.
    pub(super) frame: Bytes,
    /// What it takes of the memory of all connections, together with those that were read with it. None for a small one
    /// that is alone.
    pub(super) charge: Option<Arc<Charge>>,
}

/// What has been read and not been taken.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Whole small frames and the begin of one more.
    carry: BytesMut,
    /// What the whole frames in there take of the memory of all connections, and how many of these bytes are left.
    paid: Option<(Arc<Charge>, usize)>,
    /// A large frame on its way.
    large: Option<Large>,
    /// Whether the last frame was large.
    after_large: bool,
    /// All bytes ever read.
    received: u64,
}

#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    length: usize,
    charge: Charge,
}

impl Input {
    /// All bytes ever read.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether memory of all connections is kept for a request that has not wholly arrived.
    pub(super) fn keeps_memory(&self) -> bool {
        self.large.is_some()
    }

    /// How much memory is held.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.carry.capacity() + self.large.as_ref().map_or(0, |large| large.buffer.capacity())
    }

    /// The next request; None at the end of the stream. `alone` says that nothing else of this connection is in work:
    /// a small frame is then free of charge, so that small requests always get through.
    pub(super) fn poll_frame<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        max_frame_bytes: usize,
        budget: &Arc<Budget>,
        alone: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Received>, InputError>> {
        loop {
            if self.large.is_some() {
                return self.poll_large(stream, budget.buffers(), cx).map_ok(Some);
            }
            if let Some(prefix) = self.carry.first_chunk::<PREFIX_BYTES>() {
                let length = frame_length(*prefix, max_frame_bytes)
                    .map_err(|error| InputError::Frame(error, other_protocol(*prefix)))?;
                if self.carry.len() - PREFIX_BYTES >= length {
                    let charge = match alone && length <= SMALL_FRAME_BYTES && self.paid.is_none() {
                        true => None,
                        false => Some(ready!(self.poll_charge(length, max_frame_bytes, budget, cx))),
                    };
                    return Poll::Ready(Ok(Some(self.take_small(length, charge))));
                }
                if length > SMALL_FRAME_BYTES {
                    let charge = ready!(budget.poll_take(length, cx));
                    self.start_large(length, charge, budget.buffers());
                    continue;
                }
            }
            if ready!(self.poll_carry(stream, cx))? == 0 {
                return Poll::Ready(match self.carry.is_empty() {
                    true => Ok(None),
                    false => Err(InputError::PartialFrame),
                });
            }
        }
    }

    /// The charge for the next frame. What was read at once lies in the same memory, and is paid for at once.
    ///
    /// Invariant: more is read only when no whole frame is left, so that what is paid for is what comes next.
    fn poll_charge(
        &mut self,
        length: usize,
        max_frame_bytes: usize,
        budget: &Arc<Budget>,
        cx: &mut Context<'_>,
    ) -> Poll<Arc<Charge>> {
        let (charge, left) = match self.paid.take() {
            Some(paid) => paid,
            None => {
                let bytes = self.whole_frames_bytes(max_frame_bytes);
                (Arc::new(ready!(budget.poll_take(bytes, cx))), bytes)
            }
        };
        let left = left.checked_sub(length).expect("every whole frame was counted");
        if left > 0 {
            self.paid = Some((Arc::clone(&charge), left));
        }
        Poll::Ready(charge)
    }

    /// The bytes of all whole frames that were read, without their lengths.
    fn whole_frames_bytes(&self, max_frame_bytes: usize) -> usize {
        let (mut rest, mut bytes) = (&self.carry[..], 0);
        while let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>()
            && let Ok(length) = frame_length(*prefix, max_frame_bytes)
            && let Some(next) = behind.get(length..)
        {
            bytes += length;
            rest = next;
        }
        bytes
    }

    fn take_small(&mut self, length: usize, charge: Option<Arc<Charge>>) -> Received {
        self.after_large = false;
        let mut frame = self.carry.split_to(PREFIX_BYTES + length);
        frame.advance(PREFIX_BYTES);
        if self.carry.is_empty() {
            // The rest of the memory belongs to frames that were taken: do not keep it alive.
            self.carry = BytesMut::new();
        }
        Received { frame: frame.freeze(), charge }
    }

    fn start_large(&mut self, length: usize, charge: Charge, buffers: &Buffers) {
        let mut buffer = buffers.take(length.min(FIRST_FRAME_BYTES));
        buffer.extend_from_slice(&self.carry[PREFIX_BYTES..]);
        self.carry = BytesMut::new();
        self.large = Some(Large { buffer, length, charge });
    }

    fn poll_large<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        buffers: &Arc<Buffers>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Received, InputError>> {
        let large = self.large.as_mut().expect("the caller has seen it");
        while large.buffer.len() < large.length {
            let filled = large.buffer.len();
            if filled == large.buffer.capacity() {
                large.buffer.reserve(filled.min(large.length - filled));
            }
            let room = (large.buffer.capacity() - filled).min(large.length - filled);
            let mut space = (&mut large.buffer).limit(room);
            let count = ready!(pin!(stream.read_buf(&mut space)).poll(cx))?;
            if count == 0 {
                return Poll::Ready(Err(InputError::PartialFrame));
            }
            self.received += count as u64;
        }
        self.after_large = true;
        let large = self.large.take().expect("the caller has seen it");
        let frame = buffers.lend(large.buffer);
        Poll::Ready(Ok(Received { frame, charge: Some(Arc::new(large.charge)) }))
    }

    /// Reads what is there, and how much that was.
    fn poll_carry<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_BYTES];
        let room = if self.after_large && self.carry.is_empty() { SHORT_READ_BYTES } else { READ_BYTES };
        let mut into = ReadBuf::uninit(&mut space[..room]);
        ready!(Pin::new(stream).poll_read(cx, &mut into))?;
        let read = into.filled();
        self.carry.extend_from_slice(read);
        self.received += read.len() as u64;
        Poll::Ready(Ok(read.len()))
    }
}
