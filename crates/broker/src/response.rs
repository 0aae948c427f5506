//! What a request comes to.

use crate::budget::Charge;
use bytes::{Bytes, BytesMut};
use highwater_env::{Disk, Env};
use highwater_wire::{Frame, Segment};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;

/// The files of an environment.
pub(crate) type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// A range of a file that is sent as it is.
#[derive(Clone, Debug)]
pub(crate) struct FileRange<F> {
    pub(crate) file: F,
    pub(crate) position: u64,
    pub(crate) length: usize,
}

/// An answer ready to be sent.
pub(crate) struct Response<E: Env> {
    /// The frame. The number of an external segment is an index of `files`.
    pub(crate) frame: Frame,
    /// The ranges that stand for the frame's external segments.
    pub(crate) files: SmallVec<[FileRange<FileOf<E>>; 1]>,
    /// What the answer takes of the memory of all connections, until it is sent.
    pub(crate) charge: Option<Charge>,
}

impl<E: Env> Response<E> {
    /// An answer without records from files.
    pub(crate) fn plain(frame: Frame) -> Self {
        Self { frame, files: SmallVec::new(), charge: None }
    }

    /// How many of its bytes are in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.frame.length - self.files.iter().map(|range| range.length).sum::<usize>()
    }
}

/// What a request came to.
pub(crate) enum Outcome<E: Env> {
    /// An answer.
    Respond(Response<E>),
    /// No answer is wanted.
    Silent,
    /// The connection must be closed; why.
    Close(String),
}

/// A request in work.
pub(crate) type Work<E> = Pin<Box<dyn Future<Output = Outcome<E>> + Send>>;

/// What the begin of a request came to.
pub(crate) enum Answer<E: Env> {
    /// It is done.
    Ready(Outcome<E>),
    /// It goes on.
    Pending {
        /// The rest of it.
        work: Work<E>,
        /// Whether it must run to its end even when the client goes away: it changes something, and would be left in
        /// the middle of it.
        finish: bool,
    },
}

impl<E: Env> Answer<E> {
    /// The connection must be closed.
    pub(crate) fn close(reason: impl Into<String>) -> Self {
        Self::Ready(Outcome::Close(reason.into()))
    }
}

/// The bytes of a frame that holds no ranges of files.
pub(crate) fn frame_bytes(frame: Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frame.length);
    for segment in frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(&part),
            Segment::External { .. } => unreachable!("only answers to Fetch hold ranges of files"),
        }
    }
    bytes.freeze()
}
