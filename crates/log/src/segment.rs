//! Segments: the closed ones and the one that grows.

use crate::files::segment_name;
use crate::index::{Index, IndexBuilder, Summary};
use crate::window::Window;
use highwater_types::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A segment that does not grow any more.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Names the segment in the store's caches; never used twice.
    pub key: u64,
    pub summary: Summary,
    /// The index, until its file is written.
    pinned: Mutex<Option<Arc<Index>>>,
    /// The file has been renamed and will be removed, or another one took its place.
    removed: AtomicBool,
}

impl Sealed {
    pub(crate) fn new(key: u64, summary: Summary, index: Option<Index>) -> Arc<Self> {
        let pinned = Mutex::new(index.map(Arc::new));
        Arc::new(Self { key, summary, pinned, removed: AtomicBool::new(false) })
    }

    /// The index, as long as it has no file.
    pub(crate) fn pinned(&self) -> Option<Arc<Index>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the index, which has a file from now on.
    pub(crate) fn unpin(&self) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(segment_name(self.summary.base))
    }
}

/// The segment that grows.
#[derive(Clone, Debug)]
pub(crate) struct Active<F> {
    pub file: F,
    /// When the segment was begun.
    pub created: Timestamp,
    pub index: IndexBuilder,
    pub window: Window,
}
