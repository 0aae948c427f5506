//! The leader of a partition.

use crate::assignment::Assignment;
use crate::in_sync::{InSync, Pending, PendingState};
use crate::proposal::{Proposal, ProposalAnswer};
use crate::remote::Remote;
use highwater_types::{BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a leader waits before it asks the controller again.
const PROPOSAL_BACKOFF: Duration = Duration::from_millis(500);

/// What the leader of a partition goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether a record counts when it is on a replica's disk; else when it is in its log.
    pub sync: bool,
    /// How many replicas must be in sync for records to be committed (`min.insync.replicas`). Never more than there
    /// are replicas.
    pub min_insync_replicas: usize,
    /// For how long a replica may lag behind and still be in sync (`replica.lag.time.max.ms`).
    pub max_lag: Duration,
}

/// How far the leader's own log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The offset that the next record gets.
    pub end: Offset,
    /// Everything before it is on disk.
    pub synced: Offset,
}

/// A follower's fetch, which says what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// The follower.
    pub replica: BrokerId,
    /// Its incarnation, as it says.
    pub broker_epoch: BrokerEpoch,
    /// Its incarnation as the metadata has it.
    pub registered: BrokerEpoch,
    /// Whether the metadata allows it to be in sync: it is neither fenced nor about to stop.
    pub live: bool,
    /// The leader's epoch that it believes in.
    pub leader_epoch: LeaderEpoch,
    /// The end of its log, which [agrees](crate::Agreement::Agrees) with the leader's.
    pub end: Offset,
    /// How far its log is on its disk; None if it does not say.
    pub synced: Option<Offset>,
}

/// Why a fetch says nothing of the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UncountedFetch {
    /// It is of another epoch.
    #[error("the fetch is of leader epoch {fetched}, and the leader's is {epoch}")]
    OtherEpoch {
        /// The epoch of the fetch.
        fetched: LeaderEpoch,
        /// The leader's.
        epoch: LeaderEpoch,
    },
    /// The sender is no replica of the partition, or none that is known yet.
    #[error("broker {0} is no replica of the partition")]
    NoReplica(BrokerId),
    /// The follower has been restarted since.
    #[error("the fetch is of the broker epoch {fetched}, and the follower's is {epoch}")]
    OldIncarnation {
        /// The incarnation of the fetch.
        fetched: BrokerEpoch,
        /// The present one.
        epoch: BrokerEpoch,
    },
}

/// What an input led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Moved {
    /// The high watermark, if it moved.
    pub high_watermark: Option<Offset>,
    /// Whether [`Leader::poll_proposal`] may have something.
    pub proposal: bool,
}

/// The leader of a partition, in one epoch.
///
/// Inputs are [`Leader::advanced`], [`Leader::fetched`], [`Leader::answered`], [`Leader::update`] and
/// [`Leader::set_rules`], in any order; [`Leader::poll_proposal`] is to be called after those that ask for it, and
/// every now and then, because replicas fall behind by the mere passing of time. A new epoch is a new leader.
#[derive(Clone, Debug)]
pub struct Leader {
    me: BrokerId,
    epoch: LeaderEpoch,
    epoch_start: Offset,
    rules: Rules,
    own: Ends,
    high_watermark: Offset,
    in_sync: InSync,
    replicas: usize,
    remotes: BTreeMap<BrokerId, Remote>,
    /// Not before then is the controller asked for anything.
    quiet_until: Instant,
}

impl Leader {
    /// The leader of the epoch that `assignment` names, whose log has these ends, and which knows records to be
    /// committed up to `high_watermark` from before.
    pub fn new(
        me: BrokerId,
        assignment: &Assignment,
        rules: Rules,
        own: Ends,
        high_watermark: Offset,
        now: Instant,
    ) -> Self {
        let mut leader = Self {
            me,
            epoch: assignment.leader_epoch,
            epoch_start: own.end,
            rules,
            own,
            high_watermark: high_watermark.min(own.end),
            in_sync: InSync::new(assignment),
            replicas: 0,
            remotes: BTreeMap::new(),
            quiet_until: now,
        };
        leader.take_replicas(assignment, &BTreeSet::new(), now);
        leader.move_high_watermark(now);
        leader
    }

    /// The leader of a later epoch, if that is the same node again. It knows nothing of its followers: their logs may
    /// have been cut, or removed, between the two.
    #[must_use]
    pub fn next(&self, assignment: &Assignment, rules: Rules, own: Ends, now: Instant) -> Self {
        let mut next = Self::new(self.me, assignment, rules, own, self.high_watermark, now);
        if mutant!("isr-keep-follower-state") {
            next.remotes.extend(self.remotes.clone());
        }
        next
    }

    /// The leader's epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The log's end when the epoch began.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The end of what is committed, as far as is known.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether the high watermark is not below what was committed before the epoch.
    pub fn knows_high_watermark(&self) -> bool {
        self.high_watermark >= self.epoch_start
    }

