//! A node's disk: files and directories, with the durability that POSIX gives and no more.

use bytes::Bytes;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

/// How a file is opened. Files are always readable and writable by position; there is no append mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist. It is opened for reading alone, and writes fail.
    Read,
    /// The file must exist.
    Write,
    /// The file must not exist. Its directory entry is durable only after [`Disk::sync_dir`].
    CreateNew,
    /// The file is made if it does not exist, and emptied if it does.
    CreateOrTruncate,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name within the directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether the entry is a directory.
    pub is_dir: bool,
}

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The size of the file system.
    pub total_bytes: u64,
    /// What is free for this process.
    pub free_bytes: u64,
}

/// A node's disk. Paths are relative to nothing: the caller gives whole paths, which the simulator takes as names.
///
/// Errors are the operating system's; [`io::ErrorKind::StorageFull`] means that the disk is full. Any failed write
/// or sync leaves the affected bytes undefined.
pub trait Disk: Send + Sync + 'static {
    /// An open file: a cheap handle, closed when the last clone is dropped.
    type File: File;

    /// What a lock is held by; dropped to release it.
    type Lock: Send + Sync + 'static;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>> + Send;

    /// Renames a file or directory over whatever stands at `to`, atomically; durable only after [`Disk::sync_dir`]
    /// of the directory of `to` (and of `from`, where they differ).
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Removes a file; durable only after [`Disk::sync_dir`].
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Removes an empty directory; durable only after [`Disk::sync_dir`] of its parent.
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Makes a directory and whichever parents are missing; no error if it exists. Durable only after
    /// [`Disk::sync_dir`] of each parent that gained an entry.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// The entries of a directory, sorted by name.
    fn list(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send;

    /// Makes the directory's entries durable: files created, renamed and removed in it.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Takes the lock file at `path`, making it if needed; [`io::ErrorKind::WouldBlock`] if another process holds it.
    fn lock(&self, path: &Path) -> impl Future<Output = io::Result<Self::Lock>> + Send;

    /// How much room the file system of `path` has.
    fn space(&self, path: &Path) -> impl Future<Output = io::Result<Space>> + Send;
}

/// An open file. Takes and returns owned buffers, so that an implementation may hand them to a kernel ring or a
/// pool of threads without a copy.
///
/// A write or truncation whose future is dropped before it ends may have happened wholly, in part or not at all.
// Asking a file for its length may fail and takes a call; a second method for "none" would hide that.
#[allow(clippy::len_without_is_empty)]
pub trait File: Clone + Send + Sync + 'static {
    /// Where the file was opened; for messages.
    fn path(&self) -> &PathBuf;

    /// The length in bytes.
    fn len(&self) -> impl Future<Output = io::Result<u64>> + Send;

    /// Reads up to `length` bytes from `position`: fewer only where the file ends. The caller bounds `length`.
    fn read_at(&self, position: u64, length: usize) -> impl Future<Output = io::Result<Bytes>> + Send;

    /// Writes all of `buffers`, one after another, from `position` on, extending the file if needed. On an error any
    /// part of them may have been written.
    fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> impl Future<Output = io::Result<()>> + Send;

    /// Makes durable what was written before the call, and the length (fdatasync). After an error the state of
    /// everything written since the last success is unknown, and a later success proves nothing about it.
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Truncates the file, or extends it with zeroes.
    fn set_len(&self, length: u64) -> impl Future<Output = io::Result<()>> + Send;

    /// Reserves room on the disk for the range, without changing the length.
    fn allocate(&self, position: u64, length: u64) -> impl Future<Output = io::Result<()>> + Send;
}
