//! What members of the quorum send each other, and what they keep.
//!
//! Valid inputs are what three members said and wrote while one of them had to catch up by a snapshot.

use super::Target;
use bytes::Bytes;
use highwater_env::{Env, File, Rng};
use highwater_log::{Log, LogConfig, ReadSlice, Store, StoreOptions};
use highwater_quorum::{BoxFuture, Encode, Machine, Peer, Quorum, QuorumOptions, Transport, parse};
use highwater_records::Batches;
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, DiskId, LogId, Offset, PartitionIndex, TopicId, Uuid};
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// What stands in front of a frame's message: its version and the message's checksum.
const HEADER_BYTES: usize = 5;

const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

/// The calls of members.
pub struct Calls;

/// The answers to them.
pub struct Replies;

/// The values of entries.
pub struct Payloads;

/// The files beside the log: a byte says which kind it is.
pub struct Files;

/// What members said and wrote.
#[derive(Default)]
struct Tape {
    calls: Vec<Bytes>,
    replies: Vec<Bytes>,
    payloads: Vec<Bytes>,
    files: Vec<Vec<u8>>,
}

static TAPE: LazyLock<Tape> = LazyLock::new(record);

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// Makes a frame's checksum right.
fn repair_frame(frame: &mut [u8]) {
    if let Some((header, message)) = frame.split_first_chunk_mut::<HEADER_BYTES>() {
        header[1..].copy_from_slice(&crc32fast::hash(message).to_be_bytes());
    }
}

macro_rules! frames {
    ($target:ident, $name:literal, $field:ident, $parse:path) => {
        impl Target for $target {
            fn name(&self) -> &'static str {
                $name
            }

            fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
                pick(rng, &TAPE.$field).to_vec()
            }

            fn repair(&self, input: &mut Vec<u8>) {
                repair_frame(input);
            }

            fn run(&mut self, input: &[u8]) -> Result<(), String> {
                $parse(Bytes::copy_from_slice(input));
                Ok(())
            }
        }
    };
}

frames!(Calls, "quorum-calls", calls, parse::request);
frames!(Replies, "quorum-replies", replies, parse::reply);
frames!(Payloads, "quorum-payloads", payloads, parse::payload);

impl Target for Files {
    fn name(&self) -> &'static str {
        "quorum-files"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        pick(rng, &TAPE.files)
    }

    fn repair(&self, input: &mut Vec<u8>) {
        match input.split_first_mut() {
            Some((2, mut rest)) => {
                while let Some((length, frames)) = rest.split_first_chunk_mut::<4>() {
                    let length = (u32::from_be_bytes(*length) as usize).min(frames.len());
                    let (frame, following) = frames.split_at_mut(length);
                    repair_frame(frame);
                    rest = following;
                }
            }
            Some((_, file)) => repair_frame(file),
            None => {}
        }
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let Some((kind, file)) = input.split_first() else { return Ok(()) };
        let file = Bytes::copy_from_slice(file);
        match kind {
            0 => parse::vote(file),
            1 => parse::log_id(file),
            _ => parse::snapshot(file),
        };
        Ok(())
    }
}

/// Hands calls straight to the other members, and writes them down.
struct Direct {
    members: Arc<Mutex<BTreeMap<BrokerId, Quorum<SimEnv>>>>,
    tape: Arc<Mutex<Tape>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for Direct {
    fn call(&self, to: BrokerId, _peer: &Peer, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let member = lock(&self.members).get(&to).cloned();
        let tape = Arc::clone(&self.tape);
        Box::pin(async move {
            lock(&tape).calls.push(request.clone());
            let member = member.ok_or(io::ErrorKind::NotConnected)?;
            let reply = member.handle(request).await;
            lock(&tape).replies.push(reply.clone());
            Ok(reply)
        })
    }
}

/// Counts.
struct Count(u64);

impl Machine for Count {
    fn apply(&mut self, _index: u64, _term: u64, _command: &Bytes) {
        self.0 += 1;
    }

    fn snapshot(&self) -> Encode {
        let count = self.0;
        Box::new(move || vec![Bytes::copy_from_slice(&count.to_be_bytes()), Bytes::from_static(b"end")])
    }

