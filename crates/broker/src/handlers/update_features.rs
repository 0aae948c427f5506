//! UpdateFeatures (key 57), versions 0 to 2.
//!
//! - Version 2 has one outcome for all features: nothing is changed if one of them cannot be.
//! - `timeout_ms` is not looked at.

use super::admin::{Failure, answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{FeatureUpdate, UpgradeType, update_features};
use highwater_wire::ErrorCode;
use highwater_wire::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use std::sync::Arc;

const ONE_OUTCOME_FROM: i16 = 2;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let version = context.version();
    let mut updates = Vec::new();
    for wanted in &request.feature_updates {
        match update(wanted, version) {
            Ok(update) => updates.push(update),
            Err(failure) => {
                return UpdateFeaturesResponse {
                    error_code: failure.code,
                    error_message: Some(failure.message),
                    ..UpdateFeaturesResponse::default()
                };
            }
        }
    }
    let outcome = context.shared.cluster.change(|view| {
        let decision = update_features(view, &updates, request.validate_only);
        let whole = version < ONE_OUTCOME_FROM || decision.answers.iter().all(Result::is_ok);
        if whole {
            decision
        } else {
            highwater_metadata::controller::Decision { records: Vec::new(), ..decision }
        }
    });
    let answers = answers(outcome.await, updates.len());
    let failed = answers.iter().find(|answer| answer.is_err()).filter(|_| version >= ONE_OUTCOME_FROM);
    let (error_code, error_message) = failed.map_or((ErrorCode::NONE, None), code_and_message);
    let results = request.feature_updates.into_iter().zip(&answers).map(|(wanted, answer)| {
        let (error_code, error_message) = code_and_message(answer);
        UpdatableFeatureResult { feature: wanted.feature, error_code, error_message }
    });
    let results = if version < ONE_OUTCOME_FROM { results.collect() } else { Vec::new() };
    UpdateFeaturesResponse { throttle_time_ms: 0, error_code, error_message, results }
}

fn update(wanted: &FeatureUpdateKey, version: i16) -> Result<FeatureUpdate, Failure> {
    let upgrade = match (version, wanted.allow_downgrade) {
        (0, true) => UpgradeType::Downgrade,
        (0, false) => UpgradeType::Upgrade,
        _ => UpgradeType::from_number(wanted.upgrade_type).ok_or_else(|| {
            Failure::invalid_request(format!("Upgrade type {} does not exist.", wanted.upgrade_type))
        })?,
    };
    let level = u16::try_from(wanted.max_version_level).unwrap_or(0);
    Ok(FeatureUpdate { name: wanted.feature.to_string(), level, upgrade })
}