    /// The in-sync replicas as the controller committed them, in order.
    pub fn committed(&self) -> Vec<BrokerId> {
        self.in_sync.committed.iter().copied().collect()
    }

    /// Those beside them that the controller was asked for, and may have admitted.
    pub fn pending(&self) -> Vec<BrokerId> {
        self.in_sync.pending_members().into_iter().collect()
    }

    /// The last state of the partition that is known.
    pub fn partition_epoch(&self) -> i32 {
        self.in_sync.partition_epoch
    }

    /// Whether enough replicas are in sync for records to be committed.
    pub fn has_enough_in_sync(&self) -> bool {
        self.in_sync.committed.len() >= self.rules.min_insync_replicas.min(self.replicas)
    }

    /// Up to where a follower counts; None if it has not fetched in this epoch.
    pub fn acknowledged(&self, replica: BrokerId) -> Option<Offset> {
        let acknowledged = self.remotes.get(&replica)?.acknowledged(self.rules.sync);
        (acknowledged >= Offset::ZERO).then_some(acknowledged)
    }

    /// The rules in force.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Changes the rules.
    pub fn set_rules(&mut self, rules: Rules, now: Instant) -> Moved {
        if rules == self.rules {
            return Moved::default();
        }
        self.rules = rules;
        self.moved(now)
    }

    /// The leader's own log has grown, or was synced.
    pub fn advanced(&mut self, own: Ends, now: Instant) -> Moved {
        self.own = Ends { end: self.own.end.max(own.end), synced: self.own.synced.max(own.synced) };
        Moved { high_watermark: self.move_high_watermark(now), proposal: false }
    }

    /// A follower whose log agrees with this one fetches.
    pub fn fetched(&mut self, fetch: &FollowerFetch, now: Instant) -> Result<Moved, UncountedFetch> {
        if fetch.leader_epoch != self.epoch && !mutant!("fetch-unfenced") {
            return Err(UncountedFetch::OtherEpoch { fetched: fetch.leader_epoch, epoch: self.epoch });
        }
        let Some(remote) = self.remotes.get_mut(&fetch.replica) else {
            return Err(UncountedFetch::NoReplica(fetch.replica));
        };
        let epoch = remote.broker_epoch.max(fetch.registered);
        let blind = mutant!("isr-stale-broker-epoch");
        if fetch.broker_epoch < epoch && !blind {
            return Err(UncountedFetch::OldIncarnation { fetched: fetch.broker_epoch, epoch });
        }
        if fetch.broker_epoch > remote.broker_epoch && !blind {
            // What an earlier incarnation had, this one may have lost.
            let caught_up = remote.caught_up.filter(|_| self.in_sync.committed.contains(&fetch.replica));
            *remote = Remote { broker_epoch: fetch.broker_epoch, ..Remote::new(caught_up) };
        }
        remote.eligible = fetch.live && (fetch.registered == fetch.broker_epoch || blind);
        let synced = fetch.synced.unwrap_or(Offset(-1));
        remote.reached(fetch.end, synced, self.rules.sync, self.own.end, now);
        Ok(self.moved(now))
    }

    /// Takes a newer state of the same epoch. What is not newer changes nothing.
    pub fn update(&mut self, assignment: &Assignment, now: Instant) -> Moved {
        let before = self.in_sync.committed.clone();
        if assignment.leader_epoch != self.epoch || !self.in_sync.commit(assignment) {
            return Moved::default();
        }
        self.take_replicas(assignment, &before, now);
        self.moved(now)
    }

    /// Looks at the time, and at who may be in sync, whose incarnation `live` gives: who was about to join and will
    /// not is waited for no longer. Returns the high watermark if that moves it.
    pub fn look_at_brokers(
        &mut self,
        now: Instant,
        live: impl Fn(BrokerId) -> Option<BrokerEpoch>,
    ) -> Option<Offset> {
        for (&replica, remote) in &mut self.remotes {
            let incarnation = live(replica);
            remote.eligible = match mutant!("isr-stale-broker-epoch") {
                true => incarnation.is_some(),
                false => incarnation == Some(remote.broker_epoch),
            };
        }
        self.move_high_watermark(now)
    }

