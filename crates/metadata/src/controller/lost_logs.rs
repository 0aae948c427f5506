//! Logs that a broker should have and has lost, while its disk lives.

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
}
