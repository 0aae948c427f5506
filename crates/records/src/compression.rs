//! Compressing and decompressing a batch's records.
//!
//! Decompression is bounded by the caller's limit, whatever sizes the data declare: output grows only as far as real
//! output comes out of the codec.

use crate::{BatchError, Codec, snappy};
use std::io::{self, Read, Write};

/// How much is decompressed at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Decompresses `data`, which must give at most `limit` bytes. The result's capacity does not exceed `limit` either.
///
/// Beside the output, a codec takes working memory of its own: up to 20 MiB for LZ4, and for Zstandard the window
/// of its frame, of which only what is written to becomes resident.
pub fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let result = match codec {
        Codec::None if data.len() <= limit => Ok(data.to_vec()),
        Codec::None => Err(Failure::TooLarge),
        Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(data), data.len(), limit),
        Codec::Snappy => snappy::decompress(data, limit),
        Codec::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(data), data.len(), limit),
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(data)
            .map_err(Failure::from)
            .and_then(|decoder| read_bounded(decoder, data.len(), limit)),
    };
    result.map_err(|failure| match failure {
        Failure::TooLarge => BatchError::DecompressedTooLarge { limit },
        Failure::Bad(reason) => BatchError::BadCompression { codec, reason },
    })
}

/// Compresses `data` at the codec's default level.
pub fn compress(codec: Codec, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    compress_to(codec, data, &mut out);
    out
}

/// Compresses `data` at the codec's default level, and appends that to `out`.
pub(crate) fn compress_to(codec: Codec, data: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(data),
        Codec::Gzip => gzip(data, out).expect("a vector takes every write"),
        Codec::Snappy => snappy::compress(data, out),
        Codec::Lz4 => lz4(data, out).expect("a vector takes every write"),
        Codec::Zstd => {
            zstd::stream::copy_encode(data, out, zstd::DEFAULT_COMPRESSION_LEVEL)
                .expect("a slice gives every read and a vector takes every write");
        }
    }
}

/// Why decompression failed.
pub(crate) enum Failure {
    /// More output than allowed.
    TooLarge,
    /// Not what the codec writes.
    Bad(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Bad(error.to_string())
    }
}

fn gzip(data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(data)?;
    encoder.finish().map(drop)
}

fn lz4(data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // What Kafka's Java client writes, and the only form that it reads: independent blocks of 64 KiB.
    let form = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(form, out);
    encoder.write_all(data)?;
    encoder.finish().map(drop).map_err(io::Error::from)
}

fn read_bounded(mut source: impl Read, compressed: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(compressed.saturating_mul(2).min(limit));
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => return Ok(out),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        append_bounded(&mut out, &chunk[..count], limit)?;
    }
}

/// Appends to `out` and keeps its capacity within the limit, which doubling would overshoot.
fn append_bounded(out: &mut Vec<u8>, chunk: &[u8], limit: usize) -> Result<(), Failure> {
    let needed = out.len() + chunk.len();
    if needed > limit {
        return Err(Failure::TooLarge);
    }
    if needed > out.capacity() {
        let capacity = needed.max(out.capacity().saturating_mul(2)).min(limit);
        out.reserve_exact(capacity - out.len());
    }
    out.extend_from_slice(chunk);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMPRESSING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let huge = vec![0; 32 << 20];
        for codec in COMPRESSING {
            let bomb = compress(codec, &huge);
            assert!(bomb.len() < huge.len() / 15, "{codec} gives {} bytes", bomb.len());
            let limit = 1 << 20;
            let expected = Err(BatchError::DecompressedTooLarge { limit });
            assert_eq!(decompress(codec, &bomb, limit), expected, "{codec}");
            assert_eq!(decompress(codec, &bomb, huge.len() - 1).map(|out| out.len()).ok(), None, "{codec}");
            let whole = decompress(codec, &bomb, huge.len()).map(|out| (out.len(), out.capacity()));
            assert_eq!(whole, Ok((huge.len(), huge.len())), "{codec}");
        }
    }

    #[test]
    fn output_never_outgrows_the_limit() {
        let mut out = Vec::new();
        for _ in 0..10 {
            assert!(append_bounded(&mut out, &[1; 100], 1_050).is_ok());
            assert!(out.capacity() <= 1_050);
        }
        assert!(append_bounded(&mut out, &[1; 100], 1_050).is_err());
        assert_eq!(out.len(), 1_000);
    }

    #[test]
    fn concatenated_gzip_members_are_read_as_one() {
        let mut data = compress(Codec::Gzip, b"come hell ");
        data.extend(compress(Codec::Gzip, b"or high water"));
        assert_eq!(decompress(Codec::Gzip, &data, 100), Ok(b"come hell or high water".to_vec()));
    }

    #[test]
    fn garbage_is_an_error() {
        for codec in COMPRESSING {
            let result = decompress(codec, b"\xffthis is not compressed at all", 1 << 20);
            assert!(matches!(result, Err(BatchError::BadCompression { .. })), "{codec}: {result:?}");
        }
    }

    proptest! {
        // Large inputs, of which a few do: block borders lie at 32 and 64 KiB.
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_codec_round_trips(
            data in proptest::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..100_000),
        ) {
            for codec in Codec::ALL {
                let packed = compress(codec, &data);
                let unpacked = decompress(codec, &packed, data.len());
                prop_assert_eq!(unpacked.as_ref(), Ok(&data), "{}", codec);
            }
        }
    }

    proptest! {
        #[test]
        fn damaged_input_gives_an_error_or_bounded_output(
            data in proptest::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 1..5_000),
            cut in any::<prop::sample::Index>(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        ) {
            for codec in COMPRESSING {
                let mut packed = compress(codec, &data);
                for (at, mask) in &flips {
                    let at = at.index(packed.len());
                    packed[at] ^= mask;
                }
                packed.truncate(cut.index(packed.len()) + 1);
                if let Ok(out) = decompress(codec, &packed, 6_000) {
                    prop_assert!(out.capacity() <= 6_000);
                }
            }
        }
    }
}
