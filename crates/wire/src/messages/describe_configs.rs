//! DescribeConfigs (key 32): the configuration of topics and brokers. Version 4 is the first flexible one.

use crate::{ErrorCode, Message, Str};

/// What to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DESCRIBE_CONFIGS, response = DescribeConfigsResponse, versions = "1-4", flexible = "4+")]
pub struct DescribeConfigsRequest {
    /// The resources.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to say where a value could come from.
    #[field(versions = "1+")]
    pub include_synonyms: bool,
    /// Whether to explain each configuration.
    #[field(versions = "3+")]
    pub include_documentation: bool,
}

/// A resource to describe.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResource {
    /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The topic's name or the broker's id.
    pub resource_name: Str,
    /// The configurations to describe, null for all.
    #[field(nullable = "0+")]
    pub configuration_keys: Option<Vec<Str>>,
}

/// The configurations.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "1-4", flexible = "4+")]
pub struct DescribeConfigsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub results: Vec<DescribeConfigsResult>,
}

/// A described resource.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResult {
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// As in the request.
    pub resource_type: i8,
    /// As in the request.
    pub resource_name: Str,
    /// Its configurations.
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsResourceResult {
    /// Its name.
    pub name: Str,
    /// Its value; null if it is kept secret or has none.
    #[field(nullable = "0+")]
    pub value: Option<Str>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where its value comes from: 1 topic, 2 broker, 3 cluster-wide default, 4 the broker's start, 5 built
    /// in.
    #[field(versions = "1+", default = -1)]
    pub config_source: i8,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
    /// The values that it could have, the one in force first.
    #[field(versions = "1+")]
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
    #[field(versions = "3+")]
    pub config_type: i8,
    /// What it does, in words.
    #[field(versions = "3+", nullable = "0+")]
    pub documentation: Option<Str>,
}

/// A value that a configuration could have.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeConfigsSynonym {
    /// The name of the configuration that it comes from.
    #[field(versions = "1+")]
    pub name: Str,
    /// The value.
    #[field(versions = "1+", nullable = "0+")]
    pub value: Option<Str>,
    /// Where it comes from, as `config_source`.
    #[field(versions = "1+")]
    pub source: i8,
}
