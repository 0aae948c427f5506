//! The library's log and vote, over a log of the store.
//!
//! An entry is one batch with one record: the batch's base offset is the entry's index, its leader epoch the entry's
//! term, and the record's value the payload. So the log's own recovery, checks and group commit are those of the
//! quorum too.

use crate::files::{Files, PURGED, VOTE, encode_log_id, encode_vote};
use crate::leadership::{Known, Progress};
use crate::payload;
use crate::types::{Entry, EntryPayload, LogId, StorageError, Types, Vote, log_id, next_index};
use bytes::Bytes;
use highwater_env::{Disk, Env, Event, File, sleep};
use highwater_log::{AppendError, Log, ReadError, ReadSlice};
use highwater_records::{Batch, BatchBuilder, Batches, Codec};
use highwater_types::{BrokerId, LeaderEpoch, Offset, mutant};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long an append waits for room on a full disk before the member gives up.
const FULL_DISK_PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits before it tries again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// How much of the log is read at once.
const READ_BYTES: usize = 1 << 20;

/// See the module. A cheap handle.
pub(crate) struct LogStore<E: Env>(Arc<Inner<E>>);

struct Inner<E: Env> {
    env: E,
    node: u64,
    log: Log<E>,
    files: Arc<Files<E>>,
    committed_file: <E::Disk as Disk>::File,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    vote: Vote,
    purged: Option<LogId>,
}

/// What a member's files say.
pub(crate) struct Stored {
    pub vote: Vote,
    pub purged: Option<LogId>,
    pub committed: Option<LogId>,
}

