//! Compaction: of each key the last record stays.
//!
//! A pass goes over the closed segments from the log's start on. It takes down where the keys of what was not compacted
//! yet stand last (`map`), as much as its memory holds, and writes segments anew without what stands before that
//! (`rewrite`); small ones are put together. Up to where the log is compacted then is noted (`progress`).
//!
//! Offsets stay without a gap: where nothing is left, a batch without records stands for them. So damage can be told
//! from compaction, and followers append what they fetch.
//!
//! Architecture invariant: nothing at or above the bound that the caller gives, nor above the proven marks, is looked
//! at. Of a segment whose name is given to another file, everything that is kept is on disk before.

use crate::config::LogConfig;
use crate::core::{Core, before, lock};
use crate::error::LogError;
use crate::log::Log;
use crate::report::Compaction;
use crate::segment::Sealed;
use highwater_env::{Env, Event};
use highwater_types::{LogId, Offset, Timestamp, mutant};
use std::sync::Arc;
use std::time::Duration;

mod map;
mod place;
mod progress;
mod read;
mod rewrite;

pub(crate) use progress::{CLEANED, load_cleaned};

/// What a pass works on.
struct Work {
    /// The segments from the log's start on that may be written anew, in order.
    segments: Vec<Arc<Sealed>>,
    /// Up to here the log is compacted.
    cleaned: Offset,
    /// The part of its bytes that is not.
    dirtiness: f64,
    /// What the view's generation was.
    generation: u64,
}

impl<E: Env> Core<E> {
    /// One pass over all logs that are due, the dirtiest first. See [`crate::Store::compact`].
    pub(crate) async fn compact(
        &self,
        bound: impl Fn(LogId) -> Option<Offset> + Send + Sync,
        map_bytes: usize,
        stops: impl Fn() -> bool + Send + Sync,
    ) -> Vec<Compaction> {
        let now = self.clock.now(&self.env);
        let mut due = Vec::new();
        for log in self.all_logs() {
            let Some(work) = log.compaction_work(bound(log.id()), now) else { continue };
            if work.dirtiness >= log.config().min_cleanable_dirty_ratio || log.is_overdue(&work, now).await {
                due.push((work.dirtiness, log));
            }
        }
        due.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut done = Vec::new();
        for (_, log) in due {
            if stops() {
                break;
            }
            match log.compact(bound(log.id()), map_bytes, &stops).await {
                Ok(compaction) => done.extend(compaction),
                Err(error) => tracing::warn!(log = %log.id(), %error, "a log was not compacted"),
            }
        }
        done
    }
}

impl<E: Env> Log<E> {
    /// One pass over the log, whether it is due or not. None if there was nothing to do, or `stops` said so.
    pub async fn compact(
        &self,
        bound: Option<Offset>,
        map_bytes: usize,
        stops: &(impl Fn() -> bool + Sync),
    ) -> Result<Option<Compaction>, LogError> {
        self.ensure_open()?;
        let now = self.0.core.clock.now(&self.0.core.env);
        let Some(work) = self.compaction_work(bound, now) else { return Ok(None) };
        let size = |segments: &[Arc<Sealed>]| -> u64 {
            segments.iter().map(|segment| u64::from(segment.summary.size)).sum()
        };
        let (from, before_bytes) = (work.cleaned, size(&work.segments));
        let Some((map, up_to)) = self.map_keys(&work, map_bytes, stops).await? else { return Ok(None) };
        let touched: Vec<_> =
            work.segments.iter().filter(|segment| segment.summary.base < up_to).cloned().collect();
        let rule = self.rule(map, up_to, now).await;
        self.0.core.env.observe(&Event::Compacting { log: self.id(), up_to });
        let mut saved = 0;
        let mut generation = work.generation;
        for group in groups(&touched, &self.config()) {
            if stops() {
                return Ok(None);
            }
            let Some(written) = self.rewrite(group, &rule).await? else { continue };
            saved += size(group).saturating_sub(u64::from(written.index.summary.size));
            match self.put_in_place(group, written, generation).await? {
                Some(next) => generation = next,
                None => return Ok(None),
            }
        }
        if !self.note_cleaned(up_to, generation).await? {
            return Ok(None);
        }
        Ok(Some(Compaction { log: self.id(), from, up_to, before_bytes, saved_bytes: saved }))
    }

    /// What a pass could work on, if there is anything.
    fn compaction_work(&self, bound: Option<Offset>, now: Timestamp) -> Option<Work> {
        let config = self.config();
        if !config.cleanup.compact || self.ensure_open().is_err() {
            return None;
        }
        let bound = match mutant!("compact-above-hw") {
            true => self.end_offset(),
            false => bound.unwrap_or_else(|| self.synced_end()).min(self.synced_end()),
        };
        // What marks on disk say of a position within a segment must stay true.
        let marked = Offset(self.0.marked.load(std::sync::atomic::Ordering::Acquire));
        let youngest = before(now, Duration::from_millis(config.min_compaction_lag_ms));
        let cleaned = self.cleaned();
        let view = lock(&self.0.view);
        if !view.damaged.is_empty() {
            // A key's later record may stand in what is damaged, and be put back.
            return None;
        }
        let may = |segment: &Arc<Sealed>| {
            let summary = &segment.summary;
            let is_old = config.min_compaction_lag_ms == 0 || summary.max_timestamp <= youngest;
            summary.end <= bound && summary.end < marked && is_old
        };
        let segments: Vec<_> = view.sealed.iter().take_while(|segment| may(segment)).cloned().collect();
        let sizes = segments.iter().map(|segment| (segment.summary.end, f64::from(segment.summary.size)));
        let (dirty, all) = sizes.fold((0.0, 0.0), |(dirty, all), (end, size)| {
            (if end > cleaned { dirty + size } else { dirty }, all + size)
        });
        let generation = view.generation;
        (dirty > 0.0).then(|| Work { segments, cleaned, dirtiness: dirty / all, generation })
    }

    /// Whether a record that was not compacted yet is older than `max.compaction.lag.ms` allows.
    async fn is_overdue(&self, work: &Work, now: Timestamp) -> bool {
        let lag = self.config().max_compaction_lag_ms;
        let Some(horizon) = i64::try_from(lag).ok().map(|lag| now.0.saturating_sub(lag)) else {
            return false;
        };
        let dirty = work.segments.iter().find(|segment| segment.summary.end > work.cleaned);
        let Some(segment) = dirty.filter(|_| horizon > 0) else { return false };
        // The first batch's time is what Kafka goes by.
        let first = self.first_time_of(segment).await;
        first.is_some_and(|first| first > Timestamp::NONE && first.0 < horizon)
    }
}

/// The segments that are put together: neighbours that fit into one by size and offsets.
fn groups<'a>(segments: &'a [Arc<Sealed>], config: &LogConfig) -> Vec<&'a [Arc<Sealed>]> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut size = 0u64;
    for (number, segment) in segments.iter().enumerate() {
        let summary = &segment.summary;
        let span = summary.end.0 - segments[start].summary.base.0;
        let grown = size + u64::from(summary.size);
        if number > start && (grown > u64::from(config.segment_bytes) || span > i64::from(i32::MAX)) {
            groups.push(&segments[start..number]);
            (start, size) = (number, 0);
        }
        size += u64::from(summary.size);
    }
    if start < segments.len() {
        groups.push(&segments[start..]);
    }
    groups
}
