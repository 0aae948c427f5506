//! An open file of the simulated disk.

use super::content::{BadSector, PAGE_BYTES};
use super::faults::{Fault, Op};
use super::tree::Ino;
use super::{Inner, Passage, Shared, Stage, broken, full};
use bytes::{Bytes, BytesMut};
use highwater_env::File;
use rand::RngExt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An open file; closed when its last clone is dropped.
#[derive(Clone)]
pub struct SimFile(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    life: u64,
    ino: Ino,
    path: PathBuf,
    writable: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if inner.life == self.life
            && let Some(count) = inner.open.get_mut(&self.ino)
        {
            *count -= 1;
            if *count == 0 {
                inner.open.remove(&self.ino);
            }
        }
    }
}

impl SimFile {
    pub(super) fn new(shared: Arc<Shared>, life: u64, ino: Ino, path: &Path, writable: bool) -> Self {
        Self(Arc::new(Handle { shared, life, ino, path: path.to_owned(), writable }))
    }

    /// Reads at once, without a pause: what `sendfile` does between the page cache and a socket.
    pub fn read_now(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let handle = &self.0;
        let mut inner = handle.shared.lock();
        inner.check_life(handle.life)?;
        let (fault, _) = inner.draw(Op::Read, &handle.path);
        inner.fail(&Passage { fault }, Op::Read, &handle.path)?;
        inner.read(handle.ino, &handle.path, position, length)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.0.writable {
            return Ok(());
        }
        let text = format!("{} is open for reading alone", self.0.path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }

    async fn answer<T>(&self, op: Op, result: io::Result<T>) -> io::Result<T> {
        self.0.shared.pause(op, &self.0.path, Stage::After, Duration::ZERO).await;
        result
    }
}

impl File for SimFile {
    fn path(&self) -> &PathBuf {
        &self.0.path
    }

    async fn len(&self) -> io::Result<u64> {
        let handle = &self.0;
        let inner = handle.shared.lock();
        inner.check_life(handle.life)?;
        Ok(inner.state.file(handle.ino)?.len())
    }

    async fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let handle = &self.0;
        let passage = handle.shared.enter(handle.life, Op::Read, &handle.path).await?;
        let result = {
            let mut inner = handle.shared.lock();
            inner.fail(&passage, Op::Read, &handle.path)?;
            inner.read(handle.ino, &handle.path, position, length)
        };
        self.answer(Op::Read, result).await
    }

    async fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> io::Result<()> {
        self.check_writable()?;
        let handle = &self.0;
        let data = join(buffers);
        let passage = handle.shared.enter(handle.life, Op::Write, &handle.path).await?;
        // Readers may see a long write half done, and a crash may come in between.
        let split = if data.len() > PAGE_BYTES {
            handle.shared.lock().rng.random_range(0..data.len().div_ceil(PAGE_BYTES)) * PAGE_BYTES
        } else {
            0
        };
        if split > 0 && passage.fault.is_none() {
            handle.shared.lock().write(&passage, handle.ino, &handle.path, position, &data.slice(..split))?;
            handle.shared.pause(Op::Write, &handle.path, Stage::Before, Duration::ZERO).await;
            handle.shared.lock().check_life(handle.life)?;
            let rest = data.slice(split..);
            let position = position + split as u64;
            let result = handle.shared.lock().write(&passage, handle.ino, &handle.path, position, &rest);
            return self.answer(Op::Write, result).await;
        }
        let result = handle.shared.lock().write(&passage, handle.ino, &handle.path, position, &data);
        self.answer(Op::Write, result).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        let handle = &self.0;
        // Only what was written before the call is sure to be covered.
        let upto = handle.shared.lock().state.seq();
        let passage = handle.shared.enter(handle.life, Op::SyncData, &handle.path).await?;
        let result = handle.shared.lock().sync_data(&passage, handle.ino, &handle.path, upto);
        self.answer(Op::SyncData, result).await
    }

