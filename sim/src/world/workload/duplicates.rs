//! Requests that arrive twice: an idempotent producer's batches, sent again bit by bit on a new connection, after the
//! answer came or before, while the first one may still be on its way.

use super::any_partition;
use super::raw::{Raw, frame};
use super::sends::Spring;
use crate::executor::Violation;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use highwater_client::{Admin, EARLIEST};
use highwater_env::Rng;
use highwater_records::{BatchBuilder, Codec};
use highwater_types::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use highwater_wire::messages::{
    InitProducerIdRequest, PartitionProduceData, ProduceRequest, TopicProduceData,
};
use highwater_wire::{ErrorCode, Records, Str};
use rand::RngExt;
use std::io;
use std::time::Duration;

/// The version of Produce that is spoken; it names topics.
const PRODUCE: i16 = 9;
/// The version of InitProducerId that is spoken.
const INIT: i16 = 4;
/// The mean time between two batches.
const BETWEEN: Duration = Duration::from_millis(150);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch is sent again and again before it is given up.
const LIMIT: Duration = Duration::from_secs(15);
/// How many batches one producer id is used for, at most.
const MOST_BATCHES: u32 = 60;
const BATCH_BYTES: usize = 16 << 10;

/// What came of sending a batch once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It stands at this offset, -1 if nobody knows where, with this append time, -1 for none.
    Written(Offset, Timestamp),
    /// It may be sent again.
    Open,
    /// The producer cannot go on.
    Fatal(ErrorCode),
}

/// One batch with all that is written down of it.
struct Sent {
    bytes: Vec<u8>,
    ids: Vec<usize>,
    timestamps: Vec<Timestamp>,
}

/// A producer id and where it writes.
struct Session {
    machine: Machine,
    recorder: Recorder,
    topic: Str,
    partition: PartitionIndex,
    id: ProducerId,
    epoch: ProducerEpoch,
    sequence: i32,
    number: u64,
    /// Who leads it, by what a broker said: its host and port.
    leader: Option<String>,
    /// How often a broker was asked for that.
    asked: usize,
    /// Where the newest batch stands of which that is known.
    newest: Option<Offset>,
}

pub(super) async fn run(machine: Machine) {
    let mut rng = machine.rng();
    let mut spring = Spring::new(&machine);
    while !machine.is_over() {
        machine.pause(drawn_pause(&mut rng, BETWEEN)).await;
        let Some((topic, partition)) = any_partition(&machine, &mut rng) else { return };
        let Some((id, epoch)) = producer_id(&machine).await else { continue };
        let recorder = machine.recorder();
        let mut session = Session {
            machine: machine.clone(),
            recorder,
            topic,
            partition,
            id,
            epoch,
            sequence: 0,
            number: 0,
            leader: None,
            asked: rng.random_range(0..machine.bootstrap().len().max(1)),
            newest: None,
        };
        for _ in 0..rng.random_range(1..=MOST_BATCHES) {
            machine.pause(drawn_pause(&mut rng, BETWEEN)).await;
            if machine.is_over() || !session.batch(&mut rng, &mut spring).await {
                break;
            }
        }
    }
}

async fn producer_id(machine: &Machine) -> Option<(ProducerId, ProducerEpoch)> {
    let mut raw = Raw::connect(machine, 0, PATIENCE).await.ok()?;
    let answer = raw.call(INIT, &InitProducerIdRequest::default()).await.ok()?;
    (answer.error_code == ErrorCode::NONE).then_some((answer.producer_id, answer.producer_epoch))
}

impl Session {
    /// Sends one batch until its outcome is known; false if the producer id is used up with it.
    async fn batch(&mut self, rng: &mut Rng, spring: &mut Spring) -> bool {
        let Some(sent) = self.build(rng, spring) else { return false };
        let ends = self.machine.env.true_now().after(LIMIT);
        let mut written = None;
        // At least twice one time in two, and in any case until there is an answer.
        let mut wanted = rng.random_range(1..=2u32);
        loop {
            let waits = rng.random_bool(0.8);
            let answer = self.once(&sent.bytes, waits).await;
            wanted = wanted.saturating_sub(1);
            match (answer, written) {
                (Answer::Written(offset, at), None) => {
                    self.settle(&sent, |index| {
                        let offset = if offset.0 < 0 { offset } else { offset.plus(index) };
                        let own = sent.timestamps.get(usize::try_from(index).unwrap_or(0)).copied();
                        let timestamp = if at.0 < 0 { own.unwrap_or_default() } else { at };
                        Outcome::Ok((self.partition, offset, timestamp))
                    });
                    written = Some(offset);
                    self.newest = Some(offset).filter(|offset| offset.0 >= 0);
                }
                (Answer::Written(offset, _), Some(before)) if offset.0 >= 0 && before.0 >= 0 => {
                    if offset != before {
                        let message = format!(
                            "a batch of producer {} stands at {before} and, sent again, at {offset} of {}-{}",
                            self.id, self.topic, self.partition
                        );
                        self.machine.env.violate(Violation::new("H5", message));
                    }
                }
                (Answer::Written(..) | Answer::Open, _) => {}
                (Answer::Fatal(code), None) => {
                    self.judge(code).await;
                    self.settle(&sent, |_| Outcome::Unknown(format!("{code}")));
                    return false;
                }
                // The broker may have forgotten a producer whose records are gone; the next batch will tell.
                (Answer::Fatal(code), Some(_)) => {
                    self.judge(code).await;
                    return false;
                }
            }
            if wanted == 0 && written.is_some() {
                return true;
            }
            if self.machine.env.true_now() >= ends {
                if written.is_none() {
                    self.settle(&sent, |_| Outcome::Unknown("no answer in time".to_owned()));
                }
                return written.is_some();
            }
            self.machine.pause(drawn_pause(rng, BETWEEN)).await;
        }
    }

