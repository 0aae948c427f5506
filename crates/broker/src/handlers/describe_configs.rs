//! DescribeConfigs (key 32), versions 1 to 4.
//!
//! - Topics (type 2), this broker (type 4, its id) and what is set for all brokers (type 4, empty name). Other types:
//!   INVALID_REQUEST.
//! - With synonyms: every place that sets a value, the one in force first. From version 3 on each value's type and, if
//!   asked for, its documentation, which says of what changes nothing that it changes nothing.
//! - No names, or an empty list of them, asks for all.

use super::admin::{Failure, code_and_message, resource};
use crate::directory::Routing;
use crate::dispatch::Context;
use crate::state::Shared;
use highwater_env::Env;
use highwater_metadata::check_topic_name;
use highwater_metadata::configs::{ConfigView, Entry, Source, SynonymValue};
use highwater_metadata::controller::Resource;
use highwater_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let routing = context.shared.directory.load();
    let results = request.resources.into_iter().map(|wanted| {
        let entries = resource(wanted.resource_type, &wanted.resource_name)
            .and_then(|resource| entries(&context.shared, &routing, &resource));
        let (error_code, error_message) = code_and_message(&entries);
        let configs =
            entries.unwrap_or_default().into_iter().filter(|entry| is_wanted(&wanted, entry)).map(|entry| {
                let documentation =
                    request.include_documentation.then(|| Str::from(entry.key.documentation()));
                config(entry, request.include_synonyms, documentation)
            });
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: wanted.resource_type,
            configs: configs.collect(),
            resource_name: wanted.resource_name.clone(),
        }
    });
    DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() }
}

fn entries<E: Env>(
    shared: &Shared<E>,
    routing: &Routing<E>,
    resource: &Resource,
) -> Result<Vec<Entry>, Failure> {
    let node = shared.config.node_id;
    let view = ConfigView { image: &routing.image, statics: shared.directory.statics(), broker: node };
    match resource {
        Resource::Topic(name) => {
            check_topic_name(name)?;
            let topic = routing.image.topic(name).ok_or_else(|| {
                let message = "This server does not host this topic.";
                Failure::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message)
            })?;
            Ok(view.describe_topic(topic))
        }
        Resource::Broker(None) => Ok(view.describe_all_brokers()),
        Resource::Broker(Some(id)) if *id == node => {
            Ok(view.describe_broker().into_iter().map(|entry| started_with(shared, routing, entry)).collect())
        }
        Resource::Broker(Some(id)) => Err(Failure::invalid_request(format!(
            "Unexpected broker id {id}: this is broker {node}, which describes itself and (with an empty name) what \
             is set for all brokers."
        ))),
    }
}

/// Fills in what the node was started with under other names than Kafka's.
fn started_with<E: Env>(shared: &Shared<E>, routing: &Routing<E>, mut entry: Entry) -> Entry {
    let value = match entry.key.name {
        "node.id" => shared.config.node_id.to_string(),
        "log.dirs" => shared.config.data_dir.display().to_string(),
        "listeners" => {
            let listeners = shared.config.listeners.iter();
            joined(listeners.map(|listener| format!("{}://{}", listener.name, listener.listen)))
        }
        "advertised.listeners" => {
            let broker = routing.image.broker(shared.config.node_id);
            let endpoints = broker.into_iter().flat_map(|broker| &broker.endpoints);
            joined(
                endpoints
                    .map(|endpoint| format!("{}://{}:{}", endpoint.listener, endpoint.host, endpoint.port)),
            )
        }
        _ => return entry,
    };
    let (name, source) = (entry.key.name, Source::Static);
    entry.synonyms = vec![SynonymValue { name, value: value.clone(), source }];
    (entry.value, entry.source) = (Some(value), source);
    entry
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn is_wanted(resource: &DescribeConfigsResource, entry: &Entry) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| *key == entry.key.name),
        _ => true,
    }
}

fn config(entry: Entry, include_synonyms: bool, documentation: Option<Str>) -> DescribeConfigsResourceResult {
    let synonyms = if include_synonyms { entry.synonyms.clone() } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.key.name),
        read_only: entry.read_only(),
        config_source: entry.source.number(),
        is_sensitive: false,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Str::from_static(synonym.name),
                value: Some(Str::from(synonym.value)),
                source: synonym.source.number(),
            })
            .collect(),
        config_type: entry.key.value_type.number(),
        documentation,
        value: entry.value.map(Str::from),
    }
}
