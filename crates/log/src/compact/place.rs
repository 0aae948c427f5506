//! Putting a compacted segment in the place of those that it was made from.
//!
//! The first segment's name is given to the new file, and then the files of the others are removed, in order, each
//! durably before the next. After a crash in between, the new file counts up to where the next segment that is still
//! there begins: no batch of it straddles that.

use super::rewrite::Written;
use crate::core::{FileOf, lock};
use crate::error::LogError;
use crate::files::{index_name, segment_name};
use crate::log::Log;
use crate::segment::Sealed;
use highwater_env::{Disk, Env};
use std::io;
use std::sync::Arc;

impl<E: Env> Log<E> {
    /// Puts a file in the place of segments. Returns the view's generation since; None, with nothing changed, if the
    /// log was truncated, deleted or damaged since `generation`.
    pub(super) async fn put_in_place(
        &self,
        group: &[Arc<Sealed>],
        written: Written<FileOf<E>>,
        generation: u64,
    ) -> Result<Option<u64>, LogError> {
        let disk = self.0.core.env.disk();
        let Written { temporary, file, index } = written;
        let _files = self.0.files_turn.lock().await;
        if self.ensure_open().is_err() || !self.still_has(group, generation) {
            drop(file);
            disk.remove_file(&temporary).await?;
            return Ok(None);
        }
        let (first, others) = group.split_first().expect("a group has a segment");
        let base = first.summary.base;
        // Of the old file, whose batches stand elsewhere.
        match disk.remove_file(&self.0.dir.join(index_name(base))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => disk.sync_dir(&self.0.dir).await?,
        }
        // Whoever opens a file of these names from here on must not take what it finds for damage.
        group.iter().for_each(|old| old.mark_removed());
        let placed = async {
            disk.rename(&temporary, &self.0.dir.join(segment_name(base))).await?;
            disk.sync_dir(&self.0.dir).await?;
            for old in others {
                disk.remove_file(&self.0.dir.join(segment_name(old.summary.base))).await?;
                match disk.remove_file(&self.0.dir.join(index_name(old.summary.base))).await {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => disk.sync_dir(&self.0.dir).await?,
                }
            }
            Ok(())
        };
        if let Err(error) = placed.await {
            self.poison("put a compacted segment in its place", &error);
            return Err(LogError::Poisoned);
        }
        let stored = self.store_index(&index).await;
        let summary = index.summary;
        let sealed = Sealed::new(self.0.core.next_key(), summary, stored.is_err().then_some(index));
        let next = {
            let mut view = lock(&self.0.view);
            let at = view.sealed.iter().position(|segment| segment.key == first.key);
            let at = at.expect("who removes segments holds the turn");
            view.sealed.splice(at..at + group.len(), [sealed]);
            // What was read across this proves nothing.
            view.generation += 1;
            view.generation
        };
        for old in group {
            lock(&self.0.core.files).remove(old.key);
            lock(&self.0.core.indexes).remove(old.key);
        }
        Ok(Some(next))
    }

    /// Whether the log has just these segments in a row, and nothing happened to it.
    fn still_has(&self, group: &[Arc<Sealed>], generation: u64) -> bool {
        let view = lock(&self.0.view);
        let Some(at) = view.sealed.iter().position(|segment| segment.key == group[0].key) else {
            return false;
        };
        let found = view.sealed[at..].iter().map(|segment| segment.key);
        let same = found.take(group.len()).eq(group.iter().map(|segment| segment.key));
        same && view.generation == generation && view.damaged.is_empty()
    }
}
