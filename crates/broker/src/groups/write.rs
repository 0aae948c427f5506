//! Writing the records of groups: as many as there are at once, one batch after another, each awaited.

use super::Shard;
use crate::append_queue::Unwritten;
use crate::errors;
use crate::partition::Partition;
use crate::progress::{Mark, Waiting};
use highwater_env::{Env, Event};
use highwater_groups::WriteId;
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_types::{Offset, mutant};
use highwater_wire::ErrorCode;
use std::future::poll_fn;
use std::sync::Arc;

/// The size that a batch is filled up to.
const BATCH_BYTES: usize = 512 << 10;
/// The largest batch: one group with very many members. A follower fetches it whole.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// No less than what a record takes beside its key and value.
const RECORD_BYTES: usize = 32;

/// A batch of records on their way into the log.
pub(super) struct Outgoing {
    ids: Vec<WriteId>,
    batch: Batch,
}

/// What became of a batch.
pub(super) enum Written {
    /// It is committed.
    Yes(Vec<WriteId>),
    /// It is not in the log, and never will be.
    No(Vec<WriteId>, ErrorCode),
    /// Nobody knows: the shard must be made anew.
    Unknown,
}

impl<E: Env> Shard<E> {
    /// The next batch, if there is something to write. Writes that are too large are refused. If the coordinator must
    /// be made anew since one of them was, nothing is written any more: what came after it stands on nothing.
    pub(super) fn next_batch(&self) -> Option<Outgoing> {
        loop {
            let (outgoing, refused) = self.take_queued(|queue| {
                let now = self.env.clock().wall();
                let mut builder = BatchBuilder::new(Codec::None, MAX_BATCH_BYTES);
                let mut ids = Vec::new();
                let mut refused = Vec::new();
                while let Some(write) = queue.front() {
                    let records: Vec<_> =
                        write.records.iter().map(highwater_groups::Record::encode).collect();
                    let size: usize = records
                        .iter()
                        .map(|(key, value)| {
                            key.len() + value.as_ref().map_or(0, bytes::Bytes::len) + RECORD_BYTES
                        })
                        .sum();
                    if size > MAX_BATCH_BYTES / 2 {
                        if builder.is_empty() {
                            refused.push(write.id);
                            queue.pop_front();
                        }
                        break;
                    }
                    if !builder.is_empty() && builder.size_bytes() + size > BATCH_BYTES {
                        break;
                    }
                    for (key, value) in &records {
                        let taken = builder.try_push(now, Some(key), value.as_deref(), &[]);
                        assert!(taken, "its size was looked at");
                    }
                    ids.push(write.id);
                    queue.pop_front();
                }
                let outgoing = (!builder.is_empty()).then(|| (ids, builder.build()));
                (outgoing, refused)
            });
            self.settle(&refused, Err(ErrorCode::UNKNOWN_SERVER_ERROR));
            if self.is_doubtful() {
                return None;
            }
            match outgoing {
                Some((ids, bytes)) => {
                    let batch = Batch::check(bytes).expect("what was built is sound");
                    return Some(Outgoing { ids, batch });
                }
                None if refused.is_empty() => return None,
                None => {}
            }
        }
    }

    /// Appends a batch, and waits until it is committed.
    pub(super) async fn write(self: Arc<Self>, outgoing: Outgoing) -> Written {
        let Outgoing { ids, batch } = outgoing;
        if !self.partition.has_enough_in_sync() {
            return Written::No(ids, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        let mut ticket = self.partition.enqueue(batch);
        let appended = match poll_fn(|cx| Partition::poll_appended(&mut ticket, cx)).await {
            Ok(appended) => appended,
            Err(unwritten) => {
                let code = errors::of_unwritten(&unwritten);
                tracing::debug!(log = %self.partition.id(), code = code.name(), "records of groups were not written");
                let definite = matches!(unwritten, Unwritten::Refused(_));
                return if definite && self.partition.progress().stopped().is_none() {
                    Written::No(ids, ErrorCode::COORDINATOR_NOT_AVAILABLE)
                } else {
                    Written::Unknown
                };
            }
        };
        let progress = Arc::clone(self.partition.progress());
        // Members that wait here while this node is cut off are told to look for another coordinator.
        let mut waiting = if mutant!("coord-cut-off-parked") {
            Waiting::new(progress, Mark::HighWatermark, appended.end_offset, self.epoch())
        } else {
            Waiting::for_commit(progress, appended.end_offset, self.epoch())
        };
        if poll_fn(|cx| waiting.poll(cx)).await.is_err() {
            return Written::Unknown;
        }
        if self.partition.has_enough_in_sync() {
            self.env.observe(&Event::Acknowledged {
                log: self.partition.id(),
                base: appended.base_offset,
                last: Offset(appended.end_offset.0 - 1),
                acks: -1,
            });
        }
        Written::Yes(ids)
    }
}
