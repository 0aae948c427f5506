//! AlterConfigs (key 33), versions 0 to 2.
//!
//! - Replaces the whole configuration of a topic, a broker or all brokers: what is not named goes back to its default.
//!   Otherwise like IncrementalAlterConfigs, which Kafka's own clients use instead.

use super::admin::{Failure, change_valid, code_and_message, resource};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{Resource, Setting, alter_configs};
use highwater_wire::Str;
use highwater_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let parts = request.resources.iter().map(settings).collect();
    let cluster = &context.shared.cluster;
    let answers = change_valid(parts, |parts| async move {
        cluster.change(|view| alter_configs(view, &parts, request.validate_only)).await
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
    AlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
}

fn settings(wanted: &AlterConfigsResource) -> Result<(Resource, Vec<Setting>), Failure> {
    let resource = resource(wanted.resource_type, &wanted.resource_name)?;
    let settings = wanted
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_ref().map(Str::to_string)));
    Ok((resource, settings.collect()))
}
