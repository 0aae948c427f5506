//! Appending, and closing segments.

use crate::checkpoint::{create, replace};
use crate::config::LogConfig;
use crate::core::{FileOf, lock};
use crate::epochs::{Epochs, LEADER_EPOCHS};
use crate::error::{AppendError, LogError};
use crate::files::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::index::IndexBuilder;
use crate::log::Log;
use crate::producers::{Producers, Verdict};
use crate::report::Appended;
use crate::segment::{Active, Sealed};
use crate::window::Window;
use bytes::Bytes;
use highwater_env::{Env, Event, File};
use highwater_records::{Batch, BatchHeader, TimestampType};
use highwater_types::{LeaderEpoch, Offset, Timestamp, mutant};
use smallvec::SmallVec;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What only appends touch. Whoever holds it has the right to change the log's end.
pub(crate) struct Appender<F> {
    pub config: Arc<LogConfig>,
    pub file: F,
    pub base: Offset,
    pub created: Timestamp,
    /// The end of the file, as far as it is known.
    pub position: u32,
    /// Up to where there is room on the disk.
    pub reserved: u32,
    pub producers: Producers,
    /// A write did not succeed or did not end: there may be anything behind `position`.
    pub tail_uncertain: bool,
    /// A new segment was begun and not finished. Until it is, nothing may be appended to the old one: recovery
    /// believes a later segment.
    pub roll_begun: bool,
    /// The active segment's index is as large as it may be.
    pub index_full: bool,
    /// The file of leader epochs was not replaced, or not for certain: it may say something else than readers see.
    pub epochs_uncertain: bool,
}

impl<F: Clone> Appender<F> {
    pub(crate) fn new(active: &Active<F>, producers: Producers, config: Arc<LogConfig>) -> Self {
        let mut appender = Self {
            config,
            file: active.file.clone(),
            base: active.index.summary().base,
            created: active.created,
            position: 0,
            reserved: 0,
            producers,
            tail_uncertain: false,
            roll_begun: false,
            index_full: false,
            epochs_uncertain: false,
        };
        appender.follow(active);
        appender
    }

    pub(crate) fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// Goes on at the end of a segment.
    pub(crate) fn follow(&mut self, active: &Active<F>) {
        let summary = active.index.summary();
        self.file = active.file.clone();
        self.base = summary.base;
        self.created = active.created;
        self.position = summary.size;
        self.reserved = summary.size;
        self.index_full = false;
    }

    fn is_empty(&self) -> bool {
        self.position <= SEGMENT_HEADER_BYTES
    }

    /// Whether a batch of `size` bytes whose end offset is `end` belongs into a new segment.
    /// `before` bytes are going to be written in front of it.
    pub(crate) fn roll_due(&self, before: u32, size: u32, end: Offset, now: Timestamp) -> bool {
        if self.roll_begun {
            return true;
        }
        let filled = u64::from(self.position) + u64::from(before);
        let full = filled + u64::from(size) > u64::from(self.config.segment_bytes);
        let offsets_full = end.0 - self.base.0 > i64::from(i32::MAX);
        let is_empty = self.is_empty() && before == 0;
        !is_empty && (full || offsets_full || self.index_full || self.aged(now))
    }

    fn aged(&self, now: Timestamp) -> bool {
        let age = u64::try_from(now.0.saturating_sub(self.created.0)).unwrap_or(0);
        // What is in the active segment is not compacted.
        let lag = if self.config.cleanup.compact { self.config.max_compaction_lag_ms } else { u64::MAX };
        age >= self.config.segment_ms.min(lag)
    }
}

/// The largest offset at which a batch may begin: whatever its length, offsets stay far from their limit.
pub(crate) const LAST_BASE: Offset = Offset(i64::MAX - (1 << 32));
/// How many batches are written at once at most.
const RUN_BATCHES: usize = 128;
/// Batches up to this size are copied together before they are written: that is less work than a system call has with
/// each piece of a vector.
const COPIED_BYTES: u32 = 2 << 10;
/// How many bytes are written at once at most, but for a batch that is larger by itself.
const RUN_BYTES: u32 = 1 << 20;

