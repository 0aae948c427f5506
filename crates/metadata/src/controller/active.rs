//! The active controller: what it knows of the brokers beyond the metadata, from its election on.

use super::Decision;
use super::work::Work;
use crate::configs::ConfigView;
use crate::image::Image;
use crate::records::{BrokerRecord, MetadataRecord};
use crate::refusal::Refusal;
use highwater_types::{BrokerId, Instant, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The soft state of the active controller, made anew at each election: which broker was heard of when.
///
/// Methods look at the image of the view they are given, which must hold every committed record, and return records;
/// the caller commits them, applies them and only then answers, and asks for no other decision meanwhile. A decision
/// that is not committed in the end does no harm: what is wrong is found again.
#[derive(Debug)]
pub struct Controller {
    sessions: BTreeMap<BrokerId, Session>,
    /// The index of the metadata at which a broker that is on its way out led nothing any more.
    pub(super) left_at: BTreeMap<BrokerId, u64>,
    /// An index of the metadata at which a broker was fenced already.
    pub(super) fenced_at: BTreeMap<BrokerId, u64>,
    next_balance: Option<Instant>,
}

/// What is known of a broker's life.
#[derive(Debug)]
struct Session {
    incarnation: Uuid,
    heard: Instant,
    /// The index up to which it said it has applied the metadata.
    applied: u64,
}

impl Controller {
    /// A controller that has just been elected. Nobody can know when the last controller heard of a broker: everyone
    /// that is not fenced counts as heard of at `heard`.
    pub fn new(image: &Image, heard: Instant) -> Self {
        let sessions = image.brokers().filter(|broker| !broker.fenced).map(|broker| {
            let session = Session { incarnation: broker.incarnation, heard, applied: 0 };
            (broker.id, session)
        });
        Self {
            sessions: sessions.collect(),
            left_at: BTreeMap::new(),
            fenced_at: BTreeMap::new(),
            next_balance: None,
        }
    }

    /// What time brings: brokers that were not heard of are fenced, partitions without a leader get one where that
    /// has become possible, reassignments are completed, and leadership is given back to preferred replicas. The
    /// records belong into one entry. Call it several times per session timeout, and again at once while it returns
    /// records.
    pub fn tick(&mut self, view: &ConfigView<'_>, now: Instant) -> Vec<MetadataRecord> {
        let mut work = Work::new(view);
        let expired = self.expired(view, now);
        if !expired.is_empty() && work.leave(&expired) {
            for &id in &expired {
                work.update_broker(id, |broker| broker.fenced = true);
            }
        }
        work.elect_leaderless();
        work.complete_reassignments();
        self.balance(view, &mut work, now);
        work.into_records()
    }

    /// Gives leadership back to preferred replicas, if it is time for that.
    fn balance(&mut self, view: &ConfigView<'_>, work: &mut Work<'_>, now: Instant) {
        let settings = view.broker();
        let seconds = settings.leader_imbalance_check_interval_seconds.unsigned_abs();
        let next = now.after(Duration::from_secs(seconds));
        match self.next_balance {
            Some(due) if due <= now => {}
            // Right after an election brokers may still be on their way back.
            Some(_) => return,
            None => {
                self.next_balance = Some(next);
                return;
            }
        }
        if !settings.auto_leader_rebalance_enable
            || work.balance(settings.leader_imbalance_per_broker_percentage)
        {
            self.next_balance = Some(next);
        }
    }

    /// The brokers that are not fenced and were not heard of for too long.
    fn expired(&mut self, view: &ConfigView<'_>, now: Instant) -> BTreeSet<BrokerId> {
        let timeout = session_timeout(view);
        let unfenced = view.image.brokers().filter(|broker| !broker.fenced);
        unfenced.filter(|broker| !self.is_alive(broker, timeout, now)).map(|broker| broker.id).collect()
    }

    /// When the next broker is to be fenced, if nothing is heard of it until then.
    pub fn next_expiry(&self, view: &ConfigView<'_>) -> Option<Instant> {
        let timeout = session_timeout(view);
        let unfenced = view.image.brokers().filter(|broker| !broker.fenced);
        unfenced.filter_map(|broker| Some(self.sessions.get(&broker.id)?.heard.after(timeout))).min()
    }

    /// Whether the broker was heard of, as it is registered, within the session timeout.
    pub(super) fn is_alive(&self, broker: &BrokerRecord, timeout: Duration, now: Instant) -> bool {
        self.sessions.get(&broker.id).is_some_and(|session| {
            session.incarnation == broker.incarnation && now.since(session.heard) < timeout
        })
    }

    /// Notes a word from a broker.
    pub(super) fn hear(&mut self, id: BrokerId, incarnation: Uuid, applied: u64, now: Instant) {
        self.sessions.insert(id, Session { incarnation, heard: now, applied });
    }

    /// Forgets a broker.
    pub(super) fn forget(&mut self, id: BrokerId) {
        self.sessions.remove(&id);
        self.left_at.remove(&id);
    }

    /// Up to which index all brokers but this one are known to have applied the metadata, of those that may lead.
    pub(super) fn applied_by_others(&self, image: &Image, but: BrokerId) -> u64 {
        let others = image.brokers().filter(|broker| broker.is_active() && broker.id != but);
        others
            .map(|broker| self.sessions.get(&broker.id).map_or(0, |session| session.applied))
            .min()
            .unwrap_or(u64::MAX)
    }
}

/// After how long without a word a broker counts as failed.
pub(super) fn session_timeout(view: &ConfigView<'_>) -> Duration {
    Duration::from_millis(view.broker().broker_session_timeout_ms.unsigned_abs().into())
}

/// A decision with one answer.
pub(super) fn one<T>(work: Work<'_>, answer: Result<T, Refusal>) -> Decision<T> {
    Decision { records: work.into_records(), answers: vec![answer] }
}

/// A decision that changes nothing.
pub(super) fn nothing<T>(answer: Result<T, Refusal>) -> Decision<T> {
    Decision { records: Vec::new(), answers: vec![answer] }
}

#[cfg(test)]
mod harness;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
