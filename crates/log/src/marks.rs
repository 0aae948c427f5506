//! Writing the proven marks.

use crate::checkpoint::{Mark, Marks};
use crate::core::{Core, lock};
use highwater_env::{Env, sleep};
use highwater_types::mutant;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<E: Env> Core<E> {
    /// Makes the present proven marks of all logs durable.
    pub(crate) async fn write_marks(&self) -> io::Result<()> {
        let mut written = self.marks.lock().await;
        self.marks_due.store(false, Ordering::Release);
        let failed = lock(&self.failed).iter().filter_map(|(&id, mark)| Some((id, (*mark)?))).collect();
        let mut next = Marks { sequence: written.sequence + 1, logs: failed };
        for log in lock(&self.logs).values() {
            let mut mark = *lock(&log.0.mark);
            if mutant!("log-recovery-early") {
                let view = lock(&log.0.view);
                let summary = view.active.index.summary();
                mark = Mark { proven: summary.end, segment: summary.base, position: summary.size, ..mark };
            }
            // A start beyond the mark is not promised yet: it waits for the records before it to be proven.
            if !mutant!("retention-past-hw") {
                mark.start = mark.start.min(mark.proven);
            }
            next.logs.insert(log.0.id, mark);
        }
        let result = next.store(self.env.disk(), &self.options.dir).await;
        // The sequence number counts attempts: one that failed may have reached the disk all the same.
        written.sequence = next.sequence;
        match result {
            Ok(()) => {
                for log in lock(&self.logs).values() {
                    if let (Some(previous), Some(latest)) =
                        (written.logs.get(&log.0.id), next.logs.get(&log.0.id))
                    {
                        log.0.marked.store(previous.proven.min(latest.proven).0, Ordering::Release);
                    }
                }
                *written = next;
            }
            Err(_) => self.marks_due.store(true, Ordering::Release),
        }
        result
    }
}

/// The store's checkpoint task.
pub(crate) async fn run_checkpoints<E: Env>(core: Arc<Core<E>>) {
    loop {
        if !core.marks_due.load(Ordering::Acquire) {
            core.marks_wake.notified().await;
        }
        sleep(core.env.clock(), core.options.checkpoint_interval).await;
        if let Err(error) = core.write_marks().await {
            tracing::warn!(%error, "cannot write the proven marks; the last ones stay");
        }
    }
}
