//! ApiVersions (key 18): what the broker speaks. The first request of most clients.
//!
//! A version that the broker does not know is answered with a body of version 0 and `UNSUPPORTED_VERSION`, so
//! that the client can read it. The response's header never has tagged fields. Version 3 is the first
//! flexible one and has features; from 4 on a feature's lowest version may be 0.

use crate::{ErrorCode, Message, Str};

/// Asks what the broker speaks.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = API_VERSIONS, response = ApiVersionsResponse, versions = "0-4", flexible = "3+")]
pub struct ApiVersionsRequest {
    /// The client library.
    #[field(versions = "3+")]
    pub client_software_name: Str,
    /// Its version.
    #[field(versions = "3+")]
    pub client_software_version: Str,
}

/// What the broker speaks.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-4", flexible = "3+")]
pub struct ApiVersionsResponse {
    /// The outcome.
    pub error_code: ErrorCode,
    /// The APIs.
    pub api_keys: Vec<ApiVersion>,
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The features that this broker could have.
    #[field(versions = "3+", tag = 0)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// Counts the changes of the finalized features; -1 if they are not known.
    #[field(versions = "3+", tag = 1, default = -1)]
    pub finalized_features_epoch: i64,
    /// The features that are switched on in the cluster.
    #[field(versions = "3+", tag = 2)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Whether a controller could take a ZooKeeper cluster over.
    #[field(versions = "3+", tag = 3)]
    pub zk_migration_ready: bool,
}

/// The versions of one API.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ApiVersion {
    /// The API's number.
    pub api_key: i16,
    /// Its lowest version.
    pub min_version: i16,
    /// Its highest version.
    pub max_version: i16,
}

/// A feature that a broker could have.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SupportedFeatureKey {
    /// The feature.
    #[field(versions = "3+")]
    pub name: Str,
    /// Its lowest version.
    #[field(versions = "3+")]
    pub min_version: i16,
    /// Its highest version.
    #[field(versions = "3+")]
    pub max_version: i16,
}

/// A feature that is switched on in the cluster.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FinalizedFeatureKey {
    /// The feature.
    #[field(versions = "3+")]
    pub name: Str,
    /// Its version.
    #[field(versions = "3+")]
    pub max_version_level: i16,
    /// Its lowest version.
    #[field(versions = "3+")]
    pub min_version_level: i16,
}
