//! The memory that large requests are received into, used again.
//!
//! Memory that an allocator has given back to the machine costs a page fault for every page when it is next written
//! to, which takes longer than what is written to it. What is kept here is bounded, and the buffer given back last,
//! which is most likely still in the processor's caches, is given out first.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers are as large as a multiple of this, so that those of requests of about one size can stand for each other.
const STEP_BYTES: usize = 16 << 10;
/// Larger ones are not kept.
const LARGEST_BYTES: usize = 1 << 20;
/// How much is kept.
const KEPT_BYTES: usize = 4 << 20;

/// Memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By their capacity.
    buffers: BTreeMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
}

/// A buffer that goes back to where it is from.
struct Lent {
    buffer: Vec<u8>,
    of: Arc<Buffers>,
}

impl Buffers {
    /// An empty buffer for at least so many bytes, and at most about twice as many.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let least = bytes.div_ceil(STEP_BYTES) * STEP_BYTES;
        let mut kept = self.lock();
        let fitting = kept.buffers.range_mut(least..=2 * least).find_map(|(_, buffers)| buffers.pop());
        match fitting {
            Some(buffer) => {
                kept.bytes -= buffer.capacity();
                buffer
            }
            None => {
                drop(kept);
                Vec::with_capacity(least)
            }
        }
    }

    /// The bytes of a buffer, whose memory comes back here when nobody looks at them any more.
    pub(crate) fn lend(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, of: Arc::clone(self) })
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let mut kept = self.lock();
        if capacity <= LARGEST_BYTES && kept.bytes + capacity <= KEPT_BYTES {
            buffer.clear();
            kept.bytes += capacity;
            kept.buffers.entry(capacity).or_default().push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.of.keep(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_out_again_when_nobody_looks_at_it() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(70_000);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"request");
        let bytes = buffers.lend(buffer);
        let part = bytes.slice(2..);
        drop(bytes);
        let other = buffers.take(70_000);
        assert_ne!(other.as_ptr(), place, "it is looked at still");
        assert_eq!(part, b"quest"[..]);
        drop(part);
        let again = buffers.take(66_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 70_000);
    }

    #[test]
    fn a_small_request_gets_no_large_buffer() {
        let buffers = Arc::new(Buffers::default());
        drop(buffers.lend(buffers.take(1 << 20)));
        assert!(buffers.take(100_000).capacity() < 1 << 19);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<Bytes> = (0..100).map(|_| buffers.lend(buffers.take(100_000))).collect();
        drop((many, buffers.lend(Vec::with_capacity(2 << 20))));
        let kept = buffers.lock();
        let counted: usize = kept.buffers.iter().map(|(size, buffers)| size * buffers.len()).sum();
        assert_eq!(counted, kept.bytes);
        assert!((KEPT_BYTES / 2..=KEPT_BYTES).contains(&counted), "{counted}");
    }
}
