//! DescribeLogDirs (key 35): the broker's data directories and what is in them.
//!
//! Version 2 is the first flexible one, 3 has an error for the request as a whole, 4 the size of the volume,
//! 5 cordoned directories (KIP-1066).

use crate::{ErrorCode, Message, Str};
use highwater_types::PartitionIndex;

/// What to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DESCRIBE_LOG_DIRS, response = DescribeLogDirsResponse, versions = "1-5", flexible = "2+")]
pub struct DescribeLogDirsRequest {
    /// The topics, null for all.
    #[field(nullable = "0+")]
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

/// A topic to describe.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribableLogDirTopic {
    /// The topic.
    pub topic: Str,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The directories.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "1-5", flexible = "2+")]
pub struct DescribeLogDirsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    #[field(versions = "3+")]
    pub error_code: ErrorCode,
    /// The directories.
    pub results: Vec<DescribeLogDirsResult>,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsResult {
    /// The outcome.
    pub error_code: ErrorCode,
    /// Its path.
    pub log_dir: Str,
    /// The topics in it.
    pub topics: Vec<DescribeLogDirsTopic>,
    /// The size of its volume.
    #[field(versions = "4+", default = -1)]
    pub total_bytes: i64,
    /// What is free of it.
    #[field(versions = "4+", default = -1)]
    pub usable_bytes: i64,
    /// Whether it takes no new partitions.
    #[field(versions = "5+")]
    pub is_cordoned: bool,
}

/// A topic in a directory.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<DescribeLogDirsPartition>,
}

/// A partition in a directory.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeLogDirsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The bytes of its segments.
    pub partition_size: i64,
    /// How many records it is behind.
    pub offset_lag: i64,
    /// Whether it is on its way to this directory and not in use yet.
    pub is_future_key: bool,
}
