use super::*;
use crate::producer::batch::NewRecord;
use crate::producer::record::Delivered;
use highwater_env::Rng;
use highwater_records::{BatchBuilder, Codec};
use highwater_types::{Offset, PartitionIndex, Timestamp};
use rand::RngExt;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

type Outcome = oneshot::Receiver<Result<Delivered, ClientError>>;

const IDENTITY: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(0) };
const LIMITS: Limits = Limits {
    idempotence: true,
    in_flight: 5,
    linger: Duration::from_millis(10),
    delivery_timeout: Duration::from_secs(100),
};
const BACKOFF: Duration = Duration::from_millis(100);

/// A queue, and a clock that moves when told.
struct Bench {
    queue: PartitionQueue,
    limits: Limits,
    now: Instant,
    next_number: u64,
    next_value: u64,
    memory: Arc<Semaphore>,
}

/// What a take gave: the batch's number, epoch and first sequence number, and its bytes.
#[derive(Debug)]
struct Taken {
    number: u64,
    stamp: Option<(i16, i32)>,
    batch: Batch,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let mut queue = PartitionQueue::default();
        if limits.idempotence {
            queue.identify(IDENTITY);
        }
        let memory = Arc::new(Semaphore::new(1_000_000));
        Self { queue, limits, now: Instant(1), next_number: 0, next_value: 0, memory }
    }

    /// A queue whose epoch has a written batch already, so that several may be on their way.
    fn established(limits: Limits) -> Self {
        let mut bench = Self::new(limits);
        let _outcome = bench.push(1);
        let taken = bench.take();
        bench.written(taken);
        bench
    }

    /// A batch with so many records, of which the last one's outcome is returned. Values count up.
    fn push(&mut self, records: usize) -> Outcome {
        let mut last = None;
        let mut batch: Option<QueuedBatch> = None;
        for _ in 0..records {
            let (reply, outcome) = oneshot::channel();
            let value = self.next_value.to_be_bytes();
            self.next_value += 1;
            let record = NewRecord { timestamp: Timestamp(5), key: None, value: Some(&value), headers: &[] };
            let memory = self.memory.clone().try_acquire_many_owned(8).expect("there is room");
            match &mut batch {
                Some(batch) => batch.try_push(&record, reply, memory).expect("it is open"),
                None => {
                    let builder = BatchBuilder::new(Codec::None, usize::MAX);
                    let partition = PartitionIndex(4);
                    batch = QueuedBatch::new(
                        self.next_number,
                        self.now,
                        partition,
                        builder,
                        &record,
                        reply,
                        memory,
                    );
                    self.next_number += 1;
                }
            }
            last = Some(outcome);
        }
        self.queue.push(batch.expect("there is a record"));
        self.queue.seal();
        last.expect("there is a record")
    }

    fn try_take(&mut self) -> Option<Taken> {
        self.queue.readiness(self.now, &self.limits).ok()?;
        let outgoing = self.queue.take(&self.limits)?;
        let batch = match outgoing.content {
            Content::Building(builder) => {
                Batch::check(builder.build()).expect("a builder makes whole batches")
            }
            Content::Built(batch) => batch,
            Content::Away => panic!("batch {} is away", outgoing.number),
        };
        let stamp = outgoing.stamp.map(|stamp| {
            assert_eq!(stamp.identity.id, IDENTITY.id);
            (stamp.identity.epoch.0, stamp.sequence)
        });
        Some(Taken { number: outgoing.number, stamp, batch })
    }

    fn take(&mut self) -> Taken {
        self.try_take().expect("a batch is ready")
    }

    fn settle(&mut self, taken: Taken, attempt: Attempt) {
        let limits = self.limits;
        self.queue.settle(taken.number, Some(taken.batch), attempt, self.now, &limits, |_| BACKOFF);
    }

    fn written(&mut self, taken: Taken) {
        self.written_at(taken, 1_000);
    }

    fn written_at(&mut self, taken: Taken, offset: i64) {
        let written = Written { base_offset: Some(Offset(offset)), log_append_time: None };
        self.settle(taken, Attempt::Written(written));
    }

    fn refused(&mut self, taken: Taken, code: ErrorCode) {
        self.settle(taken, Attempt::Refused { code, message: None });
    }

    fn lost(&mut self, taken: Taken) {
        let error = ClientError::Disconnected { peer: "b".into(), cause: "reset".into() };
        self.settle(taken, Attempt::Failed(error));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }
}

