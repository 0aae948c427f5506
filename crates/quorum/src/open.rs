//! Opening a member: what its files and its log say, and whether they fit together.

use crate::error::QuorumError;
use crate::files::{COMMITTED, Files, PURGED, VOTE, decode_log_id, decode_vote, encode_vote};
use crate::frame::FrameError;
use crate::leadership::Progress;
use crate::log_store::{LogStore, Stored, cut_beginning, observe_appended, read_batches};
use crate::machine::Machine;
use crate::options::QuorumOptions;
use crate::payload;
use crate::snapshot_file::SnapshotFile;
use crate::state_machine::StateMachine;
use crate::types::{LogId, Vote, next_index};
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_log::{Log, MarksFound};
use highwater_types::{LeaderEpoch, Offset, mutant};
use std::io;
use std::sync::Arc;

/// No small file is larger.
const SMALL_BYTES: u64 = 4096;

/// What the library works on.
pub(crate) struct Opened<E: Env> {
    pub log: LogStore<E>,
    pub machine: StateMachine<E>,
    pub progress: Arc<Progress>,
    pub snapshots: Arc<SnapshotFile<E>>,
}

/// Reads what a member left, and brings log, snapshot and files together.
pub(crate) async fn open<E: Env>(
    env: &E,
    log: Log<E>,
    options: &QuorumOptions,
    machine: Box<dyn Machine>,
) -> Result<Opened<E>, QuorumError> {
    let files = Arc::new(Files::new(env.clone(), options.dir.clone()));
    files.open_dir().await.map_err(files.failed("open", ""))?;
    let (snapshots, snapshot) = SnapshotFile::open(Arc::clone(&files)).await?;
    let snapshots = Arc::new(snapshots);
    let covered = snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
    let mut stored = read_files(&files, &log, covered).await?;
    check_log(&log, options, &stored, covered).await?;
    // A crash may have come between the pointer and the removal.
    if log.start_offset().0 < i64::try_from(next_index(stored.purged)).unwrap_or(i64::MAX) {
        env.observe(&Event::Reached("quorum: removal of entries ended at a start"));
    }
    let first = next_index(stored.purged);
    cut_beginning(&log, first).await.map_err(files.failed("cut the log of", ""))?;
    let end = u64::try_from(log.end_offset().0).unwrap_or_default();
    env.observe(&Event::QuorumTruncated { from: end });
    verify(env, &log).await?;
    env.observe(&Event::QuorumSynced { end });
    stored.committed = stored.committed.filter(|&id| is_in(&log, id));

    let progress = Arc::new(Progress::default());
    if let Some(id) = stored.committed.max(covered) {
        progress.committed(id);
    }
    let committed_file = files.open_committed().await.map_err(files.failed("open", COMMITTED))?;
    if let Some(id) = covered {
        progress.saved(id);
    }
    let node = u64::try_from(options.node.0).expect("checked before");
    let mut machine = StateMachine::new(env.clone(), machine, Arc::clone(&snapshots), Arc::clone(&progress));
    if let Some(snapshot) = snapshot {
        machine
            .restore(&snapshot.meta, *snapshot.snapshot, false)
            .map_err(|problem| QuorumError::Damaged { what: "the snapshot".to_owned(), problem })?;
    }
    let log = LogStore::new(env.clone(), node, log, files, committed_file, Arc::clone(&progress), &stored);
    Ok(Opened { log, machine, progress, snapshots })
}

async fn read_files<E: Env>(
    files: &Files<E>,
    log: &Log<E>,
    covered: Option<LogId>,
) -> Result<Stored, QuorumError> {
    let damaged = |name: &str| {
        let what = format!("the file {}", files.path(name).display());
        move |error: FrameError| QuorumError::Damaged { what, problem: error.to_string() }
    };
    let purged = read_small(files, PURGED).await?.map(decode_log_id).transpose().map_err(damaged(PURGED))?;
    // What does not check out here was being written when the power went.
    let committed = read_small(files, COMMITTED).await?.and_then(|bytes| decode_log_id(bytes).ok());
    let vote = match read_small(files, VOTE).await? {
        Some(bytes) => decode_vote(bytes).map_err(damaged(VOTE))?,
        None if log.end_offset() == Offset::ZERO && purged.is_none() && covered.is_none() => {
            // From here on a member without this file has lost it.
            let vote = Vote::default();
            let written = files.replace(VOTE, vec![encode_vote(&vote)]).await;
            written.map_err(files.failed("write", VOTE))?;
            vote
        }
        None => {
            let what = format!("the file {}", files.path(VOTE).display());
            return Err(QuorumError::Damaged { what, problem: "it is missing".to_owned() });
        }
    };
    Ok(Stored { vote, purged, committed })
}

