//! Kafka's wire protocol: messages, frames, error codes and the version table.
//!
//! [`messages`] has one module per API, with the struct and field names of Kafka's public schemas.
//! `#[derive(Message)]` turns a struct's attributes into the code that reads and writes it. [`Decoder`]
//! borrows strings and records from the received frame, and bounds every length before it takes memory;
//! [`Encoder`] writes small fields into one buffer and keeps record bytes apart from it, so that they are
//! never copied. [`frame`] adds the headers and the length.
//!
//! Nothing here does I/O, and nothing here knows what a record batch looks like inside.

// The derive macro names this crate from outside and from inside alike.
extern crate self as highwater_wire;

mod api_key;
#[doc(hidden)]
pub mod codec;
mod decoder;
mod encoder;
mod error;
mod error_code;
pub mod frame;
mod message;
pub mod messages;
mod records;
mod single_produce;
mod version_table;

/// A string of the protocol, most often a slice of the frame that it came in.
pub type Str = bytestring::ByteString;

pub use api_key::ApiKey;
pub use decoder::{Decoder, MAX_DECODED_BYTES};
pub use encoder::Encoder;
pub use error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
pub use error_code::ErrorCode;
pub use frame::{
    Frame, FrameError, RequestHeader, Segment, append_response, decode_request_header,
    decode_response_header, encode_request, encode_response, frame_length,
};
pub use highwater_wire_derive::Message;
pub use message::{Message, Request};
pub use records::Records;
pub use single_produce::{ProduceTopic, SingleProduce};
pub use version_table::{ServedVersions, version_table};
