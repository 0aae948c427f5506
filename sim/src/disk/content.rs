//! One file's bytes: the page cache over the durable image, and what stands between the two.
//!
//! A write goes to the cache and is remembered as a *chunk* of its page until a sync settles it. A page is written
//! back whole, so the states that a page can have after a power loss are its versions: the durable one, then one more
//! for each pending chunk. The length is persisted apart from the data, as real file systems do it.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The unit of the page cache and of write-back, in bytes.
pub const PAGE_BYTES: usize = 4096;
/// The unit that a disk writes wholly or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

pub(super) type Page = Arc<[u8; PAGE_BYTES]>;

pub(super) fn page_of(position: u64) -> u64 {
    position / PAGE_BYTES as u64
}

fn within(position: u64) -> usize {
    (position % PAGE_BYTES as u64) as usize
}

fn zero_page() -> Page {
    Arc::new([0; PAGE_BYTES])
}

/// Bytes as they are on the platter. Invariant: everything at and beyond the length is zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pages: BTreeMap<u64, Page>,
    len: u64,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn page(&self, number: u64) -> Page {
        self.pages.get(&number).cloned().unwrap_or_else(zero_page)
    }

    pub(super) fn page_numbers(&self) -> impl Iterator<Item = u64> {
        self.pages.keys().copied()
    }

    pub(super) fn set_page(&mut self, number: u64, page: Page) {
        self.pages.insert(number, page);
    }

    pub(super) fn page_mut(&mut self, number: u64) -> &mut [u8; PAGE_BYTES] {
        Arc::make_mut(self.pages.entry(number).or_insert_with(zero_page))
    }

    /// Sets the length and restores the invariant.
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        let kept = len.div_ceil(PAGE_BYTES as u64);
        self.pages.split_off(&kept);
        let tail = within(len);
        if tail > 0
            && let Some(page) = self.pages.get_mut(&page_of(len))
            && page[tail..].iter().any(|&byte| byte != 0)
        {
            Arc::make_mut(page)[tail..].fill(0);
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.len as usize];
        for (&number, page) in &self.pages {
            let start = number as usize * PAGE_BYTES;
            let end = out.len().min(start + PAGE_BYTES);
            if start < end {
                out[start..end].copy_from_slice(&page[..end - start]);
            }
        }
        out
    }

    /// The bytes from a position on.
    pub(super) fn tail(&self, from: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.len.saturating_sub(from) as usize);
        let mut at = from;
        while at < self.len {
            let start = within(at);
            let take = (PAGE_BYTES - start).min((self.len - at) as usize);
            match self.pages.get(&page_of(at)) {
                Some(page) => out.extend_from_slice(&page[start..start + take]),
                None => out.resize(out.len() + take, 0),
            }
            at += take as u64;
        }
        Bytes::from(out)
    }
}

/// A pending write within one page.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) seq: u64,
    pub(super) at: usize,
    pub(super) data: Bytes,
}

impl Chunk {
    pub(super) fn apply(&self, page: &mut [u8; PAGE_BYTES]) {
        page[self.at..self.at + self.data.len()].copy_from_slice(&self.data);
    }
}

#[derive(Clone, Debug)]
struct CachedPage {
    data: Page,
    /// The page is clean and yet not what the disk holds: its write-back failed, was lost or went elsewhere.
    diverged: bool,
}

/// A sector that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadSector(pub(super) u64);

/// What one sync takes out of a file's pending state, to be settled page by page.
#[derive(Debug, Default)]
pub(super) struct Flush {
    pub(super) pages: Vec<(u64, Vec<Chunk>)>,
    pub(super) length: Option<u64>,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) durable: Image,
    cache: BTreeMap<u64, CachedPage>,
    len: u64,
    /// Chunks by page, oldest first.
    pub(super) pending: BTreeMap<u64, Vec<Chunk>>,
    /// Lengths that the file went through since its length was last made durable: (sequence, length).
    pub(super) lengths: Vec<(u64, u64)>,
    bad_sectors: BTreeSet<u64>,
    /// A write-back failed behind the application's back; the next sync says so.
    pub(super) late_error: bool,
    reserved_end: u64,
}

