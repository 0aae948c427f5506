//! Clients that write to every partition of a topic again and again, each where it is led, and note when.

use super::{NODES, Nodes, TOPIC};
use crate::load::{Connection, describe, frames};
use anyhow::{Result, ensure};
use bytes::Bytes;
use highwater_types::BrokerId;
use highwater_wire::messages::produce::ProduceResponse;
use highwater_wire::{ApiKey, ErrorCode, Message, decode_response_header};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two rounds of writes.
const REST: Duration = Duration::from_millis(100);
/// Before a node that does not answer is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// How long all partitions may take to be written to.
const PATIENCE: Duration = Duration::from_secs(90);

/// What all writers note.
pub struct Notes {
    partitions: Mutex<Vec<Note>>,
    stop: AtomicBool,
    /// Answers that another node leads now, which a client takes as a hint.
    pub moved: AtomicU64,
    /// Writes that a client would have to report, or to repeat without knowing what became of them.
    pub failed: AtomicU64,
    /// Writes whose connection broke before the answer.
    pub lost: AtomicU64,
}

/// What is noted of one partition.
#[derive(Clone, Copy)]
struct Note {
    last: Instant,
    longest: Duration,
    /// When a write was acknowledged that had been sent after the mark.
    resumed: Option<Instant>,
}

impl Notes {
    /// Notes of so many partitions.
    pub fn new(partitions: usize) -> Self {
        let note = Note { last: Instant::now(), longest: Duration::ZERO, resumed: None };
        Self {
            partitions: Mutex::new(vec![note; partitions]),
            stop: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Ends the writers.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Forgets what was noted, and counts from now.
    pub fn mark(&self) {
        let now = Instant::now();
        for note in self.lock().iter_mut() {
            *note = Note { last: now, longest: Duration::ZERO, resumed: None };
        }
        for count in [&self.moved, &self.failed, &self.lost] {
            count.store(0, Ordering::SeqCst);
        }
    }

    /// Waits until a write was acknowledged everywhere that was sent after the mark; how long after it, in order.
    pub fn wait_resumed(&self, mark: Instant) -> Result<Vec<Duration>> {
        loop {
            let mut after: Vec<Duration> = Vec::new();
            let partitions = self.lock();
            let count = partitions.len();
            after.extend(partitions.iter().filter_map(|note| Some(note.resumed?.duration_since(mark))));
            drop(partitions);
            if after.len() == count {
                after.sort_unstable();
                return Ok(after);
            }
            ensure!(mark.elapsed() < PATIENCE, "{} partitions are not written to", count - after.len());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The longest that any partition was without an acknowledgement since the mark.
    pub fn longest(&self) -> Duration {
        self.lock().iter().map(|note| note.longest).max().unwrap_or_default()
    }

    fn acknowledged(&self, partition: usize, mark: &Mutex<Instant>, sent: Instant) {
        let now = Instant::now();
        let mark = *mark.lock().unwrap_or_else(PoisonError::into_inner);
        let note = &mut self.lock()[partition];
        note.longest = note.longest.max(now - note.last);
        note.last = now;
        if sent >= mark {
            note.resumed.get_or_insert(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Note>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` while writers write to all partitions.
pub fn with_writers<T>(
    nodes: &mut Nodes,
    notes: &Notes,
    mark: &Mutex<Instant>,
    work: impl FnOnce(&mut Nodes) -> Result<T>,
) -> Result<T> {
    let count = notes.lock().len();
    let (batch, _) = frames::batch(100, 0);
    let frames = (0..count).map(|partition| frames::produce(TOPIC, partition, &batch));
    let frames: Vec<Vec<u8>> = frames.collect::<Result<_>>()?;
    let addresses: Vec<SocketAddr> = (0..nodes.count()).map(|at| nodes.address(at)).collect();
    std::thread::scope(|scope| {
        let frames = &frames;
        let writers: Vec<_> = (1..)
            .zip(addresses)
            .map(|(id, address)| {
                let writer = Writer { id: BrokerId(id), address, frames, notes, mark };
                scope.spawn(move || writer.run())
            })
            .collect();
        let worked = work(nodes);
        notes.stop();
        for writer in writers {
            writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        worked
    })
}

/// Writes to whatever one node leads.
struct Writer<'a> {
    id: BrokerId,
    address: SocketAddr,
    frames: &'a [Vec<u8>],
    notes: &'a Notes,
    mark: &'a Mutex<Instant>,
}

impl Writer<'_> {
    fn run(&self) -> Result<()> {
        let mut connections: Option<(Connection, Connection)> = None;
        while !self.notes.is_stopped() {
            let (asking, writing) = match &mut connections {
                Some((asking, writing)) => (asking, writing),
                none => {
                    let opened = Connection::open(self.address)
                        .and_then(|asking| Ok((asking, Connection::open(self.address)?)));
                    let Ok(opened) = opened else {
                        std::thread::sleep(RETRY);
                        continue;
                    };
                    let (asking, writing) = none.insert(opened);
                    (asking, writing)
                }
            };
            if let Err(open) = self.round(asking, writing) {
                self.notes.lost.fetch_add(open as u64, Ordering::SeqCst);
                connections = None;
            }
            std::thread::sleep(REST);
        }
        Ok(())
    }

    /// One write to each partition that the node leads. Fails with the number of writes without an answer.
    fn round(&self, asking: &mut Connection, writing: &mut Connection) -> Result<(), usize> {
        let states = describe(asking, TOPIC).map_err(|_| 0_usize)?;
        let led = states.iter().take(self.frames.len()).enumerate();
        let led: Vec<usize> =
            led.filter(|(_, state)| state.leader == Some(self.id)).map(|(partition, _)| partition).collect();
        let requests: Vec<u8> = led.iter().flat_map(|&partition| &self.frames[partition]).copied().collect();
        let sent = Instant::now();
        writing.send(&requests).map_err(|_| led.len())?;
        for (answered, &partition) in led.iter().enumerate() {
            let code = writing.receive().and_then(error_of).map_err(|_| led.len() - answered)?;
            match code {
                ErrorCode::NONE => self.notes.acknowledged(partition, self.mark, sent),
                ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    self.notes.moved.fetch_add(1, Ordering::SeqCst);
                }
                _ => {
                    self.notes.failed.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        Ok(())
    }
}

fn error_of(answer: &[u8]) -> Result<ErrorCode> {
    let mut answer = Bytes::copy_from_slice(answer);
    decode_response_header(&mut answer, ApiKey::PRODUCE, frames::PRODUCE_VERSION)?;
    let answer = ProduceResponse::decode_body(answer, frames::PRODUCE_VERSION)?;
    let mut parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok(parts.next().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |part| part.error_code))
}

/// How many partitions a node leads, as it says itself, and whether all have all replicas in sync.
pub fn standing(nodes: &Nodes, at: usize, partitions: usize) -> Result<(usize, bool)> {
    let states = describe(&mut nodes.connect(at)?, TOPIC)?;
    let id = BrokerId(i32::try_from(at + 1)?);
    let led = states.iter().filter(|state| state.leader == Some(id)).count();
    let whole = states.len() == partitions && states.iter().all(|state| state.in_sync == NODES);
    Ok((led, whole))
}
