//! Administration: topics, partitions, configurations, records.

mod cluster;
mod groups;

use crate::{Client, ClientError, FoundOffset, Isolation, TopicMetadata};
use highwater_env::Env;
use highwater_types::{BrokerId, Offset, PartitionIndex, Timestamp, TopicId};
use highwater_wire::messages::alter_configs;
use highwater_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use highwater_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatableTopic, CreatableTopicConfig, CreatePartitionsRequest,
    CreatePartitionsResponse, CreatePartitionsTopic, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic, DeleteTopicState, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeLogDirsRequest, DescribeLogDirsResult,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use highwater_wire::{Request, Str};

/// A topic to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; None for the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas; None for the broker's default.
    pub replication_factor: Option<i16>,
    /// Configurations that differ from the broker's.
    pub configs: Vec<(String, String)>,
}

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// Every broker.
    AllBrokers,
}

/// One change of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets it.
    Set(String, String),
    /// Takes it back to its default.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes from a list.
    Subtract(String, String),
}

/// Administration of a cluster.
#[derive(Clone)]
pub struct Admin<E: Env> {
    client: Client<E>,
}

impl Resource {
    fn wire(&self) -> (i8, Str) {
        match self {
            Self::Topic(name) => (2, Str::from(name.as_str())),
            Self::Broker(id) => (4, Str::from(id.to_string())),
            Self::AllBrokers => (4, Str::default()),
        }
    }
}

impl ConfigChange {
    fn wire(&self) -> AlterableConfig {
        let (name, config_operation, value) = match self {
            Self::Set(name, value) => (name, 0, Some(value)),
            Self::Delete(name) => (name, 1, None),
            Self::Append(name, value) => (name, 2, Some(value)),
            Self::Subtract(name, value) => (name, 3, Some(value)),
        };
        AlterableConfig {
            name: Str::from(name.as_str()),
            config_operation,
            value: value.map(|value| Str::from(value.as_str())),
        }
    }
}

impl<E: Env> Admin<E> {
    /// Administration through a client.
    pub fn new(client: Client<E>) -> Self {
        Self { client }
    }

    /// The client.
    pub fn client(&self) -> &Client<E> {
        &self.client
    }

