//! The file system.

use crate::TokioFile;
use crate::blocking::blocking;
use highwater_env::{DirEntry, Disk, OpenMode, Space};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use tokio::runtime::Handle;

/// The file system of this machine. Every call here may wait for a device and so runs on the blocking pool, to its
/// end even when its future is dropped.
pub struct TokioDisk {
    runtime: Handle,
}

/// A lock file that this process holds. The operating system releases it when it is dropped or the process ends,
/// however it ends.
pub struct TokioLock {
    _file: File,
}

impl TokioDisk {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime }
    }

    /// Runs `call` with `path` on the blocking pool.
    async fn with_path<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = path.to_owned();
        blocking(&self.runtime, move || call(&path)).await
    }
}

impl Disk for TokioDisk {
    type File = TokioFile;
    type Lock = TokioLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TokioFile> {
        let file = self.with_path(path, move |path| options(mode).open(path)).await?;
        Ok(TokioFile::new(self.runtime.clone(), path.to_owned(), file.into()))
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_owned();
        self.with_path(from, move |from| fs::rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with_path(path, |path| fs::remove_file(path)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.with_path(path, |path| fs::remove_dir(path)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.with_path(path, |path| fs::create_dir_all(path)).await
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.with_path(path, list).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with_path(path, |path| {
            let directory = File::open(path)?;
            Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&directory))?)
        })
        .await
    }

    async fn lock(&self, path: &Path) -> io::Result<TokioLock> {
        self.with_path(path, |path| {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
            Ok(TokioLock { _file: file })
        })
        .await
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        self.with_path(path, |path| {
            let stat = rustix::io::retry_on_intr(|| rustix::fs::statvfs(path))?;
            Ok(Space {
                total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
                free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            })
        })
        .await
    }
}

fn options(mode: OpenMode) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::Write => options.write(true),
        OpenMode::CreateNew => options.write(true).create_new(true),
        OpenMode::CreateOrTruncate => options.write(true).create(true).truncate(true),
    };
    options
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
        }
    }
    entries.sort_unstable();
    Ok(entries)
}
