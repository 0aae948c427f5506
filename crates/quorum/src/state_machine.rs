//! The library's state machine, around a [`Machine`] and the snapshot file.

use crate::convert::snapshot_meta;
use crate::leadership::Progress;
use crate::log_store::voters;
use crate::machine::{Encode, Machine};
use crate::payload;
use crate::snapshot_file::SnapshotFile;
use crate::types::{
    Applied, Entry, EntryPayload, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, Types,
};
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_types::mutant;
use openraft::storage::RaftStateMachine;
use openraft::{ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder};
use std::io;
use std::sync::Arc;

/// See the module.
pub(crate) struct StateMachine<E: Env> {
    env: E,
    /// Behind a lock because the library asks for it; nobody else takes it.
    machine: std::sync::Mutex<Box<dyn Machine>>,
    snapshots: Arc<SnapshotFile<E>>,
    progress: Arc<Progress>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl<E: Env> StateMachine<E> {
    pub fn new(
        env: E,
        machine: Box<dyn Machine>,
        snapshots: Arc<SnapshotFile<E>>,
        progress: Arc<Progress>,
    ) -> Self {
        let membership = StoredMembership::default();
        Self { env, machine: std::sync::Mutex::new(machine), snapshots, progress, applied: None, membership }
    }

    /// Takes over the state of a snapshot.
    pub fn restore(
        &mut self,
        meta: &SnapshotMeta,
        pieces: Vec<Bytes>,
        installed: bool,
    ) -> Result<(), String> {
        let last = meta.last_log_id.ok_or("the snapshot covers nothing")?;
        let (index, term) = (last.index, last.leader_id.term);
        self.machine().restore(index, term, pieces)?;
        self.applied = Some(last);
        if !(installed && mutant!("raft-snap-stale-config")) {
            self.membership = meta.last_membership.clone();
        }
        self.progress.applied(last);
        self.env.observe(&Event::QuorumSnapshot { index, term, installed });
        self.observe_voters();
        Ok(())
    }

    fn machine(&mut self) -> &mut Box<dyn Machine> {
        self.machine.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn saved(&self, meta: &SnapshotMeta) {
        if let Some(id) = meta.last_log_id {
            self.progress.saved(id);
        }
    }

    fn observe_voters(&self) {
        if let Some(id) = self.membership.log_id() {
            let voters = voters(self.membership.membership().get_joint_config());
            self.env.observe(&Event::QuorumVoters { index: id.index, voters });
        }
    }

    fn apply_one(&mut self, entry: &Entry) -> Applied {
        let LogId { leader_id, index } = entry.log_id;
        let term = leader_id.term;
        let checksum = crc32fast::hash(&payload::encode(&entry.payload));
        let mut outcome = Applied::Done;
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
            EntryPayload::Normal(command) if command.term == term => {
                // An empty one says only that everything before it is committed.
                if !command.data.is_empty() {
                    self.machine().apply(index, term, &command.data);
                }
            }
            EntryPayload::Normal(_) => {
                self.env.observe(&Event::Reached("quorum: command of another term passed over"));
                outcome = Applied::OtherTerm;
            }
        }
        self.applied = Some(entry.log_id);
        self.env.observe(&Event::QuorumApplied { index, term, checksum });
        outcome
    }
}

impl<E: Env> RaftStateMachine<Types> for StateMachine<E> {
    type SnapshotBuilder = Builder<E>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = match mutant!("raft-applied-split") {
            true => self.applied.max(self.progress.known().committed),
            false => self.applied,
        };
        Ok((applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let outcomes: Vec<Applied> = entries.into_iter().map(|entry| self.apply_one(&entry)).collect();
        if let Some(id) = self.applied {
            self.progress.applied(id);
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<E> {
        let (env, snapshots) = (self.env.clone(), Arc::clone(&self.snapshots));
        let (applied, membership) = (self.applied, self.membership.clone());
        let encode = Some(self.machine().snapshot());
        let (progress, encode) = (Arc::clone(&self.progress), std::sync::Mutex::new(encode));
        Builder { env, snapshots, progress, applied, membership, encode }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<Bytes>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Vec<Bytes>>,
    ) -> Result<(), StorageError> {
        let mut stored = meta.clone();
        if mutant!("raft-snap-stale-config") {
            stored.last_membership = self.membership.clone();
        }
        if let Err(error) = self.snapshots.save(&stored, &snapshot).await {
            self.progress.snapshot_failed();
            return Err(failed(ErrorVerb::Write, error));
        }
        self.saved(meta);
        self.restore(meta, *snapshot, true).map_err(|error| failed(ErrorVerb::Read, io::Error::other(error)))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        self.snapshots.load().await.map_err(|error| failed(ErrorVerb::Read, error))
    }
}

/// Writes a snapshot of the state as it stood when this was made.
pub(crate) struct Builder<E: Env> {
    env: E,
    snapshots: Arc<SnapshotFile<E>>,
    progress: Arc<Progress>,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Behind a lock because the library asks for it; nobody else takes it.
    encode: std::sync::Mutex<Option<Encode>>,
}

impl<E: Env> RaftSnapshotBuilder<Types> for Builder<E> {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let encode = self.encode.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let (Some(last), Some(encode)) = (self.applied, encode) else {
            return Err(failed(ErrorVerb::Read, io::Error::other("there is nothing to take a snapshot of")));
        };
        let pieces = self.env.compute(encode).await;
        let meta = snapshot_meta(last, self.membership.clone());
        let saved = self.snapshots.save(&meta, &pieces).await;
        saved.map_err(|error| failed(ErrorVerb::Write, error))?;
        if self.progress.known().snapshot > Some(last) {
            self.env.observe(&Event::Reached("quorum: a later snapshot came while one was made"));
        }
        self.progress.saved(last);
        let (index, term) = (last.index, last.leader_id.term);
        self.env.observe(&Event::QuorumSnapshot { index, term, installed: false });
        Ok(Snapshot { meta, snapshot: Box::new(pieces) })
    }
}

fn failed(verb: ErrorVerb, error: io::Error) -> StorageError {
    StorageError::from_io_error(ErrorSubject::Snapshot(None), verb, error)
}
