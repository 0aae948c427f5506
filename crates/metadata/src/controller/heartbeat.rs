//! Heartbeats of brokers: fencing, unfencing and stops in good order.

use super::active::{Controller, nothing, one};
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::image::Image;
use crate::records::BrokerRecord;
use crate::refusal::Refusal;
use highwater_types::{BrokerEpoch, BrokerId, Instant, mutant};
use std::collections::BTreeSet;

/// What a broker says regularly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The broker.
    pub id: BrokerId,
    /// Its epoch.
    pub epoch: BrokerEpoch,
    /// The index up to which it has applied the metadata.
    pub applied: u64,
    /// Whether it wants to be fenced, or stay so.
    pub want_fence: bool,
    /// Whether it wants to stop, in good order.
    pub want_shut_down: bool,
}

/// How a broker stands, once the records are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Whether it has applied the metadata up to its registration at least, and to where it was fenced if it was.
    pub caught_up: bool,
    /// Whether it is fenced.
    pub fenced: bool,
    /// Whether it may stop now: it leads nothing, and the others know that.
    pub should_shut_down: bool,
}

impl Controller {
    /// Takes note of a heartbeat. `index` is that of the last entry that the view's image holds.
    pub fn heartbeat(
        &mut self,
        view: &ConfigView<'_>,
        index: u64,
        heartbeat: &Heartbeat,
        now: Instant,
    ) -> Decision<HeartbeatAnswer> {
        let broker = match check_epoch(view.image, heartbeat.id, heartbeat.epoch) {
            Ok(broker) => broker,
            Err(refusal) => return nothing(Err(refusal)),
        };
        let id = broker.id;
        self.hear(id, broker.incarnation, heartbeat.applied, now);
        // A broker that was fenced leads nothing any more, and has to know that before it counts again.
        let mut knows = true;
        if broker.fenced {
            let fenced_at = *self.fenced_at.entry(id).or_insert(index);
            knows = heartbeat.applied >= fenced_at || mutant!("unfence-behind");
        }
        let caught_up = knows && i64::try_from(heartbeat.applied).unwrap_or(i64::MAX) >= broker.epoch.0;
        let mut work = Work::new(view);
        let mut should_shut_down = false;
        if broker.fenced {
            should_shut_down = heartbeat.want_shut_down;
            // Who once was on its way out stays so until it starts again.
            let stays = heartbeat.want_fence || heartbeat.want_shut_down || broker.shutting_down;
            if caught_up && !stays {
                self.fenced_at.remove(&id);
                work.update_broker(id, |broker| broker.fenced = false);
                work.elect_leaderless();
            }
        } else if heartbeat.want_fence {
            if work.leave(&BTreeSet::from([id])) {
                work.update_broker(id, |broker| broker.fenced = true);
                should_shut_down = heartbeat.want_shut_down;
            }
        } else if heartbeat.want_shut_down || broker.shutting_down {
            should_shut_down = self.shut_down(&mut work, index, id);
        }
        let fenced = work.image.broker(id).is_none_or(|broker| broker.fenced);
        one(work, Ok(HeartbeatAnswer { caught_up, fenced, should_shut_down }))
    }

    /// Takes a broker out in good order; whether it is out, and everybody knows.
    fn shut_down(&mut self, work: &mut Work<'_>, index: u64, id: BrokerId) -> bool {
        work.update_broker(id, |broker| broker.shutting_down = true);
        let done = work.leave(&BTreeSet::from([id]));
        if !done || work.has_records() {
            return false;
        }
        let left_at = *self.left_at.entry(id).or_insert(index);
        if self.applied_by_others(&work.image, id) < left_at {
            return false;
        }
        work.update_broker(id, |broker| broker.fenced = true);
        true
    }
}

/// The broker's registration, if the epoch is the one in force.
pub(super) fn check_epoch(image: &Image, id: BrokerId, epoch: BrokerEpoch) -> Result<&BrokerRecord, Refusal> {
    let Some(broker) = image.broker(id) else {
        let message = format!("Broker {id} is not registered.");
        return Err(Refusal::new(RefusalCode::BrokerIdNotRegistered, message));
    };
    if broker.epoch != epoch {
        let message = format!("Broker {id} is registered with epoch {}, and not with {epoch}.", broker.epoch);
        return Err(Refusal::new(RefusalCode::StaleBrokerEpoch, message));
    }
    Ok(broker)
}
