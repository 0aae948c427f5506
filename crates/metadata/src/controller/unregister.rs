//! Taking brokers out of the cluster for good.

use super::active::{Controller, nothing, one};
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::records::{MetadataRecord, RemoveBrokerRecord};
use crate::refusal::Refusal;
use highwater_types::BrokerId;
use std::collections::BTreeSet;

/// Takes a broker out for good. Refused while it runs, and while it is the only one that can lead a partition, or did
/// so last: the records that it holds would be lost with it.
pub fn unregister_broker(view: &ConfigView<'_>, controller: &mut Controller, id: BrokerId) -> Decision<()> {
    let Some(broker) = view.image.broker(id) else {
        let message = format!("Broker {id} is not registered.");
        return nothing(Err(Refusal::new(RefusalCode::BrokerIdNotRegistered, message)));
    };
    if !broker.fenced {
        // It would be struck out of the in-sync sets that it is a complete member of, and register again.
        let message = format!("Broker {id} is running. Stop it first, and wait until its session is over.");
        return nothing(Err(Refusal::new(RefusalCode::InvalidRequest, message)));
    }
    let mut work = Work::new(view);
    let concerned = work.partitions(|partition| {
        [&partition.isr, &partition.elr, &partition.last_known_elr].into_iter().any(|ids| ids.contains(&id))
    });
    let last = concerned.iter().find(|&&log| {
        let partition = view.image.partition(log).expect("it was just found");
        let others = |ids: &[BrokerId]| ids.iter().any(|&other| other != id);
        !others(&partition.isr) && !others(&partition.elr)
    });
    if let Some(log) = last {
        let message = format!(
            "Broker {id} holds the only complete replica of partition {log}. Reassign its partitions first."
        );
        return nothing(Err(Refusal::new(RefusalCode::InvalidRequest, message)));
    }
    let gone = BTreeSet::from([id]);
    for log in concerned {
        if work.room() <= 1 {
            let message = format!("The partitions of broker {id} are being moved. Try again.");
            return one(work, Err(Refusal::new(RefusalCode::RequestTimedOut, message)));
        }
        work.change(log, &gone, |change| change.lose_disk(id));
    }
    work.push(MetadataRecord::RemoveBroker(RemoveBrokerRecord { id }));
    controller.forget(id);
    one(work, Ok(()))
}
