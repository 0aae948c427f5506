//! Looking at files without opening the store.

use crate::common::*;
use highwater_env::Env;
use highwater_log::{Found, inspect_store};
use highwater_types::Offset;
use std::path::Path;

async fn report(bench: &Bench) -> Vec<String> {
    let mut lines = Vec::new();
    let visit = |found: Found| {
        lines.push(match found {
            Found::Log { id, .. } => format!("log {}", id.partition),
            Found::Segment { base, created, .. } => format!("segment {base} header {}", created.is_some()),
            Found::Batch { header, expected: None, .. } => format!("batch {}", header.base_offset),
            Found::Batch { header, expected: Some(expected), .. } => {
                format!("batch {} instead of {expected}", header.base_offset)
            }
            Found::Damage { .. } => "damage".to_owned(),
        });
        true
    };
    inspect_store(bench.env().disk(), Path::new(DIR), visit).await.expect("an inspection");
    lines
}

#[test]
fn segments_batches_and_damage_are_told() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        append_all(&log, &["a", "b", "c"]).await;
        let third = (log.size_bytes() - 64) / 3;
        store.close().await.expect("a clean close");
        assert_eq!(report(&bench).await, ["log 0", "segment 0 header true", "batch 0", "batch 1", "batch 2"]);
        bench.rot(&bench.path("00000000000000000000.log"), 64 + third + 30);
        bench.rot(&bench.path("00000000000000000000.log"), 12);
        assert_eq!(
            report(&bench).await,
            ["log 0", "segment 0 header false", "batch 0", "damage", "batch 2 instead of 1"]
        );
        assert_eq!(log.end_offset(), Offset(3));
    });
}
