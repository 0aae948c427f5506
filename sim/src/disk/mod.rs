//! The simulated disk: in memory, of pages and sectors, with durable and pending state kept apart.
//!
//! It gives what POSIX gives and no more. Every write, truncation, creation, rename and removal is pending until the
//! file or directory is synced. A process crash keeps what is pending, a power loss decides its fate. Faults come by
//! rates ([`FaultRates`]) or one by one ([`Rule`]). It knows nothing of an engine: [`Pacer`] says how long things take.
//!
//! Architecture invariant: what an honest sync covered is changed only by faults that are there to change it: bit
//! rot, bad sectors, misdirected writes, a wiped disk.

mod choices;
mod content;
mod control;
mod crash;
mod faults;
mod file;
mod pace;
mod tree;

pub use choices::{Choices, Odometer, Outcome, PowerRates, RandomChoices};
pub use content::{PAGE_BYTES, SECTOR_BYTES};
pub use crash::CrashStates;
pub use faults::{Fault, FaultCounts, FaultRates, Op, Rule, SyncFailure};
pub use file::SimFile;
pub use pace::{Pacer, Pause, Stage};
pub use tree::DiskState;

use content::FileNode;
use highwater_env::{DirEntry, Disk, OpenMode, Rng, Space};
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tree::Ino;

/// A disk, as one incarnation of its node sees it. Cheap to clone.
///
/// The methods of [`Disk`] are the node's; they fail once the node has crashed. Those of `control.rs` are the
/// simulator's, and work through any handle.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
    life: u64,
}

struct Shared {
    inner: Mutex<Inner>,
    pacer: Mutex<Option<Arc<dyn Pacer>>>,
}

struct Inner {
    state: DiskState,
    /// Counts the incarnations of the node; handles of older ones are dead.
    life: u64,
    rng: Rng,
    rates: FaultRates,
    rules: Vec<Rule>,
    counts: FaultCounts,
    /// A sync reported success for what never reached the disk, or something durable was changed.
    dishonest: bool,
    capacity: Option<u64>,
    open: BTreeMap<Ino, usize>,
    locks: BTreeMap<Ino, u64>,
    next_lock: u64,
}

fn dead() -> io::Error {
    io::Error::other("the process that used this disk is gone")
}

fn broken(op: Op, path: &Path) -> io::Error {
    io::Error::other(format!("simulated I/O error: {op:?} of {}", path.display()))
}

fn full(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("simulated full disk: {}", path.display()))
}

/// What an operation met on its way in.
struct Passage {
    fault: Option<Fault>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the disk")
    }

    async fn pause(&self, op: Op, path: &Path, stage: Stage, stall: Duration) {
        let pacer = self.pacer.lock().expect("no code panics while it holds the pacer").clone();
        if let Some(pause) = pacer.and_then(|pacer| pacer.pause(op, path, stage, stall)) {
            pause.await;
        }
    }

    /// Waits until the operation's turn has come, and says which fault it meets.
    async fn enter(&self, life: u64, op: Op, path: &Path) -> io::Result<Passage> {
        let (fault, stall) = {
            let mut inner = self.lock();
            inner.check_life(life)?;
            inner.draw(op, path)
        };
        self.pause(op, path, Stage::Before, stall).await;
        self.lock().check_life(life)?;
        Ok(Passage { fault })
    }
}

impl Inner {
    fn check_life(&self, life: u64) -> io::Result<()> {
        if self.life == life { Ok(()) } else { Err(dead()) }
    }

    fn count(&mut self, fault: &'static str) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// Draws the fault of an operation, and how long it stalls.
    fn draw(&mut self, op: Op, path: &Path) -> (Option<Fault>, Duration) {
        let mut stall = Duration::ZERO;
        if self.rates.stall > 0.0 && self.rng.random_bool(self.rates.stall.min(1.0)) {
            let most = u64::try_from(self.rates.stall_max.as_nanos()).unwrap_or(u64::MAX).max(1);
            stall = Duration::from_nanos(self.rng.random_range(0..most));
            self.count("stall");
        }
        if self.rates.evict > 0.0 && self.rng.random_bool(self.rates.evict.min(1.0)) {
            self.evict_some();
        }
        let text = path.to_string_lossy();
        let mut fault = None;
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if rule.op == op && text.contains(&rule.path) {
                if rule.skip == 0 {
                    fault = Some(self.rules.remove(index).fault);
                    break;
                }
                rule.skip -= 1;
            }
        }
        if let Some(Fault::Stall(by)) = fault {
            self.count("stall");
            return (None, stall + by);
        }
        (fault.or_else(|| self.rates.draw(op, &mut self.rng)), stall)
    }

