//! How often the node asks for memory per request on the hot paths. Growth here is a cost that no other test shows.
//!
//! The clients of these tests run on the thread of the test, which is not counted; all other threads are the node's.

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

thread_local! {
    static UNCOUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that is going down has no flag any more, and does nothing that matters here.
    if !UNCOUNTED.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u32 = 200;
const MEASURED: u32 = 1_000;

/// One test, because what one counts would be counted by another as well.
#[test]
fn memory_is_asked_for_seldom() {
    UNCOUNTED.with(|uncounted| uncounted.set(true));
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let small =
            per_request(&env, &mut client, "produce, acks=1, 100 B", produce("t", 0, batch(&["x"]), 1)).await;
        let large = per_request(
            &env,
            &mut client,
            "produce, acks=1, 64 KiB",
            produce("t", 0, large_batch(64 << 10), 1),
        )
        .await;
        let synced =
            per_request(&env, &mut client, "produce, acks=all", produce("t", 0, batch(&["x"]), -1)).await;
        let end = client.produce("t", 0, large_batch(64 << 10)).await.base_offset.0;
        let hot = fetched(&mut client, &fetch("t", 0, end)).await;
        let empty = fetched(&mut client, &fetch("t", 0, end + 1)).await;
        eprintln!("fetch, hot: {hot}; fetch, nothing new: {empty}");
        assert!(small <= SMALL_PRODUCE, "{small}");
        assert!(large <= LARGE_PRODUCE, "{large}");
        assert!(synced <= SYNCED_PRODUCE, "{synced}");
        assert!(hot <= HOT_FETCH, "{hot}");
        assert!(empty <= EMPTY_FETCH, "{empty}");
        node.shutdown().await.unwrap();
    });
}

const SMALL_PRODUCE: f64 = 14.0;
const LARGE_PRODUCE: f64 = 15.0;
/// With the sync, which is a task of its own.
const SYNCED_PRODUCE: f64 = 19.0;
const HOT_FETCH: f64 = 11.0;
const EMPTY_FETCH: f64 = 11.0;

async fn per_request<E: Env>(_env: &E, client: &mut Client<E>, what: &str, request: ProduceRequest) -> f64 {
    let mut before = 0;
    for round in 0..WARM_UP + MEASURED {
        if round == WARM_UP {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let response = client.call(9, &request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }
    let each = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / f64::from(MEASURED);
    eprintln!("{what}: {each}");
    each
}

async fn fetched<E: Env>(client: &mut Client<E>, request: &FetchRequest) -> f64 {
    let mut before = 0;
    for round in 0..WARM_UP + MEASURED {
        if round == WARM_UP {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let response = client.call(11, request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NONE);
    }
    (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / f64::from(MEASURED)
}
