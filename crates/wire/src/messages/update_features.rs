//! UpdateFeatures (key 57): sets the levels of features that a cluster works with (KIP-584).

use crate::{ErrorCode, Message, Str};

/// The new levels.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = UPDATE_FEATURES, response = UpdateFeaturesResponse, versions = "0-2", flexible = "0+")]
pub struct UpdateFeaturesRequest {
    /// How long to wait, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
    /// The features.
    pub feature_updates: Vec<FeatureUpdateKey>,
    /// Whether to look only whether it could be done.
    #[field(versions = "1+")]
    pub validate_only: bool,
}

/// One feature's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FeatureUpdateKey {
    /// The feature.
    pub feature: Str,
    /// Its new level; below 1 removes it.
    pub max_version_level: i16,
    /// Whether the level may fall.
    #[field(versions = "0")]
    pub allow_downgrade: bool,
    /// 1: only rise, 2: fall if nothing is lost, 3: fall.
    #[field(versions = "1+", default = 1)]
    pub upgrade_type: i8,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "0+")]
pub struct UpdateFeaturesResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// The features.
    #[field(versions = "0-1")]
    pub results: Vec<UpdatableFeatureResult>,
}

/// One feature's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct UpdatableFeatureResult {
    /// The feature.
    pub feature: Str,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
