//! Writing segments anew, without what is not needed any more.

use super::map::OffsetMap;
use super::read::Chunks;
use crate::checkpoint::create;
use crate::core::FileOf;
use crate::error::LogError;
use crate::files::{SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY, segment_name};
use crate::index::{Index, IndexBuilder};
use crate::log::Log;
use crate::segment::Sealed;
use bytes::Bytes;
use highwater_env::{Disk, Env, File};
use highwater_records::{Batch, BatchHeader, Batches, Compacted, KeyedRecord, MAX_DECOMPRESSED_BYTES};
use highwater_types::{LeaderEpoch, Offset, Timestamp, mutant};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What stays and what goes in a pass.
pub(super) struct Rule(Arc<Inner>);

struct Inner {
    map: OffsetMap,
    /// What stands here or behind it stays as it is.
    up_to: Offset,
    now: Timestamp,
    /// Until when tombstones that are new to compaction stay.
    horizon: Timestamp,
    /// Where the last batches of producers begin, whose numbers are needed to know them again.
    producers: BTreeSet<Offset>,
}

/// A file that is to take the place of segments.
pub(super) struct Written<F> {
    pub(super) temporary: PathBuf,
    pub(super) file: F,
    pub(super) index: Index,
}

/// What goes into the new file.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    headers: Vec<BatchHeader>,
    /// Offsets without records, which a batch of its own is to stand for.
    empty: Option<(Range<Offset>, LeaderEpoch)>,
    changed: bool,
}

impl<E: Env> Log<E> {
    pub(super) async fn rule(&self, map: OffsetMap, up_to: Offset, now: Timestamp) -> Rule {
        let retention = i64::try_from(self.config().delete_retention_ms).unwrap_or(i64::MAX);
        let retention = if mutant!("tombstone-early") { 0 } else { retention };
        let horizon = Timestamp(now.0.saturating_add(retention));
        let producers = match mutant!("cleaner-drop-last-seq") {
            true => BTreeSet::new(),
            false => self.0.appender.lock().await.producers.batch_starts(),
        };
        Rule(Arc::new(Inner { map, up_to, now, horizon, producers }))
    }

    /// Writes segments that follow each other into one new file, which is on disk when this returns. None if it would
    /// hold just what the one segment holds.
    pub(super) async fn rewrite(
        &self,
        group: &[Arc<Sealed>],
        rule: &Rule,
    ) -> Result<Option<Written<FileOf<E>>>, LogError> {
        let base = group[0].summary.base;
        let temporary = self.0.dir.join(format!("{}.compacted{TEMPORARY}", segment_name(base)));
        let file = create(self.0.core.env.disk(), &temporary).await?;
        let written = self.fill(&file, group, rule).await;
        match written {
            Ok((index, changed)) if changed || group.len() > 1 => {
                file.sync_data().await?;
                Ok(Some(Written { temporary, file, index }))
            }
            unwanted => {
                drop(file);
                let removed = self.0.core.env.disk().remove_file(&temporary).await;
                unwanted?;
                removed?;
                Ok(None)
            }
        }
    }

    async fn fill(
        &self,
        file: &FileOf<E>,
        group: &[Arc<Sealed>],
        rule: &Rule,
    ) -> Result<(Index, bool), LogError> {
        let interval = self.config().index_interval_bytes;
        let base = group[0].summary.base;
        let mut index = IndexBuilder::new(base);
        let mut changed = false;
        for (number, segment) in group.iter().enumerate() {
            let mut chunks = Chunks::open(self, Arc::clone(segment)).await?;
            if number == 0 {
                let head = chunks.file.read_at(0, SEGMENT_HEADER_BYTES as usize).await?;
                let now = self.0.core.env.clock().wall();
                let created = SegmentHeader::decode(&head).map_or(now, |header| header.created);
                file.write_at(0, vec![SegmentHeader { log: self.id(), base, created }.encode()]).await?;
            }
            let mut output = Output::default();
            while let Some(chunk) = chunks.next().await? {
                let inner = Arc::clone(&rule.0);
                output = self.0.core.env.compute(move || inner.apply(chunk, output)).await;
                self.put(file, &mut index, &mut output, interval).await?;
            }
            // A file of this segment's offsets alone must end where they do: see `place`.
            output.stand_in();
            self.put(file, &mut index, &mut output, interval).await?;
            changed |= output.changed;
        }
        let index = index.finish();
        let end = group.last().map_or(base, |last| last.summary.end);
        if index.summary.end != end {
            return Err(io::Error::other(format!("compaction came to {} of {end}", index.summary.end)).into());
        }
        Ok((index, changed))
    }

