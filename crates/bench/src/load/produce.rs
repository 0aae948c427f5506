//! Producing: the same batch again and again, a fixed number of requests in flight.

use super::connection::Connection;
use super::{Outcome, frames, in_parallel, measured};
use anyhow::{Result, ensure};
use bytes::Bytes;
use std::net::SocketAddr;

/// A load of Produce requests with acks=all.
#[derive(Clone, Debug, clap::Args)]
pub struct ProduceLoad {
    /// The server.
    #[arg(long)]
    pub server: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pub pid: u32,
    /// The topic, which exists.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// How many partitions it has; each connection writes to those whose number leaves its own as remainder.
    #[arg(long, default_value_t = 1)]
    pub partitions: usize,
    /// How many connections.
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// How many requests each of them has in flight.
    #[arg(long, default_value_t = 8)]
    pub depth: usize,
    /// The size of a record's value.
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// The size of a batch; 0 for one record.
    #[arg(long, default_value_t = 64 << 10)]
    pub batch_bytes: usize,
    /// How many requests in all.
    #[arg(long)]
    pub requests: u64,
}

/// Runs the load.
pub fn produce(load: &ProduceLoad) -> Result<Outcome> {
    produce_to(load, &vec![load.server; load.partitions], &[load.pid])
}

/// Runs the load against several servers: `leaders` has the one of each partition, and the partitions of one connection
/// have the same. Measures all of `pids`.
pub fn produce_to(load: &ProduceLoad, leaders: &[SocketAddr], pids: &[u32]) -> Result<Outcome> {
    let (batch, records) = frames::batch(load.record_bytes, load.batch_bytes);
    let share = load.requests.div_ceil(load.connections as u64);
    let mut senders = Vec::new();
    for number in 0..load.connections {
        let server = leaders[number % load.partitions];
        senders.push(std::sync::Mutex::new(Some(Sender::open(load, server, number, &batch)?)));
    }
    measured(pids, || {
        in_parallel(load.connections, |number| {
            let sender = senders[number].lock().expect("one thread has it").take();
            sender.expect("it was made above").run(share)?;
            Ok((share * records, share * batch.len() as u64))
        })
    })
}

/// One connection's part.
struct Sender {
    connection: Connection,
    depth: usize,
    /// Frames for the connection's partitions in turn, often enough that `depth` of them stand behind each of the
    /// first `cycle` ones.
    frames: Vec<u8>,
    frame_bytes: usize,
    cycle: usize,
    /// Where the error code stands in an answer.
    error_at: usize,
}

impl Sender {
    fn open(load: &ProduceLoad, server: SocketAddr, number: usize, batch: &Bytes) -> Result<Self> {
        let own: Vec<usize> =
            (0..load.partitions).skip(number % load.partitions).step_by(load.connections).collect();
        let mut frames = Vec::new();
        let mut frame_bytes = 0;
        for partition in own.iter().cycle().take(own.len() + load.depth) {
            let frame = frames::produce(&load.topic, *partition, batch)?;
            frame_bytes = frame.len();
            frames.extend_from_slice(&frame);
        }
        ensure!(load.topic.len() < 127, "a long topic");
        Ok(Self {
            connection: Connection::open(server)?,
            depth: load.depth,
            frames,
            frame_bytes,
            cycle: own.len(),
            // Correlation id, tags, topics, the topic's name with its length, partitions, the partition.
            error_at: 4 + 1 + 1 + 1 + load.topic.len() + 1 + 4,
        })
    }

    fn run(mut self, requests: u64) -> Result<()> {
        let mut sent = 0;
        let mut answered = 0;
        let first = requests.min(self.depth as u64);
        self.send(&mut sent, first)?;
        while answered < requests {
            let error_at = self.error_at;
            let mut came = 1;
            check(self.connection.receive()?, error_at)?;
            while let Some(answer) = self.connection.received()? {
                check(answer, error_at)?;
                came += 1;
            }
            answered += came;
            let more = came.min(requests - sent);
            self.send(&mut sent, more)?;
        }
        Ok(())
    }

    /// Sends the next `count` frames, at most `depth`, with one call.
    fn send(&mut self, sent: &mut u64, count: u64) -> Result<()> {
        let start = (*sent % self.cycle as u64) as usize * self.frame_bytes;
        let end = start + count as usize * self.frame_bytes;
        *sent += count;
        self.connection.send(&self.frames[start..end])
    }
}

fn check(answer: &[u8], error_at: usize) -> Result<()> {
    let code = answer.get(error_at..).and_then(|rest| rest.first_chunk()).copied().map(i16::from_be_bytes);
    ensure!(code == Some(0), "the server refused a batch: error {code:?}");
    Ok(())
}