    /// What the controller is to be asked for now, if anything. One proposal is under way at a time. `live` is that of
    /// [`Leader::look_at_brokers`], which comes first.
    pub fn poll_proposal(
        &mut self,
        now: Instant,
        live: impl Fn(BrokerId) -> Option<BrokerEpoch>,
    ) -> Option<Proposal> {
        if let Some(pending) = &mut self.in_sync.pending {
            let PendingState::Again(at) = pending.state else { return None };
            if now < at {
                return None;
            }
            pending.state = PendingState::Sent;
            return Some(pending.proposal.clone());
        }
        if now < self.quiet_until {
            return None;
        }
        let mut isr = BTreeMap::new();
        for &member in &self.in_sync.committed {
            let remote = self.remotes.get(&member);
            let lags = remote.is_some_and(|remote| {
                !remote.is_caught_up(self.rules.sync, self.own.end, now, self.rules.max_lag)
            });
            if member == self.me || !lags {
                isr.insert(member, live(member).unwrap_or(BrokerEpoch::NONE));
            }
        }
        for (&replica, remote) in self.joiners() {
            isr.insert(replica, remote.broker_epoch);
        }
        // What may arrive yet is made stale, if there is nothing else to ask for, by asking for what there is.
        if isr.keys().eq(&self.in_sync.committed) && self.in_sync.stray.is_empty() {
            return None;
        }
        let (leader_epoch, partition_epoch) = (self.epoch, self.in_sync.partition_epoch);
        let proposal = Proposal { leader_epoch, partition_epoch, isr: isr.into_iter().collect() };
        self.in_sync.pending =
            Some(Pending { proposal: proposal.clone(), state: PendingState::Sent, open: false });
        Some(proposal)
    }

    /// What came of a proposal.
    pub fn answered(&mut self, proposal: &Proposal, answer: &ProposalAnswer, now: Instant) -> Moved {
        let Some(pending) = self.in_sync.pending.as_mut().filter(|pending| pending.proposal == *proposal)
        else {
            // The metadata was faster.
            return Moved::default();
        };
        match answer {
            ProposalAnswer::Accepted(assignment)
                if self.in_sync.committed.iter().all(|member| assignment.isr.contains(member)) =>
            {
                return self.update(assignment, now);
            }
            // A smaller set counts once the metadata has it, and with it all that was decided before: what makes it
            // large enough may have changed.
            ProposalAnswer::Accepted(_) => pending.state = PendingState::Metadata,
            ProposalAnswer::Open => {
                (pending.state, pending.open) = (PendingState::Again(now.after(PROPOSAL_BACKOFF)), true);
            }
            ProposalAnswer::Refused => {
                self.in_sync.give_up();
                self.quiet_until = now.after(PROPOSAL_BACKOFF);
            }
            // Until the metadata says so, it may have been an earlier attempt that made it stale.
            ProposalAnswer::Stale => pending.state = PendingState::Metadata,
        }
        self.moved(now)
    }

    /// Those that are not in sync and may be.
    fn joiners(&self) -> impl Iterator<Item = (&BrokerId, &Remote)> {
        self.remotes.iter().filter(|(replica, remote)| {
            remote.eligible && !self.in_sync.committed.contains(replica) && self.has_caught_up(remote)
        })
    }

    fn take_replicas(&mut self, assignment: &Assignment, members_before: &BTreeSet<BrokerId>, now: Instant) {
        let replicas = &assignment.replicas;
        self.replicas = replicas.len();
        if !mutant!("isr-keep-follower-state") {
            // What a replica had before it was removed, it need not have when it comes back.
            self.remotes.retain(|replica, _| replicas.contains(replica));
        }
        for &replica in replicas.iter().filter(|&&replica| replica != self.me) {
            let remote = self.remotes.entry(replica).or_insert_with(|| Remote::new(None));
            if self.in_sync.committed.contains(&replica) && !members_before.contains(&replica) {
                // Who has just become a member has from now on to keep up.
                remote.caught_up = Some(now);
            }
        }
    }

    /// Whether a replica has all that may be committed: what is known to be, and what was in the log when the epoch
    /// began, part of which an earlier leader may have committed without this one knowing.
    fn has_caught_up(&self, remote: &Remote) -> bool {
        let acknowledged = remote.acknowledged(self.rules.sync);
        let start = if mutant!("isr-expand-early") { Offset::ZERO } else { self.epoch_start };
        acknowledged >= self.high_watermark && acknowledged >= start
    }

    fn moved(&mut self, now: Instant) -> Moved {
        let high_watermark = self.move_high_watermark(now);
        let proposal = self.in_sync.pending.is_none() && self.joiners().next().is_some();
        Moved { high_watermark, proposal }
    }

    fn move_high_watermark(&mut self, now: Instant) -> Option<Offset> {
        if !self.has_enough_in_sync() && !mutant!("hw-under-min-isr") {
            return None;
        }
        let sync = self.rules.sync;
        let mut end = if sync { self.own.synced } else { self.own.end };
        for member in self.in_sync.maximal().filter(|&member| member != self.me) {
            // A member that is no replica is a contradiction; one that has not fetched yet counts for nothing.
            end = end.min(self.remotes.get(&member).map_or(Offset(-1), |remote| remote.acknowledged(sync)));
        }
        for (member, remote) in &self.remotes {
            // Who is about to join is waited for: it would otherwise have to reach a mark that runs ahead of it.
            if remote.eligible
                && !self.in_sync.committed.contains(member)
                && remote.is_caught_up(sync, self.own.end, now, self.rules.max_lag)
            {
                end = end.min(remote.acknowledged(sync));
            }
        }
        if end <= self.high_watermark {
            return None;
        }
        self.high_watermark = end;
        Some(end)
    }
}
