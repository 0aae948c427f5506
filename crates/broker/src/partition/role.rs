//! What this node is to a partition, and how that changes.

use super::Partition;
use crate::replication::Reports;
use highwater_env::{Env, Event};
use highwater_replication::{Assignment, Follower, Leader, Rules};
use highwater_types::{BrokerId, LeaderEpoch, Offset, mutant};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What this node is to a partition.
pub(super) struct Replica {
    pub(super) role: Role,
    pub(super) rules: Rules,
    /// How many are changing the log in the present role.
    busy: u32,
    /// What the metadata says, if that has not been taken yet.
    wanted: Option<(Assignment, Rules)>,
    /// What was last told of the in-sync set.
    told: Option<InSync>,
}

/// A leader's view of the in-sync set: its epoch, the committed members, and those that may have been admitted.
type InSync = (LeaderEpoch, Vec<BrokerId>, Vec<BrokerId>);

/// One of the parts that a node can have.
pub(super) enum Role {
    /// There is no leader, or it is not known.
    None,
    Leader(Leader),
    Follower {
        follower: Follower,
        /// Where to say how far the log is on disk, and what was last said.
        source: Arc<Reports>,
        synced: Offset,
    },
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            role: Role::None,
            rules: Rules { sync: true, min_insync_replicas: 1, max_lag: Duration::ZERO },
            busy: 0,
            wanted: None,
            told: None,
        }
    }
}

/// Keeps a partition in its role while its log is changed.
pub(super) struct Busy<E: Env>(Arc<Partition<E>>);

impl<E: Env> Drop for Busy<E> {
    fn drop(&mut self) {
        let partition = &self.0;
        let mut replica = partition.replica();
        replica.busy -= 1;
        let ends = partition.ends();
        partition.tracker.progress.set_log_end(ends.end);
        partition.tracker.advanced(&mut replica, partition.id, ends);
        if replica.busy == 0 {
            partition.take_role(&mut replica);
        }
    }
}

impl<E: Env> Partition<E> {
    /// Takes what the metadata says of the partition. To be called in the order of the metadata, from one task.
    pub(crate) fn assign(self: &Arc<Self>, assignment: Assignment, rules: Rules) {
        let epoch = assignment.leader_epoch;
        self.leader_epoch.store(epoch.0, Ordering::Release);
        let mut replica = self.replica();
        if assignment.leader != Some(self.node) || self.leading() != Some(epoch) {
            // Whatever comes from here on is refused, also if what is under way must be waited for.
            self.leading.store(LeaderEpoch::NONE.0, Ordering::Release);
        }
        replica.wanted = Some((assignment, rules));
        if replica.busy == 0 {
            self.take_role(&mut replica);
        }
    }

    /// The partition is no longer this node's.
    pub(crate) fn retire(&self) {
        self.leading.store(LeaderEpoch::NONE.0, Ordering::Release);
        let mut replica = self.replica();
        self.leave(&replica.role);
        (replica.role, replica.wanted) = (Role::None, None);
        self.tracker.progress.close();
    }

    /// Begins an append of this node's own: the epoch that it is made in, if this node leads.
    pub(super) fn begin_append(self: &Arc<Self>) -> Option<(LeaderEpoch, Busy<E>)> {
        let mut replica = self.replica();
        let Role::Leader(leader) = &replica.role else { return None };
        let epoch = leader.epoch();
        (self.leading() == Some(epoch)).then(|| (epoch, self.busy(&mut replica)))
    }

    pub(super) fn busy(self: &Arc<Self>, replica: &mut Replica) -> Busy<E> {
        replica.busy += 1;
        Busy(Arc::clone(self))
    }

