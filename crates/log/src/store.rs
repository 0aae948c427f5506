//! The store of one disk.

use crate::checkpoint::{MARKS, Marks, replace};
use crate::commit::{run_commits, run_flushes};
use crate::config::LogConfig;
use crate::core::{Core, lock};
use crate::error::{LogError, StoreError};
use crate::files::{
    CLEAN_SHUTDOWN, DELETED, DISK_META, DiskMeta, FORMAT_VERSION, FoundMeta, LOCK, LOGS, encode_clean,
    parse_log_id, read_clean,
};
use crate::join::for_each_bounded;
use crate::log::Log;
use crate::marks::run_checkpoints;
use crate::options::{Durability, StoreOptions};
use crate::recovery::{OpenHint, recover};
use crate::report::{CleanUp, Compaction, MarksFound, RecoveryReport};
use highwater_env::{Disk, Env, Event, Purpose, Space, Task, sleep};
use highwater_types::{ClusterId, DiskId, LogId, Offset, Uuid};
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The store of one disk: a directory with the logs of many partitions.
///
/// A store is closed with [`Store::close`]. One that is merely dropped stops its tasks and is recovered at the next
/// opening, as after a crash.
pub struct Store<E: Env>(Arc<Inner<E>>);

struct Inner<E: Env> {
    core: Arc<Core<E>>,
    meta: DiskMeta,
    was_clean: bool,
    tasks: Mutex<Vec<Task>>,
    /// The right to make or delete logs.
    logs_turn: tokio::sync::Mutex<()>,
}

