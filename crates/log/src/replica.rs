//! Appending what another replica has.

use crate::append::{LAST_BASE, Run};
use crate::config::MAX_SEGMENT_BYTES;
use crate::error::AppendError;
use crate::files::SEGMENT_HEADER_BYTES;
use crate::log::Log;
use crate::report::Appended;
use bytes::Bytes;
use highwater_env::Env;
use highwater_records::{Batch, BatchHeader, Batches};
use highwater_types::{LeaderEpoch, Offset, Timestamp, mutant};

impl<E: Env> Log<E> {
    /// Appends whole batches as another replica has them: offsets, leader epochs and timestamps stay as they are, and
    /// sequences of producers are noted, not judged. No limit on the size of batches but a segment's own applies. Of a
    /// batch without records that stands for offsets before the log's end as well, those behind it are taken.
    ///
    /// The first batch must begin where the log ends, each other one where the one before it ends, and epochs must
    /// not fall; otherwise, or if any checksum is wrong, nothing is written. [`AppendError::NotNext`] with a smaller
    /// offset than the log's end can mean that the log was restarted in the middle of a batch: whoever has nothing
    /// yet restarts at the batch's own offset.
    ///
    /// Returns as soon as the batches can be read, as [`Log::append`] does. When the disk fails or the future is
    /// dropped, those at the front may have been appended: [`Log::end_offset`] tells.
    pub async fn append_replica(&self, batches: Bytes, now: Timestamp) -> Result<Appended, AppendError> {
        let checked = check(&batches)?;
        let mut guard = self.0.appender.lock().await;
        let appender = &mut *guard;
        self.ensure_open()?;
        self.mend(appender).await?;
        let base = self.end_offset();
        let (checked, batches) = continued(checked, batches, base);
        if !mutant!("replica-unchecked") {
            follow(&checked, base, self.latest_epoch())?;
        }
        let (mut waiting, mut bytes) = (&checked[..], batches);
        while let Some(&(first, size)) = waiting.first() {
            if appender.epochs_uncertain || self.latest_epoch() != Some(first.leader_epoch) {
                self.begin_epoch(appender, first.leader_epoch, first.base_offset).await?;
            }
            if appender.roll_due(0, size, first.next_offset(), now) {
                self.roll(appender, now).await?;
            }
            let mut written = size;
            let joined = waiting[1..].iter().enumerate().take_while(|(before, (header, size))| {
                let joins = header.leader_epoch == first.leader_epoch
                    && Run::has_room(before + 1, written, *size)
                    && !appender.roll_due(written, *size, header.next_offset(), now);
                written += if joins { *size } else { 0 };
                joins
            });
            let (run, others) = waiting.split_at(1 + joined.count());
            let mut run = Run::placed(run, bytes.split_to(written as usize));
            self.write_run(appender, &mut run, now).await?;
            waiting = others;
        }
        let end_offset = self.end_offset();
        Ok(Appended { base_offset: base, end_offset, duplicate: false, append_time: None })
    }
}

/// What is behind `end`, if the first batch stands for offsets without records before and behind it. Compaction of
/// another replica may have joined what were several batches here.
fn continued(
    mut headers: Vec<(BatchHeader, u32)>,
    batches: Bytes,
    end: Offset,
) -> (Vec<(BatchHeader, u32)>, Bytes) {
    match headers.first_mut() {
        Some((header, size))
            if header.is_placeholder()
                && (header.base_offset.next()..header.next_offset()).contains(&end) =>
        {
            let rest = Batch::placeholder(end..header.next_offset(), header.leader_epoch);
            let bytes = [rest.bytes(), &batches[*size as usize..]].concat();
            (*header, *size) = (*rest.header(), rest.bytes().len() as u32);
            (headers, bytes.into())
        }
        _ => (headers, batches),
    }
}

/// The headers and sizes of batches, all of which are whole and have right checksums.
pub(crate) fn check(bytes: &Bytes) -> Result<Vec<(BatchHeader, u32)>, AppendError> {
    let limit = (MAX_SEGMENT_BYTES - SEGMENT_HEADER_BYTES) as usize;
    Batches::new(bytes.clone())
        .map(|batch| {
            let header = *batch.map_err(AppendError::Invalid)?.header();
            let size = header.size_bytes();
            let fitting = u32::try_from(size).ok().filter(|_| size <= limit);
            Ok((header, fitting.ok_or(AppendError::LargerThanSegment { size, limit })?))
        })
        .collect()
}

/// Fails unless the batches continue a log that ends at `end` and has reached `epoch`.
fn follow(
    batches: &[(BatchHeader, u32)],
    end: Offset,
    epoch: Option<LeaderEpoch>,
) -> Result<(), AppendError> {
    let mut expected = end;
    let mut current = epoch.unwrap_or(LeaderEpoch(0));
    for (header, _) in batches {
        if header.base_offset != expected {
            return Err(AppendError::NotNext { expected, found: header.base_offset });
        }
        if header.leader_epoch < current {
            return Err(AppendError::StaleLeaderEpoch { current, found: header.leader_epoch });
        }
        if expected > LAST_BASE {
            return Err(AppendError::OffsetsExhausted);
        }
        (expected, current) = (header.next_offset(), header.leader_epoch);
    }
    Ok(())
}
