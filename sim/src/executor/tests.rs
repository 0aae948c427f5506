//! The executor's promises: one seed one run, virtual time, crashes, failures, streams.

use super::*;
use crate::disk::{Op, SimFile};
use bytes::Bytes;
use highwater_env::{Disk, Env, File, Listener, Network, OpenMode, Purpose, Stream, TaskEnd, sleep};
use rand::RngExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn address(port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::from(([0, 0, 0, 0], port))
}

/// A run with tasks, timers, randomness, disk and network in it.
fn busy_run(seed: u64) -> (u64, Vec<u32>) {
    let simulation = Simulation::new(seed);
    let env = simulation.node("a");
    let other = simulation.node("b");
    let order = Arc::new(Mutex::new(Vec::new()));
    simulation.block_on(async {
        let listener = other.network().listen(address(9092)).await.unwrap();
        other
            .spawn("echo", async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 100];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                }
            })
            .detach();
        let mut tasks = Vec::new();
        for number in 0..10 {
            let (env, order) = (env.clone(), order.clone());
            let task_env = env.clone();
            tasks.push(env.spawn("worker", async move {
                let env = task_env;
                let path = format!("/{number}");
                let file = env.disk().open(Path::new(&path), OpenMode::CreateNew).await.unwrap();
                file.write_at(0, vec![Bytes::from(path)]).await.unwrap();
                let mut rng = env.entropy(Purpose::Jitter);
                sleep(env.clock(), Duration::from_millis(rng.random_range(0..5))).await;
                order.lock().unwrap().push(number);
                env.observe(&Event::Reached("worked"));
            }));
        }
        let target = env.network().resolve("b", 9092).await.unwrap();
        let mut stream = env.network().connect(target[0]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        for task in tasks {
            assert_eq!(task.await, TaskEnd::Done);
        }
    });
    let order = order.lock().unwrap().clone();
    (simulation.hash(), order)
}

#[test]
fn one_seed_is_one_run_and_seeds_differ() {
    let runs: Vec<_> = (0..20).map(busy_run).collect();
    assert_eq!(runs, (0..20).map(busy_run).collect::<Vec<_>>());
    let mut orders: Vec<_> = runs.into_iter().map(|(_, order)| order).collect();
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 10, "interleavings are explored");
}

#[test]
fn time_stands_still_until_all_wait_and_then_skips() {
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    simulation.block_on(async {
        sleep(env.clock(), Duration::from_secs(86_400)).await;
    });
    assert_eq!(simulation.now(), Duration::from_secs(86_400));
}

#[test]
fn clocks_drift_jump_and_freeze() {
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    let clock = env.clock();
    simulation.drift_clock(env.node(), 100_000);
    let (start, wall) = (clock.now(), clock.wall());
    simulation.block_on(sleep(clock, Duration::from_secs(11)));
    assert_eq!(clock.now().since(start), Duration::from_secs(11));
    assert_eq!(simulation.now(), Duration::from_secs(10));
    assert_eq!(clock.wall().0 - wall.0, 11_000);
    simulation.jump_clock(env.node(), -60_000);
    assert_eq!(clock.wall().0 - wall.0, 11_000 - 60_000);
    simulation.freeze_clock(env.node(), true);
    simulation.block_on(sleep(clock, Duration::from_secs(5)));
    assert_eq!(clock.wall().0 - wall.0, 11_000 - 60_000);
    simulation.freeze_clock(env.node(), false);
    assert_eq!(clock.wall().0 - wall.0, 16_000 - 60_000);
}