impl<E: Env> Store<E> {
    /// Opens a store, or makes one in an empty directory, and recovers its logs. The reports tell what was found,
    /// one per log.
    pub async fn open(env: E, options: StoreOptions) -> Result<(Self, Vec<RecoveryReport>), StoreError> {
        let dir = options.dir.clone();
        let disk = env.disk();
        let failed = |action| {
            let path = dir.clone();
            move |source| StoreError::Io { action, path, source }
        };
        disk.create_dir_all(&dir).await.map_err(failed("make"))?;
        let guard = disk.lock(&dir.join(LOCK)).await.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked { dir: dir.clone() },
            _ => failed("lock")(source),
        })?;
        let meta = identify(&env, &options).await?;
        let clean = read_clean(disk, &dir).await.map_err(failed("read"))?;
        forget_clean(disk, &dir).await.map_err(failed("change"))?;
        let (marks, found) = Marks::load(disk, &dir).await.map_err(failed("read"))?;
        if found == MarksFound::Lost {
            env.observe(&Event::MarksLost);
        }
        let clean = clean == Some(marks.sequence) && found == MarksFound::Current;
        let core = Arc::new(Core::new(env, options, guard));
        // From here on whatever ends the opening frees what it has opened, and the directory.
        let (tasks, logs_turn) = (Mutex::default(), tokio::sync::Mutex::new(()));
        let store =
            Self(Arc::new(Inner { core: Arc::clone(&core), meta, tasks, logs_turn, was_clean: clean }));
        let mut reports = open_logs(&core, &marks, found, clean).await.map_err(failed("open the logs of"))?;
        core.marks.lock().await.sequence = marks.sequence;
        let written = core.write_marks().await;
        if let Err(error) = &written {
            // Not needed for safety: without it the next opening recovers from the older marks.
            tracing::warn!(%error, "cannot write the proven marks; the last ones stay");
        }
        finish_restarts(&core, &mut reports, &written).await;
        *lock(&store.0.tasks) = start_tasks(&core);
        Ok((store, reports))
    }

    /// Whether the last stop was a [`Store::close`] that closed everything: nothing that was ever appended can have
    /// been lost by it. False for a new directory, and for one whose marks were damaged since.
    pub fn was_clean(&self) -> bool {
        self.0.was_clean
    }

    /// Identifies the disk's contents.
    pub fn disk_id(&self) -> DiskId {
        self.0.meta.disk
    }

    /// The cluster that the store belongs to.
    pub fn cluster_id(&self) -> ClusterId {
        self.0.meta.cluster
    }

    /// The options that the store was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.0.core.options
    }

    /// Makes a log. It is durable when this returns.
    pub async fn create_log(&self, id: LogId, config: LogConfig) -> Result<Log<E>, LogError> {
        let core = &self.0.core;
        if core.is_closed() {
            return Err(LogError::Closed);
        }
        if lock(&core.failed).contains_key(&id) {
            return Err(LogError::Poisoned);
        }
        // Logs are made side by side, but none twice.
        if lock(&core.logs).contains_key(&id) || !lock(&core.being_made).insert(id) {
            return Err(LogError::Exists(id));
        }
        let result = make_log(core, id, config).await;
        lock(&core.being_made).remove(&id);
        result
    }

    /// The log of that name.
    pub fn log(&self, id: LogId) -> Option<Log<E>> {
        lock(&self.0.core.logs).get(&id).cloned()
    }

    /// Whether there is such a log that could not be opened.
    pub fn is_unopened(&self, id: LogId) -> bool {
        lock(&self.0.core.failed).contains_key(&id)
    }

    /// The logs that could not be opened.
    pub fn unopened(&self) -> Vec<LogId> {
        lock(&self.0.core.failed).keys().copied().collect()
    }

    /// All logs, in the order of their names.
    pub fn logs(&self) -> Vec<Log<E>> {
        self.0.core.all_logs()
    }

    /// Deletes a log: its directory is renamed, durably, and removed in the background.
    pub async fn delete_log(&self, id: LogId) -> Result<(), LogError> {
        let core = &self.0.core;
        if core.is_closed() {
            return Err(LogError::Closed);
        }
        let _turn = self.0.logs_turn.lock().await;
        let log = lock(&core.logs).get(&id).cloned();
        let failed = lock(&core.failed).contains_key(&id);
        let delay = match &log {
            Some(log) => {
                // Waits for an append that is under way.
                let _appender = log.0.appender.lock().await;
                log.mark_deleted();
                log.config().file_delete_delay_ms
            }
            None if failed => 0,
            None => return Err(LogError::NotFound(id)),
        };
        lock(&core.logs).remove(&id);
        lock(&core.failed).remove(&id);
        core.env.observe(&Event::Deleting { log: id });
        // The mark goes first: a mark without a log would look like a lost directory.
        core.write_marks().await?;
        let doomed = rename_away(core, id).await?;
        core.env.disk().sync_dir(&core.logs_dir()).await?;
        let task = remove_dir_later(Arc::clone(core), doomed, Duration::from_millis(delay));
        core.env.spawn("log-delete", task).detach();
        Ok(())
    }

    /// One pass of retention over all logs. `bound` gives the high watermark of a log, beyond which nothing is
    /// removed; None stands for the log's synced end.
    pub async fn clean_up(&self, bound: impl Fn(LogId) -> Option<Offset> + Send) -> CleanUp {
        self.0.core.clean_up(bound).await
    }

    /// One pass of compaction over the logs that are due, the dirtiest first. `bound` gives the high watermark of a
    /// log, from which on nothing is touched; None stands for the log's synced end. The keys that are kept in memory at
    /// once take `map_bytes` at most. Ends early, between two pieces of work, when `stops` says so.
    pub async fn compact(
        &self,
        bound: impl Fn(LogId) -> Option<Offset> + Send + Sync,
        map_bytes: usize,
        stops: impl Fn() -> bool + Send + Sync,
    ) -> Vec<Compaction> {
        self.0.core.compact(bound, map_bytes, stops).await
    }

    /// How much room the disk has.
    pub async fn space(&self) -> io::Result<Space> {
        self.0.core.env.disk().space(&self.0.core.options.dir).await
    }

    /// Syncs everything, and leaves the directory so that the next opening need not recover anything.
    pub async fn close(&self) -> Result<(), StoreError> {
        let core = &self.0.core;
        let dir = core.options.dir.clone();
        if core.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let logs = core.all_logs();
        let limit = core.options.max_concurrent_syncs;
        let closed = for_each_bounded(logs, limit, |log| async move {
            let result = log.close().await;
            (log.id(), result)
        })
        .await;
        let mut unclean: Vec<LogId> =
            closed.into_iter().filter(|(_, result)| result.is_err()).map(|(id, _)| id).collect();
        unclean.extend(lock(&core.failed).keys());
        self.0.stop_tasks();
        let written = core.write_marks().await;
        let result = if let Err(source) = written {
            Err(StoreError::Io { action: "write the proven marks of", path: dir, source })
        } else if unclean.is_empty() {
            let sequence = core.marks.lock().await.sequence;
            let marker = replace(core.env.disk(), &dir, CLEAN_SHUTDOWN, encode_clean(sequence)).await;
            marker.map_err(|source| StoreError::Io { action: "mark as closed", path: dir, source })
        } else {
            Err(StoreError::Unclean(unclean))
        };
        lock(&core.lock).take();
        result
    }
}

