//! Producers at work: stock clients that send without an end, and write down what they were told.

use crate::ledger::{self, Ledger};
use crate::program::Program;
use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How much must be acknowledged to every stream for it to have gone on, in bytes of its outcomes: some ten records.
const PROGRESS_BYTES: u64 = 150;
/// How long that may take: producers find their broker again at their own pace.
const PROGRESS: Duration = Duration::from_secs(30);

/// A producer at work.
pub struct Stream {
    program: Program,
    /// Its name, with which its records begin.
    pub name: String,
    /// Whether it has sequence numbers.
    pub idempotent: bool,
    /// Where its outcomes are written down.
    pub outcomes: PathBuf,
}

impl Stream {
    /// Starts a client, which produces to the partitions of a topic until it is told to stop.
    pub fn start(
        client: &str,
        idempotent: bool,
        (topic, partitions): (&str, i32),
        cache: &Path,
        dir: &Path,
        bootstrap: impl ToString,
    ) -> Result<Self> {
        let name = format!("{client}-{}", if idempotent { "idempotent" } else { "plain" });
        let dir = dir.join(&name);
        fs::create_dir_all(&dir)?;
        let mut program = Program::start(client, cache, &dir, bootstrap)?;
        let outcomes = program.stream(topic, partitions, idempotent, &name)?;
        Ok(Self { program, name, idempotent, outcomes })
    }
}

/// How much has been written down of every stream, in bytes.
pub fn lengths(streams: &[Stream]) -> Result<Vec<u64>> {
    streams.iter().map(|stream| Ok(fs::metadata(&stream.outcomes)?.len())).collect()
}

/// Waits until every stream has written down more than it had.
pub fn await_progress(streams: &mut [Stream], before: &[u64]) -> Result<()> {
    let deadline = Instant::now() + PROGRESS;
    loop {
        let now = lengths(streams)?;
        let stuck = now.iter().zip(before).position(|(now, before)| *now < before + PROGRESS_BYTES);
        let Some(stuck) = stuck else { return Ok(()) };
        if Instant::now() > deadline {
            let stream = &streams[stuck];
            bail!("{} has no new outcomes after {PROGRESS:?}\n{}", stream.name, stream.program.log_tail());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What every stream was told so far, while it goes on.
pub fn told_so_far(streams: &[Stream]) -> Result<Vec<Ledger>> {
    let read = |stream: &Stream| ledger::read(&stream.outcomes, &stream.name, stream.idempotent, i64::MAX);
    streams.iter().map(read).collect()
}

/// Ends the streams, and says what they were told.
pub fn stop(streams: &mut [Stream]) -> Result<Vec<Ledger>> {
    let stop = |stream: &mut Stream| {
        let sent = stream.program.stop()?;
        ledger::read(&stream.outcomes, &stream.name, stream.idempotent, sent)
    };
    streams.iter_mut().map(stop).collect()
}