#[test]
fn a_crash_ends_tasks_and_keeps_the_page_cache_and_a_power_loss_does_not() {
    let simulation = Simulation::new(3);
    let env = simulation.node("a");
    let node = env.node();
    let polls = Arc::new(AtomicUsize::new(0));
    let path = Path::new("/file");
    let file: SimFile = simulation.block_on(async {
        let file = env.disk().open(path, OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"unsynced")]).await.unwrap();
        file
    });
    let (counter, clock) = (polls.clone(), env.clone());
    let ticker = env.spawn("ticker", async move {
        loop {
            sleep(clock.clock(), Duration::from_millis(1)).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    simulation.block_on(simulation.sleep(Duration::from_millis(10)));
    simulation.crash(node);
    let seen = polls.load(Ordering::Relaxed);
    assert!(seen >= 9);
    let late = env.spawn("late", async { panic!("a dead node runs nothing") });
    let next = simulation.restart(node);
    simulation.block_on(async {
        assert_eq!(ticker.await, TaskEnd::Aborted);
        assert_eq!(late.await, TaskEnd::Aborted);
        simulation.sleep(Duration::from_secs(1)).await;
        assert!(file.len().await.is_err());
        let file = next.disk().open(path, OpenMode::Read).await.unwrap();
        assert_eq!(&file.read_at(0, 100).await.unwrap()[..], b"unsynced");
    });
    assert_eq!(polls.load(Ordering::Relaxed), seen);
    simulation.power_loss(node, PowerRates::DROP_ALL);
    assert!(simulation.disk(node).live_files().is_empty());
}

#[test]
fn an_aborted_task_ends_and_its_watcher_hears_it() {
    let simulation = Simulation::new(3);
    let env = simulation.node("a");
    let task = env.spawn("waits", std::future::pending());
    let end = simulation.block_on(async {
        simulation.sleep(Duration::from_millis(1)).await;
        task.abort();
        task.await
    });
    assert_eq!(end, TaskEnd::Aborted);
}

#[test]
fn failures_say_who_and_why() {
    let run = |simulation: &Simulation| simulation.run(std::future::pending::<()>()).unwrap_err().to_string();
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    env.spawn("waits", std::future::pending()).detach();
    assert_eq!(run(&simulation), "nothing can go on; waiting: waits of a");

    let simulation = Simulation::new(1);
    simulation.node("a").spawn("bad", async { panic!("on purpose") }).detach();
    assert_eq!(run(&simulation), "task bad of a panicked: on purpose");

    let simulation = Simulation::new(1);
    simulation.set_max_steps(100);
    let env = simulation.node("a");
    let spinning = env.clone();
    env.spawn("spins", async move {
        loop {
            spinning.compute(|| ()).await;
        }
    })
    .detach();
    assert_eq!(run(&simulation), "not done after 101 steps");

    let simulation = Simulation::new(1);
    simulation.observe(Box::new(|_, _, event| match event {
        Event::Reached("bad place") => Err(Violation::new("S0", "a bad place was reached")),
        _ => Ok(()),
    }));
    let env = simulation.node("a");
    env.observe(&Event::Reached("a place"));
    env.observe(&Event::Reached("bad place"));
    assert_eq!(run(&simulation), "S0: a bad place was reached");
    assert_eq!(
        simulation.recent_events(),
        ["    0.000000s a: mark \"a place\"", "    0.000000s a: mark \"bad place\""]
    );
    assert_eq!(simulation.reached()["a place"], 1);
}

#[test]
fn a_stall_takes_virtual_time() {
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    env.disk().fail_next(Op::Open, "/a", crate::disk::Fault::Stall(Duration::from_secs(5)));
    simulation
        .block_on(async { env.disk().open(Path::new("/a"), OpenMode::CreateNew).await.map(drop) })
        .unwrap();
    assert!(simulation.now() >= Duration::from_secs(5));
}

/// Two connected streams.
async fn pair(a: &SimEnv, b: &SimEnv) -> (SimStream, SimStream) {
    let listener = b.network().listen(address(0)).await.unwrap();
    let target = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(a.network().connect(target), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[test]
fn streams_carry_bytes_in_order_and_push_back() {
    let simulation = Simulation::new(5);
    let (a, b) = (simulation.node("a"), simulation.node("b"));
    simulation.block_on(async {
        let (mut near, mut far) = pair(&a, &b).await;
        assert_eq!(near.peer_addr().unwrap().ip().to_string(), "10.0.0.2");
        let data: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
        let sent = data.clone();
        let writer = a.spawn("writer", async move {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"done");
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert!(received == data);
        far.write_all(b"done").await.unwrap();
        drop(far);
        assert_eq!(writer.await, TaskEnd::Done);
    });
}

#[test]
fn a_file_is_sent_in_portions() {
    let simulation = Simulation::new(5);
    let (a, b) = (simulation.node("a"), simulation.node("b"));
    simulation.block_on(async {
        let (mut near, mut far) = pair(&a, &b).await;
        let file = a.disk().open(Path::new("/f"), OpenMode::CreateNew).await.unwrap();
        let data: Vec<u8> = (0..100_000u32).map(|number| (number % 249) as u8).collect();
        file.write_at(0, vec![Bytes::from(data.clone())]).await.unwrap();
        let mut position = 0;
        loop {
            let sent =
                std::future::poll_fn(|cx| Pin::new(&mut near).poll_send_file(cx, &file, position, 1 << 20));
            match sent.await.unwrap() {
                0 => break,
                count => position += count as u64,
            }
        }
        near.shutdown().await.unwrap();
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert!(received == data);
    });
}

#[test]
fn connections_are_refused_reset_and_held() {
    let simulation = Simulation::new(5);
    let (a, b) = (simulation.node("a"), simulation.node("b"));
    simulation.block_on(async {
        let target = b.network().resolve("b", 1).await.unwrap()[0];
        let refused = a.network().connect(target).await.err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

        let (mut near, mut far) = pair(&a, &b).await;
        simulation.set_link(a.node(), b.node(), Link { blocked: true, ..Link::default() });
        near.write_all(b"x").await.unwrap();
        let held = highwater_env::timeout(b.clock(), Duration::from_secs(60), far.read_u8()).await;
        assert!(held.is_err());
        simulation.set_link(a.node(), b.node(), Link::default());
        assert_eq!(far.read_u8().await.unwrap(), b'x');

        simulation.reset_connections(a.node(), b.node());
        assert_eq!(far.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let (mut near, _far) = pair(&a, &b).await;
        simulation.crash(b.node());
        assert_eq!(near.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_fuse_stops_the_disk_before_an_exact_operation() {
    let simulation = Simulation::new(5);
    let env = simulation.node("a");
    let node = env.node();
    let blown = simulation.fuse(node, 2);
    let writer = env.clone();
    env.spawn("writer", async move {
        for number in 0..10 {
            let path = format!("/{number}");
            writer.disk().open(Path::new(&path), OpenMode::CreateNew).await.unwrap();
        }
    })
    .detach();
    simulation.block_on(blown);
    assert_eq!(simulation.disk(node).live_files().len(), 2);
    simulation.crash(node);
    let next = simulation.restart(node);
    simulation
        .block_on(async { next.disk().open(Path::new("/x"), OpenMode::CreateNew).await.map(drop) })
        .unwrap();
    assert_eq!(simulation.disk(node).live_files().len(), 3);
}
