//! Committing and asking for the offsets of a group.

use crate::ClientError;
use crate::coordinator::Coordinator;
use crate::group::{Positions, first_error};
use highwater_env::Env;
use highwater_types::{Offset, PartitionIndex};
use highwater_wire::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;

/// The last version that names topics.
const BY_NAME: i16 = 9;

/// What to commit, by topic. Topics go by their names.
pub(crate) fn topics_to_commit(offsets: &Positions) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((name, partition), offset) in offsets {
        let part = OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_metadata: Some(Str::new()),
            ..OffsetCommitRequestPartition::default()
        };
        match topics.last_mut().filter(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(part),
            None => topics.push(OffsetCommitRequestTopic {
                name: name.clone(),
                partitions: vec![part],
                ..OffsetCommitRequestTopic::default()
            }),
        }
    }
    topics
}

impl<E: Env> Coordinator<E> {
    /// Commits offsets. What is wrong with one of them is an error for all, though the others may be committed.
    pub(crate) async fn commit(&self, request: &OffsetCommitRequest) -> Result<(), ClientError> {
        let code = |answer: &OffsetCommitResponse| {
            first_error(answer.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code))
        };
        let answer = self.call_up_to(BY_NAME, request, code).await?;
        match code(&answer) {
            ErrorCode::NONE => Ok(()),
            code => Err(self.refused(code, None)),
        }
    }

    /// What is committed for these partitions. A member of the consumer protocol says who it is, and its epoch.
    pub(crate) async fn committed(
        &self,
        partitions: &BTreeSet<(Str, PartitionIndex)>,
        member: Option<(Str, i32)>,
    ) -> Result<Positions, ClientError> {
        if partitions.is_empty() {
            return Ok(Positions::new());
        }
        self.fetch_offsets(Some(partitions), member).await
    }

    /// All that is committed.
    pub(crate) async fn all_committed(&self) -> Result<Positions, ClientError> {
        self.fetch_offsets(None, None).await
    }

    async fn fetch_offsets(
        &self,
        partitions: Option<&BTreeSet<(Str, PartitionIndex)>>,
        member: Option<(Str, i32)>,
    ) -> Result<Positions, ClientError> {
        let topics = partitions.map(|partitions| {
            let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
            for (name, partition) in partitions {
                match topics.last_mut().filter(|topic| topic.name == *name) {
                    Some(topic) => topic.partition_indexes.push(*partition),
                    None => topics.push(OffsetFetchRequestTopics {
                        name: name.clone(),
                        partition_indexes: vec![*partition],
                        ..OffsetFetchRequestTopics::default()
                    }),
                }
            }
            topics
        });
        let old = topics.as_ref().map(|topics| {
            let old = |topic: &OffsetFetchRequestTopics| OffsetFetchRequestTopic {
                name: topic.name.clone(),
                partition_indexes: topic.partition_indexes.clone(),
            };
            topics.iter().map(old).collect()
        });
        let group_id = self.group().clone();
        let (member_id, member_epoch) = member.map_or((None, -1), |(id, epoch)| (Some(id), epoch));
        let group = OffsetFetchRequestGroup { group_id: group_id.clone(), member_id, member_epoch, topics };
        let request = OffsetFetchRequest { group_id, topics: old, groups: vec![group], require_stable: true };
        let answer = self.call_up_to(BY_NAME, &request, code_of).await?;
        match code_of(&answer) {
            ErrorCode::NONE => Ok(positions(answer)),
            code => Err(self.refused(code, None)),
        }
    }
}

fn code_of(answer: &OffsetFetchResponse) -> ErrorCode {
    let groups = answer.groups.iter().flat_map(|group| {
        let parts = group.topics.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(group.error_code).chain(parts.map(|part| part.error_code))
    });
    let old = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code);
    first_error(std::iter::once(answer.error_code).chain(groups).chain(old))
}

/// Versions for one group answer beside the list for many.
fn positions(answer: OffsetFetchResponse) -> Positions {
    let new = answer.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| {
        let name = Str::from(&*topic.name);
        topic
            .partitions
            .into_iter()
            .map(move |part| ((name.clone(), part.partition_index), part.committed_offset))
    });
    let old = answer.topics.into_iter().flat_map(|topic| {
        let name = Str::from(&*topic.name);
        topic
            .partitions
            .into_iter()
            .map(move |part| ((name.clone(), part.partition_index), part.committed_offset))
    });
    new.chain(old).filter(|(_, offset)| *offset >= Offset::ZERO).collect()
}
