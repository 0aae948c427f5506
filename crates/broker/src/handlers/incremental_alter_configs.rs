//! IncrementalAlterConfigs (key 44), versions 0 and 1.
//!
//! - Sets, deletes, appends to and subtracts from single configurations of topics (type 2), of one broker (type 4, its
//!   id) and of all brokers (type 4, empty name). Other types: INVALID_REQUEST.
//! - Each resource succeeds or fails as a whole. An unknown name or a value that its configuration does not take is
//!   INVALID_CONFIG; a configuration that is read when a broker starts is INVALID_REQUEST.
//! - The change is durable and in force, in the logs too, before the answer. `validate_only` checks and changes
//!   nothing.

use super::admin::{Failure, change_valid, code_and_message, resource};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{AlterOperation, ConfigChange, Resource, incremental_alter_configs};
use highwater_wire::Str;
use highwater_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let parts = request.resources.iter().map(changes).collect();
    let cluster = &context.shared.cluster;
    let answers = change_valid(parts, |parts| async move {
        cluster.change(|view| incremental_alter_configs(view, &parts, request.validate_only)).await
    })
    .await;
    let responses = request.resources.into_iter().zip(answers).map(|(resource, answer)| {
        let (error_code, error_message) = code_and_message(&answer);
        AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    });
    IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
}

fn changes(wanted: &AlterConfigsResource) -> Result<(Resource, Vec<ConfigChange>), Failure> {
    let resource = resource(wanted.resource_type, &wanted.resource_name)?;
    let change = |config: &highwater_wire::messages::incremental_alter_configs::AlterableConfig| {
        let operation = AlterOperation::from_number(config.config_operation).ok_or_else(|| {
            Failure::invalid_request(format!(
                "Unknown operation {} on a configuration.",
                config.config_operation
            ))
        })?;
        let value = config.value.as_ref().map(Str::to_string);
        Ok(ConfigChange { name: config.name.to_string(), operation, value })
    };
    Ok((resource, wanted.configs.iter().map(change).collect::<Result<_, Failure>>()?))
}
