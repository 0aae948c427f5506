//! What follows the closing of a segment, in the background: its index file and a producer snapshot.

use crate::checkpoint::{create, replace};
use crate::core::lock;
use crate::files::{index_name, producers_name};
use crate::index::Index;
use crate::log::Log;
use crate::producers::Producers;
use crate::segment::Sealed;
use bytes::Bytes;
use highwater_env::{Disk, Env, File};
use highwater_types::{Offset, mutant};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many producer snapshots there may be; beyond that, closed segments get none until the proven marks have moved.
const MOST_SNAPSHOTS: usize = 64;

/// What is known of the producers as of an offset, in a file's form.
pub(crate) struct Snapshot {
    offset: Offset,
    bytes: Bytes,
    /// The truncations before it was made.
    generation: u64,
}

impl<E: Env> Log<E> {
    /// Writes what a closed segment needs. Failures cost time at the next opening, nothing else.
    pub(crate) async fn finish_seal(&self, sealed: Arc<Sealed>, snapshot: Option<Snapshot>) {
        let room = lock(&self.0.view).snapshots.len() < MOST_SNAPSHOTS;
        if let Some(snapshot) = snapshot.filter(|_| room)
            && let Err(error) = self.store_snapshot(snapshot).await
        {
            tracing::warn!(log = %self.id(), %error, "cannot write a producer snapshot");
        }
        let _turn = self.0.files_turn.lock().await;
        let Some(index) = sealed.pinned().filter(|_| !sealed.is_removed()) else { return };
        if let Err(error) = self.store_index(&index).await {
            tracing::warn!(log = %self.id(), %error, "cannot write an index");
            return;
        }
        sealed.unpin();
        let weight = index.memory_bytes();
        lock(&self.0.core.indexes).insert(sealed.key, index, weight);
    }

    /// Starts writing the index files of segments whose index was made anew when the log was opened.
    pub(crate) fn write_pinned_indexes(&self) {
        let pinned: Vec<_> =
            lock(&self.0.view).sealed.iter().filter(|sealed| sealed.pinned().is_some()).cloned().collect();
        if !pinned.is_empty() {
            let log = self.clone();
            let work = async move {
                for sealed in pinned {
                    log.finish_seal(sealed, None).await;
                }
            };
            self.0.core.env.spawn("log-seal", work).detach();
        }
    }

    /// Writes the index file of a segment. Not synced: an index that does not check out is made anew.
    pub(crate) async fn store_index(&self, index: &Index) -> io::Result<()> {
        let path = self.0.dir.join(index_name(index.summary.base));
        let file = create(self.0.core.env.disk(), &path).await?;
        file.write_at(0, vec![index.encode()]).await
    }

    /// Encodes a producer snapshot as of the log's end. The caller holds the appender that `producers` is of.
    pub(crate) fn snapshot(&self, producers: &Producers, end: Offset) -> Snapshot {
        let generation = lock(&self.0.view).generation;
        Snapshot { offset: end, bytes: producers.encode(end), generation }
    }

    /// Makes a producer snapshot durable, and then removes those that are no longer needed.
    pub(crate) async fn store_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        // A truncation holds the turn, too: what it cuts can get no snapshot afterwards.
        let _turn = self.0.files_turn.lock().await;
        let Snapshot { offset, bytes, generation } = snapshot;
        let due = {
            let view = lock(&self.0.view);
            view.generation == generation && !view.snapshots.contains(&offset)
        };
        if self.is_deleted() || !due {
            return Ok(());
        }
        let disk = self.0.core.env.disk();
        let name = producers_name(offset);
        if mutant!("pid-snapshot-lossy") {
            let file = create(disk, &self.0.dir.join(&name)).await?;
            file.write_at(0, vec![bytes]).await?;
        } else {
            replace(disk, &self.0.dir, &name, bytes).await?;
        }
        let stale: Vec<Offset> = {
            let mut view = lock(&self.0.view);
            view.snapshots.push(offset);
            view.snapshots.sort_unstable();
            // Recovery takes the newest one that its mark covers.
            let floor = Offset(self.0.marked.load(Ordering::Acquire));
            let covered = view.snapshots.partition_point(|&offset| offset <= floor);
            view.snapshots.drain(..covered.saturating_sub(1)).collect()
        };
        for offset in stale {
            match disk.remove_file(&self.0.dir.join(producers_name(offset))).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
