//! What is known of the machines that brokers run on.

use highwater_env::Event;
use highwater_types::{BrokerEpoch, BrokerId};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to, and ended in order.
    Clean,
    /// It died: what was in the page cache stays.
    Crash,
    /// Its machine lost power.
    Power,
    /// Its machine got an empty disk.
    Wiped,
}

/// A machine that a broker runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The broker.
    pub broker: BrokerId,
    /// Whether its process runs.
    pub running: bool,
    /// What the broker's registration was when its process last ended.
    pub registered: BrokerEpoch,
    /// A process did not end in order that had changed something, and it has not registered since.
    pub unclean: bool,
    /// What the registration was when that happened.
    unclean_in: BrokerEpoch,
    /// The power went, and with it the page cache, since it last registered.
    pub lost_power: bool,
    /// The disk was replaced since it last registered.
    pub wiped: bool,
    /// How often its disk was replaced.
    pub wipes: u32,
    /// The process that runs has changed something.
    dirty: bool,
}

impl Machine {
    pub(super) fn new(broker: BrokerId) -> Self {
        Self {
            broker,
            running: false,
            registered: BrokerEpoch::NONE,
            unclean: false,
            unclean_in: BrokerEpoch::NONE,
            lost_power: false,
            wiped: false,
            wipes: 0,
            dirty: false,
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        self.running = true;
        self.dirty |=
            matches!(event, Event::Appended { .. } | Event::Truncating { .. } | Event::LogStart { .. });
    }

    /// The process ended. `registered` is what the broker's registration is at that moment.
    pub(super) fn stop(&mut self, how: Stop, registered: BrokerEpoch) {
        self.running = false;
        self.registered = registered;
        if how != Stop::Clean && self.dirty {
            (self.unclean, self.unclean_in) = (true, registered);
        }
        self.dirty = false;
        self.lost_power |= how == Stop::Power;
        if how == Stop::Wiped {
            self.wiped = true;
            self.wipes += 1;
        }
    }

    /// The broker serves with that registration. One of the process that runs, or of one after the loss, has told what
    /// was lost.
    pub(super) fn serves(&mut self, epoch: BrokerEpoch) {
        if self.running {
            (self.unclean, self.lost_power, self.wiped) = (false, false, false);
        } else if epoch > self.unclean_in {
            self.unclean = false;
        }
    }
}
