//! What an entry's record holds: the value of the one record of its batch.

use crate::frame::{self, FrameError};
use crate::types::EntryPayload;
use crate::{convert, proto};
use bytes::Bytes;

/// The value of the record.
pub(crate) fn encode(payload: &EntryPayload) -> Bytes {
    frame::encode(&convert::payload_to(payload))
}

/// The payload that a record's value holds.
pub(crate) fn decode(value: Bytes) -> Result<EntryPayload, FrameError> {
    convert::payload_from(frame::decode::<proto::Payload>(value)?)
}
