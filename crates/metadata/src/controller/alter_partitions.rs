//! Changes of in-sync sets, asked for by leaders (KIP-497).

use super::active::Controller;
use super::heartbeat::check_epoch;
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::image::{Image, Partition};
use crate::refusal::Refusal;
use highwater_types::{BrokerEpoch, BrokerId, LeaderEpoch, LogId, mutant};
use std::collections::BTreeSet;

/// A change of one partition's in-sync set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// The partition.
    pub log: LogId,
    /// The epoch of the leader who asks.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch of the state that it changes.
    pub partition_epoch: i32,
    /// The new in-sync set, the leader included, each with the epoch of the broker that the leader has seen fetching
    /// (KIP-903).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

impl Controller {
    /// Decides on changes of in-sync sets. The answers are the partitions as they become.
    ///
    /// A leader may *count* on a smaller set for what is committed only once its own image holds it, not when it gets
    /// the answer: its image may not hold yet the configuration that was in force for the change, and members that
    /// left a set that is too small by that configuration can be elected.
    pub fn alter_partitions(
        &self,
        view: &ConfigView<'_>,
        from: BrokerId,
        epoch: BrokerEpoch,
        changes: &[IsrChange],
    ) -> Decision<Partition> {
        if let Err(refusal) = check_epoch(view.image, from, epoch) {
            let answers = changes.iter().map(|_| Err(refusal.clone())).collect();
            return Decision { records: Vec::new(), answers };
        }
        let mut work = Work::new(view);
        let answers = changes.iter().map(|change| work.alter_isr(from, change)).collect();
        Decision { records: work.into_records(), answers }
    }
}

impl Work<'_> {
    fn alter_isr(&mut self, from: BrokerId, change: &IsrChange) -> Result<Partition, Refusal> {
        check(&self.image, from, change)?;
        if self.room() == 0 {
            let message = "The request changes too much at once. Try again.";
            return Err(Refusal::new(RefusalCode::RequestTimedOut, message));
        }
        let isr: Vec<BrokerId> = change.isr.iter().map(|&(id, _)| id).collect();
        if mutant!("isr-join-fenced") {
            let trusting = |image: &Image, id: BrokerId| isr.contains(&id) || image.is_active(id);
            self.change_with(change.log, |change| change.isr = isr.clone(), trusting);
        } else {
            // Also if the set is the present one: a leader asks for that to be sure that none of its earlier requests,
            // which may still be on their way, is carried out.
            self.change(change.log, &BTreeSet::new(), |change| (change.isr, change.counts) = (isr, true));
        }
        let after = self.image.partition(change.log).expect("it was there before");
        if after.leader != Some(from) {
            let message = format!("The change of {} led to another leader.", change.log);
            return Err(Refusal::new(RefusalCode::NewLeaderElected, message));
        }
        Ok(after.clone())
    }
}

fn check(image: &Image, from: BrokerId, change: &IsrChange) -> Result<(), Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    let log = change.log;
    if image.topic_by_id(log.topic).is_none() {
        return refuse(RefusalCode::UnknownTopicId, format!("No topic has the id {}.", log.topic));
    }
    let Some(partition) = image.partition(log) else {
        return refuse(RefusalCode::UnknownTopicOrPartition, format!("There is no partition {log}."));
    };
    let (leader_epoch, partition_epoch) = (partition.leader_epoch, partition.partition_epoch);
    if change.leader_epoch > leader_epoch || change.partition_epoch > partition_epoch {
        let message = format!("Partition {log} is not known in such a late state here.");
        return refuse(RefusalCode::NotController, message);
    }
    if change.leader_epoch < leader_epoch {
        let message =
            format!("Partition {log} has leader epoch {leader_epoch}, not {}.", change.leader_epoch);
        return refuse(RefusalCode::FencedLeaderEpoch, message);
    }
    if partition.leader != Some(from) {
        return refuse(RefusalCode::InvalidRequest, format!("Broker {from} does not lead partition {log}."));
    }
    if change.partition_epoch < partition_epoch {
        let message =
            format!("Partition {log} has partition epoch {partition_epoch}, not {}.", change.partition_epoch);
        return refuse(RefusalCode::InvalidUpdateVersion, message);
    }
    let ids: Vec<BrokerId> = change.isr.iter().map(|&(id, _)| id).collect();
    let twice = (1..ids.len()).any(|at| ids[..at].contains(&ids[at]));
    if twice || !ids.contains(&from) || ids.iter().any(|id| !partition.replicas.contains(id)) {
        let message =
            format!("The in-sync set of {log} must be some of its replicas, and the leader among them.");
        return refuse(RefusalCode::InvalidRequest, message);
    }
    let ineligible = change.isr.iter().find(|&&(id, epoch)| !is_eligible(image, id, epoch));
    if let Some(&(id, epoch)) = ineligible {
        let message = format!(
            "Broker {id} of epoch {epoch} cannot be in sync in {log}: it is fenced, on its way out, or registered anew."
        );
        return refuse(RefusalCode::IneligibleReplica, message);
    }
    Ok(())
}

/// Whether a broker may be in sync: it is active (KIP-841), and it is the same that fetched (KIP-903). One that has
/// started again since may have lost what it had fetched.
fn is_eligible(image: &Image, id: BrokerId, epoch: BrokerEpoch) -> bool {
    image.broker(id).is_some_and(|broker| {
        (broker.is_active() || mutant!("isr-join-fenced"))
            && (broker.epoch == epoch || mutant!("isr-stale-broker-epoch"))
    })
}