/// Batches that are written at once.
pub(crate) struct Run {
    /// Their headers as they are written, and their sizes.
    batches: SmallVec<[(BatchHeader, u32); 1]>,
    buffers: Vec<Bytes>,
    /// What belongs behind them.
    copied: Vec<u8>,
    bytes: u32,
    /// The offset after the last of them.
    end: Offset,
    append_time: Option<Timestamp>,
}

/// What the first batch of a run comes to.
enum Begun {
    Run(Run),
    /// It was appended before.
    Duplicate(Appended),
}

impl Run {
    fn new(base: Offset, append_time: Option<Timestamp>) -> Self {
        let (batches, buffers, copied) = (SmallVec::new(), Vec::new(), Vec::new());
        Self { batches, buffers, copied, bytes: 0, end: base, append_time }
    }

    /// Batches that have their places already. `bytes` are those of all of them.
    pub(crate) fn placed(batches: &[(BatchHeader, u32)], bytes: Bytes) -> Self {
        let end = batches.last().map_or(Offset::ZERO, |(header, _)| header.next_offset());
        let size = batches.iter().map(|(_, size)| size).sum();
        let batches = SmallVec::from_slice(batches);
        Self { batches, buffers: vec![bytes], copied: Vec::new(), bytes: size, end, append_time: None }
    }

    /// Whether a batch of `size` bytes may still be written together with those that are in the run.
    pub(crate) fn has_room(batches: usize, bytes: u32, size: u32) -> bool {
        batches < RUN_BATCHES && bytes.saturating_add(size) <= RUN_BYTES
    }

    /// Takes memory for what may follow the first batch.
    fn expect(&mut self, others: &[Batch]) {
        self.batches.reserve(others.len().min(RUN_BATCHES));
        if !self.copied.is_empty() {
            let sizes = others.iter().take(RUN_BATCHES).map(|batch| batch.bytes().len());
            self.copied.reserve(sizes.filter(|&size| size <= COPIED_BYTES as usize).sum());
        }
    }

    fn add(&mut self, batch: &Batch, size: u32, epoch: LeaderEpoch) {
        let assigned = batch.assigned(self.end, epoch, self.append_time);
        if size <= COPIED_BYTES {
            self.copied.reserve(assigned.size_bytes());
            assigned.copy_to(&mut self.copied);
        } else {
            self.close_copied();
            self.buffers.extend(assigned.buffers());
        }
        self.batches.push((*assigned.header(), size));
        self.bytes += size;
        self.end = assigned.header().next_offset();
    }

    fn close_copied(&mut self) {
        if !self.copied.is_empty() {
            self.buffers.push(std::mem::take(&mut self.copied).into());
        }
    }

    /// What is to be written.
    fn take_buffers(&mut self) -> Vec<Bytes> {
        self.close_copied();
        std::mem::take(&mut self.buffers)
    }

    fn headers(&self) -> impl DoubleEndedIterator<Item = &BatchHeader> {
        self.batches.iter().map(|(header, _)| header)
    }
}

/// The end offset of a batch that starts at `base`.
fn end_of(header: &BatchHeader, base: Offset) -> Offset {
    base.plus(i64::from(header.last_offset_delta) + 1)
}

/// What came of each of several batches.
type Answers = SmallVec<[Result<Appended, AppendError>; 1]>;

impl<E: Env> Log<E> {
    /// Appends a batch as the partition's leader: checks its producer's sequence, gives it offsets, the leader epoch
    /// and, where so configured, the time, and writes it.
    ///
    /// Returns as soon as the batch can be read; [`Log::wait_synced`] waits until it is durable. A repeat of a batch
    /// that was appended before is not written again: the answer is that of the first append. On an error, or when
    /// the future is dropped, the log is as it was before.
    pub async fn append(
        &self,
        batch: &Batch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        let mut answers = self.append_all(std::slice::from_ref(batch), epoch, now).await;
        answers.pop().expect("there is an answer for each batch")
    }