    /// Writes what is ready.
    async fn put(
        &self,
        file: &FileOf<E>,
        index: &mut IndexBuilder,
        output: &mut Output,
        interval: u32,
    ) -> Result<(), LogError> {
        let bytes = std::mem::take(&mut output.bytes);
        let position = index.summary().size;
        let end = u64::from(position) + bytes.len() as u64;
        if end > i32::MAX as u64 {
            return Err(io::Error::other("a compacted segment would outgrow its largest size").into());
        }
        for header in output.headers.drain(..) {
            index.push(&header, interval, false);
        }
        if !bytes.is_empty() {
            file.write_at(u64::from(position), vec![Bytes::from(bytes)]).await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Goes over batches that follow each other and check out.
    fn apply(&self, batches: Bytes, mut output: Output) -> Output {
        for batch in Batches::new(batches).map_while(Result::ok) {
            let header = batch.header();
            let is_fixed = header.attributes.is_control() || header.attributes.is_transactional();
            if is_fixed || header.next_offset() > self.up_to {
                output.keep(&batch);
                continue;
            }
            let expired = header.attributes.has_delete_horizon() && self.now >= header.base_timestamp;
            let expired = expired || mutant!("tombstone-early");
            let compacted = match header.record_count {
                0 => Ok(Compacted::Emptied),
                _ => batch
                    .compacted(MAX_DECOMPRESSED_BYTES, self.horizon, |record| self.keeps(record, expired)),
            };
            match compacted {
                Ok(Compacted::Unchanged) => output.keep(&batch),
                Ok(Compacted::Rewritten(less)) => {
                    output.changed = true;
                    output.keep(&less);
                }
                Ok(Compacted::Emptied) if self.producers.contains(&header.base_offset) => {
                    output.changed |= header.record_count > 0;
                    output.keep(&batch.emptied());
                }
                Ok(Compacted::Emptied) => {
                    output.changed |= !header.is_placeholder();
                    output.pass_over(header);
                }
                // Nobody can read its records.
                Err(_) => output.keep(&batch),
            }
        }
        output
    }

    fn keeps(&self, record: KeyedRecord<'_>, expired: bool) -> bool {
        // Without a key it is of no use to anybody who reads by key.
        let Some(key) = record.key else { return false };
        let is_last = self.map.get(key).is_none_or(|last| record.offset >= last);
        is_last && !(record.is_tombstone && expired)
    }
}

impl Output {
    fn keep(&mut self, batch: &Batch) {
        self.stand_in();
        self.bytes.extend_from_slice(batch.bytes());
        self.headers.push(*batch.header());
    }

    /// Notes that nothing is left of a batch.
    fn pass_over(&mut self, header: &BatchHeader) {
        let offsets = header.base_offset..header.next_offset();
        if let Some((empty, epoch)) = &mut self.empty
            && *epoch == header.leader_epoch
            && empty.end == offsets.start
            && offsets.end.0 - empty.start.0 <= i64::from(i32::MAX)
        {
            empty.end = offsets.end;
            return;
        }
        self.stand_in();
        self.empty = Some((offsets, header.leader_epoch));
    }

    /// Puts a batch without records where nothing is left.
    fn stand_in(&mut self) {
        if let Some((offsets, epoch)) = self.empty.take() {
            let batch = Batch::placeholder(offsets, epoch);
            self.bytes.extend_from_slice(batch.bytes());
            self.headers.push(*batch.header());
        }
    }
}
