//! What a power loss leaves of a disk.
//!
//! Every pending operation ends in its own way, independently of the order in which it was made: directory operations
//! one by one, each file's length apart from its pages, and each page at any of its versions, torn between two of
//! them, or with zeroes or garbage where it was written. What a sync made durable is never touched.

use super::choices::{Choices, Deviation, Odometer, Outcome, PowerRates, RandomChoices};
use super::content::{Chunk, FileNode, PAGE_BYTES, Page, SECTOR_BYTES};
use super::tree::{DiskState, Ino, Inode};
use highwater_env::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SECTORS: usize = PAGE_BYTES / SECTOR_BYTES;

/// The states that a power loss can leave behind, as far as they were enumerated.
#[derive(Debug)]
pub struct CrashStates {
    /// The states, each another one.
    pub states: Vec<DiskState>,
    /// Whether these are all of them.
    pub complete: bool,
}

#[derive(Clone, Copy)]
enum PageFate {
    Version(usize),
    /// The first so many sectors are new, the others are old.
    NewUpTo(usize),
    /// The first so many sectors are old, the others are new.
    OldUpTo(usize),
    /// All but this sector are new.
    Hole(usize),
    Zeroed,
    Garbage,
}

impl DiskState {
    /// Decides what a power loss leaves of every pending operation; then nothing is pending any more.
    pub fn power_loss(&mut self, choices: &mut dyn Choices) {
        for op in std::mem::take(&mut self.dir_ops) {
            if choices.choose(&[Outcome::Dropped, Outcome::Kept]) == 1 {
                self.apply_durable(&op);
            }
        }
        let reachable: BTreeSet<Ino> = self.paths(true).into_iter().map(|(_, ino)| ino).collect();
        for (ino, inode) in &mut self.inodes {
            if let Inode::File(file) = inode
                && reachable.contains(ino)
            {
                lose_power(file, choices);
            }
        }
        self.restart_from_durable();
    }

    /// All states that a power loss can leave of this one, or the most telling `limit` of them if they are more:
    /// everything lost, everything kept, each operation alone going another way, and then random ones.
    pub fn crash_states(&self, limit: usize, rng: &mut Rng) -> CrashStates {
        let mut found = BTreeMap::new();
        let mut add = |choices: &mut dyn Choices| {
            let mut state = self.clone();
            state.power_loss(choices);
            found.entry(state.fingerprint()).or_insert(state);
            found.len()
        };
        let mut odometer = Odometer::default();
        add(&mut odometer);
        let complete = odometer.estimate() <= limit as u64 && {
            let mut runs = 1;
            loop {
                if !odometer.advance() {
                    break true;
                }
                if runs >= limit {
                    break false;
                }
                add(&mut odometer);
                runs += 1;
            }
        };
        if !complete {
            'seeking: for everywhere in [Outcome::Kept, Outcome::Dropped] {
                let mut probe = Deviation::new(everywhere, usize::MAX, 0);
                add(&mut probe);
                for (at, &ways) in probe.points.iter().enumerate() {
                    for way in 0..ways {
                        if add(&mut Deviation::new(everywhere, at, way)) >= limit {
                            break 'seeking;
                        }
                    }
                }
            }
            for _ in 0..limit {
                let rates = PowerRates::random(rng);
                if add(&mut RandomChoices::new(rng, rates)) >= limit {
                    break;
                }
            }
        }
        CrashStates { states: found.into_values().collect(), complete }
    }

    /// A hash of the durable content: paths, lengths and bytes.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = crate::hash::EventHash::default();
        for (path, ino) in self.paths(true) {
            hash.feed(path.as_bytes());
            if let Ok(file) = self.file(ino) {
                hash.feed(&file.durable.len().to_le_bytes());
                for number in file.durable.page_numbers() {
                    hash.feed(&number.to_le_bytes());
                    hash.feed(&file.durable.page(number)[..]);
                }
            }
        }
        hash.value()
    }
}