    /// [`Log::append`] for several batches, in their order, with as few writes as they can be made with. Each has an
    /// answer of its own; one that is refused does not keep those after it from being appended.
    pub async fn append_all(&self, batches: &[Batch], epoch: LeaderEpoch, now: Timestamp) -> Answers {
        let mut answers = Answers::with_capacity(batches.len());
        let mut guard = self.0.appender.lock().await;
        let appender = &mut *guard;
        while let [first, others @ ..] = &batches[answers.len()..] {
            let mut run = match self.begin_run(appender, first, epoch, now).await {
                Ok(Begun::Run(run)) => run,
                Ok(Begun::Duplicate(appended)) => {
                    answers.push(Ok(appended));
                    continue;
                }
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            run.expect(others);
            for batch in others {
                match self.fits(appender, &run, batch, now) {
                    Some(size) => run.add(batch, size, epoch),
                    None => break,
                }
            }
            if let Err(error) = self.write_run(appender, &mut run, now).await {
                answers.extend((1..run.batches.len()).map(|_| Err(error.for_another())));
                answers.push(Err(error));
                continue;
            }
            for header in run.headers() {
                answers.push(Ok(Appended {
                    base_offset: header.base_offset,
                    end_offset: header.next_offset(),
                    duplicate: false,
                    append_time: run.append_time,
                }));
            }
        }
        answers
    }

    /// Writes a run behind the log's end, and takes it into the log's state.
    pub(crate) async fn write_run(
        &self,
        appender: &mut Appender<FileOf<E>>,
        run: &mut Run,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        if mutant!("pid-mutate-early") {
            run.headers().for_each(|header| appender.producers.record(header, now));
        }
        appender.reserve(appender.position.saturating_add(run.bytes)).await;
        // Stays set if this future is dropped while the write runs.
        appender.tail_uncertain = true;
        let written = appender.file.write_at(u64::from(appender.position), run.take_buffers()).await;
        if let Err(error) = written {
            return Err(Box::pin(self.append_failed(appender, error)).await);
        }
        appender.tail_uncertain = false;
        self.appended(appender, run, now);
        // Once for all of them: the sync that this starts is to cover them.
        self.commit_due();
        Ok(())
    }

    /// Makes the log ready for a batch, or finds that it is there.
    async fn begin_run(
        &self,
        appender: &mut Appender<FileOf<E>>,
        batch: &Batch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Begun, AppendError> {
        self.ensure_open()?;
        // What is rare is boxed: callers keep the future of every append.
        if appender.tail_uncertain {
            Box::pin(self.mend(appender)).await?;
        }
        let header = batch.header();
        let log_time = appender.config.timestamp_type == TimestampType::LogAppendTime;
        if let Verdict::Duplicate(first) = appender.producers.check(header)? {
            let append_time = log_time.then_some(first.timestamp);
            let (base_offset, end_offset) = (first.base, first.end);
            return Ok(Begun::Duplicate(Appended { base_offset, end_offset, duplicate: true, append_time }));
        }
        let base = self.end_offset();
        let size = self.check_size(appender, header, base)?;
        let noted = self.latest_epoch() == Some(epoch) || mutant!("epoch-cache-skip");
        if appender.epochs_uncertain || !noted {
            Box::pin(self.begin_epoch(appender, epoch, base)).await?;
        }
        if appender.roll_due(0, size, end_of(header, base), now) {
            Box::pin(self.roll(appender, now)).await?;
        }
        let mut run = Run::new(base, log_time.then_some(now));
        run.add(batch, size, epoch);
        Ok(Begun::Run(run))
    }

    /// The size of a batch if it can be written together with those of a run, behind them. Whatever is not plain is
    /// left to begin a run of its own.
    fn fits(&self, appender: &Appender<FileOf<E>>, run: &Run, batch: &Batch, now: Timestamp) -> Option<u32> {
        let header = batch.header();
        let size = self.check_size(appender, header, run.end).ok()?;
        let room = Run::has_room(run.batches.len(), run.bytes, size);
        if !room || appender.roll_due(run.bytes, size, end_of(header, run.end), now) {
            return None;
        }
        // What stands in the run is not known to the producers' state before it is written.
        let before = run.headers().rev().find(|before| before.producer_id == header.producer_id);
        let in_order = match before.filter(|_| header.has_producer()) {
            Some(before) => Producers::follows(before, header),
            None => matches!(appender.producers.check(header), Ok(Verdict::Append)),
        };
        in_order.then_some(size)
    }

    /// Notes that `epoch` begins at the log's end, durably. Called by a new leader before its first append.
    pub async fn start_epoch(&self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        let mut appender = self.0.appender.lock().await;
        self.ensure_open()?;
        self.mend(&mut appender).await?;
        if appender.epochs_uncertain || self.latest_epoch() != Some(epoch) {
            self.begin_epoch(&mut appender, epoch, self.end_offset()).await?;
        }
        Ok(())
    }

    /// Closes the active segment if it is older than `segment.ms`, so that it can expire.
    pub async fn roll_if_due(&self, now: Timestamp) -> Result<bool, LogError> {
        let mut guard = self.0.appender.lock().await;
        let appender = &mut *guard;
        self.ensure_open()?;
        self.mend(appender).await?;
        let due = appender.roll_due(0, 0, self.end_offset(), now);
        if due {
            self.roll(appender, now).await?;
        }
        Ok(due)
    }

    fn check_size(
        &self,
        appender: &Appender<FileOf<E>>,
        header: &BatchHeader,
        base: Offset,
    ) -> Result<u32, AppendError> {
        let size = header.size_bytes();
        let limit = appender.config.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES) as usize;
        if size > limit {
            return Err(AppendError::LargerThanSegment { size, limit });
        }
        if base > LAST_BASE {
            return Err(AppendError::OffsetsExhausted);
        }
        u32::try_from(size).map_err(|_| AppendError::LargerThanSegment { size, limit })
    }

    /// Takes batches that were written into the log's state, and lets them be read.
    fn appended(&self, appender: &mut Appender<FileOf<E>>, run: &Run, now: Timestamp) {
        appender.position += run.bytes;
        if !mutant!("pid-mutate-early") {
            run.headers().for_each(|header| appender.producers.record(header, now));
        }
        let bytes = u64::from(run.bytes);
        let stamp = self.0.core.cached_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        {
            let mut view = lock(&self.0.view);
            for (header, size) in &run.batches {
                view.active.index.push(header, appender.config.index_interval_bytes, false);
                view.active.window.push(*size, header.next_offset(), stamp);
            }
            appender.index_full =
                view.active.index.size_bytes() >= appender.config.segment_index_bytes as usize;
            self.publish_end(run.end);
        }
        for header in run.headers() {
            self.0.core.env.observe(&Event::Appended {
                log: self.0.id,
                base: header.base_offset,
                last: header.last_offset(),
                epoch: header.leader_epoch,
                checksum: header.crc,
                producer: header.has_producer().then_some((
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                )),
            });
        }
    }

    /// What becomes of the log after a write that failed.
    async fn append_failed(&self, appender: &mut Appender<FileOf<E>>, error: io::Error) -> AppendError {
        if mutant!("append-after-ioerror") {
            // As if the file were open for appending: the next batch goes behind whatever the failed write left.
            let length = appender.file.len().await.unwrap_or(u64::from(appender.position));
            appender.position = u32::try_from(length).unwrap_or(appender.position);
            appender.tail_uncertain = false;
            return AppendError::Io(error);
        }
        if error.kind() != io::ErrorKind::StorageFull {
            self.poison("append", &error);
            return AppendError::Poisoned;
        }
        self.0.core.env.observe(&Event::Reached("log: append met a full disk"));
        match self.mend(appender).await {
            Ok(()) => AppendError::StorageFull,
            Err(error) => error.into(),
        }
    }

    /// Cuts the file back to its known end if a write did not succeed or did not end.
    pub(crate) async fn mend(&self, appender: &mut Appender<FileOf<E>>) -> Result<(), LogError> {
        if !appender.tail_uncertain {
            return Ok(());
        }
        self.0.core.env.observe(&Event::Reached("log: uncertain tail cut back"));
        if let Err(error) = appender.file.set_len(u64::from(appender.position)).await {
            self.poison("cut back a failed append", &error);
            return Err(LogError::Poisoned);
        }
        (appender.tail_uncertain, appender.reserved) = (false, appender.position);
        Ok(())
    }

    /// Notes that an epoch begins, durably.
    pub(crate) async fn begin_epoch(
        &self,
        appender: &mut Appender<FileOf<E>>,
        epoch: LeaderEpoch,
        start: Offset,
    ) -> Result<(), AppendError> {
        let mut epochs = lock(&self.0.view).epochs.clone();
        if let Some(current) = epochs.latest().filter(|&latest| epoch < latest) {
            return Err(AppendError::StaleLeaderEpoch { current, found: epoch });
        }
        if epochs.begin(epoch, start) || appender.epochs_uncertain {
            self.store_epochs(appender, epochs).await?;
        }
        Ok(())
    }

    /// Makes these the log's epochs, durably.
    pub(crate) async fn store_epochs(
        &self,
        appender: &mut Appender<FileOf<E>>,
        epochs: Epochs,
    ) -> io::Result<()> {
        // Stays set if this fails, or is dropped: nothing may be appended whose epoch the file contradicts.
        appender.epochs_uncertain = true;
        replace(self.0.core.env.disk(), &self.0.dir, LEADER_EPOCHS, epochs.encode()).await?;
        lock(&self.0.view).epochs = epochs;
        appender.epochs_uncertain = false;
        Ok(())
    }

    /// Closes the active segment and begins another.
    ///
    /// The new file's directory entry is synced by the commit round that first syncs its bytes.
    pub(crate) async fn roll(
        &self,
        appender: &mut Appender<FileOf<E>>,
        now: Timestamp,
    ) -> Result<(), LogError> {
        let core = &self.0.core;
        let base = self.end_offset();
        if base == appender.base {
            // An empty segment bears the name of the one that would follow it.
            appender.roll_begun = false;
            return Ok(());
        }
        appender.roll_begun = true;
        appender.release().await;
        let path = self.0.dir.join(segment_name(base));
        let file = create(core.env.disk(), &path).await?;
        let header = SegmentHeader { log: self.0.id, base, created: now };
        file.write_at(0, vec![header.encode()]).await?;
        let mut reserved = 0;
        if appender.config.preallocate {
            // Only makes later writes cheaper.
            reserved = appender.config.segment_bytes;
            let _ = file.allocate(0, reserved.into()).await;
        }
        let window = Window::new(base, SEGMENT_HEADER_BYTES, core.options.verified_window_bytes_per_log);
        let active = Active { file, created: now, index: IndexBuilder::new(base), window };
        appender.follow(&active);
        appender.reserved = appender.reserved.max(reserved);
        appender.roll_begun = false;
        let sealed = {
            let mut view = lock(&self.0.view);
            let closed = std::mem::replace(&mut view.active, active);
            view.unsynced.push(closed.file);
            view.new_entries += 1;
            let index = closed.index.finish();
            let sealed = Sealed::new(core.next_key(), index.summary, Some(index));
            view.sealed.push(Arc::clone(&sealed));
            sealed
        };
        let snapshot = self.snapshot(&appender.producers, base);
        let log = self.clone();
        core.env.spawn("log-seal", async move { log.finish_seal(sealed, Some(snapshot)).await }).detach();
        self.commit_due();
        Ok(())
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Poisoned => Self::Poisoned,
            LogError::StorageFull => Self::StorageFull,
            LogError::Io(error) => Self::Io(error),
            _ => Self::Closed,
        }
    }
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::StorageFull,
            _ => Self::Io(error),
        }
    }
}