    fn take_role(self: &Arc<Self>, replica: &mut Replica) {
        let Some((assignment, rules)) = replica.wanted.take() else { return };
        let now = self.env.clock().now();
        let epoch = assignment.leader_epoch;
        replica.rules = rules;
        match (&mut replica.role, assignment.leader) {
            (Role::Leader(leader), Some(id)) if id == self.node && leader.epoch() == epoch => {
                let ruled = leader.set_rules(rules, now);
                let updated = leader.update(&assignment, now);
                self.tell_in_sync(replica);
                self.tracker.tell(self.id, ruled);
                self.tracker.tell(self.id, updated);
            }
            (Role::Follower { follower, .. }, Some(id))
                if id == follower.leader() && follower.epoch() == epoch => {}
            (before, leader) => {
                self.leave(before);
                let before = std::mem::replace(before, Role::None);
                self.tracker.progress.begin_epoch(epoch);
                match leader {
                    Some(id) if id == self.node => self.lead(replica, &before, &assignment),
                    Some(id) => self.follow(replica, &before, id, epoch),
                    None => {
                        self.env.observe(&Event::Following { log: self.id, epoch, leader: None });
                    }
                }
            }
        }
    }

    fn leave(&self, role: &Role) {
        if let Role::Follower { follower, .. } = role {
            self.replication.unfollow(follower.leader(), self.id);
        }
    }

    /// Up to where records are known to be committed: nothing else was ever removed from the front, though what came
    /// after the last start may not have said so yet.
    fn committed(&self) -> Offset {
        self.high_watermark().max(self.log.start_offset())
    }

    fn lead(self: &Arc<Self>, replica: &mut Replica, before: &Role, assignment: &Assignment) {
        let (now, own, epoch) = (self.env.clock().now(), self.ends(), assignment.leader_epoch);
        self.env.observe(&Event::Leading { log: self.id, epoch, start: own.end });
        let leader = match before {
            Role::Leader(before) => before.next(assignment, replica.rules, own, now),
            _ => Leader::new(self.node, assignment, replica.rules, own, self.committed(), now),
        };
        let high_watermark = leader.high_watermark();
        tracing::debug!(log = %self.id, %epoch, start = %own.end, %high_watermark, "leading");
        replica.role = Role::Leader(leader);
        self.tell_in_sync(replica);
        self.tracker.progress.set_log_end(own.end);
        self.tracker.progress.advance(high_watermark);
        self.leading.store(epoch.0, Ordering::Release);
        if assignment.replicas.len() > 1 && !mutant!("epoch-cache-skip") {
            // A log notes an epoch by itself when it is first written in. Noted before that, it tells followers more.
            let (log, id) = (self.log.clone(), self.id);
            let note = async move {
                if let Err(error) = log.start_epoch(epoch).await {
                    tracing::debug!(log = %id, %epoch, %error, "the beginning of an epoch was not noted");
                }
            };
            self.env.spawn("start-epoch", note).detach();
        }
    }

    fn follow(self: &Arc<Self>, replica: &mut Replica, before: &Role, leader: BrokerId, epoch: LeaderEpoch) {
        self.env.observe(&Event::Following { log: self.id, epoch, leader: Some(leader) });
        tracing::debug!(log = %self.id, %epoch, %leader, "following");
        let follower = match before {
            Role::Follower { follower, .. } => follower.next(leader, epoch),
            _ => Follower::new(leader, epoch, self.committed()),
        };
        let source = self.replication.follow(leader, self);
        replica.role = Role::Follower { follower, source, synced: Offset(-1) };
    }

    /// Tells of the in-sync set, if it is another than last told.
    pub(super) fn tell_in_sync(&self, replica: &mut Replica) {
        let Role::Leader(leader) = &replica.role else { return };
        self.enough.store(leader.has_enough_in_sync(), Ordering::Release);
        let now = (leader.epoch(), leader.committed(), leader.pending());
        if replica.told.as_ref() != Some(&now) {
            let (epoch, committed, pending) = now.clone();
            replica.told = Some(now);
            self.env.observe(&Event::InSync { log: self.id, epoch, committed, pending });
        }
    }
}