impl<E: Env> Clone for LogStore<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Env> LogStore<E> {
    pub fn new(
        env: E,
        node: u64,
        log: Log<E>,
        files: Arc<Files<E>>,
        committed_file: <E::Disk as Disk>::File,
        progress: Arc<Progress>,
        stored: &Stored,
    ) -> Self {
        let state = Mutex::new(State { vote: stored.vote, purged: stored.purged });
        Self(Arc::new(Inner { env, node, log, files, committed_file, progress, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purged(&self) -> Option<LogId> {
        self.state().purged
    }

    /// The first index that the log has an entry for, or would have.
    fn first(&self) -> u64 {
        next_index(self.purged())
    }

    /// The index after the last entry.
    fn end(&self) -> u64 {
        u64::try_from(self.0.log.end_offset().0).unwrap_or_default().max(self.first())
    }

    /// The id of the last entry, purged ones included.
    pub fn last(&self) -> Option<LogId> {
        let (first, end) = (self.first(), self.end());
        if end == first {
            return self.purged();
        }
        Some(self.id_before(end).expect("Invariant: a log knows the epoch of each record"))
    }

    /// The id of the entry before an index, if it is known: it is not when it was removed.
    pub fn id_before(&self, index: u64) -> Option<LogId> {
        let purged = self.purged();
        if index <= next_index(purged) {
            return purged.filter(|id| id.index + 1 == index);
        }
        let epoch = self.0.log.epoch_at(offset(index - 1))?;
        Some(log_id(term(epoch), index - 1))
    }

    /// Reads entries from `from` on, up to `to` or until there is enough.
    async fn read(&self, from: u64, to: u64) -> Result<Vec<Entry>, StorageError> {
        read_batches(&self.0.log, offset(from), offset(to)).await.map_err(|error| read_error(from, error))
    }

    /// Appends entries, in one piece: an entry never takes the place of one before it that failed.
    async fn try_append(&self, entries: &[Entry]) -> io::Result<u64> {
        let inner = &*self.0;
        let now = inner.env.clock().wall();
        let (mut batches, mut values) = (Vec::new(), Vec::with_capacity(entries.len()));
        let mut positions = Vec::with_capacity(entries.len());
        for entry in entries {
            if let EntryPayload::Normal(command) = &entry.payload
                && let Some(fate) = &command.fate
            {
                fate.set_appended();
            }
            let LogId { leader_id, index } = entry.log_id;
            let epoch = LeaderEpoch(i32::try_from(leader_id.term).map_err(io::Error::other)?);
            let value = payload::encode(&entry.payload);
            let mut builder = BatchBuilder::new(Codec::None, usize::MAX);
            let fits = builder.try_push(now, None, Some(&value), &[]);
            debug_assert!(fits, "a first record is taken whatever its size");
            let batch = Batch::check(builder.build()).map_err(io::Error::other)?;
            positions.push((offset(index), batches.len()));
            batch.assigned(offset(index), epoch, None).copy_to(&mut batches);
            values.push(value);
        }
        self.append_batches(batches.into(), &positions).await?;
        for (entry, value) in entries.iter().zip(&values) {
            observe_appended(&inner.env, entry, value);
        }
        Ok(self.end())
    }

    /// Appends batches, which begin at these offsets and places. While the disk is full, which leaves the log as it
    /// was, they wait for a while.
    async fn append_batches(&self, batches: Bytes, positions: &[(Offset, usize)]) -> io::Result<()> {
        let inner = &*self.0;
        let clock = inner.env.clock();
        let until = clock.now().after(FULL_DISK_PATIENCE);
        let mut rest = batches.clone();
        loop {
            match inner.log.append_replica(rest, clock.wall()).await {
                Ok(_) => return Ok(()),
                Err(AppendError::StorageFull) if clock.now() < until => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            tracing::error!("the disk is full: the metadata cannot change before there is room");
            inner.env.observe(&Event::Reached("quorum: full disk waited out"));
            sleep(clock, FULL_DISK_PAUSE).await;
            let end = inner.log.end_offset();
            let Some((_, at)) = positions.iter().find(|(offset, _)| *offset >= end) else { return Ok(()) };
            rest = batches.slice(*at..);
        }
    }

    /// Waits until everything before an index is on disk, whatever the store's durability is.
    async fn wait_synced(&self, end: u64) -> io::Result<()> {
        let log = &self.0.log;
        if !mutant!("raft-ack-unsynced") {
            log.wait_synced(offset(end)).await.map_err(io::Error::other)?;
            if log.synced_end() < offset(end) {
                log.flush().await.map_err(io::Error::other)?;
            }
        }
        self.0.env.observe(&Event::QuorumSynced { end: log.synced_end().0.try_into().unwrap_or(end) });
        Ok(())
    }

    async fn write_vote(&self, vote: &Vote) -> io::Result<()> {
        let durable = !mutant!("raft-vote-unsynced");
        self.0.files.replace_with(VOTE, vec![encode_vote(vote)], durable).await
    }

    async fn try_truncate(&self, from: u64) -> io::Result<()> {
        self.0.env.observe(&Event::QuorumTruncated { from });
        self.0.log.truncate(offset(from)).await.map_err(io::Error::other)?;
        if mutant!("raft-term-revert")
            && let Some(last) = self.last()
        {
            self.write_vote(&Vote::new(last.leader_id.term, self.0.node)).await?;
        }
        Ok(())
    }

    async fn try_purge(&self, upto: LogId) -> io::Result<()> {
        if next_index(self.purged()) > upto.index {
            return Ok(());
        }
        // The library asks for this beside the taking over of a snapshot, not after it.
        let saved = |known: &Known| match known.snapshot {
            Some(snapshot) if snapshot.index >= upto.index => Some(Ok(())),
            _ => known.snapshot_failed.then(|| Err(io::Error::other("the snapshot was not taken over"))),
        };
        let done = saved(&self.0.progress.known());
        match done {
            Some(done) => done?,
            None => {
                self.0.env.observe(&Event::Reached("quorum: removal waited for the snapshot"));
                self.0.progress.wait(saved).await?;
            }
        }
        // First the pointer, then the entries: what lies below it is never looked at again.
        self.0.files.replace(PURGED, vec![encode_log_id(&upto)]).await?;
        self.state().purged = Some(upto);
        cut_beginning(&self.0.log, upto.index + 1).await
    }
}

/// Tells that an entry stands in the log.
pub(crate) fn observe_appended<E: Env>(env: &E, entry: &Entry, value: &[u8]) {
    let LogId { leader_id, index } = entry.log_id;
    let checksum = crc32fast::hash(value);
    env.observe(&Event::QuorumAppended { index, term: leader_id.term, checksum });
    if let EntryPayload::Membership(membership) = &entry.payload {
        let voters = voters(membership.get_joint_config());
        env.observe(&Event::QuorumVoters { index, voters });
    }
}

/// Removes the entries before an index from a log; one that ends before it starts anew there.
pub(crate) async fn cut_beginning<E: Env>(log: &Log<E>, first: u64) -> io::Result<()> {
    let first = offset(first);
    if log.end_offset() < first {
        log.restart_at(first).await.map_err(io::Error::other)
    } else {
        log.delete_records(first).await.map(|_| ()).map_err(io::Error::other)
    }
}

impl<E: Env> RaftLogReader<Types> for LogStore<E> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        let (mut from, to) = (from.max(self.first()), to.min(self.end()));
        let mut entries = Vec::new();
        while from < to {
            let more = self.read(from, to).await?;
            let Some(last) = more.last() else { break };
            from = last.log_id.index + 1;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end.min(self.end())).await
    }
}

impl<E: Env> RaftLogStorage<Types> for LogStore<E> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let (last_purged_log_id, last_log_id) = (self.purged(), self.last());
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let inner = &*self.0;
        if vote.committed && vote.leader_id.voted_for == Some(inner.node) {
            inner.env.observe(&Event::QuorumLeader { term: vote.leader_id.term });
        }
        let written = self.write_vote(vote).await;
        written.map_err(|error| StorageError::from_io_error(ErrorSubject::Vote, ErrorVerb::Write, error))?;
        let before = std::mem::replace(&mut self.state().vote, *vote);
        // That a quorum elected somebody in a term that this member voted in is no vote of its own.
        let votes = !vote.committed || vote.leader_id.term > before.leader_id.term;
        if let Some(candidate) = vote.leader_id.voted_for.filter(|_| votes) {
            inner.env.observe(&Event::QuorumVote { term: vote.leader_id.term, candidate: broker(candidate) });
        }
        Ok(())
    }

    /// A member that led when it stopped comes back as one that voted for itself: it has to be elected anew, in a new
    /// term. Or else what it had decided before it stopped, and what it decides now, would bear the same term.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let mut vote = self.state().vote;
        if mutant!("raft-vote-reset") {
            vote.leader_id.voted_for = None;
            vote.committed = false;
        }
        if vote.committed && vote.leader_id.voted_for == Some(self.0.node) {
            self.0.env.observe(&Event::Reached("quorum: former leader waits to be elected anew"));
            vote.committed = false;
        }
        Ok(Some(vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let Some(id) = committed else { return Ok(()) };
        self.0.progress.committed(id);
        // Only saves time after a restart: that it fails harms nobody.
        let _ = self.0.committed_file.write_at(0, vec![encode_log_id(&id)]).await;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.0.progress.known().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let failed = |error| StorageError::from_io_error(ErrorSubject::Logs, ErrorVerb::Write, error);
        let end = self.try_append(&entries).await.map_err(failed)?;
        // The library waits for the callback and does nothing else meanwhile.
        callback.log_io_completed(self.wait_synced(end).await);
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let done = self.try_truncate(since.index).await;
        done.map_err(|error| StorageError::from_io_error(ErrorSubject::Log(since), ErrorVerb::Delete, error))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let done = self.try_purge(upto).await;
        done.map_err(|error| StorageError::from_io_error(ErrorSubject::Log(upto), ErrorVerb::Delete, error))
    }
}

/// Reads entries of a log; none if they were purged meanwhile. What is damaged is invalid data.
pub(crate) async fn read_batches<E: Env>(log: &Log<E>, from: Offset, to: Offset) -> io::Result<Vec<Entry>> {
    let bytes = match log.read(from, to, READ_BYTES, true).await {
        Ok(ReadSlice::Checked(bytes)) => bytes,
        Ok(ReadSlice::Verified { file, position, length }) => file.read_at(position, length).await?,
        Err(ReadError::OutOfRange { .. }) => return Ok(Vec::new()),
        Err(ReadError::Io(error)) => return Err(error),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let mut entries = Vec::new();
    for batch in Batches::new(bytes) {
        let entry = entry_of(&batch.map_err(invalid)?)?;
        // The first batch is the one that holds `from`.
        if offset(entry.log_id.index) >= from {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The entry that a batch holds.
fn entry_of(batch: &Batch) -> io::Result<Entry> {
    let header = batch.header();
    let index = u64::try_from(header.base_offset.0).map_err(io::Error::other)?;
    let mut records = batch.records().map_err(invalid)?;
    let (record, rest) = (records.next(), records.next());
    let (Some(Ok(record)), None) = (record, rest) else {
        return Err(invalid(format!("the batch at {index} does not hold one record")));
    };
    let value = record.value.ok_or_else(|| invalid(format!("entry {index} has no value")))?;
    let payload = payload::decode(value).map_err(|error| invalid(format!("entry {index}: {error}")))?;
    Ok(Entry { log_id: log_id(term(header.leader_epoch), index), payload })
}

fn read_error(index: u64, error: io::Error) -> StorageError {
    StorageError::from_io_error(ErrorSubject::LogIndex(index), ErrorVerb::Read, error)
}

fn offset(index: u64) -> Offset {
    Offset(i64::try_from(index).unwrap_or(i64::MAX))
}

fn term(epoch: LeaderEpoch) -> u64 {
    u64::try_from(epoch.0).unwrap_or_default()
}

/// The broker that a node of the library is.
pub(crate) fn broker(node: u64) -> BrokerId {
    BrokerId(i32::try_from(node).expect("Invariant: nodes are brokers"))
}

/// The sets of voters as events and the status have them.
pub(crate) fn voters(sets: &[std::collections::BTreeSet<u64>]) -> Vec<Vec<BrokerId>> {
    sets.iter().map(|set| set.iter().copied().map(broker).collect()).collect()
}
