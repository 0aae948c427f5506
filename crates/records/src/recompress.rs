//! Changing a batch's codec.

use crate::compression::compress_to;
use crate::header::CHECKED_FROM;
use crate::{Batch, BatchError, BatchHeader, Codec, HEADER_BYTES, LENGTH_PREFIX, crc32c};
use bytes::Bytes;

/// The same batch with its records compressed otherwise, for a topic's `compression.type`. Offsets, timestamps and
/// the producer's fields stay. Decompresses to at most `limit` bytes.
///
/// The result may be larger than the batch was: hold it against `max.message.bytes` again.
pub fn recompress(batch: &Batch, codec: Codec, limit: usize) -> Result<Batch, BatchError> {
    if batch.header().attributes.codec()? == codec {
        return Ok(batch.clone());
    }
    let records = batch.uncompressed(limit)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
    out.resize(HEADER_BYTES, 0);
    compress_to(codec, &records, &mut out);
    let attributes = batch.header().attributes.with_codec(codec);
    finish(BatchHeader { attributes, ..*batch.header() }, out)
}

/// Writes `header` over the first bytes of `out`, with the length and checksum of what stands behind them.
pub(crate) fn finish(mut header: BatchHeader, mut out: Vec<u8>) -> Result<Batch, BatchError> {
    header.batch_length = i32::try_from(out.len() - LENGTH_PREFIX)
        .map_err(|_| BatchError::TooLarge { size: out.len(), limit: i32::MAX as usize })?;
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    header.crc = crc32c(&out[CHECKED_FROM..]);
    out[..HEADER_BYTES].copy_from_slice(&header.encode());
    Ok(Batch::made(header, Bytes::from(out)))
}
