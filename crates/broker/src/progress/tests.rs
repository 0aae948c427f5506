//! Waiting for high watermarks, without a node.

use super::*;
use highwater_env_tokio::TokioEnv;
use highwater_types::{PartitionIndex, TopicId};
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn check(test: impl FnOnce(Arc<Progress<TokioEnv>>, Arc<Count>, Arc<Count>) + Send + 'static) {
    highwater_env_tokio::run(None, |env| async move {
        let log = LogId { topic: TopicId::default(), partition: PartitionIndex(0) };
        let progress = Progress::new(env, log, Offset(10), Offset(15));
        progress.begin_epoch(EPOCH);
        test(Arc::new(progress), Arc::default(), Arc::default());
    })
    .unwrap();
}

fn wait(progress: &Arc<Progress<TokioEnv>>, target: i64) -> Waiting<TokioEnv> {
    Waiting::new(Arc::clone(progress), Mark::HighWatermark, Offset(target), EPOCH)
}

fn poll(waiting: &mut Waiting<TokioEnv>, count: &Arc<Count>) -> Poll<Result<(), Stopped>> {
    waiting.poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
}

#[test]
fn those_are_woken_whose_target_is_reached() {
    check(|progress, near, far| {
        let mut first = wait(&progress, 11);
        let mut second = wait(&progress, 20);
        assert!(poll(&mut first, &near).is_pending());
        assert!(poll(&mut second, &far).is_pending());
        progress.advance(Offset(19));
        assert_eq!((near.get(), far.get()), (1, 0));
        assert_eq!(poll(&mut first, &near), Poll::Ready(Ok(())));
        assert!(poll(&mut second, &far).is_pending());
        progress.advance(Offset(20));
        assert_eq!((near.get(), far.get()), (1, 1));
        assert_eq!(poll(&mut second, &far), Poll::Ready(Ok(())));
    });
}

#[test]
fn the_requests_of_one_connection_are_woken_once() {
    check(|progress, count, other| {
        let mut waits: Vec<_> = (11..20).map(|end| wait(&progress, end)).collect();
        for waiting in &mut waits {
            // The same task, as the operations of one connection have it.
            assert!(poll(waiting, &count).is_pending());
        }
        progress.advance(Offset(30));
        assert_eq!(other.get(), 0);
        assert!(waits.iter_mut().all(|waiting| poll(waiting, &count).is_ready()));
        assert_eq!(progress.waiting(), 0);
    });
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    check(|progress, count, other| {
        let mut first = wait(&progress, 11);
        let mut second = wait(&progress, 11);
        assert!(poll(&mut first, &count).is_pending());
        assert!(poll(&mut second, &other).is_pending());
        assert!(poll(&mut second, &other).is_pending());
        assert_eq!(progress.waiting(), 2);
        drop(first);
        assert_eq!(progress.waiting(), 1);
        progress.advance(Offset(11));
        assert_eq!((count.get(), other.get()), (0, 1));
    });
}

#[test]
fn a_wait_follows_its_task() {
    check(|progress, before, after| {
        let mut waiting = wait(&progress, 11);
        assert!(poll(&mut waiting, &before).is_pending());
        assert!(poll(&mut waiting, &after).is_pending());
        assert_eq!(progress.waiting(), 1);
        progress.advance(Offset(11));
        assert_eq!((before.get(), after.get()), (0, 1));
    });
}

#[test]
fn the_end_of_a_partition_is_told() {
    check(|progress, count, _| {
        let mut waiting = wait(&progress, 11);
        assert!(poll(&mut waiting, &count).is_pending());
        progress.fail();
        assert_eq!(count.get(), 1);
        assert_eq!(poll(&mut waiting, &count), Poll::Ready(Err(Stopped::Failed)));
        progress.close();
        assert_eq!(poll(&mut waiting, &count), Poll::Ready(Err(Stopped::Closed)));
        // What was reached before stays reached.
        assert_eq!(poll(&mut wait(&progress, 10), &count), Poll::Ready(Ok(())));
    });
}

#[test]
fn the_high_watermark_never_falls() {
    check(|progress, _, _| {
        progress.advance(Offset(5));
        assert_eq!(progress.high_watermark(), Offset(10));
    });
}

#[test]
fn what_is_reached_in_another_epoch_was_not_waited_for() {
    check(|progress, count, other| {
        let mut first = wait(&progress, 12);
        let mut growth = Waiting::new(Arc::clone(&progress), Mark::LogEnd, Offset(16), EPOCH);
        assert!(poll(&mut first, &count).is_pending() && poll(&mut growth, &other).is_pending());
        progress.begin_epoch(LeaderEpoch(4));
        progress.advance(Offset(13));
        assert_eq!((count.get(), other.get()), (1, 1));
        assert_eq!(poll(&mut first, &count), Poll::Ready(Err(Stopped::Deposed)));
        assert_eq!(poll(&mut growth, &count), Poll::Ready(Err(Stopped::Deposed)));
    });
}

#[test]
fn those_are_woken_who_wait_for_the_log_to_grow() {
    check(|progress, near, far| {
        let growth = |target| Waiting::new(Arc::clone(&progress), Mark::LogEnd, Offset(target), EPOCH);
        let (mut first, mut second, mut third) = (growth(16), growth(20), growth(15));
        assert!(poll(&mut first, &near).is_pending() && poll(&mut second, &far).is_pending());
        assert_eq!(poll(&mut third, &far), Poll::Ready(Ok(())));
        progress.set_log_end(Offset(17));
        assert_eq!((near.get(), far.get()), (1, 0));
        assert_eq!(poll(&mut first, &near), Poll::Ready(Ok(())));
        progress.set_log_end(Offset(20));
        assert_eq!(poll(&mut second, &far), Poll::Ready(Ok(())));
    });
}

#[test]
fn who_may_ask_others_does_not_wait_while_this_node_is_cut_off() {
    check(|progress, asking, staying| {
        let commit = |end| Waiting::for_commit(Arc::clone(&progress), Offset(end), EPOCH);
        let (mut asks, mut stays) = (commit(11), wait(&progress, 11));
        assert!(poll(&mut asks, &asking).is_pending() && poll(&mut stays, &staying).is_pending());
        progress.cut_off();
        assert!(progress.is_cut_off());
        // What it ended stays ended, and nothing else does.
        progress.advance(Offset(10));
        assert_eq!((asking.get(), staying.get()), (1, 1));
        assert!(poll(&mut stays, &staying).is_pending());
        assert_eq!(poll(&mut asks, &asking), Poll::Ready(Err(Stopped::CutOff)));
        drop(asks);
        let mut later = commit(11);
        assert!(poll(&mut later, &asking).is_pending());
        progress.advance(Offset(11));
        assert!(!progress.is_cut_off());
        assert_eq!(poll(&mut later, &asking), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut stays, &staying), Poll::Ready(Ok(())));
        assert_eq!(progress.waiting(), 0);
    });
}
