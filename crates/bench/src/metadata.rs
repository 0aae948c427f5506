//! The cluster's state at many partitions: its image and the log that it is kept in, and nothing else.

use crate::process::resident_bytes;
use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use highwater_env_tokio::{TokioEnv, run};
use highwater_log::{CleanupPolicy, LogConfig, Store, StoreOptions};
use highwater_metadata::{
    BrokerRecord, Image, METADATA_LOG, MetadataRecord, PartitionRecord, TopicRecord, decode, encode,
};
use highwater_quorum::{BoxFuture, Encode, Machine, Peer, ProposeError, Quorum, QuorumOptions, Transport};
use highwater_types::{BrokerId, PartitionIndex, TopicId, Uuid};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const NODE: BrokerId = BrokerId(1);
const BROKERS: i32 = 5;
/// How many topics are made at once.
const TOPICS_AT_ONCE: u32 = 20;
/// How many topics are added for the last figure.
const ADDED: u32 = 20;
/// The largest piece of a snapshot.
const PIECE_BYTES: usize = 512 << 10;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Metadata {
    /// How many partitions there are.
    #[arg(long, default_value_t = 100_000)]
    partitions: u32,
    /// How many of them a topic has.
    #[arg(long, default_value_t = 10)]
    per_topic: u32,
    /// A folder for data, on the disk that is to be measured; what is in it is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Load what an earlier run left in the folder, and no more.
    #[arg(long, hide = true)]
    load: bool,
}

/// Writes the state's log, and has it loaded by a process of its own: by its entries, and by a snapshot.
pub fn metadata(options: &Metadata) -> Result<()> {
    let own = std::env::current_exe()?;
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => own.parent().context("a program stands in a folder")?.join("metadata-data"),
    };
    if options.load {
        return run(None, |env| load(env, options, &dir))?;
    }
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    println!(
        "| {} partitions, from | loaded in ms | memory, MiB | a topic added in ms: median | most |\n|---|---|---|---|---|",
        options.partitions
    );
    for snapshot in [false, true] {
        run(None, |env| write(env, options, &dir, snapshot))??;
        print!("| {} ", if snapshot { "a snapshot" } else { "its entries" });
        io::Write::flush(&mut io::stdout())?;
        let (partitions, per_topic) = (options.partitions.to_string(), options.per_topic.to_string());
        let mut command = Command::new(&own);
        command.args(["metadata", "--load", "--partitions", &partitions, "--per-topic", &per_topic]);
        ensure!(command.arg("--dir").arg(&dir).status()?.success(), "the state was not loaded");
    }
    Ok(std::fs::remove_dir_all(&dir)?)
}

/// Makes the state by commands, unless it is there; with a snapshot at the end, or none.
async fn write(env: TokioEnv, options: &Metadata, dir: &Path, snapshot: bool) -> Result<()> {
    let member = Member::open(env, dir).await?;
    let topics = options.partitions / options.per_topic;
    if member.state().topic_count() == 0 {
        let brokers = (1..=BROKERS)
            .map(|id| MetadataRecord::Broker(BrokerRecord { id: BrokerId(id), ..BrokerRecord::default() }));
        member.propose(&brokers.collect::<Vec<_>>()).await?;
        for first in (0..topics).step_by(TOPICS_AT_ONCE as usize) {
            let records =
                (first..topics.min(first + TOPICS_AT_ONCE)).flat_map(|at| topic(at, options.per_topic));
            member.propose(&records.collect::<Vec<_>>()).await?;
        }
    }
    if snapshot {
        member.quorum.take_snapshot().await.map_err(failed)?;
    }
    member.close().await
}

/// Loads the state, and adds topics to it.
async fn load(env: TokioEnv, options: &Metadata, dir: &Path) -> Result<()> {
    let began = Instant::now();
    let member = Member::open(env, dir).await?;
    let loaded = began.elapsed();
    let before = member.state().logs().count();
    ensure!(before >= options.partitions as usize, "{before} partitions were loaded");
    let resident = resident_bytes(std::process::id())?;
    let mut times = Vec::new();
    let topics = u32::try_from(member.state().topic_count())?;
    for at in topics..topics + ADDED {
        let began = Instant::now();
        member.propose(&topic(at, options.per_topic).collect::<Vec<_>>()).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {:.0} | {:.1} | {:.2} | {:.2} |",
        millis(loaded),
        resident as f64 / f64::from(1 << 20),
        millis(times[times.len() / 2]),
        millis(times[times.len() - 1]),
    );
    member.close().await
}

/// The only member of a quorum, with its log.
struct Member {
    store: Store<TokioEnv>,
    quorum: Quorum<TokioEnv>,
    state: Arc<Mutex<Arc<Image>>>,
}

