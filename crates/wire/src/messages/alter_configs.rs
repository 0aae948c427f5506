//! AlterConfigs (key 33): replaces the whole configuration of topics and brokers. Version 2 is the first
//! flexible one.

use crate::{ErrorCode, Message, Str};

/// The new configurations.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = ALTER_CONFIGS, response = AlterConfigsResponse, versions = "0-2", flexible = "2+")]
pub struct AlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether only to check the request.
    pub validate_only: bool,
}

/// A resource and its new configuration.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name or the broker's id.
    pub resource_name: Str,
    /// The configuration; what it does not name goes back to its default.
    pub configs: Vec<AlterableConfig>,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterableConfig {
    /// Its name.
    pub name: Str,
    /// Its value.
    #[field(nullable = "0+")]
    pub value: Option<Str>,
}

/// What became of each resource.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "2+")]
pub struct AlterConfigsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AlterConfigsResourceResponse {
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// As in the request.
    pub resource_type: i8,
    /// As in the request.
    pub resource_name: Str,
}
