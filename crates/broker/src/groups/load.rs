//! Reading a partition of the offsets topic from its first record to its last.

use super::Shard;
use crate::progress::{Mark, Waiting};
use highwater_env::{Env, File, sleep};
use highwater_groups::Record;
use highwater_log::ReadSlice;
use highwater_records::{Batch, Batches};
use highwater_types::Offset;
use std::fmt::Display;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// The most that the records of one batch may have when they are unpacked.
const MAX_UNPACKED_BYTES: usize = 64 << 20;
/// How often it is looked whether this node leads by now.
const PAUSE: Duration = Duration::from_millis(10);

impl<E: Env> Shard<E> {
    /// Waits until this node leads in the shard's epoch; false if it never will.
    pub(super) async fn wait_for_lead(&self) -> bool {
        loop {
            if self.leads() {
                return true;
            }
            let progress = self.partition.progress();
            if progress.epoch() > self.epoch()
                || self.partition.leader_epoch() > self.epoch()
                || progress.stopped().is_some()
            {
                return false;
            }
            // The partition takes its new role once what is being appended or cut is done with.
            sleep(self.env.clock(), PAUSE).await;
        }
    }

    /// Reads all that the log holds, once all of it is committed.
    pub(super) async fn load(&self) -> Result<usize, String> {
        self.begin_loading();
        let log = self.partition.log();
        // Only this shard writes in its epoch: the log does not grow meanwhile.
        let end = log.end_offset();
        let progress = Arc::clone(self.partition.progress());
        let mut committed = Waiting::new(progress, Mark::HighWatermark, end, self.epoch());
        poll_fn(|cx| committed.poll(cx)).await.map_err(|stopped| format!("{stopped:?}"))?;
        let mut next = log.start_offset();
        while next < end {
            let slice = log.read(next, end, CHUNK_BYTES, true).await.map_err(told)?;
            let bytes = match slice {
                ReadSlice::Checked(bytes) => bytes,
                ReadSlice::Verified { file, position, length } => {
                    file.read_at(position, length).await.map_err(told)?
                }
            };
            if bytes.is_empty() {
                return Err(format!("there is nothing at {next}, and the log ends at {end}"));
            }
            for batch in Batches::new(bytes) {
                let batch = batch.map_err(told)?;
                next = next.max(Offset(batch.header().last_offset().0 + 1));
                self.replay_batch(&batch)?;
            }
        }
        Ok(self.activate())
    }

    fn replay_batch(&self, batch: &Batch) -> Result<(), String> {
        if batch.header().attributes.is_control() {
            return Ok(());
        }
        let mut records = Vec::new();
        for record in batch.records_within(MAX_UNPACKED_BYTES).map_err(told)? {
            let record = record.map_err(told)?;
            match Record::decode(record.key, record.value) {
                Ok(known) => records.extend(known),
                // As Kafka does: the rest of the log is worth more than this one record.
                Err(error) => {
                    let (log, offset) = (self.partition.id(), record.offset);
                    tracing::error!(%log, %offset, %error, "a record of a group is passed over");
                }
            }
        }
        self.replay(records.into_iter());
        Ok(())
    }
}

fn told(error: impl Display) -> String {
    error.to_string()
}
