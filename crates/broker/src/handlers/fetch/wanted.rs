//! What a fetch request wants of each partition.

use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use highwater_wire::Str;
use highwater_wire::messages::FetchRequest;

/// Names a partition within a request or session, by the topic's id or its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) topic_id: TopicId,
    pub(super) topic: Str,
    pub(super) index: PartitionIndex,
}

/// What is wanted of one partition.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) offset: Offset,
    pub(super) max_bytes: usize,
    /// The epoch that the client believes in.
    pub(super) epoch: LeaderEpoch,
    /// The epoch of the last record that it has.
    pub(super) last_epoch: LeaderEpoch,
    /// How far a follower's log is on its disk.
    pub(super) synced: Option<Offset>,
}

impl Wanted {
    /// With a name of its own.
    pub(super) fn owned(mut self) -> Self {
        self.key.topic = Str::from(&*self.key.topic);
        self
    }
}

/// What a request says of partitions, in its order. Names are slices of its frame, which is not to be kept.
pub(super) fn of(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(move |topic| {
        topic.partitions.iter().map(move |part| Wanted {
            key: key(by_id, topic.topic_id, &topic.topic, part.partition),
            offset: part.fetch_offset,
            max_bytes: usize::try_from(part.partition_max_bytes).unwrap_or(0),
            epoch: part.current_leader_epoch,
            last_epoch: part.last_fetched_epoch,
            synced: (part.synced_end >= Offset::ZERO).then_some(part.synced_end),
        })
    })
}

/// What a request wants no more.
pub(super) fn forgotten(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = Key> {
    request.forgotten_topics_data.iter().flat_map(move |topic| {
        topic.partitions.iter().map(move |&index| key(by_id, topic.topic_id, &topic.topic, index))
    })
}

fn key(by_id: bool, topic_id: TopicId, topic: &Str, index: PartitionIndex) -> Key {
    let topic = if by_id { Str::new() } else { topic.clone() };
    Key { topic_id: if by_id { topic_id } else { TopicId::default() }, topic, index }
}
