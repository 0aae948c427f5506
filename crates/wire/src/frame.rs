//! Frames: a length, a header and a body.

use crate::encoder::LENGTH_BYTES;
use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoder, Message, Request, Str};
use bytes::Bytes;
use smallvec::SmallVec;

/// What a header takes beside the client id: length, key, version, correlation id, the client id's length and
/// the number of tagged fields.
const HEADER_BYTES: usize = LENGTH_BYTES + 2 + 2 + 4 + 2 + 1;

/// A piece of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that the caller puts in, by its own number: see [`crate::Records::External`].
    External {
        /// The caller's number for them.
        id: u32,
        /// How many there are.
        length: u32,
    },
}

impl Segment {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { length, .. } => *length as usize,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A frame ready to be sent: its segments in order, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The segments.
    pub segments: SmallVec<[Segment; 4]>,
    /// The sum of their lengths.
    pub length: usize,
}

/// A length prefix that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below zero.
    #[error("frame of length {0}")]
    Negative(i32),
    /// The length is above the receiver's limit.
    #[error("frame of {length} bytes, {max} allowed")]
    TooLarge {
        /// The length.
        length: usize,
        /// The receiver's limit.
        max: usize,
    },
}

/// The length of the frame that those four bytes announce, themselves not counted.
pub fn frame_length(prefix: [u8; 4], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    let length = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
    if length > max { Err(FrameError::TooLarge { length, max }) } else { Ok(length) }
}

/// What stands in front of every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API's number; see [`ApiKey`].
    pub api_key: i16,
    /// The version of the body and, through it, of this header.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

/// Reads the header off the front of a request without its length; the body remains. After an error nothing does.
///
/// A key that this crate does not know is taken to have a header without tagged fields, so that key, version
/// and correlation id can still be answered and logged.
pub fn decode_request_header(frame: &mut Bytes) -> Result<RequestHeader, DecodeError> {
    let mut input = Decoder::new(std::mem::take(frame));
    let header = read_header(&mut input).map_err(|error| error.within("RequestHeader"))?;
    *frame = input.rest();
    Ok(header)
}

fn read_header(input: &mut Decoder) -> Result<RequestHeader, DecodeError> {
    let api_key = i16::from_be_bytes(input.array().map_err(|error| error.within("api_key"))?);
    let api_version = i16::from_be_bytes(input.array().map_err(|error| error.within("api_version"))?);
    let correlation_id = i32::from_be_bytes(input.array().map_err(|error| error.within("correlation_id"))?);
    let client_id = input
        .short_length()
        .and_then(|length| length.map(|length| input.string(length)).transpose())
        .map_err(|error| error.within("client_id"))?;
    if ApiKey(api_key).is_flexible(api_version) {
        input.skip_tags()?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// A request with its length and header, ready to be sent.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    request: &R,
) -> Result<Frame, EncodeError> {
    let room = HEADER_BYTES + client_id.map_or(0, str::len) + request.bound();
    let mut out = Encoder::with_capacity(room);
    out.raw(&[0; LENGTH_BYTES]);
    out.raw(&R::KEY.0.to_be_bytes());
    out.raw(&version.to_be_bytes());
    out.raw(&correlation_id.to_be_bytes());
    // A plain string in every version of the header.
    out.short_length(client_id.map(str::len))
        .map_err(|error| error.within("client_id").within("RequestHeader"))?;
    out.raw(client_id.unwrap_or_default().as_bytes());
    if R::is_flexible(version) {
        out.uvarint(0);
    }
    request.encode(&mut out, version)?;
    out.finish_prefixed()
}

/// A response with its length and header, ready to be sent.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    response: &M,
) -> Result<Frame, EncodeError> {
    let mut out = Encoder::with_capacity(HEADER_BYTES + response.bound());
    write_response(&mut out, correlation_id, key, version, response)?;
    out.finish_prefixed()
}

/// As [`encode_response`], behind what stands in `onto`, for a response without records. After an error `onto` is as it
/// was.
pub fn append_response<M: Message>(
    onto: &mut Vec<u8>,
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    response: &M,
) -> Result<(), EncodeError> {
    let start = onto.len();
    let mut out = Encoder::behind(std::mem::take(onto));
    let written = write_response(&mut out, correlation_id, key, version, response);
    let (bytes, written) = out.finish_behind(start, written);
    *onto = bytes;
    written
}

fn write_response<M: Message>(
    out: &mut Encoder,
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    response: &M,
) -> Result<(), EncodeError> {
    out.raw(&[0; LENGTH_BYTES]);
    out.raw(&correlation_id.to_be_bytes());
    if key.has_flexible_response_header(version) {
        out.uvarint(0);
    }
    response.encode(out, version)
}

/// Reads the header off the front of a response without its length, and gives its correlation id; the body
/// remains.
pub fn decode_response_header(frame: &mut Bytes, key: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let mut input = Decoder::new(frame.clone());
    let correlation_id = input
        .array()
        .map(i32::from_be_bytes)
        .map_err(|error| error.within("correlation_id").within("ResponseHeader"))?;
    if key.has_flexible_response_header(version) {
        input.skip_tags().map_err(|error| error.within("ResponseHeader"))?;
    }
    *frame = input.rest();
    Ok(correlation_id)
}
