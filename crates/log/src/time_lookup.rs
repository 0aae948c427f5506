//! Finding records by their time.

use crate::core::lock;
use crate::error::ReadError;
use crate::log::Log;
use crate::report::TimestampOffset;
use crate::segment::Sealed;
use bytes::Bytes;
use highwater_env::Env;
use highwater_records::{Batch, BatchError, BatchHeader, Batches, Records};
use highwater_types::{Offset, Timestamp};
use std::io;
use std::sync::Arc;

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// A segment that may hold what is looked for.
struct Candidate {
    /// None for the active segment.
    sealed: Option<Arc<Sealed>>,
    /// Where the search in it begins, as far as is known without its index.
    from: Offset,
    end: Offset,
}

impl<E: Env> Log<E> {
    /// The first record, below `up_to`, whose timestamp is `time` or later.
    ///
    /// Damaged offsets are passed over.
    pub async fn offset_for_time(
        &self,
        time: Timestamp,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        for candidate in self.late_enough(time) {
            let mut from = candidate.from;
            if let Some(sealed) = &candidate.sealed
                && let Some(file) = self.sealed_file(sealed).await?
            {
                from = from.max(self.sealed_index(sealed, &file).await?.offset_before(time));
            }
            let end = candidate.end.min(up_to);
            let wanted = |header: &BatchHeader| header.max_timestamp >= time;
            while let Some(batch) = self.next_batch(&mut from, end, wanted).await? {
                let floor = self.start_offset();
                let found = self.find_record(batch, move |timestamp| timestamp >= time, floor).await?;
                if let Some(found) = found {
                    return Ok(Some(found).filter(|found| found.offset < up_to));
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp below `up_to`, the first of them if there are several.
    pub async fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let up_to = up_to.min(self.end_offset());
        let mut best: Option<(Timestamp, Offset)> = None;
        for (summary_time, at, base, end) in self.latest_times() {
            if base >= up_to || best.is_some_and(|(time, _)| time >= summary_time) {
                continue;
            }
            let start = self.start_offset();
            if at >= start && at < up_to {
                best = Some((summary_time, at));
                continue;
            }
            // The segment's latest batch does not count: look at those that do.
            let mut from = base.max(start);
            while let Some(batch) = self.next_batch(&mut from, end.min(up_to), |_| true).await? {
                let header = *batch.header();
                // Of a batch that the log's start lies in, the records behind that count.
                let time = match header.base_offset < start {
                    true => self.latest_time(batch, start).await?,
                    false => header.max_timestamp,
                };
                if best.is_none_or(|(known, _)| time > known) {
                    best = Some((time, header.base_offset.max(start)));
                }
            }
        }
        let Some((time, mut at)) = best.filter(|(time, _)| *time > Timestamp::NONE) else { return Ok(None) };
        let Some(batch) = self.next_batch(&mut at, up_to, |_| true).await? else { return Ok(None) };
        self.find_record(batch, move |timestamp| timestamp >= time, self.start_offset()).await
    }

    /// The segments that have a timestamp of `time` or later, in order.
    fn late_enough(&self, time: Timestamp) -> Vec<Candidate> {
        let start = self.start_offset();
        let view = lock(&self.0.view);
        let sealed = view
            .sealed
            .iter()
            .filter(|segment| segment.summary.end > start && segment.summary.max_timestamp >= time);
        let mut candidates: Vec<_> = sealed
            .map(|segment| Candidate {
                sealed: Some(Arc::clone(segment)),
                from: segment.summary.base.max(start),
                end: segment.summary.end,
            })
            .collect();
        let index = &view.active.index;
        if index.summary().max_timestamp >= time {
            let from = index.offset_before(time).max(start);
            candidates.push(Candidate { sealed: None, from, end: index.summary().end });
        }
        candidates
    }

    /// Per segment: its largest timestamp, the base offset of the batch that has it, and the segment's offsets.
    fn latest_times(&self) -> Vec<(Timestamp, Offset, Offset, Offset)> {
        let view = lock(&self.0.view);
        let sealed = view.sealed.iter().map(|segment| &segment.summary);
        let all = sealed.chain([view.active.index.summary()]);
        all.map(|summary| (summary.max_timestamp, summary.max_timestamp_at, summary.base, summary.end))
            .collect()
    }

    /// The next batch from `from` on, below `end`, that is wanted; `from` moves behind it.
    async fn next_batch(
        &self,
        from: &mut Offset,
        end: Offset,
        wanted: impl Fn(&BatchHeader) -> bool + Send,
    ) -> Result<Option<Batch>, ReadError> {
        while *from < end {
            let bytes = match self.read_bytes(*from, end, READ_BYTES).await {
                Ok(bytes) if bytes.is_empty() => return Ok(None),
                Ok(bytes) => bytes,
                Err(ReadError::Damaged { to, .. }) => {
                    *from = to;
                    continue;
                }
                // Retention has passed by.
                Err(ReadError::OutOfRange { start, .. }) if start > *from => {
                    *from = start;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(batch) = first_wanted(bytes, from, &wanted)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The first record of a batch, at or behind `floor`, whose time fits.
    async fn find_record(
        &self,
        batch: Batch,
        fits: impl Fn(Timestamp) -> bool + Send + 'static,
        floor: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let epoch = batch.header().leader_epoch;
        self.search(batch, move |records| {
            for record in records {
                let record = record?;
                if record.offset >= floor && fits(record.timestamp) {
                    let (timestamp, offset) = (record.timestamp, record.offset);
                    return Ok(Some(TimestampOffset { timestamp, offset, epoch }));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The largest timestamp of a batch's records at or behind `floor`.
    async fn latest_time(&self, batch: Batch, floor: Offset) -> Result<Timestamp, ReadError> {
        self.search(batch, move |records| {
            let mut latest = Timestamp::NONE;
            for record in records {
                let record = record?;
                if record.offset >= floor {
                    latest = latest.max(record.timestamp);
                }
            }
            Ok(latest)
        })
        .await
    }

    /// Looks through a batch's records, which may have to be decompressed.
    async fn search<T: Send + 'static>(
        &self,
        batch: Batch,
        look: impl FnOnce(Records) -> Result<T, BatchError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let found = self.0.core.env.compute(move || look(batch.records()?)).await;
        found.map_err(|error| ReadError::Io(io::Error::new(io::ErrorKind::InvalidData, error)))
    }
}

/// The first wanted batch of some that were read; `from` moves behind it, or behind all.
fn first_wanted(
    bytes: Bytes,
    from: &mut Offset,
    wanted: impl Fn(&BatchHeader) -> bool,
) -> Result<Option<Batch>, ReadError> {
    for batch in Batches::new(bytes) {
        let batch =
            batch.map_err(|error| ReadError::Io(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        *from = batch.header().next_offset();
        if wanted(batch.header()) {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}
