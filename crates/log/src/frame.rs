//! The frame of the store's small files: magic, version, length, payload, checksum.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_env::File;
use std::io;

/// In front of the payload: magic (8), version (2), zero (2), payload length (4).
const HEAD_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameKind {
    /// The first eight bytes.
    pub magic: &'static [u8; 8],
    /// The version that is written, and the latest that is read.
    pub version: u16,
    /// The largest file that is read.
    pub limit_bytes: u64,
}

/// Why a frame cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadFrame {
    /// Too short, another magic, or a wrong checksum.
    Damaged,
    /// Written by a later version.
    Newer(u16),
}

impl FrameKind {
    /// Puts the frame around a payload.
    pub(crate) fn encode(&self, payload: &[u8]) -> Bytes {
        let length = u32::try_from(payload.len()).expect("the store's own files are small");
        let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len() + CRC_BYTES);
        out.put_slice(self.magic);
        out.put_u16(self.version);
        out.put_u16(0);
        out.put_u32(length);
        out.put_slice(payload);
        out.put_u32(crc32fast::hash(&out));
        out.freeze()
    }

    /// Takes the frame off, and returns the version and the payload.
    pub(crate) fn decode(&self, bytes: &Bytes) -> Result<(u16, Bytes), BadFrame> {
        if bytes.len() < HEAD_BYTES + CRC_BYTES || bytes[..8] != self.magic[..] {
            return Err(BadFrame::Damaged);
        }
        let body = bytes.len() - CRC_BYTES;
        let stored = u32::from_be_bytes(array(&bytes[body..]));
        let length = u32::from_be_bytes(array(&bytes[12..16]));
        let fits = usize::try_from(length).is_ok_and(|length| length == body - HEAD_BYTES);
        if !fits || crc32fast::hash(&bytes[..body]) != stored {
            return Err(BadFrame::Damaged);
        }
        let version = u16::from_be_bytes(array(&bytes[8..10]));
        match version {
            1.. if version <= self.version => Ok((version, bytes.slice(HEAD_BYTES..body))),
            0 => Err(BadFrame::Damaged),
            newer => Err(BadFrame::Newer(newer)),
        }
    }

    /// Reads and decodes a whole file.
    pub(crate) async fn read<F: File>(&self, file: &F) -> io::Result<Result<(u16, Bytes), BadFrame>> {
        let length = file.len().await?;
        if length > self.limit_bytes {
            return Ok(Err(BadFrame::Damaged));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let bytes = file.read_at(0, length).await?;
        Ok(self.decode(&bytes))
    }
}

/// The first `N` bytes of a slice that has them.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("the caller checked the length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: FrameKind = FrameKind { magic: b"HWTEST\0\0", version: 2, limit_bytes: 1 << 20 };

    #[test]
    fn layout() {
        let bytes = KIND.encode(b"abc");
        assert_eq!(&bytes[..16], b"HWTEST\0\0\0\x02\0\0\0\0\0\x03");
        assert_eq!(&bytes[16..19], b"abc");
        assert_eq!(bytes.len(), 23);
        assert_eq!(KIND.decode(&bytes), Ok((2, Bytes::from_static(b"abc"))));
    }

    #[test]
    fn a_later_version_is_told_apart_from_damage() {
        let later = FrameKind { version: 3, ..KIND };
        assert_eq!(KIND.decode(&later.encode(b"abc")), Err(BadFrame::Newer(3)));
        assert_eq!(later.decode(&KIND.encode(b"abc")).map(|(version, _)| version), Ok(2));
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            mask in 1u8..,
        ) {
            let bytes = KIND.encode(&payload);
            let mut damaged = bytes.to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= mask;
            prop_assert!(KIND.decode(&damaged.into()).is_err());
            for length in 0..bytes.len() {
                prop_assert_eq!(KIND.decode(&bytes.slice(..length)), Err(BadFrame::Damaged));
            }
        }
    }
}
