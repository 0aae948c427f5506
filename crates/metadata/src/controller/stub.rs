//! stub
#![allow(unused, missing_docs)]
use super::*;
use crate::configs::ConfigView;
use crate::*;
use highwater_types::*;
pub struct Controller;
pub struct Registration {
    pub id: BrokerId,
    pub cluster: ClusterId,
    pub incarnation: Uuid,
    pub disk: DiskId,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub controller: bool,
    pub stopped_cleanly: bool,
}
pub struct Heartbeat {
    pub id: BrokerId,
    pub epoch: BrokerEpoch,
    pub applied: u64,
    pub want_fence: bool,
    pub want_shutdown: bool,
}
pub struct Seen {
    pub caught_up: bool,
    pub fenced: bool,
    pub should_shut_down: bool,
}
pub struct IsrChange {
    pub log: LogId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}
impl Controller {
    pub fn new(view: &ConfigView<'_>, now: Instant) -> Self {
        todo!()
    }
    pub fn register(
        &mut self,
        view: &ConfigView<'_>,
        r: Registration,
        now: Instant,
    ) -> Decision<Option<BrokerEpoch>> {
        todo!()
    }
    pub fn heartbeat(&mut self, view: &ConfigView<'_>, r: Heartbeat, now: Instant) -> Decision<Seen> {
        todo!()
    }
    pub fn alter_partitions(
        &mut self,
        view: &ConfigView<'_>,
        id: BrokerId,
        e: BrokerEpoch,
        c: &[IsrChange],
    ) -> Decision<()> {
        todo!()
    }
    pub fn tick(&mut self, view: &ConfigView<'_>, now: Instant) -> Vec<MetadataRecord> {
        todo!()
    }
}