fn lose_power(file: &mut FileNode, choices: &mut dyn Choices) {
    let length = choose_length(file, choices);
    let first_lost = length.div_ceil(PAGE_BYTES as u64);
    for (number, chunks) in std::mem::take(&mut file.pending) {
        // What lies beyond the end is cut off, whatever it is.
        if number < first_lost {
            let page = choose_page(&file.durable.page(number), &chunks, choices);
            file.durable.set_page(number, page);
        }
    }
    file.durable.set_len(length);
}

fn choose_length(file: &mut FileNode, choices: &mut dyn Choices) -> u64 {
    let durable = file.durable.len();
    let mut lengths = vec![durable];
    let mut ways = vec![Outcome::Dropped];
    for (_, length) in std::mem::take(&mut file.lengths).into_iter().rev() {
        if !lengths.contains(&length) {
            ways.push(if lengths.len() == 1 { Outcome::Kept } else { Outcome::Older });
            lengths.push(length);
        }
    }
    if lengths.len() == 1 { durable } else { lengths[choices.choose(&ways)] }
}

fn version(durable: &Page, chunks: &[Chunk]) -> Page {
    let mut page = durable.clone();
    let bytes = Arc::make_mut(&mut page);
    chunks.iter().for_each(|chunk| chunk.apply(bytes));
    page
}

fn sector(number: usize) -> std::ops::Range<usize> {
    number * SECTOR_BYTES..(number + 1) * SECTOR_BYTES
}

fn choose_page(durable: &Page, chunks: &[Chunk], choices: &mut dyn Choices) -> Page {
    let newest = version(durable, chunks);
    let changed: Vec<usize> = (0..SECTORS).filter(|&n| durable[sector(n)] != newest[sector(n)]).collect();
    if changed.is_empty() {
        return newest;
    }
    let mut fates = vec![PageFate::Version(0), PageFate::Version(chunks.len())];
    let mut ways = vec![Outcome::Dropped, Outcome::Kept];
    for older in 1..chunks.len() {
        fates.push(PageFate::Version(older));
        ways.push(Outcome::Older);
    }
    for &boundary in changed.iter().skip(1) {
        fates.extend([PageFate::NewUpTo(boundary), PageFate::OldUpTo(boundary)]);
        ways.extend([Outcome::Torn; 2]);
    }
    if changed.len() > 2 {
        for &hole in &changed[1..changed.len() - 1] {
            fates.push(PageFate::Hole(hole));
            ways.push(Outcome::Torn);
        }
    }
    fates.extend([PageFate::Zeroed, PageFate::Garbage]);
    ways.extend([Outcome::Zeroed, Outcome::Garbage]);

    let mut page = newest.clone();
    let bytes = Arc::make_mut(&mut page);
    match fates[choices.choose(&ways)] {
        PageFate::Version(count) => return version(durable, &chunks[..count]),
        PageFate::NewUpTo(boundary) => {
            let at = boundary * SECTOR_BYTES;
            bytes[at..].copy_from_slice(&durable[at..]);
        }
        PageFate::OldUpTo(boundary) => {
            let at = boundary * SECTOR_BYTES;
            bytes[..at].copy_from_slice(&durable[..at]);
        }
        PageFate::Hole(hole) => bytes[sector(hole)].copy_from_slice(&durable[sector(hole)]),
        PageFate::Zeroed => spoil(durable, bytes, &[0; PAGE_BYTES]),
        PageFate::Garbage => {
            let mut noise = [0; PAGE_BYTES];
            choices.garbage(&mut noise);
            spoil(durable, bytes, &noise);
        }
    }
    page
}

/// Replaces what the pending writes changed; durable bytes of the same sectors stay.
fn spoil(durable: &Page, bytes: &mut [u8; PAGE_BYTES], with: &[u8; PAGE_BYTES]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        if *byte != durable[index] {
            *byte = with[index];
        }
    }
}
