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
        each(view, from, epoch, logs, |work, log| {
            let others = work.image.partition(log).is_some_and(|partition| {
                partition.isr.iter().chain(&partition.elr).any(|&member| member != from)
            });
            if !others {
                return Err(format!("No other replica of {log} is known to be complete."));
            }
            work.change(log, &BTreeSet::new(), |change| change.lose_disk(from));
            Ok(())
        })
    }

    /// Has other replicas in sync lead partitions whose logs failed at a broker, or could not be made there: what they
    /// have stays, and they take nothing more for now. As if the broker were fenced for these partitions alone. Not
    /// where nobody else in sync lives: who can still read there is better off than without a leader.
    pub fn fail_logs(
        &self,
        view: &ConfigView<'_>,
        from: BrokerId,
        epoch: BrokerEpoch,
        logs: &[LogId],
    ) -> Decision<()> {
        let failed = BTreeSet::from([from]);
        each(view, from, epoch, logs, |work, log| {
            if !work.image.has_heirs(log, from) {
                return Err(format!("No other replica in sync of {log} lives."));
            }
            work.change(log, &failed, |change| change.lose_memory(from));
            Ok(())
        })
    }
}

/// One step for each of the logs, which ends with why it cannot be made where that is so.
fn each(
    view: &ConfigView<'_>,
    from: BrokerId,
    epoch: BrokerEpoch,
    logs: &[LogId],
    step: impl Fn(&mut Work<'_>, LogId) -> Result<(), String>,
) -> Decision<()> {
    if let Err(refusal) = check_epoch(view.image, from, epoch) {
        return nothing(Err(refusal));
    }
    let mut work = Work::new(view);
    let refuse = |message| Refusal::new(RefusalCode::EligibleLeadersNotAvailable, message);
    let answers = logs.iter().map(|&log| step(&mut work, log).map_err(refuse)).collect();
    Decision { records: work.into_records(), answers }
}