    async fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let handle = &self.0;
        let passage = handle.shared.enter(handle.life, Op::SetLen, &handle.path).await?;
        let result = handle.shared.lock().set_len(&passage, handle.ino, &handle.path, length);
        self.answer(Op::SetLen, result).await
    }

    async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let handle = &self.0;
        let passage = handle.shared.enter(handle.life, Op::Allocate, &handle.path).await?;
        let result = {
            let mut inner = handle.shared.lock();
            inner.fail(&passage, Op::Allocate, &handle.path)?;
            inner.allocate(handle.ino, &handle.path, position, length)
        };
        self.answer(Op::Allocate, result).await
    }
}

fn join(buffers: Vec<Bytes>) -> Bytes {
    let mut buffers = buffers;
    if buffers.len() == 1 {
        return buffers.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(buffers.iter().map(Bytes::len).sum());
    buffers.iter().for_each(|buffer| joined.extend_from_slice(buffer));
    joined.freeze()
}

fn unreadable(path: &Path, sector: BadSector) -> io::Error {
    io::Error::other(format!("simulated bad sector {} of {}", sector.0, path.display()))
}

impl Inner {
    fn read(&mut self, ino: Ino, path: &Path, position: u64, length: usize) -> io::Result<Bytes> {
        let result = self.state.file_mut(ino)?.read(position, length);
        result.map_err(|sector| {
            self.count("bad sector read");
            unreadable(path, sector)
        })
    }

    fn write(
        &mut self,
        passage: &Passage,
        ino: Ino,
        path: &Path,
        position: u64,
        data: &Bytes,
    ) -> io::Result<()> {
        let room = self.room_for(ino, position, data.len())?;
        let (taken, outcome) = match passage.fault {
            Some(Fault::Error) => (0, Err(broken(Op::Write, path))),
            Some(Fault::Full) => (self.rng.random_range(0..=data.len()), Err(full(path))),
            Some(_) => (self.rng.random_range(0..=data.len()), Err(broken(Op::Write, path))),
            None if room < data.len() => (room, Err(full(path))),
            None => (data.len(), Ok(())),
        };
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.count("full disk"),
            Err(_) => self.count("write error"),
            Ok(()) => {}
        }
        let seq = self.state.next_seq();
        let written = self.state.file_mut(ino)?.write(seq, position, &data.slice(..taken.min(room)));
        written.map_err(|sector| unreadable(path, sector))?;
        if self.rates.late_error > 0.0 && self.rng.random_bool(self.rates.late_error.min(1.0)) {
            self.fail_writeback(ino)?;
        }
        outcome
    }

    /// How many of `length` bytes the disk has room for.
    fn room_for(&self, ino: Ino, position: u64, length: usize) -> io::Result<usize> {
        let Some(free) = self.free_bytes() else { return Ok(length) };
        let file = self.state.file(ino)?;
        if file.growth(position, length as u64) <= free {
            return Ok(length);
        }
        let end = (file.used_bytes() + free) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        Ok((end.saturating_sub(position) as usize).min(length))
    }

    fn set_len(&mut self, passage: &Passage, ino: Ino, path: &Path, length: u64) -> io::Result<()> {
        let happens = match passage.fault {
            None => true,
            Some(Fault::Error | Fault::Full) => false,
            Some(_) => self.rng.random_bool(0.5),
        };
        if happens {
            let seq = self.state.next_seq();
            let done = self.state.file_mut(ino)?.set_len(seq, length);
            done.map_err(|sector| unreadable(path, sector))?;
        }
        self.fail(passage, Op::SetLen, path)
    }

    fn allocate(&mut self, ino: Ino, path: &Path, position: u64, length: u64) -> io::Result<()> {
        let growth = self.state.file(ino)?.growth(position, length);
        if self.free_bytes().is_some_and(|free| growth > free) {
            self.count("full disk");
            return Err(full(path));
        }
        self.state.file_mut(ino)?.reserve(position.saturating_add(length));
        Ok(())
    }
}
