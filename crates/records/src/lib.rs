//! Record batch v2, the unit in which Kafka's records travel and are stored.
//!
//! Here live the checked view of a batch ([`Batch`]), the rules for what a client may send ([`validate_produced`]),
//! the patching of a batch for its place in a log ([`Batch::assigned`]), the decoding of its records ([`Records`]),
//! the making of new batches ([`BatchBuilder`]), what compaction leaves of one ([`Batch::compacted`]), checksums and
//! compression. Files and sockets do not: everything is bytes in, bytes out.
//!
//! Architecture invariant: bytes from outside never panic here, and no size they declare is believed before memory
//! is taken for it.
//!
//! Message formats 0 and 1 are recognised and refused ([`BatchError::OldFormat`]), never read.

mod assigned;
mod batch;
mod batches;
mod builder;
mod checksum;
mod codec;
mod compacted;
mod compression;
mod error;
mod header;
mod produced;
mod recompress;
mod record;
mod records;
mod snappy;
mod varint;

#[cfg(test)]
mod tests;

pub use assigned::AssignedBatch;
pub use batch::{Batch, MAX_DECOMPRESSED_BYTES};
pub use batches::Batches;
pub use builder::BatchBuilder;
pub use checksum::{Crc32c, crc32c};
pub use codec::Codec;
pub use compacted::{Compacted, KeyedRecord};
pub use compression::{compress, decompress};
pub use error::BatchError;
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX, MAGIC, TimestampType};
pub use produced::{ProduceRules, validate_produced};
pub use recompress::recompress;
pub use record::{Header, Record};
pub use records::Records;
