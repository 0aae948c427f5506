//! Up to where a log is compacted: the file `cleaned`.
//!
//! Without it, or with one that is damaged, all of the log counts as not compacted. It must not say more than is true:
//! a tombstone is removed on the strength of it.

use crate::checkpoint::replace;
use crate::core::lock;
use crate::frame::{FrameKind, array};
use crate::log::Log;
use crate::recovery::read_small;
use highwater_env::{Disk, Env};
use highwater_types::{Offset, mutant};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

pub(crate) const CLEANED: &str = "cleaned";
const KIND: FrameKind = FrameKind { magic: b"HWCLEAND", version: 1, limit_bytes: 4096 };

/// What the file says; the first offset there is if it says nothing.
pub(crate) async fn load_cleaned<D: Disk>(disk: &D, dir: &Path) -> io::Result<Offset> {
    let bytes = read_small(disk, &dir.join(CLEANED), KIND.limit_bytes).await?;
    let payload = bytes.and_then(|bytes| KIND.decode(&bytes).ok()).map(|(_, payload)| payload);
    let payload = payload.filter(|payload| payload.len() == size_of::<i64>());
    Ok(payload.map_or(Offset::ZERO, |payload| Offset(i64::from_be_bytes(array(&payload)))))
}

impl<E: Env> Log<E> {
    /// Up to here the log is compacted.
    pub(super) fn cleaned(&self) -> Offset {
        Offset(self.0.cleaned.load(Ordering::Acquire))
    }

    /// Notes, durably, up to where the log is compacted; false if it was truncated since `generation`.
    pub(super) async fn note_cleaned(&self, up_to: Offset, generation: u64) -> io::Result<bool> {
        let _files = self.0.files_turn.lock().await;
        if lock(&self.0.view).generation != generation {
            return Ok(false);
        }
        self.store_cleaned(up_to).await?;
        Ok(true)
    }

    /// What is cut back to `to` is compacted no further than that. The caller holds the turn of the files.
    pub(crate) async fn lower_cleaned(&self, to: Offset) -> io::Result<()> {
        if self.cleaned() <= to || mutant!("cleaner-ckpt-stale") {
            return Ok(());
        }
        self.store_cleaned(to).await
    }

    async fn store_cleaned(&self, offset: Offset) -> io::Result<()> {
        let payload = offset.0.to_be_bytes();
        replace(self.0.core.env.disk(), &self.0.dir, CLEANED, KIND.encode(&payload)).await?;
        self.0.cleaned.store(offset.0, Ordering::Release);
        Ok(())
    }
}
