//! The store of one disk: the logs of many partitions in one directory.
//!
//! [`Store`] opens a directory, owns syncing, the proven marks and retention; [`Log`] appends batches and reads them
//! back. Here live segments, indexes, recovery, group commit, producer state, leader epochs, retention and compaction.
//! Whose partition it is, who leads it, and what a high watermark is, is not known here. `docs/FORMAT.md` describes the
//! files byte by byte.
//!
//! Architecture invariant: a log is touched through [`highwater_env::Env`] alone, and nothing is reported as synced
//! before all syncs that it needs have succeeded once, at the first try.

mod append;
mod checkpoint;
mod commit;
mod compact;
mod config;
mod core;
mod epochs;
mod error;
mod evidence;
mod files;
mod frame;
mod index;
mod inspect;
mod join;
mod log;
mod lru;
mod marks;
mod options;
mod producers;
mod read;
mod recovery;
mod repair;
mod replica;
mod report;
mod restart;
mod retention;
mod room;
mod scan;
mod scrub;
mod seal;
mod segment;
mod store;
mod time_lookup;
mod truncate;
mod verify;
mod window;

pub use config::{CleanupPolicy, LogConfig, MAX_SEGMENT_BYTES};
pub use error::{AppendError, LogError, ReadError, StoreError};
pub use inspect::{Found, inspect_log, inspect_store};
pub use log::Log;
pub use options::{Durability, Identity, StoreOptions};
pub use report::{
    Appended, CleanUp, Compaction, LogObserver, MarksFound, ReadSlice, RecoveryReport, TimestampOffset,
};
pub use scrub::Scrubbed;
pub use store::Store;
pub use verify::{Fault, FaultKind, LogVerdict, StoreVerdict, verify_store};
