//! Frames of the internal port.
//!
//! ```text
//! offset  size  field
//! 0       4     length of what follows, big-endian
//! 4       1     frame version, now 1
//! 5       4     CRC-32 (IEEE) of the message, big-endian
//! 9       ..    the message, protobuf-encoded
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The version of the frames and of the messages' meaning.
pub(crate) const VERSION: u8 = 1;

/// The largest frame: the largest batch of the quorum's log, and room for what is around it.
pub(crate) const MAX_BYTES: usize = 48 << 20;

const PREFIX_BYTES: usize = 4;
const HEADER_BYTES: usize = 5;

/// Memory that is taken for a frame before its bytes have come.
const FIRST_READ_BYTES: usize = 64 << 10;

/// A message as a frame. None if it is larger than a frame may be.
pub(crate) fn encode(message: &impl Message) -> Option<Bytes> {
    let length = HEADER_BYTES + message.encoded_len();
    if length > MAX_BYTES {
        return None;
    }
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.put_u32(u32::try_from(length).ok()?);
    out.put_u8(VERSION);
    out.put_u32(0);
    message.encode(&mut out).ok()?;
    let crc = crc32fast::hash(&out[PREFIX_BYTES + HEADER_BYTES..]);
    out[PREFIX_BYTES + 1..PREFIX_BYTES + HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    Some(out.freeze())
}

/// The message of a frame without its length.
pub(crate) fn decode<M: Message + Default>(mut frame: Bytes) -> Result<M, String> {
    if frame.len() < HEADER_BYTES {
        return Err(format!("a frame of {} bytes is too short", frame.len()));
    }
    let header = frame.split_to(HEADER_BYTES);
    if header[0] != VERSION {
        return Err(format!(
            "a frame of version {}, and this program speaks version {VERSION}: is this the internal port of a node, \
             and do both nodes run versions that go together?",
            header[0]
        ));
    }
    let expected = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let found = crc32fast::hash(&frame);
    if found != expected {
        return Err(format!("a frame's checksum is {found:#010x}, and its header says {expected:#010x}"));
    }
    M::decode(frame).map_err(|error| format!("a frame cannot be decoded: {error}"))
}

/// Reads one frame, without its length. None at the end of the stream between two frames.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S, limit: usize) -> io::Result<Option<Bytes>> {
    let mut prefix = [0; PREFIX_BYTES];
    if let Err(error) = stream.read_exact(&mut prefix).await {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error),
        };
    }
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit {
        let problem = format!("a frame of {length} bytes is longer than the {limit} allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut frame = BytesMut::with_capacity(length.min(FIRST_READ_BYTES));
    while frame.len() < length {
        let missing = length - frame.len();
        if (&mut *stream).take(missing as u64).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

#[cfg(test)]
mod tests {
    use super::super::message::Hello;
    use super::*;

    #[test]
    fn a_message_is_read_back_and_damage_is_found() {
        let hello = Hello { node: 7, cluster: Bytes::from_static(&[1; 16]), ..Hello::default() };
        let bytes = encode(&hello).expect("small");
        let frame = bytes.slice(PREFIX_BYTES..);
        assert_eq!(decode::<Hello>(frame.clone()), Ok(hello));
        for at in 0..frame.len() {
            let mut bad = frame.to_vec();
            bad[at] ^= 0x20;
            assert!(decode::<Hello>(bad.into()).is_err(), "byte {at}");
        }
        for length in 0..frame.len() {
            assert!(decode::<Hello>(frame.slice(..length)).is_err(), "{length} bytes");
        }
    }
}
