//! The task of a shard: reads the log, then writes what is to be written and lets time pass, until the epoch ends.

use super::write::Written;
use super::{RoutedTopics, Shard};
use crate::progress::{Mark, Stopped, Waiting};
use crate::replication::until_stop;
use crate::state::Shared;
use highwater_env::{Env, Task, sleep};
use highwater_types::{Offset, mutant};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long to wait before a log that could not be read is read again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts it.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>, shard: Arc<Shard<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    env.spawn("group-coordinator", async move {
        until_stop(&shared, run(&shared, &shard)).await;
        if !(mutant!("coord-no-unload") && !shared.stop.is_raised()) {
            shard.close();
        }
    })
}

/// Ends when the epoch does.
async fn run<E: Env>(shared: &Shared<E>, shard: &Arc<Shard<E>>) {
    while shard.wait_for_lead().await {
        let log = shard.partition.id();
        match shard.load().await {
            Ok(groups) => {
                tracing::info!(%log, epoch = %shard.epoch(), groups, "coordinating groups");
                match serve(shared, shard).await {
                    Some(Stopped::Deposed | Stopped::Closed) => return,
                    // What is in the log is found out anew, or not at all while it has failed.
                    Some(Stopped::Failed | Stopped::CutOff) | None => shard.begin_loading(),
                }
            }
            Err(problem) => tracing::warn!(%log, problem, "the groups of a partition could not be read"),
        }
        sleep(shard.env.clock(), RETRY).await;
    }
}

/// Something that happened.
enum News {
    Over(Stopped),
    Written(Written),
    /// There is something to write, or to do.
    Rung,
}

type Writing = Pin<Box<dyn Future<Output = Written> + Send>>;

/// Serves until the epoch ends, or it is not known any more what is in the log.
async fn serve<E: Env>(shared: &Shared<E>, shard: &Arc<Shard<E>>) -> Option<Stopped> {
    let progress = Arc::clone(shard.partition.progress());
    // Waits for nothing but the end.
    let mut over = Waiting::new(progress, Mark::HighWatermark, Offset(i64::MAX), shard.epoch());
    let mut writing: Option<Writing> = None;
    loop {
        if shard.is_doubtful() {
            return None;
        }
        let due = shard.tick(&RoutedTopics(&shared.directory.load()));
        if writing.is_none() {
            writing = shard.next_batch().map(|batch| Box::pin(Arc::clone(shard).write(batch)) as Writing);
        }
        let mut due = due.map(|at| shard.env.clock().sleep_until(at));
        let mut rung = pin!(shard.bell.notified());
        let news = poll_fn(|cx| {
            if let Poll::Ready(Err(stopped)) = over.poll(cx) {
                return Poll::Ready(News::Over(stopped));
            }
            if let Some(work) = &mut writing
                && let Poll::Ready(written) = work.as_mut().poll(cx)
            {
                return Poll::Ready(News::Written(written));
            }
            let is_due = due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready());
            if is_due || rung.as_mut().poll(cx).is_ready() {
                return Poll::Ready(News::Rung);
            }
            Poll::Pending
        })
        .await;
        match news {
            News::Over(stopped) => return Some(stopped),
            News::Written(written) => {
                writing = None;
                match written {
                    Written::Yes(ids) => shard.settle(&ids, Ok(())),
                    Written::No(ids, code) => shard.settle(&ids, Err(code)),
                    Written::Unknown => return None,
                }
            }
            News::Rung => {}
        }
    }
}
