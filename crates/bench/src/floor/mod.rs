//! The least that any broker must do, on plain threads and blocking calls.
//!
//! One thread per connection reads as many requests as have come, writes their batches with one call per run of
//! batches for the same partition, and answers them with one call. With [`Durability::Sync`] one more thread syncs
//! everything that was written since it last looked, and then answers. Understood are Produce 9 and Fetch 12 for one
//! partition each, from a client that makes no mistakes; anything else ends the connection.

mod answer;
mod connection;
mod partition;
mod request;
mod sync;

use anyhow::{Context, Result};
use connection::Connection;
use partition::Partition;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use sync::Syncer;

/// When a batch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// When it is in the page cache.
    Replicated,
    /// When it is on the disk.
    Sync,
}

/// How batches are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reading {
    /// Straight from the page cache to the socket.
    Hot,
    /// Into memory, checked, and sent from there.
    Cold,
}

/// What the floor is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorOptions {
    /// Where it listens.
    #[arg(long)]
    pub listen: SocketAddr,
    /// An existing folder for its files.
    #[arg(long)]
    pub dir: PathBuf,
    /// How many partitions it has.
    #[arg(long, default_value_t = 1)]
    pub partitions: usize,
    /// When a batch is answered.
    #[arg(long, value_enum, default_value_t = Durability::Replicated)]
    pub durability: Durability,
    /// How batches are read.
    #[arg(long, value_enum, default_value_t = Reading::Hot)]
    pub reading: Reading,
}

/// What all connections share.
struct Shared {
    partitions: Vec<Arc<Partition>>,
    reading: Reading,
    /// There is one if answers wait for the disk.
    syncer: Option<Syncer>,
}

/// Serves until the process is ended.
pub fn serve(options: &FloorOptions) -> Result<()> {
    let mut partitions = Vec::new();
    for index in 0..options.partitions {
        let path = options.dir.join(format!("{index}.log"));
        let partition = Partition::create(&path).with_context(|| path.display().to_string())?;
        partitions.push(Arc::new(partition));
    }
    let syncer = match options.durability {
        Durability::Replicated => None,
        Durability::Sync => Some(Syncer::start()),
    };
    let shared = Arc::new(Shared { partitions, reading: options.reading, syncer });
    let listener = TcpListener::bind(options.listen)?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let connection = Connection::new(Arc::new(stream), Arc::clone(&shared));
        std::thread::spawn(move || {
            if let Err(error) = connection.run() {
                eprintln!("a connection ended: {error:#}");
            }
        });
    }
    Ok(())
}
