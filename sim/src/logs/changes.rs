//! What moves the start or the end of a log, with what the record has to know of it.

use super::history::{Opened, Shared};
use super::producer::{SharedProducer, lock as lock_producer};
use crate::executor::{SimEnv, Violation};
use highwater_log::Log;
use highwater_types::{LogId, Offset};

impl Shared {
    /// Deletes the records of a log before an offset.
    pub async fn delete_records(&self, log: &Log<SimEnv>, up_to: Offset) {
        self.with_log(log.id(), |ghost| ghost.deletion_asked = ghost.deletion_asked.max(up_to));
        if let Ok(start) = log.delete_records(up_to).await {
            self.with_log(log.id(), |ghost| ghost.deletion_done = ghost.deletion_done.max(start.min(up_to)));
        }
    }

    /// Moves a log's end back, as replication would, into the middle of what was acknowledged too. Nobody appends
    /// meanwhile, and the clients' sequences begin anew.
    pub async fn truncate(
        &self,
        opened: &mut Opened,
        log: &Log<SimEnv>,
        to: Offset,
    ) -> Result<(), Violation> {
        let Some(producers) = self.silence(log.id()) else { return Ok(()) };
        let truncated = log.truncate(to).await.is_ok();
        opened.context.epoch = self.next_epoch();
        producers.iter().for_each(|producer| lock_producer(producer).restart());
        let (start, end) = (log.start_offset(), log.end_offset());
        if truncated && start > end {
            return Err(Violation::new(
                "S8",
                format!("{}: truncated to {end}, the log starts at {start}", log.id()),
            ));
        }
        Ok(())
    }

    /// Empties a log, to go on at another offset, as replication would. Nobody appends meanwhile.
    pub async fn restart_log(
        &self,
        opened: &mut Opened,
        log: &Log<SimEnv>,
        start: Offset,
    ) -> Result<(), Violation> {
        let Some(producers) = self.silence(log.id()) else { return Ok(()) };
        if !log.is_poisoned() {
            // An attempt before this one that failed half-way may still be completed by the next opening.
            self.with_log(log.id(), |ghost| ghost.restarting = Some(start));
        }
        let restarted = log.restart_at(start).await.is_ok();
        if !log.is_poisoned() {
            self.with_log(log.id(), |ghost| ghost.restarting = None);
        }
        opened.context.epoch = self.next_epoch();
        producers.iter().for_each(|producer| lock_producer(producer).restart());
        let found = (log.start_offset(), log.end_offset(), log.latest_epoch());
        if restarted && found != (start, start, None) {
            let text = format!("{}: it began anew at {start}, and has {found:?}", log.id());
            return Err(Violation::new("S8", text));
        }
        Ok(())
    }

    /// Takes the clients of a log, which give up what has no answer; None if one of them is at work.
    pub fn silence(&self, log: LogId) -> Option<Vec<SharedProducer>> {
        let producers = self.producers_of(log);
        if producers.iter().any(|producer| lock_producer(producer).is_busy()) {
            return None;
        }
        for producer in &producers {
            let mut producer = lock_producer(producer);
            producer.begin();
            producer.forget();
        }
        Some(producers)
    }
}
