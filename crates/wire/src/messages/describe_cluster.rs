//! DescribeCluster (key 60): the brokers or the controllers. Version 1 tells them apart, 2 can include fenced
//! brokers.

use crate::{ErrorCode, Message, Str};
use highwater_types::BrokerId;

/// What to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DESCRIBE_CLUSTER, response = DescribeClusterResponse, versions = "0-2", flexible = "0+")]
pub struct DescribeClusterRequest {
    /// Whether to say what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// 1 for brokers, 2 for controllers.
    #[field(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    /// Whether to include fenced brokers.
    #[field(versions = "2+")]
    pub include_fenced_brokers: bool,
}

/// The nodes.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "0+")]
pub struct DescribeClusterResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// 1 for brokers, 2 for controllers.
    #[field(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    /// The cluster's id.
    pub cluster_id: Str,
    /// The broker to send changes to.
    #[field(default = BrokerId(-1))]
    pub controller_id: BrokerId,
    /// The nodes.
    pub brokers: Vec<DescribeClusterBroker>,
    /// What the client may do with the cluster, a bit each; the least number if it was not asked for.
    #[field(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
}

/// A node and where it listens.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeClusterBroker {
    /// The node.
    pub broker_id: BrokerId,
    /// Its host name.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    #[field(nullable = "0+")]
    pub rack: Option<Str>,
    /// Whether it is fenced.
    #[field(versions = "2+")]
    pub is_fenced: bool,
}