    /// Makes a topic, or only checks whether it could be made. Not repeated after a lost answer: the topic may exist
    /// then.
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<TopicId, ClientError> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic.name.as_str()),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                configs: topic
                    .configs
                    .iter()
                    .map(|(name, value)| CreatableTopicConfig {
                        name: Str::from(name.as_str()),
                        value: Some(Str::from(value.as_str())),
                    })
                    .collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let made = |answer: CreateTopicsResponse| {
            let result = self.first::<CreateTopicsRequest, _>(answer.topics)?;
            let what = || format!("topic {} cannot be created", topic.name);
            ClientError::check(result.error_code, result.error_message.as_deref(), what)?;
            Ok(result.topic_id)
        };
        self.client.call_controller(&request, made).await
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(Str::from(name)), topic_id: TopicId::default() }],
            topic_names: vec![Str::from(name)],
            timeout_ms: self.timeout_ms(),
        };
        let deleted = |answer: DeleteTopicsResponse| {
            let result = self.first::<DeleteTopicsRequest, _>(answer.responses)?;
            self.client.forget(name);
            let what = || format!("topic {name} cannot be deleted");
            ClientError::check(result.error_code, result.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, deleted).await
    }

    /// Grows a topic to `count` partitions.
    pub async fn create_partitions(&self, name: &str, count: i32) -> Result<(), ClientError> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name: Str::from(name), count, assignments: None }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let grown = |answer: CreatePartitionsResponse| {
            let result = self.first::<CreatePartitionsRequest, _>(answer.results)?;
            self.client.forget(name);
            let what = || format!("topic {name} cannot be given {count} partitions");
            ClientError::check(result.error_code, result.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, grown).await
    }

    /// Removes the records before `before`; None for all there are. Returns the first offset that is left.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: PartitionIndex,
        before: Option<Offset>,
    ) -> Result<Offset, ClientError> {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Str::from(topic),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition,
                    offset: before.unwrap_or(Offset(-1)),
                }],
            }],
            timeout_ms: self.timeout_ms(),
        };
        self.client
            .retry("deleting records", || async {
                let leader = self.client.leader(topic, partition).await?;
                let answer = self.client.call(leader.broker, &request, i16::MAX).await;
                let answer = answer.inspect_err(|_| self.client.forget(topic))?;
                let result = self.first::<DeleteRecordsRequest, _>(answer.topics)?;
                let result = self.first::<DeleteRecordsRequest, _>(result.partitions)?;
                self.checked(topic, result.error_code, || {
                    format!("records of {topic}-{partition} cannot be deleted")
                })?;
                Ok(result.low_watermark)
            })
            .await
    }

    /// Finds an offset: [`EARLIEST`](crate::EARLIEST), [`LATEST`](crate::LATEST),
    /// [`MAX_TIMESTAMP`](crate::MAX_TIMESTAMP), or the first record at or after a time.
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: PartitionIndex,
        timestamp: Timestamp,
    ) -> Result<FoundOffset, ClientError> {
        self.client.list_offset(topic, partition, timestamp, Isolation::ReadUncommitted).await
    }

    /// The configurations of a resource, with the places that set them.
    pub async fn describe_configs(
        &self,
        of: &Resource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let (resource_type, resource_name) = of.wire();
        let resource = DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: false,
        };
        let answer = match of {
            Resource::Broker(id) => self.client.call(*id, &request, i16::MAX).await?,
            _ => self.client.call_any(&request).await?,
        };
        let result = self.first::<DescribeConfigsRequest, _>(answer.results)?;
        let what = || "the configuration cannot be described".to_owned();
        ClientError::check(result.error_code, result.error_message.as_deref(), what)?;
        Ok(result.configs)
    }

    /// Changes configurations of a resource, or only checks whether they could be changed.
    pub async fn alter_configs(
        &self,
        of: &Resource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let (resource_type, resource_name) = of.wire();
        let configs = changes.iter().map(ConfigChange::wire).collect();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource { resource_type, resource_name, configs }],
            validate_only,
        };
        let changed = |answer: IncrementalAlterConfigsResponse| {
            let result = self.first::<IncrementalAlterConfigsRequest, _>(answer.responses)?;
            let what = || "the configuration cannot be changed".to_owned();
            ClientError::check(result.error_code, result.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, changed).await
    }

    /// Replaces the whole configuration of a resource, or only checks whether it could be replaced: what is not named
    /// goes back to its default.
    pub async fn replace_configs(
        &self,
        of: &Resource,
        configs: &[(String, String)],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let (resource_type, resource_name) = of.wire();
        let configs = configs
            .iter()
            .map(|(name, value)| alter_configs::AlterableConfig {
                name: Str::from(name.as_str()),
                value: Some(Str::from(value.as_str())),
            })
            .collect();
        let resource = alter_configs::AlterConfigsResource { resource_type, resource_name, configs };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only };
        let replaced = |answer: AlterConfigsResponse| {
            let result = self.first::<AlterConfigsRequest, _>(answer.responses)?;
            let what = || "the configuration cannot be replaced".to_owned();
            ClientError::check(result.error_code, result.error_message.as_deref(), what)
        };
        self.client.call_controller(&request, replaced).await
    }

    /// A topic as the cluster has it now, not as the client remembers it.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        let refused = self.client.refresh(&[name], false).await?;
        let code = refused.get(name).copied().unwrap_or_default();
        ClientError::check(code, None, || format!("topic {name} cannot be described"))?;
        self.client.topic(name, false).await
    }

    /// The brokers and who is in charge.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse, ClientError> {
        let answer = self.client.call_any(&DescribeClusterRequest::default()).await?;
        let what = || "the cluster cannot be described".to_owned();
        ClientError::check(answer.error_code, answer.error_message.as_deref(), what)?;
        Ok(answer)
    }

    /// A broker's data directories and what is in them.
    pub async fn describe_log_dirs(
        &self,
        broker: BrokerId,
    ) -> Result<Vec<DescribeLogDirsResult>, ClientError> {
        let answer = self.client.call(broker, &DescribeLogDirsRequest::default(), i16::MAX).await?;
        ClientError::check(answer.error_code, None, || "the log directories cannot be described".to_owned())?;
        Ok(answer.results)
    }

    /// An error that says that the metadata is old makes the client ask for it.
    fn checked(
        &self,
        topic: &str,
        code: highwater_wire::ErrorCode,
        what: impl FnOnce() -> String,
    ) -> Result<(), ClientError> {
        if code.is_retriable() {
            self.client.forget(topic);
        }
        ClientError::check(code, None, what)
    }

    fn first<R: Request, T>(&self, results: Vec<T>) -> Result<T, ClientError> {
        results.into_iter().next().ok_or_else(|| ClientError::Protocol {
            peer: "the broker".to_owned(),
            cause: format!("the answer to {} is empty", R::KEY),
        })
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
