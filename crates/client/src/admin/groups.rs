//! Administration of groups.

use super::{Admin, GroupView};
use crate::coordinator::Coordinator;
use crate::offsets_of_groups::topics_to_commit;
use crate::{ClientError, Positions};
use highwater_env::Env;
use highwater_types::{BrokerId, PartitionIndex};
use highwater_wire::messages::consumer_group_describe::{
    self, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use highwater_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};
use highwater_wire::messages::list_groups::{ListGroupsRequest, ListedGroup};
use highwater_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse, OffsetCommitRequest};
use highwater_wire::{ErrorCode, Str};

impl<E: Env> Admin<E> {
    /// All groups, as the brokers that coordinate them tell.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, ClientError> {
        self.client.refresh(&[], false).await?;
        let brokers: Vec<BrokerId> = self.client.metadata().brokers.keys().copied().collect();
        let mut groups = Vec::new();
        for broker in brokers {
            let listed = self.client.retry("the list of groups", || async move {
                let answer = self.client.call(broker, &ListGroupsRequest::default(), i16::MAX).await?;
                ClientError::check(answer.error_code, None, || {
                    format!("groups of broker {broker} cannot be listed")
                })?;
                Ok(answer.groups)
            });
            groups.extend(listed.await?);
        }
        groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
        // A group that moved meanwhile may be told twice.
        groups.dedup_by(|one, other| one.group_id == other.group_id);
        Ok(groups)
    }

    /// A group of either protocol, and its members.
    pub async fn describe_group(&self, group: &str) -> Result<GroupView, ClientError> {
        match self.describe_classic(group).await {
            Ok(described) => Ok(described.into()),
            Err(error) if error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
                let described = self.describe_consumers(group).await;
                described.map(GroupView::from).map_err(|other| match other.code() {
                    // It is of neither protocol, or the broker knows one of them alone.
                    Some(_) => error,
                    None => other,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn describe_consumers(
        &self,
        group: &str,
    ) -> Result<consumer_group_describe::DescribedGroup, ClientError> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![Str::from(group)],
            include_authorized_operations: false,
        };
        let code = |answer: &ConsumerGroupDescribeResponse| {
            answer.groups.first().map_or(ErrorCode::NONE, |group| group.error_code)
        };
        let answer = self.coordinator(group).call(&request, code).await?;
        let described = self.first::<ConsumerGroupDescribeRequest, _>(answer.groups)?;
        let message = described.error_message.as_deref();
        ClientError::check(described.error_code, message, || format!("group {group} cannot be described"))?;
        Ok(described)
    }

    async fn describe_classic(&self, group: &str) -> Result<DescribedGroup, ClientError> {
        let coordinator = self.coordinator(group);
        let request =
            DescribeGroupsRequest { groups: vec![Str::from(group)], ..DescribeGroupsRequest::default() };
        let code = |answer: &DescribeGroupsResponse| {
            answer.groups.first().map_or(ErrorCode::NONE, |group| group.error_code)
        };
        let answer = coordinator.call(&request, code).await?;
        let described = self.first::<DescribeGroupsRequest, _>(answer.groups)?;
        let message = described.error_message.as_deref();
        ClientError::check(described.error_code, message, || format!("group {group} cannot be described"))?;
        Ok(described)
    }

    /// How far a group has read.
    pub async fn group_offsets(&self, group: &str) -> Result<Positions, ClientError> {
        self.coordinator(group).all_committed().await
    }

    /// Sets how far a group has read. It must have no members.
    pub async fn set_group_offsets(&self, group: &str, offsets: &Positions) -> Result<(), ClientError> {
        let topics = topics_to_commit(offsets);
        let request =
            OffsetCommitRequest { group_id: Str::from(group), topics, ..OffsetCommitRequest::default() };
        self.coordinator(group).commit(&request).await
    }

    /// Deletes a group without members, and how far it has read.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(group)] };
        let code = |answer: &DeleteGroupsResponse| {
            answer.results.first().map_or(ErrorCode::NONE, |group| group.error_code)
        };
        let answer = self.coordinator(group).call(&request, code).await?;
        let result = self.first::<DeleteGroupsRequest, _>(answer.results)?;
        ClientError::check(result.error_code, None, || format!("group {group} cannot be deleted"))
    }

    /// How many partitions a topic has.
    pub async fn partitions_of(&self, topic: &str) -> Result<Vec<PartitionIndex>, ClientError> {
        let topic = self.describe_topic(topic).await?;
        Ok(topic.partitions.iter().map(|partition| partition.index).collect())
    }

    fn coordinator(&self, group: &str) -> Coordinator<E> {
        Coordinator::new(self.client.clone(), group)
    }
}
