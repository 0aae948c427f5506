//! Files: positioned reads and writes, and syncs.

use crate::blocking::blocking;
use bytes::{Buf, Bytes};
use highwater_env::File;
use rustix::io::Errno;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// Writes up to this many bytes are made by the calling worker. Larger ones hold a worker for longer than a change
/// of thread costs.
const INLINE_WRITE_BYTES: usize = 1 << 20;

/// How many buffers go into one system call; the kernel's limit (`IOV_MAX`) is 1024.
const BUFFERS_PER_CALL: usize = 64;

/// An open file. A cheap handle.
#[derive(Clone)]
pub struct TokioFile(Arc<Inner>);

struct Inner {
    runtime: Handle,
    path: PathBuf,
    fd: OwnedFd,
    /// Held while the bytes or the length change. A change on the blocking pool runs to its end even when its
    /// future is dropped, and keeps this until then, so that it cannot strike after a later change has been made.
    changes: Arc<Mutex<()>>,
    /// Whether the file system may still know how to read without waiting.
    nowait: AtomicBool,
}

impl TokioFile {
    pub(crate) fn new(runtime: Handle, path: PathBuf, fd: OwnedFd) -> Self {
        let changes = Arc::new(Mutex::new(()));
        Self(Arc::new(Inner {
            runtime,
            path,
            fd,
            changes,
            nowait: AtomicBool::new(cfg!(target_os = "linux")),
        }))
    }

    /// The descriptor, for `sendfile`.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0.fd
    }

    fn size(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.0.fd)?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    /// Runs a call that changes the file on the blocking pool, after every change that was begun before.
    async fn change(&self, call: impl FnOnce(&OwnedFd) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let guard = Arc::clone(&self.0.changes).lock_owned().await;
        let inner = Arc::clone(&self.0);
        blocking(&self.0.runtime, move || {
            let _guard = guard;
            call(&inner.fd)
        })
        .await
    }

    /// Waits until changes whose futures were dropped have ended.
    async fn settled(&self) {
        drop(self.0.changes.lock().await);
    }

    /// Reads what the page cache holds of the range, without waiting for the device.
    fn read_cached(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match nowait_read(&self.0.fd, buffer, position) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Ok(0),
            // EOPNOTSUPP of a file system, ENOSYS of an old kernel.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.0.nowait.store(false, Ordering::Relaxed);
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for TokioFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokioFile").field(&self.0.path).finish()
    }
}

impl File for TokioFile {
    fn path(&self) -> &PathBuf {
        &self.0.path
    }

    async fn len(&self) -> io::Result<u64> {
        self.settled().await;
        self.size()
    }

    async fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let available = self.size()?.saturating_sub(position);
        let length = length.min(usize::try_from(available).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = Vec::new();
        let mut filled = 0;
        if self.0.nowait.load(Ordering::Relaxed) {
            // Zeroed, because the call has no safe form for memory that is not.
            buffer.resize(length, 0);
            filled = self.read_cached(&mut buffer, position)?;
        }
        if filled < length {
            let file = self.clone();
            buffer.truncate(filled);
            buffer = blocking(&self.0.runtime, move || {
                read_rest(&file.0.fd, &mut buffer, position, length)?;
                Ok(buffer)
            })
            .await?;
        }
        Ok(Bytes::from(buffer))
    }

    async fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> io::Result<()> {
        let length: usize = buffers.iter().map(Bytes::len).sum();
        if length > INLINE_WRITE_BYTES {
            return self.change(move |fd| write_all(fd, position, buffers)).await;
        }
        let _guard = self.0.changes.lock().await;
        write_all(&self.0.fd, position, buffers)
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.settled().await;
        let file = self.clone();
        // Not interrupted by signals in practice, and never retried after any other error.
        blocking(&self.0.runtime, move || Ok(sync(&file.0.fd)?)).await
    }

    async fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(move |fd| Ok(rustix::io::retry_on_intr(|| rustix::fs::ftruncate(fd, length))?)).await
    }

    async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.change(move |fd| Ok(rustix::io::retry_on_intr(|| reserve(fd, position, length))?)).await
    }
}

#[cfg(target_os = "linux")]
fn nowait_read(fd: &OwnedFd, buffer: &mut [u8], position: u64) -> rustix::io::Result<usize> {
    let mut buffers = [io::IoSliceMut::new(buffer)];
    rustix::io::preadv2(fd, &mut buffers, position, rustix::io::ReadWriteFlags::NOWAIT)
}

#[cfg(not(target_os = "linux"))]
fn nowait_read(_fd: &OwnedFd, _buffer: &mut [u8], _position: u64) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Reads on until `buffer` holds `length` bytes of the file from `position`, or the file ends.
fn read_rest(fd: &OwnedFd, buffer: &mut Vec<u8>, position: u64, length: usize) -> io::Result<()> {
    // After a partial read the buffer has its room already; otherwise this is its one allocation.
    buffer.reserve_exact(length - buffer.len());
    while buffer.len() < length {
        let at = position + buffer.len() as u64;
        let filled = buffer.len();
        // The allocator may give more room than was asked for, and more would be read than the caller wants.
        let count =
            rustix::io::retry_on_intr(|| rustix::io::pread(fd, rustix::buffer::spare_capacity(buffer), at))?;
        debug_assert_eq!(buffer.len(), filled + count);
        if count == 0 {
            break;
        }
    }
    buffer.truncate(length);
    Ok(())
}

/// Writes all of `buffers` from `position` on, however little the kernel takes at a time.
fn write_all(fd: &OwnedFd, mut position: u64, buffers: Vec<Bytes>) -> io::Result<()> {
    let mut rest = buffers;
    rest.retain(|buffer| !buffer.is_empty());
    let mut first = 0;
    while first < rest.len() {
        let window = &rest[first..rest.len().min(first + BUFFERS_PER_CALL)];
        let mut slices = [IoSlice::new(&[]); BUFFERS_PER_CALL];
        for (slice, buffer) in slices.iter_mut().zip(window) {
            *slice = IoSlice::new(buffer);
        }
        let mut written =
            rustix::io::retry_on_intr(|| rustix::io::pwritev(fd, &slices[..window.len()], position))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        position += written as u64;
        while written > 0 {
            let taken = written.min(rest[first].len());
            rest[first].advance(taken);
            written -= taken;
            if rest[first].is_empty() {
                first += 1;
            }
        }
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn sync(fd: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fdatasync(fd)
}

/// On Apple's systems a plain fsync leaves the bytes in the drive's cache.
#[cfg(target_vendor = "apple")]
fn sync(fd: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fcntl_fullfsync(fd)
}

#[cfg(target_os = "linux")]
fn reserve(fd: &OwnedFd, position: u64, length: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(fd, rustix::fs::FallocateFlags::KEEP_SIZE, position, length)
}

#[cfg(not(target_os = "linux"))]
fn reserve(_fd: &OwnedFd, _position: u64, _length: u64) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests;
