//! Emptying a broker, so that it can be taken away.

use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::placement::Placement;
use crate::refusal::Refusal;
use highwater_types::BrokerId;

/// Begins to move the replicas of a broker to others. The answer is how many partitions have it as a replica still,
/// those that are on their way included: call it again until there are none, and unregister the broker then.
pub fn decommission(view: &ConfigView<'_>, id: BrokerId) -> Decision<usize> {
    let mut work = Work::new(view);
    let mut placement = Placement::without(view.image, id);
    let held = work.partitions(|partition| partition.replicas.contains(&id));
    let left = held.len();
    for log in held {
        let partition = work.image.partition(log).expect("it was just found");
        if partition.removing.contains(&id) || work.room() == 0 {
            continue;
        }
        let staying: Vec<BrokerId> =
            partition.replicas.iter().copied().filter(|other| !partition.removing.contains(other)).collect();
        let Some(heir) = placement.replace(log, &staying, id) else {
            let message = format!("No live broker can take the replica of partition {log}.");
            let refusal = Refusal::new(RefusalCode::InvalidReplicationFactor, message);
            return Decision { records: Vec::new(), answers: vec![Err(refusal)] };
        };
        let target: Vec<BrokerId> = staying.iter().map(|&it| if it == id { heir } else { it }).collect();
        if let Err(refusal) = work.reassign(log, &target, true) {
            return Decision { records: Vec::new(), answers: vec![Err(refusal)] };
        }
    }
    Decision { records: work.into_records(), answers: vec![Ok(left)] }
}
