//! A store on a simulated disk, and what tests do with it.

use bytes::Bytes;
use highwater_env::{Env, Event, File};
use highwater_log::{
    AppendError, Appended, Log, LogConfig, ReadError, ReadSlice, RecoveryReport, Store, StoreError,
    StoreOptions,
};
use highwater_records::{Batch, BatchBuilder, Batches, Codec};
use highwater_sim::disk::PowerRates;
use highwater_sim::{NodeId, SimEnv, Simulation};
use highwater_types::{
    BrokerId, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::Poll;

pub const DIR: &str = "/data";
pub const EPOCH: LeaderEpoch = LeaderEpoch(0);

pub fn id(partition: i32) -> LogId {
    LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(partition) }
}

/// Segments of a few batches, and an index entry for every other batch.
pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 1_000, index_interval_bytes: 200, ..LogConfig::default() }
}

/// A batch of records with the given values and times.
pub fn batch_of(records: &[(&str, i64)]) -> Batch {
    check(builder(records).build())
}

pub fn builder(records: &[(&str, i64)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    for (value, time) in records {
        assert!(builder.try_push(Timestamp(*time), None, Some(value.as_bytes()), &[]));
    }
    builder
}

/// One record of an idempotent producer.
pub fn sequenced(producer: i64, epoch: i16, sequence: i32, value: &str) -> Batch {
    let mut builder = builder(&[(value, 1_000)]);
    builder.set_producer(ProducerId(producer), ProducerEpoch(epoch), sequence);
    check(builder.build())
}

fn check(bytes: Bytes) -> Batch {
    Batch::check(bytes).expect("the builder makes good batches")
}

/// A node with a store, and the events it told of.
pub struct Bench {
    pub sim: Simulation,
    pub node: NodeId,
    pub events: Arc<Mutex<Vec<Event>>>,
    pub options: StoreOptions,
}

impl Bench {
    pub fn new(seed: u64) -> Self {
        let sim = Simulation::new(seed);
        let node = sim.node("n").node();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        sim.observe(Box::new(move |_, _, event| {
            heard.lock().expect("no test panics here").push(event.clone());
            Ok(())
        }));
        Self { sim, node, events, options: StoreOptions::new(DIR, BrokerId(1)) }
    }

    pub fn env(&self) -> SimEnv {
        self.sim.env(self.node)
    }

    pub async fn try_open(&self) -> Result<(Store<SimEnv>, Vec<RecoveryReport>), StoreError> {
        Store::open(self.env(), self.options.clone()).await
    }

    pub async fn open(&self) -> (Store<SimEnv>, Vec<RecoveryReport>) {
        self.try_open().await.expect("the store opens")
    }

    /// Opens the store, which has one log.
    pub async fn reopen(&self) -> (Store<SimEnv>, Log<SimEnv>, RecoveryReport) {
        let (store, mut reports) = self.open().await;
        assert_eq!(reports.len(), 1, "{reports:?}");
        let log = store.log(id(0)).expect("the log is there");
        (store, log, reports.remove(0))
    }

    /// A new store with one log.
    pub async fn create(&self, config: LogConfig) -> (Store<SimEnv>, Log<SimEnv>) {
        let (store, reports) = self.open().await;
        assert_eq!(reports, []);
        let log = store.create_log(id(0), config).await.expect("a new log");
        (store, log)
    }

    pub fn crash(&self) {
        self.sim.crash(self.node);
    }

    /// Loses everything that was not synced.
    pub fn power_loss(&self) {
        self.sim.power_loss(self.node, PowerRates::DROP_ALL);
    }

    pub fn now(&self) -> Timestamp {
        self.env().clock().wall()
    }

    /// Files of log 0.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(DIR).join("logs").join(id(0).to_string()).join(name)
    }

    /// The file names of log 0.
    pub fn files(&self) -> Vec<String> {
        let dir = self.path("");
        let all = self.sim.disk(self.node).live_files();
        let names = all.keys().filter(|path| path.starts_with(&dir));
        names.map(|path| path.file_name().expect("a file").to_string_lossy().into_owned()).collect()
    }

    /// Flips a bit of a file on disk, where the page cache does not hide it.
    pub fn rot(&self, path: &std::path::Path, position: u64) {
        let disk = self.sim.disk(self.node);
        assert!(disk.flip_bit(path, position, 3), "{} has no byte {position}", path.display());
        disk.evict(None);
    }

    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().expect("no test panics here"))
    }

    /// The damage that was told of.
    pub fn damage(&self) -> Vec<(i64, i64)> {
        let events = self.take_events();
        let damage = events.iter().filter_map(|event| match event {
            Event::Damaged { from, to, .. } => Some((from.0, to.0)),
            _ => None,
        });
        damage.collect()
    }
}

/// Appends a record per value, each in a batch of its own.
pub async fn append_all(log: &Log<SimEnv>, values: &[&str]) {
    for value in values {
        append(log, value).await.expect("an append");
    }
}

pub async fn append(log: &Log<SimEnv>, value: &str) -> Result<Appended, AppendError> {
    log.append(&batch_of(&[(value, 1_000)]), EPOCH, Timestamp(5_000)).await
}

/// Appends and waits for the sync.
pub async fn append_synced(log: &Log<SimEnv>, value: &str) -> Offset {
    let appended = append(log, value).await.expect("an append");
    log.wait_synced(appended.end_offset).await.expect("a sync");
    appended.base_offset
}

pub async fn bytes_of<F: File>(slice: ReadSlice<F>) -> Bytes {
    match slice {
        ReadSlice::Checked(bytes) => bytes,
        ReadSlice::Verified { file, position, length } => {
            file.read_at(position, length).await.expect("the file can be read")
        }
    }
}

/// The values from an offset to the log's end; damage shows as such.
pub async fn values_from(log: &Log<SimEnv>, mut from: Offset) -> Vec<String> {
    let mut values = Vec::new();
    let end = log.end_offset();
    while from < end {
        let slice = match log.read(from, end, 300, true).await {
            Ok(slice) => slice,
            Err(ReadError::Damaged { from: start, to }) => {
                values.push(format!("damage {start}..{to}"));
                from = to;
                continue;
            }
            Err(error) => panic!("read at {from}: {error}"),
        };
        let bytes = bytes_of(slice).await;
        assert!(!bytes.is_empty(), "nothing at {from} of {end}");
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a good batch");
            for record in batch.records().expect("records") {
                let record = record.expect("a record");
                if record.offset >= from {
                    from = record.offset.next();
                    let value = record.value.expect("a value");
                    values.push(format!("{}={}", record.offset, String::from_utf8_lossy(&value)));
                }
            }
        }
    }
    values
}

pub async fn values(log: &Log<SimEnv>) -> Vec<String> {
    values_from(log, log.start_offset()).await
}

/// What `values` gives for records of their own batches from an offset on.
pub fn numbered(from: i64, values: &[&str]) -> Vec<String> {
    values.iter().enumerate().map(|(number, value)| format!("{}={value}", from + number as i64)).collect()
}

/// Values that differ, enough to fill some small segments.
pub fn words(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("word-{number:03}-{}", "x".repeat(number % 40))).collect()
}

pub fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Ends when one of two futures does.
pub async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await;
}
