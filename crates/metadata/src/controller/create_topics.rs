//! Creating topics.

use super::{Decision, Draft, check_assignment, check_replication_factor, new_partition};
use crate::configs::{ConfigView, Entry, check_topic_configs};
use crate::image::Image;
use crate::names::{check_topic_name, collide, is_reserved_topic_id};
use crate::placement::Placement;
use crate::records::{MetadataRecord, TopicConfigRecord, TopicRecord};
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::{BrokerId, LogId, PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// How many replicas a partition gets if nobody says otherwise and enough brokers are live.
const DEFAULT_REPLICATION_FACTOR: usize = 3;

/// How often another id is drawn when one is taken.
const ID_DRAWS: usize = 16;

/// A topic that a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1: the broker's default, or as many as are assigned.
    pub partitions: i32,
    /// How many replicas of each; -1: the broker's default, or as many as are assigned.
    pub replication_factor: i16,
    /// The replicas of each partition, the leader first; empty: the broker chooses.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Settings.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// Its configuration.
    pub configs: Vec<Entry>,
}

/// Decides on new topics. `draw_id` gives a fresh random id at each call.
pub fn create_topics(
    view: &ConfigView<'_>,
    topics: &[NewTopic],
    validate_only: bool,
    mut draw_id: impl FnMut() -> TopicId,
) -> Decision<CreatedTopic> {
    let mut creation = Creation {
        view,
        placement: Placement::new(view.image),
        draft: Draft::new(),
        ids: BTreeSet::new(),
        names: Vec::new(),
    };
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
            creation.create(topic, &mut draw_id)
        })
        .collect();
    creation.draft.finish_validated(validate_only, answers)
}

/// The creation of several topics, each of which counts for those after it.
struct Creation<'a> {
    view: &'a ConfigView<'a>,
    placement: Placement,
    draft: Draft,
    ids: BTreeSet<TopicId>,
    names: Vec<String>,
}