impl Member {
    /// Opens it, and waits until it leads and has applied all that there is.
    async fn open(env: TokioEnv, dir: &Path) -> Result<Self> {
        let (store, reports) = Store::open(env.clone(), StoreOptions::new(dir, NODE)).await?;
        let config = LogConfig {
            retention_ms: None,
            cleanup: CleanupPolicy { delete: false, compact: false },
            max_message_bytes: 32 << 20,
            ..LogConfig::default()
        };
        let log = match store.log(METADATA_LOG) {
            Some(log) => log,
            None => store.create_log(METADATA_LOG, config).await?,
        };
        let state = Arc::new(Mutex::new(Arc::new(Image::new())));
        let machine = Box::new(ImageMachine { state: Arc::clone(&state) });
        let mut options = QuorumOptions::new(NODE, store.disk_id(), dir.join("quorum"));
        options.recovered = reports.into_iter().find(|report| report.log == METADATA_LOG);
        let peer = Peer { disk: store.disk_id(), ..Peer::default() };
        let quorum = Quorum::open(env, log, options, Arc::new(Alone), machine).await?;
        if !quorum.is_bootstrapped() {
            quorum.bootstrap(BTreeMap::from([(NODE, peer)])).await?;
        }
        loop {
            let leadership = quorum.leadership();
            if leadership.leader == Some(NODE) {
                break;
            }
            quorum.leadership_changed(&leadership).await;
        }
        quorum.fence().await.map_err(failed)?;
        Ok(Self { store, quorum, state })
    }

    fn state(&self) -> Arc<Image> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn propose(&self, records: &[MetadataRecord]) -> Result<()> {
        let frames = records.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let term = self.quorum.leadership().term;
        self.quorum.propose(term, join(frames.iter())).await.map_err(failed)?;
        Ok(())
    }

    async fn close(self) -> Result<()> {
        self.quorum.shutdown().await;
        Ok(self.store.close().await?)
    }
}

fn failed(error: ProposeError) -> anyhow::Error {
    anyhow!("{error}")
}

/// Applies commands to an image, a copy for each, as a node does.
struct ImageMachine {
    state: Arc<Mutex<Arc<Image>>>,
}

impl ImageMachine {
    fn change(&self, change: impl FnOnce(&mut Image) -> Result<()>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Image::clone(&state);
        change(&mut next)?;
        *state = Arc::new(next);
        Ok(())
    }
}

impl Machine for ImageMachine {
    fn apply(&mut self, index: u64, _term: u64, command: &Bytes) {
        let applied = self.change(|image| {
            let records = split(command.clone())?;
            image.apply_all(&records, index)?;
            Ok(())
        });
        if let Err(error) = applied {
            eprintln!("entry {index}: {error:#}");
        }
    }

    fn snapshot(&self) -> Encode {
        let state = Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner));
        Box::new(move || {
            let frames = state.to_records().map(|record| encode(&record).expect("it was a frame before"));
            let frames: Vec<Bytes> = frames.collect();
            frames.chunks(PIECE_BYTES / 256).map(|chunk| join(chunk.iter())).collect()
        })
    }

    fn restore(&mut self, index: u64, _term: u64, pieces: Vec<Bytes>) -> Result<(), String> {
        let restored = self.change(|image| {
            *image = Image::new();
            for piece in pieces {
                for record in split(piece)? {
                    image.apply(&record, index)?;
                }
            }
            Ok(())
        });
        restored.map_err(|error| format!("{error:#}"))
    }
}

/// There is nobody to call.
struct Alone;

impl Transport for Alone {
    fn call(&self, _: BrokerId, _: &Peer, _: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        Box::pin(async { Err(io::ErrorKind::NotConnected.into()) })
    }
}

/// Frames, each after its length.
fn join<'a>(frames: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut out = Vec::new();
    for frame in frames {
        out.extend((frame.len() as u32).to_be_bytes());
        out.extend_from_slice(frame);
    }
    out.into()
}

fn split(mut bytes: Bytes) -> Result<Vec<MetadataRecord>> {
    let mut records = Vec::new();
    while let Some(length) = bytes.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) {
        if bytes.len() < 4 + length {
            bail!("a frame is cut off");
        }
        records.push(decode(&bytes.split_to(4 + length).split_off(4))?);
    }
    Ok(records)
}

/// The records of a new topic.
fn topic(at: u32, partitions: u32) -> impl Iterator<Item = MetadataRecord> {
    let number = u128::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c);
    let id = TopicId(Uuid::from_random(0x1_0000_0000 + number));
    let record = MetadataRecord::Topic(TopicRecord { id, name: format!("topic-{at}") });
    let partitions = (0..partitions).map(move |partition| {
        let first = (at + partition) as i32;
        let replicas: Vec<BrokerId> = (0..3).map(|place| BrokerId((first + place) % BROKERS + 1)).collect();
        MetadataRecord::Partition(PartitionRecord {
            topic: id,
            partition: PartitionIndex(partition as i32),
            leader: replicas.first().copied(),
            isr: replicas.clone(),
            replicas,
            ..PartitionRecord::default()
        })
    });
    std::iter::once(record).chain(partitions)
}
