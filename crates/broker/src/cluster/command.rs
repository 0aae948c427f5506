//! What the quorum's log holds for this project: the records of one decision.

use bytes::Bytes;
use highwater_metadata::{FrameError, MetadataRecord, decode, encode};
use prost::Message;

/// The largest command, which is the largest change.
const MAX_BYTES: usize = 16 << 20;

/// The records of one decision, as an entry of the quorum's log.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    /// The records, each as a frame of its own.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) frames: Vec<Bytes>,
}

/// More records than fit into one command.
pub(super) struct TooLarge;

impl Command {
    /// The bytes of a decision.
    pub(super) fn encode(records: &[MetadataRecord]) -> Result<Bytes, TooLarge> {
        let frames: Result<Vec<Bytes>, FrameError> = records.iter().map(encode).collect();
        let command = Self { frames: frames.map_err(|_| TooLarge)? };
        if command.encoded_len() > MAX_BYTES {
            return Err(TooLarge);
        }
        Ok(command.encode_to_vec().into())
    }

    /// The decision that bytes hold.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, String> {
        <Self as Message>::decode(bytes.clone()).map_err(|error| error.to_string())
    }

    /// Its records.
    pub(super) fn records(&self) -> Result<Vec<MetadataRecord>, FrameError> {
        self.frames.iter().map(|frame| decode(frame)).collect()
    }
}
