//! What every message can do.

use crate::codec::{At, Field};
use crate::{ApiKey, DecodeError, DecodeProblem, Decoder, EncodeError, EncodeProblem, Encoder};
use bytes::Bytes;
use std::ops::RangeInclusive;

/// The body of a request or a response, in any of its versions. Derived.
///
/// A field that a version lacks decodes to its default, and is left out on encoding whatever its value.
/// Unknown tagged fields are skipped.
pub trait Message: Field + Default {
    /// The schema's name.
    const NAME: &'static str;

    /// The versions that the struct knows; all others are refused both ways.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether that version has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool;

    /// Reads the message from where `input` stands; what follows it is left there.
    fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::new(DecodeProblem::Version { version }).within(Self::NAME));
        }
        Self::read(input, At::new(version, Self::is_flexible(version)))
            .map_err(|error| error.within(Self::NAME))
    }

    /// Reads the message that `body` starts with. Bytes after it are ignored, as Kafka does.
    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Decoder::new(body), version)
    }

    /// Writes the message.
    fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::new(EncodeProblem::Version { version }).within(Self::NAME));
        }
        self.write(out, At::new(version, Self::is_flexible(version)))
            .map_err(|error| error.within(Self::NAME))
    }
}

/// The body of a request.
pub trait Request: Message {
    /// Its number.
    const KEY: ApiKey;
    /// What it is answered with, in the same version.
    type Response: Message;
}