impl FileNode {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What the file takes of the disk's room.
    pub(super) fn used_bytes(&self) -> u64 {
        self.len.max(self.reserved_end).next_multiple_of(PAGE_BYTES as u64)
    }

    pub(super) fn reserve(&mut self, end: u64) {
        self.reserved_end = self.reserved_end.max(end);
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.lengths.is_empty()
    }

    fn load(&mut self, number: u64) -> Result<&mut CachedPage, BadSector> {
        if !self.cache.contains_key(&number) {
            let sectors = (PAGE_BYTES / SECTOR_BYTES) as u64;
            let first = number * sectors;
            if let Some(&bad) = self.bad_sectors.range(first..first + sectors).next() {
                return Err(BadSector(bad));
            }
        }
        let durable = &self.durable;
        let load = || CachedPage { data: durable.page(number), diverged: false };
        Ok(self.cache.entry(number).or_insert_with(load))
    }

    pub(super) fn read(&mut self, position: u64, length: usize) -> Result<Bytes, BadSector> {
        let end = self.len.min(position.saturating_add(length as u64));
        let mut out = Vec::with_capacity(end.saturating_sub(position) as usize);
        let mut at = position;
        while at < end {
            let start = within(at);
            let take = (PAGE_BYTES - start).min((end - at) as usize);
            let page = self.load(page_of(at))?;
            out.extend_from_slice(&page.data[start..start + take]);
            at += take as u64;
        }
        Ok(Bytes::from(out))
    }

    /// Puts a chunk into one page of the cache and remembers it as pending.
    fn put(&mut self, seq: u64, number: u64, at: usize, data: Bytes) -> Result<(), BadSector> {
        if at == 0 && data.len() == PAGE_BYTES {
            self.cache.entry(number).or_insert_with(|| CachedPage { data: zero_page(), diverged: false });
        }
        let page = self.load(number)?;
        // A page that the disk does not hold as it is in the cache becomes dirty as a whole, so its write-back
        // carries what an earlier one did not.
        let whole = page.diverged.then(|| Chunk { seq, at: 0, data: Bytes::copy_from_slice(&page.data[..]) });
        page.diverged = false;
        let chunk = Chunk { seq, at, data };
        chunk.apply(Arc::make_mut(&mut page.data));
        self.pending.entry(number).or_default().extend(whole.into_iter().chain([chunk]));
        Ok(())
    }

