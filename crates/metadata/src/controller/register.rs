//! Registering brokers.

use super::active::{Controller, nothing, one, session_timeout};
use super::features::check_features;
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::{CLUSTER_WIDE, ConfigView};
use crate::records::{BrokerRecord, Endpoint, FeatureRange, MetadataRecord};
use crate::refusal::Refusal;
use highwater_types::{BrokerEpoch, BrokerId, ClusterId, DiskId, Instant, Uuid, mutant};
use std::collections::{BTreeMap, BTreeSet};

/// What a broker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The broker.
    pub id: BrokerId,
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// Drawn at this start.
    pub incarnation: Uuid,
    /// The disk that holds its logs.
    pub disk: DiskId,
    /// The epoch of its last registration, if it stopped in good order after it; else [`BrokerEpoch::NONE`].
    pub clean_epoch: BrokerEpoch,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// The rack it stands in, if known.
    pub rack: Option<String>,
    /// Whether it may be a voter of the metadata quorum.
    pub is_controller: bool,
    /// The features that it knows.
    pub features: Vec<FeatureRange>,
    /// What its own configuration says of the names in [`CLUSTER_WIDE`].
    pub settings: BTreeMap<String, String>,
}

/// What is left of what a broker's replicas once held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remains {
    /// Everything that it said it has.
    All,
    /// What was on its disk; what was in its memory alone may be gone.
    Synced,
    /// Nothing: it has another disk.
    Nothing,
}

impl Controller {
    /// Registers a broker, which is fenced until its heartbeats say that it has caught up. Once the records are
    /// applied, its epoch is in the image. A repeated registration of one incarnation keeps its epoch.
    ///
    /// Where more partitions must change than one entry may hold, some of them do, and the answer is that the broker
    /// shall try again: the records of a refused registration are committed like any.
    pub fn register(
        &mut self,
        view: &ConfigView<'_>,
        registration: &Registration,
        now: Instant,
    ) -> Decision<()> {
        if let Err(refusal) = check(view, registration) {
            return nothing(Err(refusal));
        }
        let id = registration.id;
        let existing = view.image.broker(id);
        if let Some(existing) = existing.filter(|it| it.incarnation == registration.incarnation) {
            if existing.disk != registration.disk {
                let message =
                    format!("Broker {id} registers again with another disk, and without a restart.");
                return nothing(Err(Refusal::new(RefusalCode::InvalidRegistration, message)));
            }
            self.hear(id, registration.incarnation, 0, now);
            let mut work = Work::new(view);
            work.update_broker(id, |broker| describe(broker, registration));
            return one(work, Ok(()));
        }
        let timeout = session_timeout(view);
        // One disk has one process at a time: the data directory is locked. So who comes with the same disk is the same
        // broker, started anew.
        let other = existing.filter(|it| !it.shutting_down && it.disk != registration.disk);
        if let Some(existing) = other.filter(|it| self.is_alive(it, timeout, now)) {
            let message = format!(
                "Broker {id} is registered and alive on another disk, with epoch {}. If its disk was replaced, this ends \
                 when its session does, after {timeout:?}; else two brokers have the same node.id.",
                existing.epoch
            );
            return nothing(Err(Refusal::new(RefusalCode::DuplicateBrokerRegistration, message)));
        }
        let mut work = Work::new(view);
        if !work.take_out(id, remains(existing, registration)) {
            let message = format!("The partitions of broker {id} are being moved. Try again.");
            return one(work, Err(Refusal::new(RefusalCode::RequestTimedOut, message)));
        }
        let mut broker = BrokerRecord {
            id,
            incarnation: registration.incarnation,
            disk: registration.disk,
            fenced: true,
            ..BrokerRecord::default()
        };
        describe(&mut broker, registration);
        work.push(MetadataRecord::Broker(broker));
        self.forget(id);
        self.hear(id, registration.incarnation, 0, now);
        one(work, Ok(()))
    }
}

/// What may change without a restart.
fn describe(broker: &mut BrokerRecord, registration: &Registration) {
    broker.endpoints = registration.endpoints.clone();
    broker.rack = registration.rack.clone();
    broker.is_controller = registration.is_controller;
    broker.features = registration.features.clone();
}

/// What is left of a broker's replicas, going by its last registration.
fn remains(existing: Option<&BrokerRecord>, registration: &Registration) -> Remains {
    if mutant!("elr-skip-unclean") {
        return Remains::All;
    }
    let Some(existing) = existing.filter(|it| it.disk == registration.disk) else { return Remains::Nothing };
    // A mark of an earlier stop says nothing of the last one.
    let marked = mutant!("clean-marker-kept") && registration.clean_epoch != BrokerEpoch::NONE;
    if registration.clean_epoch == existing.epoch || marked { Remains::All } else { Remains::Synced }
}

impl Work<'_> {
    /// Takes a broker that starts again out of everything it was in sync in, and out of what it lost; whether that is
    /// done, or goes on in the next decision.
    fn take_out(&mut self, id: BrokerId, remains: Remains) -> bool {
        let gone = BTreeSet::from([id]);
        let logs = self.partitions(|partition| {
            [&partition.isr, &partition.elr, &partition.last_known_elr]
                .into_iter()
                .any(|ids| ids.contains(&id))
        });
        for log in logs {
            if self.room() <= 1 {
                return false;
            }
            self.change(log, &gone, |change| match remains {
                Remains::All => {}
                Remains::Synced => change.lose_memory(id),
                Remains::Nothing => change.lose_disk(id),
            });
        }
        true
    }
}

/// Refuses what does not fit the cluster.
fn check(view: &ConfigView<'_>, registration: &Registration) -> Result<(), Refusal> {
    let id = registration.id;
    let ours = view.image.cluster_id();
    if ours != Some(registration.cluster_id) {
        let ours = ours.map_or_else(|| "none".to_owned(), |ours| ours.to_string());
        let message =
            format!("Broker {id} belongs to cluster {}, and this is {ours}.", registration.cluster_id);
        return Err(Refusal::new(RefusalCode::InconsistentClusterId, message));
    }
    if id.0 < 0 || registration.endpoints.is_empty() {
        let message =
            format!("Broker {id} cannot be registered: it needs a node.id from 0 on and an endpoint.");
        return Err(Refusal::new(RefusalCode::InvalidRegistration, message));
    }
    check_settings(view, id, &registration.settings)?;
    check_features(view.image, id, &registration.features)
}

/// Refuses a node whose own configuration says otherwise of a name in [`CLUSTER_WIDE`] than the active controller's:
/// who has what was acknowledged would depend on who is the controller.
pub fn check_settings(
    view: &ConfigView<'_>,
    id: BrokerId,
    settings: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    for name in CLUSTER_WIDE {
        let (ours, theirs) = (view.statics.get(name), settings.get(name).map(String::as_str));
        // What is set for all brokers hides what each has by itself.
        if ours != theirs && view.image.broker_configs(None).is_none_or(|configs| !configs.contains_key(name))
        {
            let shown = |value: Option<&str>| value.unwrap_or("no value").to_owned();
            let message = format!(
                "Node {id} is configured with {} for {name}, and the controller with {}: all nodes must agree. Set it \
                 for all of them, as a dynamic configuration.",
                shown(theirs),
                shown(ours)
            );
            return Err(Refusal::new(RefusalCode::InvalidRegistration, message));
        }
    }
    Ok(())
}
