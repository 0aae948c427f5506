//! Snappy as Kafka's clients use it: blocks in the framing of xerial's snappy-java, or one bare block.

use crate::compression::Failure;

/// `\x82SNAPPY\0`, version 1, compatible with version 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
/// The magic at the front of it; the two versions behind it do not matter to a reader.
const XERIAL_MAGIC_BYTES: usize = 8;
/// How much snappy-java puts into a block.
const BLOCK_BYTES: usize = 32 * 1024;
/// The most output that one input byte can give: a copy of 64 bytes takes 3.
const MOST_EXPANSION: usize = 22;

/// Appends `data`, compressed and framed, to `out`.
pub(crate) fn compress(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
    for chunk in data.chunks(BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block).expect("the buffer holds the longest block");
        out.extend_from_slice(&u32::try_from(length).expect("a block is short").to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
}

/// Decompresses framed blocks or a bare block, to at most `limit` bytes.
pub(crate) fn decompress(data: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    if !data.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]) {
        decompress_block(data, &mut out, limit)?;
        return Ok(out);
    }
    let mut rest = data.get(XERIAL_HEADER.len()..).ok_or_else(|| bad("the header is cut short"))?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or_else(|| bad("a block length is cut short"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let block = behind.get(..length).ok_or_else(|| bad("a block is cut short"))?;
        decompress_block(block, &mut out, limit)?;
        rest = &behind[length..];
    }
    Ok(out)
}

fn decompress_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Failure> {
    let declared = snap::raw::decompress_len(block).map_err(|error| Failure::Bad(error.to_string()))?;
    if declared > limit - out.len() {
        return Err(Failure::TooLarge);
    }
    // A declared length is no reason to take memory that the block cannot fill.
    if declared > block.len().saturating_mul(MOST_EXPANSION) {
        return Err(bad("a block declares more bytes than it can hold"));
    }
    let start = out.len();
    let needed = start + declared;
    if needed > out.capacity() {
        let capacity = needed.max(out.capacity().saturating_mul(2)).min(limit);
        out.reserve_exact(capacity - start);
    }
    out.resize(needed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| Failure::Bad(error.to_string()))?;
    out.truncate(start + written);
    Ok(())
}

fn bad(reason: &str) -> Failure {
    Failure::Bad(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expected: Result<&[u8], &str>) {
        let result = match decompress(data, 1_000) {
            Ok(out) => Ok(out),
            Err(Failure::TooLarge) => Err("too large".to_owned()),
            Err(Failure::Bad(reason)) => Err(reason),
        };
        assert_eq!(result.as_deref(), expected.map_err(str::to_owned).as_ref().map(|out| *out));
    }

    #[test]
    fn bare_and_framed_blocks_are_read() {
        let bare = snap::raw::Encoder::new().compress_vec(b"high water").expect("it is short");
        check(&bare, Ok(b"high water"));
        let mut framed = Vec::new();
        compress(b"high water", &mut framed);
        check(&framed, Ok(b"high water"));
        // Java clients close a block per flush: several may follow each other.
        let mut twice = framed.clone();
        twice.extend_from_slice(&framed[XERIAL_HEADER.len()..]);
        check(&twice, Ok(b"high waterhigh water"));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        // 4 GiB - 1 declared by five bytes.
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Err("too large"));
        check(&[0xe7, 0x07, 0x00], Err("a block declares more bytes than it can hold"));
        let mut framed = XERIAL_HEADER.to_vec();
        framed.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 1]);
        check(&framed, Err("a block is cut short"));
        check(&XERIAL_HEADER[..10], Err("the header is cut short"));
    }

    #[test]
    fn expansion_is_bounded_as_assumed() {
        let zeroes = vec![0; 60_000];
        let packed = snap::raw::Encoder::new().compress_vec(&zeroes).expect("it is short");
        assert!(zeroes.len() <= packed.len() * MOST_EXPANSION);
    }
}
