//! A global allocator that counts, per thread.

// Every allocator is unsafe by its interface; this one hands everything on to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// No single allocation may be larger, or it fails.
const LARGEST_BYTES: usize = 1 << 30;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is under test when an allocation fails, which ends the process: the number of the case.
pub static CURRENT_CASE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Runs `work` and returns by how many bytes this thread's memory grew at most meanwhile.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = work();
    (result, usize::try_from(PEAK_BYTES.get() - before).unwrap_or(0))
}

struct Counting;

impl Counting {
    fn count(change: isize) {
        // Fails only while a thread ends, when nothing is measured any more.
        let _ = LIVE_BYTES.try_with(|live| {
            live.set(live.get() + change);
            let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
        });
    }

    fn allow(size: usize) -> bool {
        if size > LARGEST_BYTES {
            report(CURRENT_CASE.load(Ordering::Relaxed), size);
        }
        size <= LARGEST_BYTES
    }
}

// SAFETY: every method hands its arguments on to the system's allocator and its result back, or returns null, which
// the interface allows.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Self::allow(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::count(layout.size() as isize);
        // SAFETY: the caller's layout, under the same conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Self::allow(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::count(layout.size() as isize);
        // SAFETY: the caller's layout, under the same conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-(layout.size() as isize));
        // SAFETY: the pointer came from `alloc`, `alloc_zeroed` or `realloc` above, and so from the system.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !Self::allow(new_size) {
            return std::ptr::null_mut();
        }
        Self::count(new_size as isize - layout.size() as isize);
        // SAFETY: the pointer came from the system through this allocator; the sizes are the caller's.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Says which case wants too much, without allocating.
fn report(case: u64, size: usize) {
    let mut line = [0; 80];
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        for &byte in bytes.iter().take(line.len() - length) {
            line[length] = byte;
            length += 1;
        }
    };
    put(b"case ");
    put_number(&mut put, case);
    put(b" asks for ");
    put_number(&mut put, size as u64);
    put(b" bytes at once\n");
    // There is nowhere to report a failure to report to.
    let _ = std::io::stderr().write_all(&line[..length]);
}

fn put_number(put: &mut impl FnMut(&[u8]), number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    put(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_counted_and_not_the_end() {
        let ((), grown) = measured(|| drop(std::hint::black_box(vec![1u8; 1 << 20])));
        assert!((1 << 20..2 << 20).contains(&grown), "{grown}");
        let ((), grown) = measured(|| ());
        assert_eq!(grown, 0);
    }

    #[test]
    fn what_is_far_too_large_is_refused() {
        let mut bytes = Vec::<u8>::new();
        bytes.try_reserve_exact(LARGEST_BYTES + 1).unwrap_err();
    }

    #[test]
    fn numbers_are_printed_without_memory() {
        let mut out = Vec::new();
        put_number(&mut |bytes| out.extend_from_slice(bytes), 0);
        put_number(&mut |bytes| out.extend_from_slice(bytes), u64::MAX);
        assert_eq!(out, format!("0{}", u64::MAX).into_bytes());
    }
}
