//! The simulator's side of a disk: crashes, faults, inspection, snapshots.

use super::choices::{Choices, PowerRates, RandomChoices};
use super::content::page_of;
use super::faults::{Fault, FaultCounts, FaultRates, Op, Rule, SyncFailure};
use super::tree::{DiskState, Ino};
use super::{Inner, Pacer, Shared, SimDisk};
use bytes::Bytes;
use highwater_env::Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

impl SimDisk {
    /// An empty, faultless disk without delays, whose faults are drawn from this seed.
    pub fn new(seed: u64) -> Self {
        Self::with_state(seed, DiskState::default())
    }

    /// A disk with this content. Handles of other disks know nothing of it.
    pub fn with_state(seed: u64, state: DiskState) -> Self {
        let inner = Inner {
            state,
            life: 0,
            rng: Rng::from_stream(seed, 0xd15c),
            rates: FaultRates::default(),
            rules: Vec::new(),
            counts: FaultCounts::new(),
            dishonest: false,
            capacity: None,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_lock: 0,
        };
        let shared = Shared { inner: Mutex::new(inner), pacer: Mutex::new(None) };
        Self { shared: Arc::new(shared), life: 0 }
    }

    /// Sets what operations wait for.
    pub fn set_pacer(&self, pacer: Arc<dyn Pacer>) {
        *self.shared.pacer.lock().expect("no code panics while it holds the pacer") = Some(pacer);
    }

    /// A handle for the node's present incarnation.
    pub fn handle(&self) -> Self {
        Self { shared: self.shared.clone(), life: self.shared.lock().life }
    }

    /// The process dies: the page cache and everything pending stay, open handles and locks die. Returns a handle
    /// for the next incarnation.
    pub fn crash(&self) -> Self {
        let mut inner = self.shared.lock();
        inner.life += 1;
        inner.open.clear();
        inner.locks.clear();
        drop(inner);
        self.handle()
    }

    /// The machine loses power, and each pending operation meets its fate by these rates.
    pub fn power_loss(&self, rates: PowerRates) -> Self {
        let mut inner = self.shared.lock();
        let Inner { state, rng, .. } = &mut *inner;
        state.power_loss(&mut RandomChoices::new(rng, rates));
        inner.count("power loss");
        drop(inner);
        self.crash()
    }

    /// The machine loses power, with these choices.
    pub fn power_loss_with(&self, choices: &mut dyn Choices) -> Self {
        self.shared.lock().state.power_loss(choices);
        self.crash()
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&self) -> Self {
        self.shared.lock().state = DiskState::default();
        self.crash()
    }

    /// Everything the disk holds, durable and pending.
    pub fn snapshot(&self) -> DiskState {
        self.shared.lock().state.clone()
    }

    /// Puts another content in place; open handles die.
    pub fn restore(&self, state: DiskState) -> Self {
        self.shared.lock().state = state;
        self.crash()
    }

    /// Sets how often faults happen by chance.
    pub fn set_rates(&self, rates: FaultRates) {
        self.shared.lock().rates = rates;
    }

    /// How often faults happen by chance.
    pub fn rates(&self) -> FaultRates {
        self.shared.lock().rates.clone()
    }

    /// Adds a fault for one operation to come.
    pub fn add_rule(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Whether a fault is to come that the next operations of this kind may meet.
    pub fn awaits(&self, op: Op) -> bool {
        self.shared.lock().rules.iter().any(|rule| rule.op == op)
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_rules(&self) {
        self.shared.lock().rules.clear();
    }

    /// The next operation of this kind on a path with this part meets the fault.
    pub fn fail_next(&self, op: Op, path: &str, fault: Fault) {
        self.add_rule(Rule { op, path: path.to_owned(), skip: 0, fault });
    }

    /// The next sync of a file whose path has this part fails in this way.
    pub fn fail_next_sync(&self, path: &str, failure: SyncFailure) {
        self.fail_next(Op::SyncData, path, Fault::Sync(failure));
    }

    /// The write-back of a file fails in the background: what is pending is lost, and its next sync says so.
    pub fn fail_writeback(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.shared.lock();
        let ino = inner.state.lookup(path)?;
        inner.fail_writeback(ino)
    }

    /// Bounds the disk's room, in bytes.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.shared.lock().capacity = capacity;
    }

    /// What the files take, in whole pages.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().state.used_bytes()
    }

    fn durable_ino(inner: &Inner, path: &Path) -> Option<Ino> {
        let text = path.to_string_lossy();
        let wanted = text.trim_start_matches('/');
        inner.state.paths(true).into_iter().find(|(name, _)| &name[1..] == wanted).map(|(_, ino)| ino)
    }

