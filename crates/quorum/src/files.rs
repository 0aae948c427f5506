//! The small files of a member.

use crate::convert::{id_from, id_to, vote_from, vote_to};
use crate::error::QuorumError;
use crate::frame::{self, FrameError};
use crate::proto;
use crate::types::{LogId, Vote};
use bytes::Bytes;
use highwater_env::{Disk, Env, File, OpenMode};
use highwater_types::mutant;
use std::io;
use std::path::{Path, PathBuf};

/// Whom the member voted for.
pub(crate) const VOTE: &str = "vote";
/// The last entry that was removed from the log's beginning.
pub(crate) const PURGED: &str = "purged";
/// An entry that is known to be committed. Never synced: it only saves a restarted member the wait for a leader.
pub(crate) const COMMITTED: &str = "committed";
/// The latest snapshot.
pub(crate) const SNAPSHOT: &str = "snapshot";

const TEMPORARY: &str = ".tmp";

/// The directory of a member.
pub(crate) struct Files<E> {
    env: E,
    dir: PathBuf,
}

impl<E: Env> Files<E> {
    pub fn new(env: E, dir: PathBuf) -> Self {
        Self { env, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the directory, durably, if it is not there, and all that is seen in it durable: a file that a process
    /// before this one renamed and did not come to sync is not to be relied upon and then be lost with the power.
    pub async fn open_dir(&self) -> io::Result<()> {
        let disk = self.env.disk();
        disk.create_dir_all(&self.dir).await?;
        if let Some(parent) = self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).await?;
        }
        if mutant!("raft-open-unsynced") {
            return Ok(());
        }
        disk.sync_dir(&self.dir).await
    }

    /// The contents of a file; None if there is none.
    pub async fn read(&self, name: &str, limit: u64) -> io::Result<Option<Bytes>> {
        let file = match self.env.disk().open(&self.path(name), OpenMode::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        let length = file.len().await?;
        if length > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than it can be"));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        file.read_at(0, length).await.map(Some)
    }

    /// Replaces a file: after a crash it holds the old contents or the new ones, and after `Ok` the new ones.
    pub async fn replace(&self, name: &str, contents: Vec<Bytes>) -> io::Result<()> {
        self.replace_with(name, contents, true).await
    }

    /// [`Files::replace`] that may leave out what makes it durable.
    pub async fn replace_with(&self, name: &str, contents: Vec<Bytes>, sync: bool) -> io::Result<()> {
        let disk = self.env.disk();
        let temporary = self.path(&format!("{name}{TEMPORARY}"));
        let file = create(disk, &temporary).await?;
        file.write_at(0, contents).await?;
        if sync {
            file.sync_data().await?;
        }
        disk.rename(&temporary, &self.path(name)).await?;
        if sync {
            disk.sync_dir(&self.dir).await?;
        }
        Ok(())
    }

    /// Opens the file that is written in place.
    pub async fn open_committed(&self) -> io::Result<<E::Disk as Disk>::File> {
        let disk = self.env.disk();
        match disk.open(&self.path(COMMITTED), OpenMode::Write).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.open(&self.path(COMMITTED), OpenMode::CreateNew).await
            }
            result => result,
        }
    }

    /// The error of an action with a file.
    pub fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> QuorumError + use<E> {
        let path = self.path(name);
        move |source| QuorumError::Io { action, path, source }
    }
}

/// Makes a new file in place of whatever stands there: another file, not the old one emptied, of which nothing is
/// known after a failed sync.
async fn create<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    match disk.open(path, OpenMode::CreateNew).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(path).await?;
            disk.open(path, OpenMode::CreateNew).await
        }
        result => result,
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    frame::encode(&vote_to(vote))
}

pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, FrameError> {
    vote_from(Some(frame::decode(bytes)?))
}

pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    frame::encode(&id_to(id))
}

pub(crate) fn decode_log_id(bytes: Bytes) -> Result<LogId, FrameError> {
    id_from(frame::decode::<proto::LogId>(bytes)?)
}
