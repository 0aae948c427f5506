//! Several batches appended at once: the same as one after another, in fewer writes.

use crate::common::*;
use highwater_log::{AppendError, Appended, Log, LogConfig};
use highwater_records::Batch;
use highwater_sim::SimEnv;
use highwater_sim::disk::{Fault, Op};
use highwater_types::{Offset, Timestamp};
use rand::RngExt;

const NOW: Timestamp = Timestamp(5_000);

/// What an answer says, in a form that can be compared.
fn told(answer: &Result<Appended, AppendError>) -> String {
    format!("{answer:?}")
}

/// Batches as producers send them that make mistakes: in order, repeated, out of order, too large, of no producer.
fn random_batches(rng: &mut highwater_env::Rng) -> Vec<Batch> {
    let mut next = [0i32; 3];
    (0..rng.random_range(1..60))
        .map(|number| {
            let producer = rng.random_range(0..3usize);
            let value = format!("{number}").repeat(rng.random_range(1..40));
            match rng.random_range(0..12) {
                0 => batch_of(&[(&"x".repeat(2_000), 1)]),
                1..=3 => batch_of(&[(&value, number), (&value, number)]),
                4 => sequenced(producer as i64, 0, next[producer] + 7, &value),
                5 => sequenced(producer as i64, 0, (next[producer] - 1).max(0), &value),
                _ => {
                    next[producer] += 1;
                    sequenced(producer as i64, 0, next[producer] - 1, &value)
                }
            }
        })
        .collect()
}

async fn one_by_one(log: &Log<SimEnv>, batches: &[Batch]) -> Vec<String> {
    let mut answers = Vec::new();
    for batch in batches {
        answers.push(told(&log.append(batch, EPOCH, NOW).await));
    }
    answers
}

#[test]
fn batches_appended_together_come_to_what_they_come_to_one_by_one() {
    for seed in 0..200 {
        let bench = Bench::new(seed);
        let mut rng = bench.sim.rng(9);
        let batches = random_batches(&mut rng);
        let apart = Bench::new(seed);
        let expected = apart.sim.block_on(async {
            let (_store, log) = apart.create(small()).await;
            (one_by_one(&log, &batches).await, values(&log).await, log.size_bytes(), log.segment_count())
        });
        let found = bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            let (mut answers, mut rest) = (Vec::new(), &batches[..]);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rng.random_range(1..=rest.len()));
                answers.extend(log.append_all(now, EPOCH, NOW).await.iter().map(told));
                rest = later;
            }
            (answers, values(&log).await, log.size_bytes(), log.segment_count())
        });
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn batches_appended_together_take_one_write() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        log.append(&batch_of(&[("first", 1)]), EPOCH, NOW).await.expect("an append");
        log.wait_synced(Offset(1)).await.expect("a sync");
        // The second write fails, so that there must not be one.
        let batches: Vec<_> = (0..20).map(|sequence| sequenced(7, 0, sequence, "x")).collect();
        let before = bench.sim.disk_operations();
        let answers = log.append_all(&batches, EPOCH, NOW).await;
        assert_eq!(bench.sim.disk_operations() - before, 1);
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(log.end_offset(), Offset(21));
    });
}

#[test]
fn a_write_that_fails_leaves_none_of_its_batches_and_forgets_their_producers() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        log.append(&sequenced(7, 0, 0, "a"), EPOCH, NOW).await.expect("an append");
        let batches: Vec<_> = (1..6).map(|sequence| sequenced(7, 0, sequence, "x")).collect();
        bench.sim.disk(bench.node).fail_next(Op::Write, ".log", Fault::Full);
        let answers = log.append_all(&batches, EPOCH, NOW).await;
        assert_eq!(answers.len(), 5);
        for answer in &answers {
            assert!(matches!(answer, Err(AppendError::StorageFull)), "{answer:?}");
        }
        assert_eq!(log.end_offset(), Offset(1));
        // There is room again, and the producer goes on where it was.
        let answers = log.append_all(&batches, EPOCH, NOW).await;
        let offsets: Vec<_> =
            answers.into_iter().map(|answer| answer.expect("an append").base_offset.0).collect();
        assert_eq!(offsets, [1, 2, 3, 4, 5]);
        assert_eq!(values(&log).await.len(), 6);
    });
}

#[test]
fn batches_are_given_up_together_when_their_write_is() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        let batches: Vec<_> = (0..6).map(|sequence| sequenced(7, 0, sequence, "x")).collect();
        {
            // Dropped in the middle of the write.
            let mut append = Box::pin(log.append_all(&batches, EPOCH, NOW));
            for _ in 0..3 {
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(append.as_mut().poll(cx).is_ready()));
                assert!(!polled.await);
            }
        }
        assert_eq!(log.end_offset(), Offset(0));
        let answers = log.append_all(&batches, EPOCH, NOW).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|appended| !appended.duplicate)));
        assert_eq!(values(&log).await.len(), 6);
    });
}
