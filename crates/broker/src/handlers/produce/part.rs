//! What becomes of one batch of a produce request, whichever way the request was read.

use super::refused::Refused;
use crate::append_queue::{Ticket, Unwritten};
use crate::errors;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::progress::{Mark, Stopped, Waiting};
use highwater_env::{Env, Event};
use highwater_types::{LeaderEpoch, Offset, Timestamp, mutant};
use highwater_wire::ErrorCode;
use highwater_wire::messages::PartitionProduceResponse;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A batch in line for its partition's log, or in it.
pub(super) struct Part<E: Env> {
    ticket: Ticket<Partition<E>>,
    /// The epoch that this node led the partition in when the batch came. What happens in another is not about it.
    epoch: LeaderEpoch,
    /// The offset behind it, once it is in the log.
    end: Option<Offset>,
    /// For the high watermark to pass it.
    waiting: Option<Waiting<E>>,
    outcome: Poll<Result<(), Stopped>>,
}

impl<E: Env> Part<E> {
    pub(super) fn new(ticket: Ticket<Partition<E>>, epoch: LeaderEpoch) -> Self {
        Self { ticket, epoch, end: None, waiting: None, outcome: Poll::Ready(Ok(())) }
    }

    pub(super) fn partition(&self) -> &Partition<E> {
        self.ticket.owner()
    }

    /// Waits until it is in its log, or refused, and says so in its answer. To be called until it is ready.
    pub(super) fn poll_appended(
        &mut self,
        acks: i16,
        metrics: &Metrics,
        response: &mut PartitionProduceResponse,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let fate = ready!(Partition::poll_appended(&mut self.ticket, cx));
        let partition = self.ticket.owner();
        match fate {
            Ok(appended) => {
                response.base_offset = appended.base_offset;
                response.log_append_time_ms = appended.append_time.unwrap_or(Timestamp::NONE);
                response.log_start_offset = partition.log().start_offset();
                self.end = Some(appended.end_offset);
                let waits = acks == super::ACKS_ALL && !mutant!("ack-before-isr");
                // Most often it has been passed already, and no place in the list is needed.
                if waits {
                    let (progress, end) = (partition.progress(), appended.end_offset);
                    self.outcome = progress.look(Mark::HighWatermark, end, self.epoch);
                    self.waiting = self
                        .outcome
                        .is_pending()
                        .then(|| Waiting::for_commit(Arc::clone(progress), end, self.epoch));
                }
            }
            Err(unwritten) => {
                metrics.produce_refused.one();
                refused(partition, &unwritten).tell(response);
            }
        }
        Poll::Ready(())
    }

    /// Waits until the high watermark has passed it, or never will, if that is to be waited for.
    pub(super) fn poll_reached(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let (Poll::Pending, Some(waiting)) = (self.outcome, &mut self.waiting) {
            self.outcome = waiting.poll(cx);
        }
        self.outcome.map(drop)
    }

    /// Tells the outcome, whatever it is by now.
    pub(super) fn finish(&self, env: &E, acks: i16, response: &mut PartitionProduceResponse) {
        // One without an end was refused before.
        let Some(end) = self.end else { return };
        match self.outcome {
            Poll::Ready(Ok(())) if acks == super::ACKS_ALL && !self.partition().has_enough_in_sync() => {
                super::fail(response, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
            }
            Poll::Ready(Ok(())) => env.observe(&Event::Acknowledged {
                log: self.partition().id(),
                base: response.base_offset,
                last: Offset(end.0 - 1),
                acks,
            }),
            Poll::Ready(Err(stopped)) => super::fail(response, errors::of_stopped(stopped)),
            Poll::Pending => super::fail(response, ErrorCode::REQUEST_TIMED_OUT),
        }
    }
}

/// Why a batch is not in its log.
fn refused<E: Env>(partition: &Partition<E>, unwritten: &Unwritten) -> Refused {
    let mut code = errors::of_unwritten(unwritten);
    if code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && !partition.is_sure_to_lead() {
        // Another leader may have what is missing here. To the producer this would be final.
        code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    }
    match unwritten {
        Unwritten::Refused(error) => {
            if code == ErrorCode::KAFKA_STORAGE_ERROR {
                tracing::warn!(log = %partition.id(), %error, "a batch was not appended");
            }
            Refused::new(code, &error.to_string())
        }
        Unwritten::NotLeader | Unwritten::Abandoned => code.into(),
    }
}
