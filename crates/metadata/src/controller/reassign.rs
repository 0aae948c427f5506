//! Changing the replicas of partitions (KIP-455).

use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::image::{Image, Partition};
use crate::refusal::Refusal;
use highwater_types::{BrokerId, LogId, PartitionIndex, mutant};
use std::collections::BTreeSet;

/// New replicas for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic, by name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The replicas it shall have, in order of preference; none cancels the change that is under way.
    pub replicas: Option<Vec<BrokerId>>,
}

/// A change of replicas that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OngoingReassignment {
    /// The partition.
    pub log: LogId,
    /// All its replicas.
    pub replicas: Vec<BrokerId>,
    /// Those that are being added.
    pub adding: Vec<BrokerId>,
    /// Those that are being removed.
    pub removing: Vec<BrokerId>,
}

/// Begins, changes and cancels reassignments. Where the factor must not change, a list of another length than the
/// partition has replicas is refused (KIP-860).
pub fn alter_reassignments(
    view: &ConfigView<'_>,
    reassignments: &[Reassignment],
    allow_replication_factor_change: bool,
) -> Decision<()> {
    let mut work = Work::new(view);
    let answers = reassignments
        .iter()
        .map(|wanted| {
            let log = find(&work.image, wanted)?;
            if work.room() == 0 {
                let message = "The request changes too much at once: split it into several.";
                return Err(Refusal::new(RefusalCode::PolicyViolation, message));
            }
            match &wanted.replicas {
                None => work.cancel_reassignment(log),
                Some(replicas) => work.reassign(log, replicas, allow_replication_factor_change),
            }
        })
        .collect();
    Decision { records: work.into_records(), answers }
}

/// The reassignments under way; of these partitions alone, if any are named.
pub fn list_reassignments(image: &Image, logs: Option<&[LogId]>) -> Vec<OngoingReassignment> {
    let describe = |(log, partition): (LogId, &Partition)| OngoingReassignment {
        log,
        replicas: partition.replicas.clone(),
        adding: partition.adding.clone(),
        removing: partition.removing.clone(),
    };
    match logs {
        None => image.reassigning().map(describe).collect(),
        Some(logs) => logs
            .iter()
            .filter_map(|&log| Some((log, image.partition(log)?)))
            .filter(|(_, partition)| partition.is_reassigning())
            .map(describe)
            .collect(),
    }
}

fn find(image: &Image, wanted: &Reassignment) -> Result<LogId, Refusal> {
    image
        .topic(&wanted.topic)
        .map(|topic| LogId { topic: topic.id(), partition: wanted.partition })
        .filter(|&log| image.partition(log).is_some())
        .ok_or_else(|| {
            let message = "This server does not host this topic-partition.";
            Refusal::new(RefusalCode::UnknownTopicOrPartition, message)
        })
}

impl Work<'_> {
    pub(super) fn reassign(
        &mut self,
        log: LogId,
        target: &[BrokerId],
        allow_factor_change: bool,
    ) -> Result<(), Refusal> {
        let refuse = |code, message: String| Err(Refusal::new(code, message));
        let partition = self.image.partition(log).expect("it was just found");
        let twice = (1..target.len()).any(|at| target[..at].contains(&target[at]));
        if target.is_empty() || twice {
            let message = "New replicas must be at least one, and each named once.".to_owned();
            return refuse(RefusalCode::InvalidReplicaAssignment, message);
        }
        if let Some(id) = target.iter().find(|&&id| self.image.broker(id).is_none()) {
            let message = format!("The new replicas name broker {id}, which is not registered.");
            return refuse(RefusalCode::InvalidReplicaAssignment, message);
        }
        let settled: Vec<BrokerId> = partition.settled_replicas().collect();
        let staying = settled.iter().filter(|id| !partition.removing.contains(id)).count();
        let factor = if partition.is_reassigning() { staying.max(settled.len()) } else { settled.len() };
        if !allow_factor_change && target.len() != factor {
            let message = format!("The partition has {factor} replicas, and {} are named.", target.len());
            return refuse(RefusalCode::InvalidReplicationFactor, message);
        }
        // Against the replicas from before all that is under way: one that was being added is not there yet.
        let adding: Vec<_> = target.iter().copied().filter(|id| !settled.contains(id)).collect();
        let removing: Vec<_> = partition.replicas.iter().copied().filter(|id| !target.contains(id)).collect();
        // What is added and no longer wanted goes at once; nobody counts on it.
        let (dropped, removing): (Vec<_>, Vec<_>) =
            removing.into_iter().partition(|id| partition.adding.contains(id));
        self.check_enough(log, |id| !dropped.contains(&id))?;
        let replicas = [target, &removing].concat();
        self.change(log, &BTreeSet::new(), |change| {
            change.replicas = replicas;
            change.adding = adding;
            change.removing = removing;
        });
        Ok(())
    }

    fn cancel_reassignment(&mut self, log: LogId) -> Result<(), Refusal> {
        let partition = self.image.partition(log).expect("it was just found");
        if !partition.is_reassigning() {
            let message = format!("Partition {log} is not being reassigned.");
            return Err(Refusal::new(RefusalCode::NoReassignmentInProgress, message));
        }
        let replicas: Vec<BrokerId> = partition.settled_replicas().collect();
        self.check_enough(log, |id| replicas.contains(&id))?;
        self.change(log, &BTreeSet::new(), |change| {
            change.replicas = replicas;
            change.adding.clear();
            change.removing.clear();
        });
        Ok(())
    }

    /// Refuses to give up replicas in sync where too few would be left, and to give up the last ones that are complete,
    /// or led last, whether they are there now or not: they would remove what nobody else has.
    fn check_enough(&mut self, log: LogId, stays: impl Fn(BrokerId) -> bool) -> Result<(), Refusal> {
        let min = self.rules(log.topic).min_insync_replicas;
        let partition = self.image.partition(log).expect("it was just found");
        let left = |ids: &[BrokerId]| ids.iter().filter(|&&id| stays(id)).count();
        let isr_left = left(&partition.isr);
        let complete = [&partition.isr[..], &partition.elr].concat();
        let last = if complete.is_empty() { partition.last_known_elr.clone() } else { complete };
        if !last.is_empty() && left(&last) == 0 && !mutant!("reassign-last-complete") {
            let last: Vec<String> = last.iter().map(ToString::to_string).collect();
            let message = format!(
                "Partition {log} would be left without a complete replica: broker {} has one.",
                last.join(", ")
            );
            return Err(Refusal::new(RefusalCode::InvalidReplicaAssignment, message));
        }
        if isr_left < partition.isr.len() && isr_left < partition.effective_min_isr(min) {
            let message = format!(
                "Partition {log} would be left with {isr_left} replica(s) in sync, without those that were being added."
            );
            return Err(Refusal::new(RefusalCode::InvalidReplicaAssignment, message));
        }
        Ok(())
    }

    /// Completes what only waited for something else.
    pub(super) fn complete_reassignments(&mut self) {
        let logs: Vec<LogId> = self.image.reassigning().map(|(log, _)| log).collect();
        for log in logs {
            if self.room() == 0 {
                return;
            }
            self.change(log, &BTreeSet::new(), |_| {});
        }
    }
}