    /// Evicts some clean pages, each with even odds.
    fn evict_some(&mut self) {
        let Self { state, rng, .. } = self;
        let mut evicted = false;
        for inode in state.inodes.values_mut() {
            if let tree::Inode::File(file) = inode {
                for number in file.clean_pages() {
                    if rng.random_bool(0.5) {
                        evicted |= file.evict(number);
                    }
                }
            }
        }
        if evicted {
            self.count("eviction");
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.state.used_bytes()))
    }

    /// A plain error for operations that have no other way to fail.
    fn fail(&mut self, passage: &Passage, op: Op, path: &Path) -> io::Result<()> {
        match passage.fault {
            Some(Fault::Full) => {
                self.count("full disk");
                Err(full(path))
            }
            Some(_) => {
                self.count(match op {
                    Op::Read => "read error",
                    Op::Write | Op::SetLen | Op::Allocate => "write error",
                    _ => "directory error",
                });
                Err(broken(op, path))
            }
            None => Ok(()),
        }
    }

    fn sync_dir(&mut self, passage: &Passage, path: &Path, upto: u64) -> io::Result<()> {
        let (ino, _) = self.state.lookup_dir(path)?;
        if let Some(fault) = passage.fault {
            self.count("directory sync error");
            match fault {
                Fault::Sync(SyncFailure::Clean | SyncFailure::Reverted) => {
                    // The entries stay visible, count as clean and are never written.
                    let lost = self.state.take_dir_ops(ino, upto);
                    for op in lost {
                        if self.rng.random_bool(0.3) {
                            self.state.apply_durable(&op);
                        }
                    }
                }
                Fault::LostWrite | Fault::Misdirected | Fault::LateSync => {
                    self.state.take_dir_ops(ino, upto);
                    self.dishonest = true;
                    return Ok(());
                }
                _ => {}
            }
            return Err(broken(Op::SyncDir, path));
        }
        for op in self.state.take_dir_ops(ino, upto) {
            self.state.apply_durable(&op);
        }
        let Self { state, open, .. } = self;
        state.collect(|ino| open.contains_key(&ino));
        Ok(())
    }

    fn sync_data(&mut self, passage: &Passage, ino: Ino, path: &Path, upto: u64) -> io::Result<()> {
        let file = self.state.file_mut(ino)?;
        if std::mem::take(&mut file.late_error) {
            self.count("late sync error");
            return Err(broken(Op::SyncData, path));
        }
        match passage.fault {
            None => {
                let flush = file.take_flush(upto);
                flush.pages.iter().for_each(|(number, chunks)| file.settle_page(*number, chunks));
                file.settle_length(flush.length);
                Ok(())
            }
            Some(Fault::Sync(SyncFailure::Clean)) => {
                self.count("sync error: pages dropped, clean");
                self.lose_pages(ino, upto, false)?;
                Err(broken(Op::SyncData, path))
            }
            Some(Fault::Sync(SyncFailure::Reverted)) => {
                self.lose_pages(ino, upto, true)?;
                self.state.file_mut(ino)?.revert();
                self.count("sync error: pages reverted");
                Err(broken(Op::SyncData, path))
            }
            Some(Fault::LateSync) => {
                self.lose_pages(ino, upto, false)?;
                self.state.file_mut(ino)?.late_error = true;
                self.count("sync success, data lost");
                self.dishonest = true;
                Ok(())
            }
            Some(Fault::LostWrite) => {
                self.lose_pages(ino, upto, true)?;
                self.count("lost write");
                self.dishonest = true;
                Ok(())
            }
            Some(Fault::Misdirected) => self.misdirect(ino, upto),
            Some(_) => {
                self.count("sync error: pages kept dirty");
                Err(broken(Op::SyncData, path))
            }
        }
    }

    /// Takes the pending pages of a file for clean while some of them, at least one, never reach the disk.
    fn lose_pages(&mut self, ino: Ino, upto: u64, keep_length: bool) -> io::Result<()> {
        let Self { state, rng, .. } = self;
        let file = state.file_mut(ino)?;
        let flush = file.take_flush(upto);
        let certain = if flush.pages.is_empty() { 0 } else { rng.random_range(0..flush.pages.len()) };
        for (index, (number, chunks)) in flush.pages.iter().enumerate() {
            if index == certain || rng.random_bool(0.7) {
                file.diverge_page(*number, chunks);
            } else {
                file.settle_page(*number, chunks);
            }
        }
        let length = flush.length.filter(|_| keep_length || rng.random_bool(0.5));
        file.settle_length(length);
        Ok(())
    }

    /// Settles a file's pending state, but one page goes to another place of this or another file: to another position
    /// there, because batches of another log that have the very same offsets and the very same place pass every check
    /// that Kafka's format allows. What a batch's checksum covers does not say whose it is.
    fn misdirect(&mut self, ino: Ino, upto: u64) -> io::Result<()> {
        let places: Vec<(Ino, u64)> = self
            .state
            .files()
            .flat_map(|(other, file)| file.durable.page_numbers().map(move |number| (other, number)))
            .collect();
        let Self { state, rng, .. } = self;
        let file = state.file_mut(ino)?;
        let flush = file.take_flush(upto);
        let astray = if flush.pages.is_empty() { 0 } else { rng.random_range(0..flush.pages.len()) };
        let mut content = None;
        for (index, (number, chunks)) in flush.pages.iter().enumerate() {
            if index == astray {
                content = Some((*number, file.cached_page(*number)));
                file.diverge_page(*number, chunks);
            } else {
                file.settle_page(*number, chunks);
            }
        }
        file.settle_length(flush.length);
        let Some((number, content)) = content else { return Ok(()) };
        let others: Vec<&(Ino, u64)> = places.iter().filter(|(_, page)| *page != number).collect();
        if !others.is_empty() {
            let &(target, page) = others[rng.random_range(0..others.len())];
            state.file_mut(target)?.overwrite_durable(page, content);
        }
        self.count("misdirected write");
        self.dishonest = true;
        Ok(())
    }

    /// The background write-back of a file fails: its pages are lost, and its next sync says so.
    fn fail_writeback(&mut self, ino: Ino) -> io::Result<()> {
        if self.state.file(ino)?.has_pending() {
            let upto = self.state.seq();
            self.lose_pages(ino, upto, false)?;
            self.state.file_mut(ino)?.late_error = true;
            self.count("write-back error");
        }
        Ok(())
    }
}