async fn read_small<E: Env>(files: &Files<E>, name: &str) -> Result<Option<Bytes>, QuorumError> {
    files.read(name, SMALL_BYTES).await.map_err(files.failed("read", name))
}

/// Refuses a log that lost entries. A torn tail above what was proven synced has been cut by the log itself.
async fn check_log<E: Env>(
    log: &Log<E>,
    options: &QuorumOptions,
    stored: &Stored,
    covered: Option<LogId>,
) -> Result<(), QuorumError> {
    let damaged = |problem: String| {
        Err(QuorumError::Damaged { what: format!("the quorum's log {}", log.id()), problem })
    };
    let first = next_index(stored.purged);
    if next_index(covered) < first {
        return Err(QuorumError::Damaged {
            what: "the snapshot".to_owned(),
            problem: format!("the log begins at entry {first}, and it does not cover what was before"),
        });
    }
    let first = Offset(i64::try_from(first).unwrap_or(i64::MAX));
    if log.is_poisoned() {
        // What is on disk may well be whole: the next opening tells.
        let path = std::path::PathBuf::from(log.id().to_string());
        let source = io::Error::other("a write or sync of it failed since it was opened");
        return Err(QuorumError::Io { action: "use the log", path, source });
    }
    if log.start_offset() > first {
        return damaged(format!("it begins at {}, and should begin at {first}", log.start_offset()));
    }
    if let Some(range) = log.damaged().into_iter().find(|range| range.end > first) {
        if mutant!("raft-corrupt-truncate") {
            let _ = log.truncate(range.start.max(first)).await;
            return Ok(());
        }
        return damaged(format!("entries {} to {} do not check out", range.start, range.end));
    }
    let guessed = |report: &&highwater_log::RecoveryReport| {
        report.marks == MarksFound::Lost && (report.cut_bytes > 0 || report.batches_behind_cut)
    };
    if options.recovered.as_ref().filter(guessed).is_some() {
        return damaged("its end does not check out, and what was synced of it cannot be told".to_owned());
    }
    log.losses_told().await.map_err(|source| QuorumError::Io {
        action: "change the log",
        path: std::path::PathBuf::from(log.id().to_string()),
        source,
    })?;
    // The log may know of a term whose entries a crash cut off: a leader of an earlier term may go on from here.
    log.truncate(log.end_offset()).await.map(drop).map_err(|error| QuorumError::Io {
        action: "write the terms of the log",
        path: std::path::PathBuf::from(log.id().to_string()),
        source: io::Error::other(error),
    })
}

/// Reads the whole log, which is short, and tells of its entries: damage is found before anybody relies on this member.
async fn verify<E: Env>(env: &E, log: &Log<E>) -> Result<(), QuorumError> {
    let (mut next, end) = (log.start_offset(), log.end_offset());
    while next < end {
        let read = read_batches(log, next, end).await.and_then(|entries| {
            for entry in &entries {
                observe_appended(env, entry, &payload::encode(&entry.payload));
            }
            let last = entries.last().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok(last.log_id.index + 1)
        });
        match read {
            Ok(after) => next = Offset(i64::try_from(after).unwrap_or(i64::MAX)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                if mutant!("raft-corrupt-truncate") {
                    let _ = log.truncate(next).await;
                    return Ok(());
                }
                let what = format!("the quorum's log {}", log.id());
                return Err(QuorumError::Damaged { what, problem: format!("from entry {next} on: {error}") });
            }
            Err(source) => {
                let path = std::path::PathBuf::from(log.id().to_string());
                return Err(QuorumError::Io { action: "read the log", path, source });
            }
        }
    }
    Ok(())
}

fn is_in<E: Env>(log: &Log<E>, id: LogId) -> bool {
    let offset = Offset(i64::try_from(id.index).unwrap_or(i64::MAX));
    let term = i32::try_from(id.leader_id.term).unwrap_or(i32::MAX);
    (log.start_offset()..log.end_offset()).contains(&offset)
        && log.epoch_at(offset) == Some(LeaderEpoch(term))
}
