//! What `TokioEnv` promises of tasks, heavy work, clocks and randomness.

use crate::common::on_env;
use highwater_env::{Env, Purpose, TaskEnd, sleep, timeout};
use highwater_types::Instant;
use rand::Rng as _;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn a_task_tells_how_it_ended() {
    on_env(|env| async move {
        assert_eq!(env.spawn("done", async {}).await, TaskEnd::Done);
        let endless = env.spawn("endless", std::future::pending());
        endless.abort();
        assert_eq!(endless.await, TaskEnd::Aborted);
    });
}

/// A log that the test reads.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_logged_with_the_name_of_its_task_and_reported() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    on_env(|env| async move {
        let panics = env.spawn("bilge-pump", async move {
            let _held = tx;
            let depth = 7;
            panic!("too deep: {depth}");
        });
        assert_eq!(panics.await, TaskEnd::Panicked);
    });
    // What the task held is gone.
    assert!(rx.recv().is_err());
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("ERROR") && log.contains("bilge-pump") && log.contains("too deep: 7"), "{log}");
}

#[test]
fn heavy_work_gives_its_value_runs_at_most_once_per_core_and_passes_panics_on() {
    on_env(|env| async move {
        let cores = std::thread::available_parallelism().unwrap().get();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for number in 0..4 * cores {
            let (env, running, most) = (env.clone(), running.clone(), most.clone());
            tasks.push(env.clone().spawn("compute", async move {
                let value = env
                    .compute(move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        running.fetch_sub(1, Ordering::SeqCst);
                        number
                    })
                    .await;
                assert_eq!(value, number);
            }));
        }
        for task in tasks {
            assert_eq!(task.await, TaskEnd::Done);
        }
        assert!((1..=cores).contains(&most.load(Ordering::SeqCst)), "{most:?} at once on {cores} cores");

        let inner = env.clone();
        let failing = env.spawn("failing", async move { inner.compute(|| panic!("as meant")).await });
        assert_eq!(failing.await, TaskEnd::Panicked);
        // A panic gives its place back.
        for _ in 0..2 * cores {
            env.compute(|| ()).await;
        }
    });
}

#[test]
fn clocks_go_forward_and_sleep_at_least_as_long_as_asked() {
    on_env(|env| async move {
        let clock = env.clock();
        let start = clock.now();
        sleep(clock, Duration::from_millis(20)).await;
        assert!(clock.now().since(start) >= Duration::from_millis(20));
        // Nothing that has passed is waited for.
        let mut passed = clock.sleep_until(start);
        let ended =
            std::future::poll_fn(|cx| std::task::Poll::Ready(passed.as_mut().poll(cx).is_ready())).await;
        assert!(ended);
        let never = clock.sleep_until(Instant(u64::MAX));
        assert!(timeout(clock, Duration::from_millis(5), never).await.is_err());
        // After 2025 and before 2200.
        assert!((1_735_689_600_000..7_258_118_400_000).contains(&clock.wall().0), "{}", clock.wall());
    });
}

#[test]
fn every_call_for_randomness_starts_another_stream() {
    on_env(|env| async move {
        let mut seen = std::collections::BTreeSet::new();
        for purpose in [Purpose::Ids, Purpose::Ids, Purpose::Jitter, Purpose::User(0), Purpose::User(1)] {
            let mut generator = env.entropy(purpose);
            for _ in 0..100 {
                assert!(seen.insert(generator.next_u64()));
            }
        }
    });
}