impl Creation<'_> {
    fn create(
        &mut self,
        topic: &NewTopic,
        draw_id: &mut impl FnMut() -> TopicId,
    ) -> Result<CreatedTopic, Refusal> {
        self.check_name(&topic.name)?;
        let configs = self.configs(topic)?;
        let id = self.fresh_id(draw_id)?;
        let assignment = self.assignment(topic, id)?;
        let partitions = i32::try_from(assignment.len()).expect("the number of partitions is bounded");
        let factor = assignment.first().map_or(0, Vec::len);
        let mut records = vec![MetadataRecord::Topic(TopicRecord { id, name: topic.name.clone() })];
        records.extend((0..).zip(assignment).map(|(index, replicas)| new_partition(id, index, replicas)));
        records.extend(configs.iter().map(|(name, value)| {
            let (name, value) = (name.clone(), Some(value.clone()));
            MetadataRecord::TopicConfig(TopicConfigRecord { topic: id, name, value })
        }));
        self.draft.add(records)?;
        self.ids.insert(id);
        self.names.push(topic.name.clone());
        Ok(CreatedTopic {
            id,
            partitions,
            replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
            configs: self.view.describe_new_topic(&configs, factor),
        })
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        check_topic_name(name)?;
        let image: &Image = self.view.image;
        if image.topic(name).is_some() {
            let message = format!("Topic {name:?} already exists.");
            return Err(Refusal::new(RefusalCode::TopicAlreadyExists, message));
        }
        let earlier = self.names.iter().map(String::as_str).find(|earlier| collide(earlier, name));
        if let Some(other) = image.colliding_topic(name).or(earlier) {
            let message = format!(
                "Topic {name:?} collides with {other:?}: names must differ in more than '.' and '_'."
            );
            return Err(Refusal::new(RefusalCode::InvalidTopic, message));
        }
        Ok(())
    }

    fn configs(&self, topic: &NewTopic) -> Result<BTreeMap<String, String>, Refusal> {
        let mut configs = BTreeMap::new();
        for (name, value) in &topic.configs {
            let Some(value) = value else {
                let message = format!("Null value not supported for topic configs: {name}");
                return Err(Refusal::new(RefusalCode::InvalidConfig, message));
            };
            if configs.insert(name.clone(), value.clone()).is_some() {
                let message = format!("Topic config {name} is in the request more than once.");
                return Err(Refusal::new(RefusalCode::InvalidConfig, message));
            }
        }
        check_topic_configs(self.view, &configs)
            .map_err(|problem| Refusal::new(RefusalCode::InvalidConfig, problem))?;
        Ok(configs)
    }

    /// The replicas of each partition.
    fn assignment(&mut self, topic: &NewTopic, id: TopicId) -> Result<Vec<Vec<BrokerId>>, Refusal> {
        if !topic.assignments.is_empty() {
            return self.manual_assignment(topic);
        }
        let settings = self.view.broker();
        let partitions = match topic.partitions {
            -1 => settings.num_partitions,
            count if count >= 1 => count,
            count => {
                let message =
                    format!("Number of partitions {count} is not positive, and not -1 (the default).");
                return Err(Refusal::new(RefusalCode::InvalidPartitions, message));
            }
        };
        let factor = match (topic.replication_factor, settings.default_replication_factor) {
            // At least 1, so that a cluster without a live broker is told as one.
            (-1, None) => self.placement.live().clamp(1, DEFAULT_REPLICATION_FACTOR),
            (-1, Some(factor)) | (factor, _) if factor >= 1 => usize::from(factor.unsigned_abs()),
            (factor, _) => {
                let message =
                    format!("Replication factor {factor} is not positive, and not -1 (the default).");
                return Err(Refusal::new(RefusalCode::InvalidReplicationFactor, message));
            }
        };
        check_replication_factor(&self.placement, factor)?;
        let count = usize::try_from(partitions).expect("it is positive");
        self.draft.check_room(count)?;
        let logs = (0..partitions).map(|index| LogId { topic: id, partition: PartitionIndex(index) });
        Ok(logs.map(|log| self.placement.place(log, factor)).collect())
    }

    fn manual_assignment(&mut self, topic: &NewTopic) -> Result<Vec<Vec<BrokerId>>, Refusal> {
        let refuse = |code, message: &str| Err(Refusal::new(code, message));
        if topic.replication_factor != -1 {
            let message = "A manual assignment was given, but the replication factor was not set to -1.";
            return refuse(RefusalCode::InvalidRequest, message);
        }
        if topic.partitions != -1 {
            let message = "A manual assignment was given, but the number of partitions was not set to -1.";
            return refuse(RefusalCode::InvalidRequest, message);
        }
        self.draft.check_room(topic.assignments.len())?;
        let mut by_index = BTreeMap::new();
        for (index, replicas) in &topic.assignments {
            if by_index.insert(index.0, replicas).is_some() {
                let message = "A manual assignment names a partition twice.";
                return refuse(RefusalCode::InvalidReplicaAssignment, message);
            }
        }
        if !by_index.keys().copied().eq(0..i32::try_from(by_index.len()).unwrap_or(i32::MAX)) {
            let message = "A manual assignment's partitions are not numbered from 0 without gaps.";
            return refuse(RefusalCode::InvalidReplicaAssignment, message);
        }
        let factor = by_index.get(&0).map_or(0, |replicas| replicas.len());
        for replicas in by_index.values() {
            check_assignment(self.view.image, replicas, factor)?;
        }
        let assignment: Vec<Vec<BrokerId>> = by_index.into_values().cloned().collect();
        for replicas in &assignment {
            self.placement.record(replicas);
        }
        Ok(assignment)
    }

    fn fresh_id(&self, draw_id: &mut impl FnMut() -> TopicId) -> Result<TopicId, Refusal> {
        let taken = |id: &TopicId| {
            is_reserved_topic_id(*id) || self.ids.contains(id) || self.view.image.topic_by_id(*id).is_some()
        };
        (0..ID_DRAWS)
            .map(|_| draw_id())
            .find(|id| !taken(id))
            .ok_or_else(|| Refusal::new(RefusalCode::Unknown, "No unused topic id was drawn; try again."))
    }
}