    pub(super) fn write(&mut self, seq: u64, position: u64, data: &Bytes) -> Result<(), BadSector> {
        let mut done = 0;
        while done < data.len() {
            let at = position + done as u64;
            let take = (PAGE_BYTES - within(at)).min(data.len() - done);
            self.put(seq, page_of(at), within(at), data.slice(done..done + take))?;
            done += take;
            let end = at + take as u64;
            if end > self.len {
                self.len = end;
                self.lengths.push((seq, end));
            }
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, seq: u64, len: u64) -> Result<(), BadSector> {
        if len < self.len {
            let first = page_of(len);
            let keep = within(len);
            let known: BTreeSet<u64> = self
                .durable
                .pages
                .range(first..)
                .map(|(&n, _)| n)
                .chain(self.cache.range(first..).map(|(&n, _)| n))
                .collect();
            for number in known {
                let at = if number == first { keep } else { 0 };
                self.put(seq, number, at, Bytes::from(vec![0; PAGE_BYTES - at]))?;
            }
            self.reserved_end = self.reserved_end.min(len);
        }
        if len != self.len {
            self.len = len;
            self.lengths.push((seq, len));
        }
        Ok(())
    }

    /// Takes what was written up to sequence `upto` out of the pending state. The caller settles each page.
    pub(super) fn take_flush(&mut self, upto: u64) -> Flush {
        let mut flush = Flush::default();
        self.pending.retain(|&number, chunks| {
            let taken = chunks.partition_point(|chunk| chunk.seq <= upto);
            if taken > 0 {
                let rest = chunks.split_off(taken);
                flush.pages.push((number, std::mem::replace(chunks, rest)));
            }
            !chunks.is_empty()
        });
        let taken = self.lengths.partition_point(|&(seq, _)| seq <= upto);
        flush.length = self.lengths.drain(..taken).next_back().map(|(_, length)| length);
        flush
    }

    /// A page's write-back reached the disk.
    pub(super) fn settle_page(&mut self, number: u64, chunks: &[Chunk]) {
        let page = self.durable.page_mut(number);
        for chunk in chunks {
            chunk.apply(page);
        }
        let sectors = (PAGE_BYTES / SECTOR_BYTES) as u64;
        self.bad_sectors.retain(|sector| sector / sectors != number);
    }

    /// The file's length reached the disk. Call it after the pages.
    pub(super) fn settle_length(&mut self, length: Option<u64>) {
        let length = length.unwrap_or(self.durable.len);
        self.durable.set_len(length);
    }

    /// A page's write-back did not reach the disk although the page counts as clean now.
    pub(super) fn diverge_page(&mut self, number: u64, chunks: &[Chunk]) {
        if let Some(rest) = self.pending.get_mut(&number) {
            let mut page = self.durable.page(number);
            chunks.iter().for_each(|chunk| chunk.apply(Arc::make_mut(&mut page)));
            let seq = rest.first().map_or(0, |chunk| chunk.seq);
            rest.insert(0, Chunk { seq, at: 0, data: Bytes::copy_from_slice(&page[..]) });
        } else if let Some(page) = self.cache.get_mut(&number) {
            page.diverged = true;
        }
    }

    /// Another page's content landed here: the durable bytes change under the cache.
    pub(super) fn overwrite_durable(&mut self, number: u64, content: Page) {
        let len = self.durable.len;
        self.durable.set_page(number, content);
        self.durable.set_len(len);
        if !self.pending.contains_key(&number)
            && let Some(page) = self.cache.get_mut(&number)
        {
            page.diverged = true;
        }
    }

    /// The content of a page as the application sees it.
    pub(super) fn cached_page(&self, number: u64) -> Page {
        self.cache.get(&number).map_or_else(|| self.durable.page(number), |page| page.data.clone())
    }

    /// Forgets everything that is not durable, in the cache too.
    pub(super) fn revert(&mut self) {
        self.cache.clear();
        self.pending.clear();
        self.lengths.clear();
        self.len = self.durable.len;
        self.reserved_end = 0;
    }

    /// Clean pages in the cache.
    pub(super) fn clean_pages(&self) -> Vec<u64> {
        self.cache.keys().copied().filter(|number| !self.pending.contains_key(number)).collect()
    }

    /// Drops a clean page from the cache: the next read asks the disk. Whether it was there and clean.
    pub(super) fn evict(&mut self, number: u64) -> bool {
        !self.pending.contains_key(&number) && self.cache.remove(&number).is_some()
    }

    /// Flips one bit of the durable image; false beyond its end.
    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) -> bool {
        if position >= self.durable.len {
            return false;
        }
        self.durable.page_mut(page_of(position))[within(position)] ^= 1 << (bit % 8);
        self.evict(page_of(position));
        true
    }

    /// Makes a sector unreadable until it is written again; false beyond the durable end.
    pub(super) fn break_sector(&mut self, position: u64) -> bool {
        if position >= self.durable.len {
            return false;
        }
        self.bad_sectors.insert(position / SECTOR_BYTES as u64);
        self.evict(page_of(position));
        true
    }
}
