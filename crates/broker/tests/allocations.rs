//! How often the node asks for memory per request on the hot paths. Growth here is a cost that no other test shows.
//!
//! The clients of these tests run on the thread of the test, which is not counted; all other threads are the node's.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]
// A global allocator cannot be written without.
#![allow(unsafe_code, clippy::print_stderr)]

#[path = "support/mod.rs"]
mod support;

use highwater_env::Env;
use highwater_wire::ErrorCode;
use highwater_wire::messages::{FetchRequest, ProduceRequest};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use support::*;

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Those above [`AT_HAND_BYTES`].
static LARGE: AtomicU64 = AtomicU64::new(0);
/// The largest size that the C library's allocator has ready per thread; larger ones cost several times as much.
const AT_HAND_BYTES: usize = 1032;

thread_local! {
    static UNCOUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count(size: usize) {
    // A thread that is going down has no flag any more, and does nothing that matters here.
    if !UNCOUNTED.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if size > AT_HAND_BYTES {
            LARGE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u32 = 200;
const MEASURED: u32 = 1_000;

/// Allocations per request: all, and the large ones.
#[derive(Debug)]
struct Cost {
    all: f64,
    large: f64,
}

impl Cost {
    fn check(&self, what: &str, all: f64, large: f64) {
        eprintln!("{what}: {self:?}");
        assert!(self.all <= all && self.large <= large, "{what}: {self:?}, allowed are {all} and {large}");
    }
}

/// One test, because what one counts would be counted by another as well.
#[test]
fn memory_is_asked_for_seldom() {
    UNCOUNTED.with(|uncounted| uncounted.set(true));
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let small = produced(&mut client, produce("t", 0, batch(&["x"]), 1)).await;
        small.check("produce, acks=1, 100 B", 9.0, 0.1);
        let large = produced(&mut client, produce("t", 0, large_batch(64 << 10), 1)).await;
        large.check("produce, acks=1, 64 KiB", 10.0, 1.1);
        // With the sync, which is a task of its own.
        let synced = produced(&mut client, produce("t", 0, batch(&["x"]), -1)).await;
        synced.check("produce, acks=all", 12.0, 0.1);
        let end = client.produce("t", 0, large_batch(64 << 10)).await.base_offset.0;
        fetched(&mut client, &fetch("t", 0, end)).await.check("fetch, hot", 8.5, 0.1);
        fetched(&mut client, &fetch("t", 0, end + 1)).await.check("fetch, nothing new", 8.5, 0.1);
        node.shutdown().await.unwrap();
    });
}

async fn produced<E: Env>(client: &mut Client<E>, request: ProduceRequest) -> Cost {
    measured(async || {
        let response = client.call(9, &request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    })
    .await
}

async fn fetched<E: Env>(client: &mut Client<E>, request: &FetchRequest) -> Cost {
    measured(async || {
        let response = client.call(11, request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NONE);
    })
    .await
}

async fn measured(mut call: impl AsyncFnMut()) -> Cost {
    for _ in 0..WARM_UP {
        call().await;
    }
    let before = (ALLOCATIONS.load(Ordering::Relaxed), LARGE.load(Ordering::Relaxed));
    for _ in 0..MEASURED {
        call().await;
    }
    let each = |now: u64, before: u64| (now - before) as f64 / f64::from(MEASURED);
    Cost {
        all: each(ALLOCATIONS.load(Ordering::Relaxed), before.0),
        large: each(LARGE.load(Ordering::Relaxed), before.1),
    }
}