    /// Flips a bit of a file's durable bytes; false if it has no such byte.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> bool {
        let mut inner = self.shared.lock();
        let Some(ino) = Self::durable_ino(&inner, path) else { return false };
        let flipped = inner.state.file_mut(ino).is_ok_and(|file| file.flip_bit(position, bit));
        if flipped {
            inner.count("bit rot");
            inner.dishonest = true;
        }
        flipped
    }

    /// Makes the sector at a position unreadable until it is written again; false if the file has no such byte.
    pub fn break_sector(&self, path: &Path, position: u64) -> bool {
        let mut inner = self.shared.lock();
        let Some(ino) = Self::durable_ino(&inner, path) else { return false };
        let broken = inner.state.file_mut(ino).is_ok_and(|file| file.break_sector(position));
        if broken {
            inner.count("bad sector");
            inner.dishonest = true;
        }
        broken
    }

    /// Evicts a file's clean pages from the cache, or every file's.
    pub fn evict(&self, path: Option<&Path>) {
        let mut inner = self.shared.lock();
        let only = path.map(|path| inner.state.lookup(path));
        for (&ino, inode) in &mut inner.state.inodes {
            if let super::tree::Inode::File(file) = inode
                && only.as_ref().is_none_or(|only| only.as_ref().is_ok_and(|&wanted| wanted == ino))
            {
                for number in file.clean_pages() {
                    file.evict(number);
                }
            }
        }
    }

    /// Every file that would be there after a power loss that loses everything pending, with its bytes.
    pub fn durable_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.durable_files_with(&|_| true)
    }

    /// [`SimDisk::durable_files`], those alone whose path is wanted.
    pub fn durable_files_with(&self, wanted: &dyn Fn(&str) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.shared.lock();
        let bytes = |ino| inner.state.file(ino).map(|file| file.durable.to_vec()).unwrap_or_default();
        let paths = inner.state.paths(true).into_iter().filter(|(path, _)| wanted(path));
        paths.map(|(path, ino)| (path.into(), bytes(ino))).collect()
    }

    /// The durable directory of that name, wherever it stands.
    pub fn durable_dir(&self, name: &str) -> Option<PathBuf> {
        self.shared.lock().state.durable_dir(name).map(PathBuf::from)
    }

    /// The names in a directory that a power loss would leave.
    pub fn durable_names(&self, dir: &Path) -> Vec<String> {
        self.shared.lock().state.durable_names(dir)
    }

    /// The durable bytes of one file, from a position to its durable end; None if no such file is durable.
    pub fn durable_tail(&self, path: &Path, from: u64) -> Option<Bytes> {
        let inner = self.shared.lock();
        let ino = inner.state.lookup_durable(path)?;
        inner.state.file(ino).ok().map(|file| file.durable.tail(from))
    }

    /// Every file as the application sees it, with its bytes.
    pub fn live_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.shared.lock();
        let bytes = |ino| -> Vec<u8> {
            let Ok(file) = inner.state.file(ino) else { return Vec::new() };
            let pages = 0..file.len().div_ceil(super::PAGE_BYTES as u64);
            let mut out: Vec<u8> = pages.flat_map(|number| *file.cached_page(number)).collect();
            out.truncate(file.len() as usize);
            out
        };
        inner.state.paths(false).into_iter().map(|(path, ino)| (path.into(), bytes(ino))).collect()
    }

    /// Whether the application sees a file there. That it was removed may not be durable yet.
    pub fn is_live(&self, path: &Path) -> bool {
        let inner = self.shared.lock();
        inner.state.paths(false).into_iter().any(|(live, _)| Path::new(&live) == path)
    }

    /// Whether anything is pending: a file's bytes or length, or a directory's entries.
    pub fn has_pending(&self) -> bool {
        let inner = self.shared.lock();
        !inner.state.dir_ops.is_empty() || inner.state.files().any(|(_, file)| file.has_pending())
    }

    /// The pages of a file that are pending, by their position in the file.
    pub fn pending_pages(&self, path: &Path) -> Vec<u64> {
        let inner = self.shared.lock();
        let file = inner.state.lookup(path).and_then(|ino| inner.state.file(ino));
        file.map(|file| file.pending.keys().copied().collect()).unwrap_or_default()
    }

    /// The files that have something pending, by path.
    pub fn pending_files(&self) -> Vec<PathBuf> {
        let inner = self.shared.lock();
        let mut paths = inner.state.paths(false);
        paths.retain(|&(_, ino)| inner.state.file(ino).is_ok_and(|file| file.has_pending()));
        paths.sort();
        paths.into_iter().map(|(path, _)| path.into()).collect()
    }

    /// Whether the disk ever lost or changed what an honest one keeps: bit rot, dead sectors, lost and misdirected
    /// writes.
    pub fn was_dishonest(&self) -> bool {
        self.shared.lock().dishonest
    }

    /// Whether the disk ever reported writes as done that went elsewhere, or nowhere.
    pub fn misplaced_writes(&self) -> bool {
        let inner = self.shared.lock();
        ["lost write", "misdirected write", "sync success, data lost"]
            .iter()
            .any(|name| inner.counts.contains_key(name))
    }

    /// How often each fault was injected.
    pub fn counts(&self) -> FaultCounts {
        self.shared.lock().counts.clone()
    }

    /// The page that a byte of a file lies in.
    pub fn page_of(position: u64) -> u64 {
        page_of(position)
    }
}
