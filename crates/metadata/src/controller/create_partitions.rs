//! Adding partitions to topics.

use super::{Decision, Draft, check_assignment, check_replication_factor, new_partition};
use crate::configs::ConfigView;
use crate::placement::Placement;
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::{BrokerId, LogId, PartitionIndex};
use std::collections::BTreeMap;

/// Partitions that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub name: String,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// The replicas of each partition that is added, the leader first; none: the broker chooses.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Decides on additional partitions.
pub fn create_partitions(
    view: &ConfigView<'_>,
    topics: &[NewPartitions],
    validate_only: bool,
) -> Decision<()> {
    let mut draft = Draft::new();
    let mut placement = Placement::new(view.image);
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *named.entry(&topic.name).or_default() += 1;
    }
    let answers = topics
        .iter()
        .map(|topic| {
            if named.get(topic.name.as_str()).is_some_and(|&times| times > 1) {
                let message = format!("Topic {:?} is in the request more than once.", topic.name);
                return Err(Refusal::new(RefusalCode::InvalidRequest, message));
            }
            extend(view, topic, &mut placement, &mut draft)
        })
        .collect();
    draft.finish_validated(validate_only, answers)
}

fn extend(
    view: &ConfigView<'_>,
    wanted: &NewPartitions,
    placement: &mut Placement,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let Some(topic) = view.image.topic(&wanted.name) else {
        let message = "This server does not host this topic.";
        return Err(Refusal::new(RefusalCode::UnknownTopicOrPartition, message));
    };
    let existing = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    if wanted.count <= existing {
        let message = format!(
            "Topic {:?} has {existing} partition(s); {} would not be an increase.",
            wanted.name, wanted.count
        );
        return Err(Refusal::new(RefusalCode::InvalidPartitions, message));
    }
    let added = usize::try_from(wanted.count - existing).expect("it is positive");
    draft.check_room(added)?;
    let factor = topic.replication_factor();
    let replicas: Vec<Vec<BrokerId>> = match &wanted.assignments {
        Some(assignments) if assignments.len() == added => {
            for replicas in assignments {
                check_assignment(view.image, replicas, factor)?;
                placement.record(replicas);
            }
            assignments.clone()
        }
        Some(assignments) => {
            let message = format!(
                "{added} partition(s) would be added, and {} assignment(s) are given.",
                assignments.len()
            );
            return Err(Refusal::new(RefusalCode::InvalidReplicaAssignment, message));
        }
        None => {
            check_replication_factor(placement, factor)?;
            let logs = (existing..wanted.count)
                .map(|index| LogId { topic: topic.id(), partition: PartitionIndex(index) });
            logs.map(|log| placement.place(log, factor)).collect()
        }
    };
    draft.add(
        (existing..)
            .zip(replicas)
            .map(|(index, replicas)| new_partition(topic.id(), index, replicas))
            .collect(),
    )
}
