//! Answers onto a connection.

use crate::budget::Charge;
use crate::response::{FileOf, FileRange, Response};
use bytes::{Buf, Bytes};
use highwater_env::{Env, Stream};
use highwater_wire::Segment;
use std::collections::VecDeque;
use std::io::{self, Cursor, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many pieces go into one write.
const PIECES_PER_WRITE: usize = 64;
/// For how many pieces a connection keeps room.
const PIECES_KEPT: usize = 8;

/// Answers up to this size are copied together: that is less work than a system call has with each piece of a vector.
const COPIED_BYTES: usize = 256;
/// How much of them is put together at most.
const JOINED_BYTES: usize = 4 << 10;
/// What is taken for them at first: what the C library's allocator has at hand.
const FIRST_JOINED_BYTES: usize = 1 << 10;

/// A piece of the stream of answers.
enum Piece<F> {
    Bytes(Bytes),
    /// Several small ones.
    Joined(Cursor<Vec<u8>>),
    File(FileRange<F>),
    /// The end of an answer that takes memory of all connections.
    Release {
        _charge: Charge,
    },
}

/// Answers that wait to be taken, in order.
pub(super) struct Output<E: Env> {
    pieces: VecDeque<Piece<FileOf<E>>>,
    /// Their bytes in memory.
    memory_bytes: usize,
    sent: u64,
    sent_from_files: u64,
    /// How many of the pieces are in files.
    files: usize,
    /// Whether the stream was told that more is to come.
    more: bool,
}

impl<E: Env> Default for Output<E> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), memory_bytes: 0, sent: 0, sent_from_files: 0, files: 0, more: false }
    }
}

impl<E: Env> Output<E> {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many pieces wait, be they in memory or in files.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// How many bytes of answers are in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// All bytes ever sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them came straight from files.
    pub(super) fn sent_from_files(&self) -> u64 {
        self.sent_from_files
    }

    /// Adds an answer.
    pub(super) fn push(&mut self, response: Response<E>) {
        self.memory_bytes += response.memory_bytes();
        let mut files = response.files.into_iter().map(Some).collect::<smallvec::SmallVec<[_; 1]>>();
        for segment in response.frame.segments {
            match segment {
                Segment::Bytes(bytes) => self.push_bytes(bytes),
                Segment::External { id, .. } => {
                    let range = files[id as usize].take().expect("each range is sent once");
                    self.pieces.push_back(Piece::File(range));
                    self.files += 1;
                }
            }
        }
        if let Some(charge) = response.charge {
            self.pieces.push_back(Piece::Release { _charge: charge });
        }
    }

    /// Adds a small answer that `write` puts behind what stands in a buffer.
    pub(super) fn write<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let room = |joined: &Cursor<Vec<u8>>| joined.get_ref().len() + COPIED_BYTES <= JOINED_BYTES;
        if !matches!(self.pieces.back(), Some(Piece::Joined(joined)) if room(joined)) {
            self.pieces.push_back(Piece::Joined(Cursor::new(Vec::with_capacity(FIRST_JOINED_BYTES))));
        }
        let Some(Piece::Joined(joined)) = self.pieces.back_mut() else {
            unreachable!("it was put there if it was missing")
        };
        let before = joined.get_ref().len();
        let result = write(joined.get_mut());
        self.memory_bytes += joined.get_ref().len() - before;
        result
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        let fits = |length: usize| length + bytes.len() <= JOINED_BYTES;
        match self.pieces.back_mut() {
            Some(Piece::Joined(joined)) if bytes.len() <= COPIED_BYTES && fits(joined.get_ref().len()) => {
                joined.get_mut().extend_from_slice(&bytes);
            }
            Some(last @ Piece::Bytes(_)) if bytes.len() <= COPIED_BYTES => match last {
                Piece::Bytes(first) if first.len() <= COPIED_BYTES => {
                    let mut joined = Vec::with_capacity(2 * (first.len() + bytes.len()));
                    joined.extend_from_slice(first);
                    joined.extend_from_slice(&bytes);
                    *last = Piece::Joined(Cursor::new(joined));
                }
                _ => self.pieces.push_back(Piece::Bytes(bytes)),
            },
            _ => self.pieces.push_back(Piece::Bytes(bytes)),
        }
    }

    /// Sends as much as the peer takes. Ready when all is sent.
    pub(super) fn poll_send<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: Stream<File = FileOf<E>>,
    {
        if self.files > 0 && !self.more {
            // An answer that lies in several places leaves as one.
            self.more = true;
            stream.set_more(true);
        }
        loop {
            match self.pieces.front_mut() {
                None => {
                    if std::mem::take(&mut self.more) {
                        stream.set_more(false);
                    }
                    // An idle connection holds next to nothing.
                    if self.pieces.capacity() > PIECES_KEPT {
                        self.pieces = VecDeque::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(Piece::Release { .. }) => {
                    self.pieces.pop_front();
                }
                Some(Piece::File(range)) => {
                    let stream = Pin::new(&mut *stream);
                    let count = ready!(stream.poll_send_file(cx, &range.file, range.position, range.length))?;
                    if count == 0 {
                        // The length of the answer has been sent: there is no way to take it back.
                        let what = "a file is shorter than the range that is sent from it";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
                    }
                    range.position += count as u64;
                    range.length -= count;
                    let done = range.length == 0;
                    self.sent += count as u64;
                    self.sent_from_files += count as u64;
                    if done {
                        self.files -= 1;
                        self.pieces.pop_front();
                    }
                }
                Some(Piece::Bytes(_) | Piece::Joined(_)) => ready!(self.poll_write(stream, cx))?,
            }
        }
    }

    /// Writes the bytes at the front, as many pieces at once as follow each other.
    fn poll_write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: Stream<File = FileOf<E>>,
    {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let mut used = 0;
        for piece in &self.pieces {
            let bytes: &[u8] = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Joined(bytes) => bytes.chunk(),
                Piece::Release { .. } => continue,
                Piece::File(_) => break,
            };
            if used == PIECES_PER_WRITE {
                break;
            }
            slices[used] = IoSlice::new(bytes);
            used += 1;
        }
        let count = match &slices[..used] {
            [one] => ready!(Pin::new(&mut *stream).poll_write(cx, one))?,
            many => ready!(Pin::new(&mut *stream).poll_write_vectored(cx, many))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent += count as u64;
        self.memory_bytes -= count;
        self.consume(count);
        Poll::Ready(Ok(()))
    }

    fn consume(&mut self, mut count: usize) {
        while count > 0 {
            let done = match self.pieces.front_mut() {
                Some(Piece::Bytes(bytes)) => advance(bytes, &mut count),
                Some(Piece::Joined(bytes)) => advance(bytes, &mut count),
                Some(Piece::Release { .. }) => true,
                Some(Piece::File(_)) | None => unreachable!("only bytes in front of a file were written"),
            };
            if done {
                self.pieces.pop_front();
            }
        }
    }
}

/// Takes up to `count` bytes off the front; says whether none are left.
fn advance(bytes: &mut impl Buf, count: &mut usize) -> bool {
    let part = bytes.remaining().min(*count);
    bytes.advance(part);
    *count -= part;
    !bytes.has_remaining()
}
