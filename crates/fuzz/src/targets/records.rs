//! Record batches: as they come from producers and from disks.

use super::Target;
use bytes::Bytes;
use highwater_env::Rng;
use highwater_records::{
    Batch, BatchBuilder, BatchHeader, Codec, Compacted, HEADER_BYTES, Header, LENGTH_PREFIX, ProduceRules,
    crc32c, decompress, recompress, validate_produced,
};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use rand::RngExt;

/// How far records may grow when they are decompressed here.
const DECOMPRESSED_BYTES: usize = 4 << 20;

/// Where the checksum stands, and where what it covers begins.
const CHECKSUM_AT: usize = 17;
const CHECKED_FROM: usize = 21;

/// One to three batches, one after another.
pub struct Batches;

/// A codec's number, and data that it compressed.
pub struct Compressed;

/// A valid batch.
pub(super) fn batch(rng: &mut Rng) -> Bytes {
    let codec = Codec::ALL[rng.random_range(0..Codec::ALL.len())];
    let mut builder = BatchBuilder::new(codec, 64 << 10);
    for _ in 0..rng.random_range(1..=8) {
        let mut some = |longest: usize| {
            let length = rng.random_range(0..longest);
            let byte = rng.random();
            // Half of it compresses well.
            (rng.random_range(0..4) != 0).then(|| {
                (0..length).map(|_| if rng.random() { byte } else { rng.random() }).collect::<Vec<u8>>()
            })
        };
        let (key, value) = (some(20), some(200));
        let headers: Vec<Header> = (0..3)
            .filter_map(|_| Some(Header { key: some(10)?.into(), value: some(30).map(Bytes::from) }))
            .collect();
        let timestamp = Timestamp(1_700_000_000_000 + rng.random_range(-1_000..1_000));
        if !builder.try_push(timestamp, key.as_deref(), value.as_deref(), &headers) {
            break;
        }
    }
    if rng.random() {
        builder.set_producer(
            ProducerId(rng.random_range(0..100)),
            ProducerEpoch(3),
            rng.random_range(0..100),
        );
        if rng.random() {
            builder.set_transactional();
        }
    }
    builder.build()
}

/// Makes the lengths and checksums of the batches in `input` right, as far as they can be told apart.
pub fn repair_batches(input: &mut [u8]) {
    let mut rest = input;
    while rest.len() >= HEADER_BYTES {
        let declared = rest[8..].first_chunk().map_or(0, |field| i32::from_be_bytes(*field));
        let declared = usize::try_from(declared).unwrap_or(0).saturating_add(LENGTH_PREFIX);
        let length = if declared < HEADER_BYTES || declared > rest.len() { rest.len() } else { declared };
        let (batch, following) = rest.split_at_mut(length);
        batch[8..12].copy_from_slice(&((length - LENGTH_PREFIX) as u32).to_be_bytes());
        let checksum = crc32c(&batch[CHECKED_FROM..]);
        batch[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
        rest = following;
    }
}

impl Target for Batches {
    fn name(&self) -> &'static str {
        "batches"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        (0..rng.random_range(1..=3)).flat_map(|_| batch(rng)).collect()
    }

    fn repair(&self, input: &mut Vec<u8>) {
        repair_batches(input);
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let bytes = Bytes::copy_from_slice(input);
        // Read as a header alone, as a producer's, and as what a disk or a leader gives.
        let _ = BatchHeader::parse(input);
        for deep in [false, true] {
            let rules =
                ProduceRules { deep, max_decompressed_bytes: DECOMPRESSED_BYTES, ..ProduceRules::default() };
            if let Ok(batch) = validate_produced(bytes.clone(), &rules) {
                check_placed(&batch)?;
            }
        }
        for batches in [
            highwater_records::Batches::new(bytes.clone()),
            highwater_records::Batches::with_partial_tail(bytes.clone()),
        ] {
            let mut covered = 0;
            for batch in batches {
                let Ok(batch) = batch else { break };
                covered += batch.bytes().len();
                check_batch(&batch)?;
            }
            if covered > input.len() {
                return Err(format!("{covered} bytes of batches in {} bytes", input.len()));
            }
        }
        Ok(())
    }
}

