//! A partition that this node follows: what it fetches, and what it does with the answers.

use super::Partition;
use super::history::LogHistory;
use super::role::Role;
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_log::{AppendError, LogError};
use highwater_replication::{FetchAnswer, FetchPosition, Outcome, Step};
use highwater_types::{BrokerId, Offset, mutant};
use std::sync::Arc;

/// What a follower asks for, and says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) position: FetchPosition,
    pub(crate) log_start: Offset,
    /// How far the log is on disk.
    pub(crate) synced: Offset,
    pub(crate) high_watermark: Offset,
}

/// Why an answer could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl<E: Env> Partition<E> {
    /// What to ask `leader` for, if that is whom this node follows.
    pub(crate) fn followed(&self, leader: BrokerId) -> Option<Followed> {
        let replica = self.replica();
        let Role::Follower { follower, .. } = &replica.role else { return None };
        if follower.leader() != leader || self.progress().stopped().is_some() {
            return None;
        }
        let synced = self.log.synced_end();
        let position = follower.position(&LogHistory(&self.log));
        let (log_start, high_watermark) = (self.log.start_offset(), follower.high_watermark());
        Some(Followed { position, log_start, synced: synced.min(position.offset), high_watermark })
    }

    /// Carries out what the leader answered. One answer at a time.
    pub(crate) async fn carry_out(
        self: &Arc<Self>,
        answer: &FetchAnswer,
        records: Bytes,
    ) -> Result<(), FollowError> {
        let (step, busy) = {
            let mut replica = self.replica();
            let end = self.log.end_offset();
            let step = match (&mut replica.role, answer.outcome) {
                (Role::Follower { follower, .. }, outcome) => {
                    let step = follower.handle(answer, &LogHistory(&self.log));
                    match outcome {
                        Outcome::Diverging { high_watermark, .. } if mutant!("hw-before-truncate") => {
                            self.progress().advance(high_watermark.min(end));
                        }
                        _ => self.progress().lower(follower.high_watermark()),
                    }
                    step
                }
                (Role::Leader(_), Outcome::Diverging { end: shared, .. })
                    if mutant!("trunc-removed-fetcher") =>
                {
                    Step::Truncate(shared.min(end))
                }
                _ => Step::Ignore,
            };
            if step == Step::Ignore {
                return Ok(());
            }
            (step, self.busy(&mut replica))
        };
        match step {
            Step::Append => self.append_fetched(answer, records).await?,
            Step::Truncate(to) => {
                tracing::info!(log = %self.id, %to, end = %self.log.end_offset(), "the log parts from the leader's");
                self.env.observe(&Event::Reached("replication: a follower cuts its log"));
                self.log.truncate(to).await?;
                if mutant!("hw-before-truncate") {
                    self.progress().lower(to);
                }
            }
            Step::Restart(start) => {
                tracing::info!(log = %self.id, %start, "the leader does not have what is next: beginning anew");
                self.env.observe(&Event::Reached("replication: a follower begins anew"));
                self.log.restart_at(start).await?;
                self.progress().advance(start);
            }
            Step::Ignore => {}
        }
        drop(busy);
        Ok(())
    }

    async fn append_fetched(&self, answer: &FetchAnswer, records: Bytes) -> Result<(), FollowError> {
        let mut end = answer.position.offset;
        if !records.is_empty() {
            end = self.append_records(records).await?;
        }
        let (committed, start) = {
            let mut replica = self.replica();
            let Role::Follower { follower, .. } = &mut replica.role else { return Ok(()) };
            follower.appended(self.log.start_offset(), end)
        };
        if let Some(committed) = committed {
            self.progress().advance(committed);
        }
        if let Some(start) = start {
            self.log.delete_records(start).await?;
        }
        Ok(())
    }

    async fn append_records(&self, records: Bytes) -> Result<Offset, AppendError> {
        let now = self.env.clock().wall();
        let appended = match self.log.append_replica(records.clone(), now).await {
            Err(AppendError::StaleLeaderEpoch { .. }) => {
                // An epoch that this node was elected in and wrote nothing: it gives way to what others wrote before.
                self.log.truncate(self.log.end_offset()).await?;
                self.log.append_replica(records, now).await?
            }
            Err(AppendError::NotNext { expected, found })
                if found < expected && self.log.start_offset() == self.log.end_offset() =>
            {
                // The leader's log begins within a batch.
                self.log.restart_at(found).await?;
                self.log.append_replica(records, now).await?
            }
            appended => appended?,
        };
        Ok(appended.end_offset)
    }
}