/// Holds the node's lock file; dropped to release it.
pub struct SimLock {
    shared: Arc<Shared>,
    ino: Ino,
    number: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if inner.locks.get(&self.ino) == Some(&self.number) {
            inner.locks.remove(&self.ino);
        }
    }
}

impl SimDisk {
    /// Applies an operation that fails cleanly or happens.
    async fn plain<T>(
        &self,
        op: Op,
        path: &Path,
        act: impl FnOnce(&mut Inner) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let passage = self.shared.enter(self.life, op, path).await?;
        let result = {
            let mut inner = self.shared.lock();
            inner.fail(&passage, op, path)?;
            act(&mut inner)
        };
        self.shared.pause(op, path, Stage::After, Duration::ZERO).await;
        result
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let ino = self
            .plain(Op::Open, path, |inner| {
                let found = inner.state.lookup(path);
                let ino = match (found, mode) {
                    (Ok(ino), _) if inner.state.is_dir(ino) => {
                        let text = format!("{} is a directory", path.display());
                        return Err(io::Error::new(io::ErrorKind::IsADirectory, text));
                    }
                    (Ok(_), OpenMode::CreateNew) => {
                        let text = format!("{} exists", path.display());
                        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
                    }
                    (Ok(ino), OpenMode::CreateOrTruncate) => {
                        let seq = inner.state.next_seq();
                        let emptied = inner.state.file_mut(ino)?.set_len(seq, 0);
                        emptied.map_err(|_| broken(Op::Open, path))?;
                        ino
                    }
                    (Ok(ino), OpenMode::Read | OpenMode::Write) => ino,
                    (Err(error), OpenMode::Read | OpenMode::Write) => return Err(error),
                    (Err(_), OpenMode::CreateNew | OpenMode::CreateOrTruncate) => {
                        inner.state.create_file(path)?
                    }
                };
                *inner.open.entry(ino).or_default() += 1;
                Ok(ino)
            })
            .await?;
        Ok(SimFile::new(self.shared.clone(), self.life, ino, path, mode != OpenMode::Read))
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain(Op::Rename, from, |inner| inner.state.rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::Remove, path, |inner| inner.state.remove_file(path)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::Remove, path, |inner| inner.state.remove_dir(path)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.plain(Op::CreateDir, path, |inner| inner.state.create_dir_all(path)).await
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.plain(Op::List, path, |inner| {
            let (_, dir) = inner.state.lookup_dir(path)?;
            let entry = |(name, &ino): (&String, &Ino)| DirEntry {
                name: name.clone(),
                is_dir: inner.state.is_dir(ino),
            };
            Ok(dir.live.iter().map(entry).collect())
        })
        .await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let upto = self.shared.lock().state.seq();
        let passage = self.shared.enter(self.life, Op::SyncDir, path).await?;
        let result = self.shared.lock().sync_dir(&passage, path, upto);
        self.shared.pause(Op::SyncDir, path, Stage::After, Duration::ZERO).await;
        result
    }

    async fn lock(&self, path: &Path) -> io::Result<SimLock> {
        let (ino, number) = self
            .plain(Op::Lock, path, |inner| {
                let ino = match inner.state.lookup(path) {
                    Ok(ino) => ino,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => inner.state.create_file(path)?,
                    Err(error) => return Err(error),
                };
                if inner.locks.contains_key(&ino) {
                    let text = format!("{} is locked by another process", path.display());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
                inner.next_lock += 1;
                let number = inner.next_lock;
                inner.locks.insert(ino, number);
                Ok((ino, number))
            })
            .await?;
        Ok(SimLock { shared: self.shared.clone(), ino, number })
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        self.plain(Op::Read, path, |inner| {
            let total_bytes = inner.capacity.unwrap_or(1 << 40);
            let free_bytes = total_bytes.saturating_sub(inner.state.used_bytes());
            Ok(Space { total_bytes, free_bytes })
        })
        .await
    }
}

impl FileNode {
    /// How many bytes a write of `length` bytes at `position` adds to what the file takes.
    fn growth(&self, position: u64, length: u64) -> u64 {
        let end = position.saturating_add(length).next_multiple_of(PAGE_BYTES as u64);
        end.saturating_sub(self.used_bytes())
    }
}

#[cfg(test)]
mod tests;