    fn restore(&mut self, _index: u64, _term: u64, _pieces: Vec<Bytes>) -> Result<(), String> {
        Ok(())
    }
}

/// Runs a small quorum, and keeps what it said and wrote.
fn record() -> Tape {
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    let tape = Arc::new(Mutex::new(Tape::default()));
    let recorded = simulation.run(run_quorum(env.clone(), Arc::clone(&tape)));
    recorded.expect("a quorum without faults works").expect("a quorum without faults works");
    let mut tape = std::mem::take(&mut *lock(&tape));
    for (path, contents) in simulation.disk(env.node()).durable_files() {
        let kind = match path.file_name().and_then(|name| name.to_str()) {
            Some("vote") => 0,
            Some("purged") => 1,
            Some("snapshot") => 2,
            _ => continue,
        };
        tape.files.push([vec![kind], contents].concat());
    }
    tape
}

async fn run_quorum(env: SimEnv, tape: Arc<Mutex<Tape>>) -> Result<(), Box<dyn std::error::Error>> {
    let members = Arc::new(Mutex::new(BTreeMap::new()));
    let mut stores = Vec::new();
    let peer = |number: u8| Peer { host: "a".to_owned(), port: 9093, disk: DiskId(Uuid([number; 16])) };
    for number in 1..=3_u8 {
        let id = BrokerId(number.into());
        let dir = PathBuf::from(format!("/data{number}"));
        let (store, _) = Store::open(env.clone(), StoreOptions::new(&dir, id)).await?;
        let log = store.create_log(LOG, LogConfig::default()).await?;
        let options = QuorumOptions {
            snapshot_every: 10,
            keep_entries: 2,
            ..QuorumOptions::new(id, DiskId(Uuid([number; 16])), dir.join("quorum"))
        };
        let transport = Arc::new(Direct { members: Arc::clone(&members), tape: Arc::clone(&tape) });
        let quorum = Quorum::open(env.clone(), log.clone(), options, transport, Box::new(Count(0))).await?;
        lock(&members).insert(id, quorum);
        stores.push((store, log));
    }
    let first = lock(&members).get(&BrokerId(1)).cloned().ok_or("it was opened")?;
    first.bootstrap([1, 2].map(|number| (BrokerId(number.into()), peer(number))).into()).await?;
    while first.leadership().leader != Some(BrokerId(1)) {
        first.leadership_changed(&first.leadership()).await;
    }
    for number in 0..35_u8 {
        first.propose(first.leadership().term, Bytes::from(vec![number; usize::from(number)])).await?;
    }
    first.add_learner(BrokerId(3), peer(3)).await?;
    first.change_voters([1, 2, 3].map(BrokerId).into()).await?;
    highwater_env::sleep(env.clock(), Duration::from_secs(2)).await;
    for (_, log) in &stores {
        let values = values(log).await?;
        lock(&tape).payloads.extend(values);
    }
    let open: Vec<_> = std::mem::take(&mut *lock(&members)).into_values().collect();
    for quorum in open {
        quorum.shutdown().await;
    }
    Ok(())
}

/// The values of all records of a log.
async fn values(log: &Log<SimEnv>) -> Result<Vec<Bytes>, Box<dyn std::error::Error>> {
    let slice = log.read(log.start_offset(), Offset(i64::MAX), 1 << 20, true).await?;
    let bytes = match slice {
        ReadSlice::Checked(bytes) => bytes,
        ReadSlice::Verified { file, position, length } => file.read_at(position, length).await?,
    };
    let mut values = Vec::new();
    for batch in Batches::new(bytes) {
        for record in batch?.records()? {
            values.extend(record?.value);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_say_is_understood() {
        assert!(TAPE.calls.len() > 50 && TAPE.files.len() >= 6 && TAPE.payloads.len() > 5);
        assert!(TAPE.calls.iter().all(|call| parse::request(call.clone())));
        assert!(TAPE.replies.iter().all(|reply| parse::reply(reply.clone())));
        assert!(TAPE.payloads.iter().all(|value| parse::payload(value.clone())));
        for file in &TAPE.files {
            let contents = Bytes::copy_from_slice(&file[1..]);
            let understood = match file[0] {
                0 => parse::vote(contents),
                1 => parse::log_id(contents),
                _ => parse::snapshot(contents),
            };
            assert!(understood, "{file:?}");
        }
    }
}
