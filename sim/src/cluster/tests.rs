use super::*;
use crate::executor::{EngineKind, Failure};
use highwater_client::{Client, ClientConfig};
use highwater_env::{Disk, Env, File, OpenMode, sleep};
use highwater_faults::FaultKind;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

const SECOND: Duration = Duration::from_secs(1);

async fn write(env: &SimEnv, name: &str) -> std::io::Result<()> {
    let file = env.disk().open(Path::new(name), OpenMode::CreateNew).await?;
    file.sync_data().await?;
    env.disk().sync_dir(Path::new("/")).await
}

#[test]
fn without_faults_everything_runs_once() {
    let mut test = Cluster::builder().topic("greetings", 3).build(1);
    let bootstrap = test.bootstrap();
    assert_eq!(bootstrap, ["broker-1:9092"]);
    test.application("writer", |env| async move { write(&env, "/here").await });
    test.check(|healed: Healed| async move {
        let client = Client::connect(healed.env(), ClientConfig::new(healed.bootstrap())).await.unwrap();
        assert_eq!(client.topic("greetings", false).await.unwrap().partitions.len(), 3);
        healed.disk("writer").open(Path::new("/here"), OpenMode::Read).await.unwrap();
        healed.stop("writer").await;
    });
    let report = test.run(SECOND).unwrap();
    assert_eq!(report.starts["writer"], 1);
    assert!(report.faults.is_empty() && report.events.is_empty(), "{report:?}");
}

#[test]
fn a_program_that_ends_with_an_error_is_started_again_and_one_that_is_done_is_not() {
    let mut test = Cluster::builder().build(1);
    test.application("fickle", |env: SimEnv| async move {
        let first = write(&env, "/first").await.is_ok();
        if first { Err("not yet") } else { Ok(()) }
    });
    let report = test.run(SECOND * 10).unwrap();
    assert_eq!(report.starts["fickle"], 2);
}

#[test]
fn a_process_that_dies_takes_its_tasks_along_and_leaves_its_disk() {
    let faults = Faults::none().with_application(FaultKind::Crash, SECOND * 3);
    let mut test = Cluster::builder().faults(faults).build(3);
    let living = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&living);
    test.application("parent", move |env: SimEnv| {
        let living = Arc::clone(&counted);
        async move {
            let count = Counted::new(&living);
            env.spawn("child", async move {
                let _count = count;
                std::future::pending::<()>().await;
            })
            .detach();
            // No sync: a crash of a process leaves what is in the page cache.
            env.disk().open(Path::new("/unsynced"), OpenMode::CreateOrTruncate).await.unwrap();
            std::future::pending::<()>().await;
        }
    });
    test.check(move |healed: Healed| async move {
        healed.disk("parent").open(Path::new("/unsynced"), OpenMode::Read).await.unwrap();
        // The last one may not have come up again yet.
        assert!(living.load(Ordering::Relaxed) <= 1, "children of processes that died live on");
    });
    let report = test.run(SECOND * 30).unwrap();
    assert!(report.starts["parent"] > 3, "{report}");
    assert_eq!(report.faults.get("process crash").copied(), Some(report.starts["parent"] - 1), "{report}");
}

/// Counts itself while it lives.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(living: &Arc<AtomicU32>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(living))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn what_goes_wrong_is_told() {
    let mut test = Cluster::builder().build(17);
    test.application("brittle", |_| async move { panic!("I cannot go on") });
    let failure = test.run(SECOND).unwrap_err();
    assert!(failure.expectation().contains("brittle panicked: I cannot go on"), "{failure}");
    assert!(failure.to_string().contains("start 1 of brittle"), "{failure}");
    assert!(failure.repeat().starts_with("HIGHWATER_SEED=17 cargo test cluster::"), "{failure}");

    let mut test = Cluster::builder().build(1);
    test.check(|_| async move { Err("two and two should be five") });
    let failure = test.run(SECOND).unwrap_err();
    assert!(failure.to_string().starts_with("seed 1 fails: two and two should be five\n"), "{failure}");
    assert_eq!(failure.failure.property(), "check");

    let mut test = Cluster::builder().check_within(SECOND).build(1);
    test.check(|healed: Healed| async move { sleep(healed.env().clock(), SECOND * 9).await });
    let failure = test.run(SECOND).unwrap_err();
    assert!(matches!(failure.failure, Failure::Violation(_)), "{failure}");
    assert!(failure.expectation().contains("the check has not ended"), "{failure}");
}

#[test]
fn what_cannot_be_set_up_is_told() {
    let failure = Cluster::builder().setting("no.such.setting", "1").build(1).run(SECOND).unwrap_err();
    assert!(failure.expectation().contains("no.such.setting"), "{failure}");

    let wrong = Cluster::builder().topic_with("greetings", 1, &[("no.such.config", "1")]).build(1);
    let failure = wrong.run(SECOND).unwrap_err();
    assert!(failure.expectation().starts_with("topic greetings is not made"), "{failure}");

    let mut twice = Cluster::builder().build(1);
    twice.application("one", |_| async move {});
    twice.application("one", |_| async move {});
    let failure = twice.run(SECOND).unwrap_err();
    assert!(failure.expectation().contains("two applications called one"), "{failure}");
}

#[test]
fn clocks_are_right_when_all_is_over_on_every_engine() {
    for &engine in &[EngineKind::Executor, EngineKind::Turmoil] {
        let mut test = Cluster::builder().faults(Faults::usual()).engine(engine).build(5);
        let wall = Arc::new(std::sync::Mutex::new(None));
        let seen = Arc::clone(&wall);
        test.application("watch", move |env: SimEnv| {
            *seen.lock().unwrap() = Some(env);
            std::future::pending::<()>()
        });
        test.check(move |healed: Healed| async move {
            let watch = wall.lock().unwrap().take().unwrap();
            let ahead = watch.clock().wall().0 - healed.env().clock().wall().0;
            assert!(ahead.abs() <= 1, "{ahead} ms ahead");
        });
        test.run(SECOND * 10).unwrap();
    }
}