/// A batch whose checksum fits can still hold anything.
fn check_batch(batch: &Batch) -> Result<(), String> {
    let deep = batch.deep_check(DECOMPRESSED_BYTES);
    let Ok(records) = batch.records_within(DECOMPRESSED_BYTES) else {
        return if deep.is_ok() { Err("a sound batch cannot be read".to_owned()) } else { Ok(()) };
    };
    let mut count = 0;
    let mut failed = false;
    for record in records {
        failed |= record.is_err();
        count += 1;
        // An iterator that fails must end.
        if count > batch.header().record_count.max(0) as usize + 1 {
            return Err(format!("more than {count} records, {} declared", batch.header().record_count));
        }
    }
    if deep.is_ok() && (failed || count != batch.header().record_count as usize) {
        return Err(format!("a sound batch of {} gives {count} records", batch.header().record_count));
    }
    if deep.is_ok() {
        recompressed(batch)?;
    }
    compacted(batch)
}

/// What a producer may send keeps its records when it gets its place in the log.
fn check_placed(batch: &Batch) -> Result<(), String> {
    let assigned = batch.assigned(Offset(1_000), LeaderEpoch(7), None);
    let placed = Batch::check(assigned.to_bytes()).map_err(|error| format!("placed: {error}"))?;
    if placed.header().base_offset != Offset(1_000)
        || placed.header().record_count != batch.header().record_count
    {
        return Err(format!("placed: {:?}", placed.header()));
    }
    Ok(())
}

/// A sound batch can be given any codec and has the same records then.
fn recompressed(batch: &Batch) -> Result<(), String> {
    let codec = Codec::ALL[batch.bytes().len() % Codec::ALL.len()];
    let again =
        recompress(batch, codec, DECOMPRESSED_BYTES).map_err(|error| format!("to {codec:?}: {error}"))?;
    let records = |batch: &Batch| {
        let records = batch.records_within(DECOMPRESSED_BYTES).map_err(|error| error.to_string())?;
        records.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    };
    if records(batch)? == records(&again)? { Ok(()) } else { Err(format!("{codec:?} changes the records")) }
}

/// Of a batch whose records can be read, compaction leaves those that it is to leave as they were. Of others it leaves
/// nothing to be found out later.
fn compacted(batch: &Batch) -> Result<(), String> {
    let keeps = |offset: Offset| offset.0 % 2 == 0;
    let horizon = Timestamp(5_000);
    let Ok(compacted) = batch.compacted(DECOMPRESSED_BYTES, horizon, |record| keeps(record.offset)) else {
        return Ok(());
    };
    let records = |batch: &Batch| {
        let records = batch.records_within(DECOMPRESSED_BYTES).map_err(|error| error.to_string())?;
        records.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    };
    let mut expected = records(batch)?;
    expected.retain(|record| keeps(record.offset));
    let left = match compacted {
        Compacted::Unchanged => batch.clone(),
        Compacted::Rewritten(less) => less,
        Compacted::Emptied => batch.emptied(),
    };
    let left = Batch::check(left.into_bytes()).map_err(|error| format!("compacted: {error}"))?;
    if left.header().next_offset() != batch.header().next_offset() || records(&left)? != expected {
        return Err(format!("compaction leaves something else: {:?}", left.header()));
    }
    Ok(())
}

impl Target for Compressed {
    fn name(&self) -> &'static str {
        "compressed"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let codec = Codec::ALL[rng.random_range(0..Codec::ALL.len())];
        let length = rng.random_range(0..4000);
        let period = rng.random_range(1..100);
        let data: Vec<u8> = (0..length).map(|index: usize| (index % period) as u8).collect();
        let mut input = vec![codec.id() as u8];
        input.extend(highwater_records::compress(codec, &data));
        input
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let Some((&codec, data)) = input.split_first() else { return Ok(()) };
        let Ok(codec) = Codec::from_id(i16::from(codec)) else { return Ok(()) };
        // A bomb must be stopped by the limit and not by memory.
        for limit in [0, 100, DECOMPRESSED_BYTES] {
            if let Ok(out) = decompress(codec, data, limit)
                && out.len() > limit
            {
                return Err(format!("{codec:?} gave {} bytes, {limit} allowed", out.len()));
            }
        }
        Ok(())
    }
}
