//! A change of one partition: who is in sync afterwards, who is eligible, and who leads.
//!
//! The rules are those of KIP-966, KIP-841 and KIP-455, with what `durability` adds; docs/decisions tells why.

use crate::configs::{Durability, MembershipRules};
use crate::image::Partition;
use crate::records::PartitionRecord;
use highwater_types::{BrokerId, LeaderEpoch, LogId, mutant};

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The leader stays if it can.
    Keep,
    /// The first replica, if it can; else as [`Election::Keep`].
    Preferred,
    /// As [`Election::Keep`], but rather any live replica than none.
    Unclean,
}

/// What a partition shall become. Begins as what it is.
pub(super) struct PartitionChange<'a> {
    log: LogId,
    before: &'a Partition,
    rules: MembershipRules,
    /// The replicas, those that are added or removed included.
    pub(super) replicas: Vec<BrokerId>,
    /// The replicas that are added.
    pub(super) adding: Vec<BrokerId>,
    /// The replicas that are removed once all others are there.
    pub(super) removing: Vec<BrokerId>,
    /// The in-sync replicas. Those that are not live are left out at the end.
    pub(super) isr: Vec<BrokerId>,
    /// Whether this makes another state of the partition even if everything stays as it is.
    pub(super) counts: bool,
    /// How a leader is chosen.
    pub(super) election: Election,
    eligible: Vec<BrokerId>,
    last_known: Vec<BrokerId>,
}

impl<'a> PartitionChange<'a> {
    pub(super) fn new(log: LogId, before: &'a Partition, rules: MembershipRules) -> Self {
        let mut eligible = before.isr.clone();
        eligible.extend(&before.elr);
        let last_known = match before.leader {
            Some(leader) => vec![leader],
            None => before.last_known_elr.clone(),
        };
        Self {
            log,
            before,
            rules,
            replicas: before.replicas.clone(),
            adding: before.adding.clone(),
            removing: before.removing.clone(),
            isr: before.isr.clone(),
            counts: false,
            election: Election::Keep,
            eligible,
            last_known,
        }
    }

    /// The replica may have lost records that it had: it is neither in sync nor eligible.
    pub(super) fn lose_tail(&mut self, id: BrokerId) {
        self.isr.retain(|&member| member != id);
        self.eligible.retain(|&member| member != id);
    }

    /// The replica may have lost what was in its memory alone. Where acknowledgements wait for the disk, nothing that
    /// was acknowledged is among that.
    pub(super) fn lose_memory(&mut self, id: BrokerId) {
        if self.rules.durability != Durability::Sync {
            self.lose_tail(id);
        }
    }

    /// The replica has lost everything: it is not even the last resort.
    pub(super) fn lose_disk(&mut self, id: BrokerId) {
        self.lose_tail(id);
        self.last_known.retain(|&member| member != id);
    }

    /// The record that makes the change, if anything changes. `live` tells who may be in sync and lead.
    pub(super) fn finish(mut self, live: impl Fn(BrokerId) -> bool) -> Option<PartitionRecord> {
        self.isr.retain(|&id| live(id) && self.replicas.contains(&id));
        self.complete_reassignment();
        let leader = self.elect(&live);
        let mut unclean = false;
        if let Some(leader) = leader
            && !self.isr.contains(&leader)
        {
            if !self.eligible.contains(&leader) {
                // Its log is what the partition holds from now on, whatever others had.
                unclean = true;
                self.eligible.clear();
                self.last_known.clear();
            }
            self.isr = vec![leader];
        }
        // As long as too few are in sync, nothing is committed: who was complete when it left is complete still.
        let complete = self.isr.len() >= self.min_isr();
        let replicas = &self.replicas;
        let elr = self.eligible.iter().copied();
        let elr = elr.filter(|id| !complete && replicas.contains(id) && !self.isr.contains(id));
        let mut last_known = self.last_known.clone();
        last_known.retain(|id| replicas.contains(id) && leader.is_none());
        let changed_leader = leader != self.before.leader;
        // A replica that is gone must not go on counting for its leader.
        let lost_replica = self.before.replicas.iter().any(|id| !replicas.contains(id));
        let leader_epoch =
            LeaderEpoch(self.before.leader_epoch.0 + i32::from(changed_leader || lost_replica));
        let record = PartitionRecord {
            topic: self.log.topic,
            partition: self.log.partition,
            isr: in_order(self.isr.iter().copied(), replicas, &self.before.isr),
            elr: in_order(elr, replicas, &self.before.elr),
            last_known_elr: last_known,
            adding: self.adding,
            removing: self.removing,
            leader,
            leader_epoch,
            unclean_epoch: if unclean { Some(leader_epoch) } else { self.before.unclean_epoch },
            partition_epoch: self.before.partition_epoch,
            created: Some(self.before.created),
            replicas: self.replicas,
        };
        let same = record == self.before.to_record(self.log);
        (!same || self.counts).then(|| PartitionRecord {
            partition_epoch: self.before.partition_epoch + 1,
            created: None,
            ..record
        })
    }