fn offset_of(mut outcome: Outcome) -> Option<i64> {
    match outcome.try_recv() {
        Ok(Ok(delivered)) => delivered.offset.map(|offset| offset.0),
        other => panic!("{other:?}"),
    }
}

fn code_of(mut outcome: Outcome) -> ErrorCode {
    match outcome.try_recv() {
        Ok(Err(error)) => error.code().unwrap_or_else(|| panic!("{error}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_follow_each_other_and_five_are_on_their_way() {
    let mut bench = Bench::established(LIMITS);
    let outcomes: Vec<_> = (0..7).map(|_| bench.push(2)).collect();
    let mut taken: Vec<_> = (0..5).map(|_| bench.take()).collect();
    let stamps: Vec<_> = taken.iter().map(|taken| taken.stamp).collect();
    assert_eq!(stamps, [1, 3, 5, 7, 9].map(|sequence| Some((0, sequence))));
    assert!(bench.try_take().is_none());
    bench.written_at(taken.remove(0), 50);
    assert_eq!(bench.take().stamp, Some((0, 11)));
    let first = outcomes.into_iter().next().expect("there are seven");
    assert_eq!(offset_of(first), Some(51));
}

#[test]
fn no_batch_is_sent_while_one_that_is_five_older_has_no_outcome() {
    let mut bench = Bench::established(LIMITS);
    let _outcomes: Vec<_> = (0..6).map(|_| bench.push(1)).collect();
    let oldest = bench.take();
    for _ in 0..4 {
        // Another broker answers these.
        let taken = bench.take();
        bench.written(taken);
    }
    assert!(bench.try_take().is_none(), "the broker would not know a repeat of the oldest any more");
    bench.written(oldest);
    assert_eq!(bench.take().stamp, Some((0, 6)));
}

#[test]
fn the_first_batch_of_an_epoch_goes_alone() {
    let mut bench = Bench::new(LIMITS);
    let _outcomes = [bench.push(1), bench.push(1)];
    let first = bench.take();
    assert!(bench.try_take().is_none());
    bench.written(first);
    assert_eq!(bench.take().stamp, Some((0, 1)));
}

#[test]
fn what_was_refused_goes_again_first_and_with_the_same_numbers() {
    let mut bench = Bench::established(LIMITS);
    let outcomes = [bench.push(1), bench.push(1), bench.push(1)];
    let [a, b, c] = [bench.take(), bench.take(), bench.take()];
    bench.refused(a, ErrorCode::NOT_ENOUGH_REPLICAS);
    bench.refused(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.refused(c, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert!(bench.try_take().is_none(), "it waits before it tries again");
    bench.pass(BACKOFF);
    for (offset, outcome) in (1..).zip(outcomes) {
        let again = bench.take();
        assert_eq!(again.stamp, Some((0, offset)));
        assert!(bench.try_take().is_none(), "they go one by one");
        bench.written_at(again, i64::from(offset) * 10);
        assert_eq!(offset_of(outcome), Some(i64::from(offset) * 10));
    }
}

#[test]
fn after_a_gap_the_next_epoch_begins_once_nothing_is_on_its_way() {
    let mut bench = Bench::established(LIMITS);
    let [failed, second, third] = [bench.push(3), bench.push(2), bench.push(1)];
    let [a, b, c] = [bench.take(), bench.take(), bench.take()];
    bench.refused(a, ErrorCode::INVALID_RECORD);
    assert_eq!(code_of(failed), ErrorCode::INVALID_RECORD);
    bench.refused(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.pass(BACKOFF);
    // When it was sent, the first was still on its way: it is sent again before anything is concluded.
    assert!(bench.try_take().is_none(), "the third is still on its way");
    bench.refused(c, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.pass(BACKOFF);
    let b = bench.take();
    assert_eq!(b.stamp, Some((0, 4)));
    bench.refused(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.pass(BACKOFF);
    let b = bench.take();
    assert_eq!(b.stamp, Some((1, 0)));
    bench.written(b);
    let c = bench.take();
    assert_eq!(c.stamp, Some((1, 2)));
    bench.written(c);
    assert_eq!((offset_of(second), offset_of(third)), (Some(1_001), Some(1_000)));
}

#[test]
fn a_batch_that_may_still_arrive_is_not_sent_under_another_epoch() {
    let mut bench = Bench::established(LIMITS);
    let [first, lost, sure] = [bench.push(1), bench.push(1), bench.push(1)];
    let [a, b] = [bench.take(), bench.take()];
    bench.lost(b);
    bench.refused(a, ErrorCode::INVALID_RECORD);
    bench.pass(BACKOFF);
    let b = bench.take();
    bench.refused(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(code_of(first), ErrorCode::INVALID_RECORD);
    assert_eq!(code_of(lost), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.pass(BACKOFF);
    let c = bench.take();
    assert_eq!(c.stamp, Some((1, 0)));
    bench.written(c);
    assert_eq!(offset_of(sure), Some(1_000));
}

#[test]
fn a_repeat_that_the_broker_has_is_a_success() {
    let mut bench = Bench::new(LIMITS);
    let outcome = bench.push(1);
    let a = bench.take();
    bench.lost(a);
    bench.pass(BACKOFF);
    let a = bench.take();
    bench.refused(a, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(offset_of(outcome), None);
}

#[test]
fn a_refusal_is_no_proof_that_an_attempt_before_it_was_refused() {
    let mut bench = Bench::established(LIMITS);
    let mut first = bench.push(1);
    let taken = bench.take();
    bench.refused(taken, ErrorCode::MESSAGE_TOO_LARGE);
    let refused = first.try_recv().unwrap().unwrap_err();
    assert!(matches!(refused, ClientError::Refused { .. }), "{refused}");

    let mut bench = Bench::established(LIMITS);
    let mut second = bench.push(1);
    let taken = bench.take();
    bench.lost(taken);
    bench.pass(BACKOFF);
    let taken = bench.take();
    bench.refused(taken, ErrorCode::MESSAGE_TOO_LARGE);
    let unsure = second.try_recv().unwrap().unwrap_err();
    assert!(matches!(unsure, ClientError::Unsure { .. }), "{unsure}");
    assert_eq!(unsure.code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
}

#[test]
fn without_idempotence_one_is_on_its_way_and_nothing_overtakes_a_retry() {
    let mut bench = Bench::new(Limits { idempotence: false, in_flight: 1, ..LIMITS });
    let _outcomes = [bench.push(1), bench.push(1)];
    let a = bench.take();
    assert_eq!((a.number, a.stamp), (0, None));
    assert!(bench.try_take().is_none());
    bench.lost(a);
    bench.pass(BACKOFF);
    let a = bench.take();
    assert_eq!(a.number, 0);
    bench.written(a);
    assert_eq!(bench.take().number, 1);
}

#[test]
fn what_takes_too_long_is_given_up() {
    let mut bench = Bench::established(LIMITS);
    let [mut away, mut waiting] = [bench.push(1), bench.push(1)];
    let a = bench.take();
    assert_eq!(bench.queue.expires(&LIMITS), Some(bench.now.after(LIMITS.delivery_timeout)));
    bench.pass(LIMITS.delivery_timeout - Duration::from_millis(1));
    assert!(!bench.queue.expire(bench.now, &LIMITS));
    bench.pass(Duration::from_millis(1));
    assert!(bench.queue.expire(bench.now, &LIMITS));
    for outcome in [&mut away, &mut waiting] {
        assert!(matches!(outcome.try_recv(), Ok(Err(ClientError::TimedOut { .. }))));
    }
    assert_eq!(bench.queue.oldest(), None);
    assert_eq!(bench.memory.available_permits(), 1_000_000 - 8, "what is on its way still takes its room");
    bench.lost(a);
    assert_eq!(bench.memory.available_permits(), 1_000_000);
    bench.pass(BACKOFF);
    assert!(bench.try_take().is_none(), "nobody waits for it any more");
}

#[test]
fn an_open_batch_waits_for_more_records() {
    let mut bench = Bench::established(LIMITS);
    let (reply, _outcome) = oneshot::channel();
    let record = NewRecord { timestamp: Timestamp(5), key: None, value: None, headers: &[] };
    let memory = bench.memory.clone().try_acquire_many_owned(8).expect("there is room");
    let builder = BatchBuilder::new(Codec::None, 100);
    let open = QueuedBatch::new(9, bench.now, PartitionIndex(4), builder, &record, reply, memory);
    bench.queue.push(open.expect("it fits"));
    let ripe = bench.now.after(LIMITS.linger);
    assert_eq!(bench.queue.readiness(bench.now, &LIMITS), Err(Wait::Until(ripe)));
    assert!(bench.queue.open_batch().is_some());
    assert_eq!(bench.queue.readiness(ripe, &LIMITS), Ok(()));
    bench.queue.seal();
    assert_eq!(bench.queue.readiness(bench.now, &LIMITS), Ok(()));
    assert!(bench.queue.open_batch().is_none());
}

#[test]
fn used_up_epochs_ask_for_another_producer() {
    let mut bench = Bench::new(LIMITS);
    bench.queue.identity = Some(Identity { epoch: ProducerEpoch(i16::MAX), ..IDENTITY });
    let _outcome = bench.push(1);
    let a = bench.take();
    bench.refused(a, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    bench.pass(BACKOFF);
    assert_eq!(bench.queue.readiness(bench.now, &LIMITS), Err(Wait::Identity));
    assert!(!bench.queue.can_use(IDENTITY));
    assert!(bench.queue.can_use(Identity { id: ProducerId(8), ..IDENTITY }));
}

#[test]
fn numbers_wrap_to_zero() {
    assert_eq!(plus(i32::MAX, 1), 0);
    assert_eq!(plus(i32::MAX - 1, 4), 2);
    assert_eq!(plus(5, 4), 9);
}

/// A partition of a broker that follows Kafka's rules for idempotent producers.
#[derive(Default)]
struct Model {
    epoch: Option<i16>,
    next_sequence: i32,
    /// First sequence number and offset of the last five batches of the epoch.
    recent: VecDeque<(i32, i64)>,
    log: Vec<u64>,
}

impl Model {
    fn apply(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        let header = batch.header();
        let (epoch, sequence) = (header.producer_epoch.0, header.base_sequence);
        match self.epoch {
            Some(known) if epoch < known => return Err(ErrorCode::INVALID_PRODUCER_EPOCH),
            Some(known) if epoch > known && sequence != 0 => {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            Some(known) if epoch == known => {
                if let Some((_, offset)) = self.recent.iter().find(|(first, _)| *first == sequence) {
                    return Ok(*offset);
                }
                if sequence != self.next_sequence {
                    return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
                }
            }
            Some(_) => self.recent.clear(),
            // A producer that is not known may start anywhere.
            None => {}
        }
        self.epoch = Some(epoch);
        self.next_sequence = plus(sequence, header.record_count);
        let offset = self.log.len() as i64;
        self.recent.push_back((sequence, offset));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        for record in batch.records().expect("it is not compressed") {
            let value = record.expect("it is whole").value.expect("it has a value");
            self.log.push(u64::from_be_bytes(value[..].try_into().expect("values have 8 bytes")));
        }
        Ok(offset)
    }
}

/// The broker, the connection to it, and what older connections still hold.
#[derive(Default)]
struct Wire {
    model: Model,
    requests: VecDeque<(u64, Batch, i32)>,
    answers: VecDeque<(u64, Batch, i32, Result<i64, ErrorCode>)>,
    ghosts: Vec<VecDeque<Batch>>,
}

impl Wire {
    /// The broker takes the oldest request of the connection.
    fn serve(&mut self, rng: &mut Rng) {
        let Some((number, batch, sequence)) = self.requests.pop_front() else { return };
        let result = match rng.random_range(0..10) {
            0 => Err(ErrorCode::NOT_ENOUGH_REPLICAS),
            1 => self.model.apply(&batch).and(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
            2 if rng.random_range(0..8) == 0 => Err(ErrorCode::INVALID_RECORD),
            _ => self.model.apply(&batch),
        };
        self.answers.push_back((number, batch, sequence, result));
    }

    /// The oldest request of a connection that is gone at the client reaches the broker after all.
    fn serve_ghost(&mut self, rng: &mut Rng) {
        if !self.ghosts.is_empty() {
            let which = rng.random_range(0..self.ghosts.len());
            if let Some(batch) = self.ghosts[which].pop_front() {
                let _ = self.model.apply(&batch);
            }
        }
    }
}

/// Runs a producer against the model under random trouble; at the end everything is settled.
fn run_against_model(seed: u64) {
    let mut rng = Rng::from_stream(seed, 1);
    let limits = Limits { delivery_timeout: Duration::from_secs(2), ..LIMITS };
    let mut bench = Bench::new(limits);
    let mut wire = Wire::default();
    let mut outcomes: Vec<(u64, Outcome)> = Vec::new();
    for step in 0..3_000 {
        let quiet = step > 2_000;
        match rng.random_range(0..100) {
            0..15 if !quiet && bench.memory.available_permits() > 999_000 => {
                let count = rng.random_range(1..4);
                let outcome = bench.push(count);
                outcomes.push((bench.next_value - 1, outcome));
            }
            15..45 => {
                if let Some(taken) = bench.try_take() {
                    let (epoch, sequence) = taken.stamp.expect("it is idempotent");
                    let sent = taken.batch.with_producer(IDENTITY.id, ProducerEpoch(epoch), sequence);
                    wire.requests.push_back((taken.number, sent, sequence));
                }
            }
            45..65 => wire.serve(&mut rng),
            65..85 => {
                // Answers of two brokers, before and after a change of leaders, keep no order.
                let count = wire.answers.len();
                let which = if rng.random_range(0..5) == 0 { rng.random_range(0..count.max(1)) } else { 0 };
                if let Some((number, batch, sequence, result)) = wire.answers.remove(which) {
                    let taken = Taken { number, batch, stamp: Some((0, sequence)) };
                    match result {
                        Ok(offset) => bench.written_at(taken, offset),
                        Err(code) => bench.refused(taken, code),
                    }
                }
            }
            85..87 if !quiet => {
                // The connection breaks: answers are lost, requests may still arrive.
                let answers = std::mem::take(&mut wire.answers);
                let requests = std::mem::take(&mut wire.requests);
                let lost = answers.into_iter().map(|(number, batch, sequence, _)| (number, batch, sequence));
                wire.ghosts.push(requests.iter().map(|(_, batch, _)| batch.clone()).collect());
                for (number, batch, sequence) in lost.chain(requests) {
                    bench.lost(Taken { number, batch, stamp: Some((0, sequence)) });
                }
            }
            87..89 => wire.serve_ghost(&mut rng),
            _ => {
                bench.pass(Duration::from_millis(rng.random_range(0..60)));
                bench.queue.expire(bench.now, &limits);
            }
        }
    }
    check_log(seed, &wire.model.log, outcomes);
}

fn check_log(seed: u64, log: &[u64], outcomes: Vec<(u64, Outcome)>) {
    assert!(log.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: twice or out of order: {log:?}");
    let mut written = 0;
    for (value, mut outcome) in outcomes {
        match outcome.try_recv() {
            Ok(Ok(delivered)) => {
                written += 1;
                if let Some(offset) = delivered.offset {
                    assert_eq!(log.get(offset.0 as usize), Some(&value), "seed {seed}");
                }
                assert!(log.contains(&value), "seed {seed}: {value} was acknowledged and is not there");
            }
            Ok(Err(_)) => {}
            Err(error) => panic!("seed {seed}: {value} has no outcome: {error}"),
        }
    }
    assert!(written > 5, "seed {seed}: only {written} batches were written");
}

#[test]
fn under_trouble_every_record_is_written_once_and_in_order() {
    for seed in 0..300 {
        run_against_model(seed);
    }
}