    /// Whether a batch may be refused as out of order. Batches are sent one after another, so each is the next one or a
    /// repeat of the newest; a broker forgets that only with the records.
    async fn judge(&self, code: ErrorCode) {
        let Some(newest) = self.newest.filter(|_| code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) else {
            return;
        };
        let Ok(client) = self.machine.try_connect().await else { return };
        let Ok(found) = Admin::new(client).list_offset(&self.topic, self.partition, EARLIEST).await else {
            return;
        };
        // The start never falls: what stands behind it now stood there when the batch was refused.
        if !self.machine.shared.tolerant && found.offset.is_some_and(|start| start <= newest) {
            let message = format!(
                "a batch of producer {} for {}-{}, the next one or a repeat of that at offset {newest}, was refused: {code}",
                self.id, self.topic, self.partition
            );
            self.machine.env.violate(Violation::new("H5", message));
        }
    }

    /// Sends the bytes on a new connection. Without waiting for the answer the connection is cut, and the bytes may
    /// arrive whenever the network lets them.
    async fn once(&mut self, bytes: &[u8], waits: bool) -> Answer {
        self.machine.count_operation();
        let answer = self.exchange(bytes, waits).await;
        // Another broker may lead by now.
        if waits && matches!(answer, Ok(Answer::Open) | Err(_)) {
            self.leader = None;
        }
        answer.unwrap_or(Answer::Open)
    }

    async fn exchange(&mut self, bytes: &[u8], waits: bool) -> io::Result<Answer> {
        let mut raw = self.connect().await?;
        raw.send(bytes).await?;
        if !waits {
            return Ok(Answer::Open);
        }
        let answer = raw.receive::<ProduceRequest>(PRODUCE).await?;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let Some(part) = part else { return Ok(Answer::Open) };
        Ok(match part.error_code {
            ErrorCode::NONE => Answer::Written(part.base_offset, part.log_append_time_ms),
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Answer::Written(Offset(-1), Timestamp(-1)),
            code if code.is_retriable() => Answer::Open,
            code => Answer::Fatal(code),
        })
    }

    /// A new connection to the partition's leader; to any broker if none says who that is.
    async fn connect(&mut self) -> io::Result<Raw> {
        if self.leader.is_none() {
            self.asked += 1;
            let mut raw = Raw::connect(&self.machine, self.asked, PATIENCE).await?;
            self.leader = raw.leader(&self.topic, self.partition).await?;
            if self.leader.is_none() {
                return Ok(raw);
            }
        }
        let leader = self.leader.as_deref().unwrap_or_default();
        Raw::connect_to(&self.machine, leader, PATIENCE).await
    }

    fn build(&mut self, rng: &mut Rng, spring: &mut Spring) -> Option<Sent> {
        let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
        builder.set_producer(self.id, self.epoch, self.sequence);
        let (mut ids, mut timestamps) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..=4) {
            let value = spring.value(rng, self.recorder.client());
            let (key, timestamp) = (spring.key(rng), spring.timestamp(rng));
            if !builder.try_push(timestamp, key.as_deref(), Some(&value), &[]) {
                break;
            }
            timestamps.push(timestamp);
            ids.push(self.recorder.begin(Op::Send {
                topic: self.topic.clone(),
                partition: Some(self.partition),
                key,
                value,
                timestamp,
                acks: -1,
                idempotent: true,
                number: self.number,
                outcome: Outcome::Open,
            }));
            self.number += 1;
        }
        self.sequence += i32::try_from(ids.len()).ok()?;
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                partition_data: vec![PartitionProduceData {
                    index: self.partition,
                    records: Records::Bytes(builder.build()),
                }],
                ..TopicProduceData::default()
            }],
        };
        let bytes = frame(1, PRODUCE, &request).ok()?;
        Some(Sent { bytes, ids, timestamps })
    }

    fn settle(&self, sent: &Sent, outcome_of: impl Fn(i64) -> Outcome<(PartitionIndex, Offset, Timestamp)>) {
        for (index, id) in (0..).zip(&sent.ids) {
            self.recorder.end(*id, |op| {
                if let Op::Send { outcome, .. } = op {
                    *outcome = outcome_of(index);
                }
            });
        }
    }
}