    fn min_isr(&self) -> usize {
        let settled = self.replicas.iter().filter(|id| !self.adding.contains(id)).count();
        self.rules.min_insync_replicas.min(settled).max(1)
    }

    /// Drops the replicas that are to go once all that are to come are in sync, and enough stay in sync without
    /// those that go: a record must not be on fewer disks afterwards than it was promised to be.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |id: &&BrokerId| !self.removing.contains(id);
        let replicas: Vec<_> = self.replicas.iter().filter(stays).copied().collect();
        let isr: Vec<_> = self.isr.iter().filter(stays).copied().collect();
        let enough = self.rules.min_insync_replicas.min(replicas.len()).max(1);
        if isr.len() >= enough && self.adding.iter().all(|id| isr.contains(id)) {
            (self.replicas, self.isr) = (replicas, isr);
            self.adding.clear();
            self.removing.clear();
        }
    }

    /// Invariant: while a replica in sync or eligible is live, no other is elected.
    fn elect(&self, live: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        let in_sync = |id: BrokerId| self.isr.contains(&id);
        let first = self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let stays = [first, self.before.leader].into_iter().flatten().find(|&id| in_sync(id));
        let mut replicas = self.replicas.iter().copied();
        let live_eligible = |id: &BrokerId| self.eligible.contains(id) && live(*id);
        stays
            .or_else(|| replicas.clone().find(|&id| in_sync(id)))
            .or_else(|| replicas.clone().find(live_eligible))
            .or_else(|| self.last_resort(&live))
            .or_else(|| {
                let unclean = self.rules.unclean_leader_election_enable || self.election == Election::Unclean;
                replicas.find(|&id| (unclean || mutant!("unclean-any")) && live(id))
            })
    }

    /// The last leader, if nobody is known to be complete, and no more than the end of its log can be missing.
    ///
    /// Where records are acknowledged from memory, a partition whose replicas have all stopped uncleanly would
    /// otherwise never lead again, although all that it needs is there unless the power failed too. Where they are
    /// acknowledged from disk, nobody is left only if all disks are lost.
    fn last_resort(&self, live: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        let nobody = self.isr.is_empty() && !self.eligible.iter().any(|id| self.replicas.contains(id));
        let last = self.last_known.iter().copied().find(|id| self.replicas.contains(id))?;
        (nobody && self.rules.durability == Durability::Replicated && live(last)).then_some(last)
    }
}

/// The members in the order of the replicas; as they were if they are the same.
fn in_order(
    members: impl Iterator<Item = BrokerId> + Clone,
    replicas: &[BrokerId],
    before: &[BrokerId],
) -> Vec<BrokerId> {
    let place = |id: &BrokerId| replicas.iter().position(|replica| replica == id);
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(place);
    members.dedup();
    if members.len() == before.len() && members.iter().all(|id| before.contains(id)) {
        return before.to_vec();
    }
    members
}
