//! The bytes around every message of this crate, on the wire and on disk: a version and a checksum.
//!
//! ```text
//! offset  size  field
//! 0       1     version, now 1
//! 1       4     CRC-32 (IEEE) of the message, big-endian
//! 5       ..    the message, protobuf-encoded
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The version of the frame and of the messages' schema. Any change that an older reader would misunderstand, a new
/// field included, raises it.
pub const FRAME_VERSION: u8 = 1;

/// The largest frame that is written or read.
pub const MAX_FRAME_BYTES: usize = 32 << 20;

const HEADER_BYTES: usize = 5;

/// Bytes that are not a message of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short to hold a header.
    #[error("{0} bytes are too short for a message")]
    TooShort(usize),
    /// Longer than any message may be.
    #[error("a message of {0} bytes is longer than the {max} bytes allowed", max = MAX_FRAME_BYTES)]
    TooLong(usize),
    /// Written by another version of the program.
    #[error("a message has format version {found}, and this program knows version {known}", known = FRAME_VERSION)]
    Version {
        /// The version found.
        found: u8,
    },
    /// The checksum differs.
    #[error("a message's checksum is {found:#010x}, and its header says {expected:#010x}")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The message is not valid protobuf of the expected form.
    #[error("a message cannot be decoded: {0}")]
    Malformed(String),
    /// A field holds what it must not.
    #[error("a message's field `{field}` is not valid: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl FrameError {
    pub(crate) fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field { field, problem: problem.into() }
    }
}

/// The frame of a message.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + message.encoded_len());
    out.put_bytes(0, HEADER_BYTES);
    message.encode(&mut out).expect("the buffer grows");
    out[0] = FRAME_VERSION;
    let crc = crc32fast::hash(&out[HEADER_BYTES..]);
    out[1..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// The message that a frame holds.
pub(crate) fn decode<M: Message + Default>(frame: Bytes) -> Result<M, FrameError> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(frame.len()));
    }
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::TooShort(frame.len()));
    };
    let [version, crc @ ..] = *header;
    if version != FRAME_VERSION {
        return Err(FrameError::Version { found: version });
    }
    let expected = u32::from_be_bytes(crc);
    let found = crc32fast::hash(payload);
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    M::decode(frame.slice(HEADER_BYTES..)).map_err(|error| FrameError::Malformed(error.to_string()))
}
