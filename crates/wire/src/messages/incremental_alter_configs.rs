//! IncrementalAlterConfigs (key 44): changes single configurations of topics and brokers. Version 1 is the
//! first flexible one.

pub use super::alter_configs::AlterConfigsResourceResponse;
use crate::{Message, Str};

/// The changes.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = INCREMENTAL_ALTER_CONFIGS,
    response = IncrementalAlterConfigsResponse,
    versions = "0-1",
    flexible = "1+"
)]
pub struct IncrementalAlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether only to check the request.
    pub validate_only: bool,
}

/// A resource and its changes.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name or the broker's id.
    pub resource_name: Str,
    /// The changes.
    pub configs: Vec<AlterableConfig>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterableConfig {
    /// The configuration's name.
    pub name: Str,
    /// 0 set, 1 delete, 2 append to a list, 3 take from a list.
    pub config_operation: i8,
    /// The value.
    #[field(nullable = "0+")]
    pub value: Option<Str>,
}

/// What became of each resource.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "1+")]
pub struct IncrementalAlterConfigsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub responses: Vec<AlterConfigsResourceResponse>,
}
