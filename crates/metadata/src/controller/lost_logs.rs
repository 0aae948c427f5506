//! Logs that a broker has lost, or cannot use, while its disk and itself live.

use super::active::{Controller, nothing};
use super::heartbeat::check_epoch;
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::refusal::Refusal;
use highwater_types::{BrokerEpoch, BrokerId, LogId};
use std::collections::BTreeSet;

impl Controller {
    /// Takes a broker out of what it was complete in, for partitions whose logs it has lost: it has to catch up from
    /// nothing. Not where no other replica is complete: an empty log in place of the last one would hide the loss.
    pub fn lose_logs(
        &self,
        view: &ConfigView<'_>,
        from: BrokerId,
        epoch: BrokerEpoch,
        logs: &[LogId],
    ) -> Decision<()> {
        if let Err(refusal) = check_epoch(view.image, from, epoch) {
            return nothing(Err(refusal));
        }
        let mut work = Work::new(view);
        let nobody = BTreeSet::new();
        let mut answers = Vec::with_capacity(logs.len());
        for &log in logs {
            let others = work.image.partition(log).is_some_and(|partition| {
                partition.isr.iter().chain(&partition.elr).any(|&member| member != from)
            });
            if !others {
                let message = format!("No other replica of {log} is known to be complete.");
                answers.push(Err(Refusal::new(RefusalCode::EligibleLeadersNotAvailable, message)));
                continue;
            }
            work.change(log, &nobody, |change| change.lose_disk(from));
            answers.push(Ok(()));
        }
        Decision { records: work.into_records(), answers }
    }

    /// Has other replicas in sync lead partitions whose logs failed at a broker: what they have stays, and they take
    /// nothing more until it is started again. As if it were fenced for these partitions alone. Not where nobody else
    /// in sync lives: who can still read there is better off than without a leader.
    pub fn fail_logs(
        &self,
        view: &ConfigView<'_>,
        from: BrokerId,
        epoch: BrokerEpoch,
        logs: &[LogId],
    ) -> Decision<()> {
        if let Err(refusal) = check_epoch(view.image, from, epoch) {
            return nothing(Err(refusal));
        }
        let mut work = Work::new(view);
        let failed = BTreeSet::from([from]);
        let mut answers = Vec::with_capacity(logs.len());
        for &log in logs {
            if work.image.has_heirs(log, from) {
                work.change(log, &failed, |change| change.lose_memory(from));
                answers.push(Ok(()));
            } else {
                let message = format!("No other replica in sync of {log} lives.");
                answers.push(Err(Refusal::new(RefusalCode::EligibleLeadersNotAvailable, message)));
            }
        }
        Decision { records: work.into_records(), answers }
    }
}