impl<E: Env> Clone for Store<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Env> Inner<E> {
    fn stop_tasks(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

impl<E: Env> Drop for Inner<E> {
    fn drop(&mut self) {
        self.core.closed.store(true, Ordering::Release);
        self.stop_tasks();
        // The logs hold the core, and the core the logs.
        lock(&self.core.logs).clear();
        self.core.queue.clear();
    }
}

impl<E: Env> Log<E> {
    /// Leaves the log so that it can be opened without a look at its batches.
    async fn close(&self) -> Result<(), LogError> {
        let mut appender = self.0.appender.lock().await;
        if self.is_deleted() {
            return Ok(());
        }
        self.mend(&mut appender).await?;
        self.sync().await?;
        let end = self.end_offset();
        let snapshot = self.snapshot(&appender.producers, end);
        self.store_snapshot(snapshot).await?;
        let index = lock(&self.0.view).active.index.snapshot();
        self.store_index(&index).await?;
        let pinned: Vec<_> = lock(&self.0.view).sealed.clone();
        for sealed in pinned {
            if let Some(index) = sealed.pinned() {
                self.store_index(&index).await?;
            }
        }
        Ok(())
    }
}

fn start_tasks<E: Env>(core: &Arc<Core<E>>) -> Vec<Task> {
    let env = &core.env;
    let mut tasks = vec![
        env.spawn("log-commit", run_commits(Arc::clone(core))),
        env.spawn("log-checkpoint", run_checkpoints(Arc::clone(core))),
    ];
    if core.options.durability == Durability::Replicated {
        tasks.push(env.spawn("log-flush", run_flushes(Arc::clone(core))));
    }
    tasks
}

/// Checks whose directory it is, and initialises a new one.
async fn identify<E: Env>(env: &E, options: &StoreOptions) -> Result<DiskMeta, StoreError> {
    let dir = options.dir.clone();
    let disk = env.disk();
    let found = DiskMeta::read(disk, &dir).await.map_err(|source| StoreError::Io {
        action: "read the identity of",
        path: dir.clone(),
        source,
    })?;
    let expected = options.identity;
    match found {
        FoundMeta::Known(meta) if meta.node != expected.node => {
            Err(StoreError::OtherNode { dir, found: meta.node, expected: expected.node })
        }
        FoundMeta::Known(meta) => match expected.cluster {
            Some(cluster) if cluster != meta.cluster => {
                Err(StoreError::OtherCluster { dir, found: meta.cluster, expected: cluster })
            }
            _ => Ok(meta),
        },
        FoundMeta::Newer(found) => Err(StoreError::NewerFormat { dir, found, known: FORMAT_VERSION }),
        FoundMeta::Damaged => Err(StoreError::NoIdentity { dir, state: "damaged" }),
        FoundMeta::Missing => {
            let in_use = holds_logs(disk, &dir).await;
            let failed = |source| StoreError::Io { action: "initialise", path: dir.clone(), source };
            if in_use.map_err(failed)? {
                return Err(StoreError::NoIdentity { dir, state: "missing" });
            }
            let mut random = env.entropy(Purpose::Ids);
            let disk_id = DiskId(Uuid::from_random(random.random()));
            let made = ClusterId(Uuid::from_random(random.random()));
            let cluster = expected.cluster.unwrap_or(made);
            let meta = DiskMeta { cluster, node: expected.node, disk: disk_id };
            initialise(disk, &dir, &meta).await.map_err(failed)?;
            Ok(meta)
        }
    }
}

async fn holds_logs<D: Disk>(disk: &D, dir: &Path) -> io::Result<bool> {
    match disk.list(&dir.join(LOGS)).await {
        Ok(entries) => Ok(entries.iter().any(|entry| parse_log_id(&entry.name).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a new directory a store. The identity comes last: what has one is whole.
async fn initialise<D: Disk>(disk: &D, dir: &Path, meta: &DiskMeta) -> io::Result<()> {
    disk.create_dir_all(&dir.join(LOGS)).await?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).await?;
    }
    disk.sync_dir(dir).await?;
    replace(disk, dir, MARKS, Marks::default().encode()).await?;
    replace(disk, dir, DISK_META, meta.encode()).await
}

/// From here on the store counts as open, whatever happens.
async fn forget_clean<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    match disk.remove_file(&dir.join(CLEAN_SHUTDOWN)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // An opening before this one may have removed it and not have come to the sync.
        _ => disk.sync_dir(dir).await,
    }
}

/// How often an opening that failed is tried again: an error may pass, and a log that is not opened counts as lost.
const OPENINGS_MORE: u32 = 2;
/// How long to wait before that.
const OPENING_PAUSE: Duration = Duration::from_millis(250);

/// Opens all logs of the store, several at once.
async fn open_logs<E: Env>(
    core: &Arc<Core<E>>,
    marks: &Marks,
    found: MarksFound,
    clean: bool,
) -> io::Result<Vec<RecoveryReport>> {
    let disk = core.env.disk();
    let mut ids = BTreeSet::new();
    for entry in disk.list(&core.logs_dir()).await? {
        if entry.name.ends_with(DELETED) {
            let doomed = core.logs_dir().join(&entry.name);
            let task = remove_dir_later(Arc::clone(core), doomed, Duration::ZERO);
            core.env.spawn("log-delete", task).detach();
        } else if entry.is_dir
            && let Some(id) = parse_log_id(&entry.name)
        {
            ids.insert(id);
        }
    }
    let lost: Vec<LogId> = marks.logs.keys().filter(|id| !ids.contains(id)).copied().collect();
    for id in &lost {
        // The directory is gone. Its offsets must not be given again.
        disk.create_dir_all(&core.log_dir(*id)).await?;
    }
    ids.extend(lost);
    if !ids.is_empty() {
        // A log whose making did not end may be visible and yet not on disk. What is appended to it must not vanish
        // with its directory.
        disk.sync_dir(&core.logs_dir()).await?;
    }
    let interval = LogConfig::default().index_interval_bytes;
    let limit = core.options.max_concurrent_opens;
    let reports = for_each_bounded(ids, limit, |id| {
        let mark = marks.logs.get(&id).copied();
        open_log(core, id, OpenHint { mark, marks: found, clean, interval })
    })
    .await;
    Ok(reports)
}

async fn open_log<E: Env>(core: &Arc<Core<E>>, id: LogId, mut hint: OpenHint) -> RecoveryReport {
    let mut recovered = recover(core, id, hint).await;
    for _ in 0..OPENINGS_MORE {
        let Err(error) = &recovered else { break };
        // Each recovery begins at what is proven, whatever became of the one before, as it does after a crash.
        tracing::warn!(log = %id, %error, "cannot open a log; trying again");
        core.env.observe(&Event::Reached("log: opened at another try"));
        sleep(core.env.clock(), OPENING_PAUSE).await;
        hint.clean = false;
        recovered = recover(core, id, hint).await;
    }
    match recovered {
        Ok(recovered) => {
            let report = recovered.report.clone();
            core.env.observe(&told(&report));
            let log = Log::new(core, id, LogConfig::default(), recovered);
            log.write_pinned_indexes();
            lock(&core.logs).insert(id, log);
            report
        }
        Err(error) => {
            tracing::error!(log = %id, %error, "cannot open a log; it takes nothing until the next start");
            core.env.observe(&Event::Poisoned { log: id });
            lock(&core.failed).insert(id, hint.mark);
            failure_report(id, &hint, &error)
        }
    }
}

fn told(report: &RecoveryReport) -> Event {
    Event::Recovered {
        log: report.log,
        start: report.start,
        end: report.end,
        proven: report.proven,
        cut_bytes: report.cut_bytes,
    }
}

/// Ends the restarts that recovery completed. Nothing may be appended to such a log before that is durable.
async fn finish_restarts<E: Env>(core: &Core<E>, reports: &mut [RecoveryReport], marks: &io::Result<()>) {
    for report in reports.iter_mut().filter(|report| report.restarted) {
        let Some(log) = lock(&core.logs).get(&report.log).cloned() else { continue };
        let finished = match marks {
            Ok(()) => log.finish_restart().await,
            Err(error) => Err(error.kind().into()),
        };
        if let Err(error) = finished {
            log.poison("finish a restart", &error);
            report.failure = Some(error.to_string());
        }
    }
}

fn failure_report(id: LogId, hint: &OpenHint, error: &io::Error) -> RecoveryReport {
    let mark = hint.mark.unwrap_or_default();
    RecoveryReport {
        log: id,
        start: mark.start,
        end: mark.proven,
        proven: mark.proven,
        marks: hint.marks,
        clean: hint.clean,
        restarted: false,
        rewritten_bytes: 0,
        cut_bytes: 0,
        batches_behind_cut: false,
        damaged: Vec::new(),
        epochs_lost: false,
        bad_segment_headers: 0,
        failure: Some(error.to_string()),
    }
}

async fn make_log<E: Env>(core: &Arc<Core<E>>, id: LogId, config: LogConfig) -> Result<Log<E>, LogError> {
    let dir = core.log_dir(id);
    core.env.disk().create_dir_all(&dir).await?;
    let hint = OpenHint {
        mark: None,
        marks: MarksFound::Current,
        clean: false,
        interval: config.index_interval_bytes,
    };
    let recovered = recover(core, id, hint).await?;
    core.env.disk().sync_dir(&core.logs_dir()).await?;
    // A log that was to be deleted, and could not be, is taken over with what it holds.
    let report = &recovered.report;
    let is_new = report.start == report.end;
    core.env.observe(&if is_new { Event::Made { log: id, start: report.start } } else { told(report) });
    let log = Log::new(core, id, config, recovered);
    lock(&core.logs).insert(id, log.clone());
    core.marks_moved();
    Ok(log)
}

/// Renames a log's directory to a name that is free.
async fn rename_away<E: Env>(core: &Core<E>, id: LogId) -> io::Result<PathBuf> {
    let disk = core.env.disk();
    let taken: BTreeSet<String> =
        disk.list(&core.logs_dir()).await?.into_iter().map(|entry| entry.name).collect();
    let name = (0..)
        .map(|number: u32| format!("{id}.{number}{DELETED}"))
        .find(|name| !taken.contains(name))
        .expect("a directory has fewer entries than there are numbers");
    let doomed = core.logs_dir().join(name);
    disk.rename(&core.log_dir(id), &doomed).await?;
    Ok(doomed)
}

/// Removes a renamed log directory. What is left is removed at the next opening.
async fn remove_dir_later<E: Env>(core: Arc<Core<E>>, dir: PathBuf, delay: Duration) {
    if !delay.is_zero() {
        sleep(core.env.clock(), delay).await;
    }
    let disk = core.env.disk();
    let removed = async {
        for entry in disk.list(&dir).await? {
            disk.remove_file(&dir.join(&entry.name)).await?;
        }
        disk.remove_dir(&dir).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(path = %dir.display(), %error, "cannot remove a deleted log");
    }
}
