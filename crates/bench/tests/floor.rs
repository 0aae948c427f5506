//! The floor under the load: a measurement means nothing if either drops something.

#![allow(clippy::unwrap_used)]

use highwater_bench::load::{ConsumeLoad, ProduceLoad, consume, produce, wait_until_ready};
use highwater_bench::process::Server;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

const PARTITIONS: usize = 5;

/// Produces to a floor with those options and reads everything back.
fn check(durability: &str, reading: &str, batch_bytes: usize) {
    let name = format!("floor-{}-{durability}-{reading}-{batch_bytes}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let server: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut floor = Server::start(
        Command::new(env!("CARGO_BIN_EXE_highwater-floor"))
            .args(["--listen", &server.to_string(), "--durability", durability, "--reading", reading])
            .args(["--partitions", &PARTITIONS.to_string(), "--dir"])
            .arg(&dir),
        dir.join("server.log"),
    )
    .unwrap();
    wait_until_ready(server, false, || floor.check_running()).unwrap();
    let (topic, pid) = ("bench".to_owned(), floor.pid());
    let produced = produce(&ProduceLoad {
        server,
        pid,
        topic: topic.clone(),
        partitions: PARTITIONS,
        connections: 3,
        depth: 7,
        record_bytes: 100,
        batch_bytes,
        requests: 300,
    })
    .unwrap();
    // Small fetches, so that many of them meet each other's ends.
    let consumed =
        consume(&ConsumeLoad { server, pid, topic, partitions: PARTITIONS, max_bytes: 20_000 }).unwrap();
    let on_disk: u64 =
        (0..PARTITIONS).map(|partition| dir.join(format!("{partition}.log")).metadata().unwrap().len()).sum();
    drop(floor);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(produced.bytes, on_disk, "{durability} {reading} {batch_bytes}");
    assert_eq!(
        (produced.records, produced.bytes),
        (consumed.records, consumed.bytes),
        "{durability} {reading}"
    );
    assert!(produced.records >= 300);
}

#[test]
fn everything_that_was_produced_is_read_back() {
    for (durability, reading) in [("replicated", "hot"), ("replicated", "cold"), ("sync", "hot")] {
        check(durability, reading, 0);
        check(durability, reading, 10_000);
        check(durability, reading, 300_000);
    }
}
