//! ApiVersions, versions 0 to 4: what this broker speaks.
//!
//! The feature `group.version` is finalized, by which clients know of the new group protocol (KIP-848). That of
//! transactions of version 2 is not, so that clients do not use them. A version that is not known is answered in
//! version 0 with UNSUPPORTED_VERSION and the versions of ApiVersions itself (KIP-511).

use crate::dispatch::Context;
use crate::response::{Answer, Outcome};
use bytes::Bytes;
use highwater_env::Env;
use highwater_wire::messages::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use highwater_wire::{ApiKey, ErrorCode, Message, ServedVersions, Str, version_table};

const SOFTWARE_FROM: i16 = 3;
/// The feature that tells which group protocols there are, and its level from which on the new one is among them.
const GROUP_VERSION: Str = Str::from_static("group.version");
const CONSUMER_PROTOCOL: i16 = 1;

pub(crate) fn begin<E: Env>(context: &Context<E>, body: Bytes) -> Answer<E> {
    let request = match ApiVersionsRequest::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    if context.version() >= SOFTWARE_FROM {
        let (name, version) = (&*request.client_software_name, &*request.client_software_version);
        if !is_software_text(name) || !is_software_text(version) {
            let error_code = ErrorCode::INVALID_REQUEST;
            return Answer::Ready(
                context.respond(&ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }),
            );
        }
        tracing::debug!(peer = %context.link.peer, name, version, "client");
    }
    let api_keys = version_table().iter().map(api_version).collect();
    let supported =
        SupportedFeatureKey { name: GROUP_VERSION, min_version: 0, max_version: CONSUMER_PROTOCOL };
    let finalized = FinalizedFeatureKey {
        name: GROUP_VERSION,
        max_version_level: CONSUMER_PROTOCOL,
        min_version_level: CONSUMER_PROTOCOL,
    };
    Answer::Ready(context.respond(&ApiVersionsResponse {
        api_keys,
        supported_features: vec![supported],
        finalized_features_epoch: 0,
        finalized_features: vec![finalized],
        ..ApiVersionsResponse::default()
    }))
}

/// Answers a version that is not known, in a form that every client can read.
pub(crate) fn refuse<E: Env>(context: &Context<E>) -> Answer<E> {
    let body = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: version_table()
            .iter()
            .filter(|served| served.key == ApiKey::API_VERSIONS)
            .map(api_version)
            .collect(),
        ..ApiVersionsResponse::default()
    };
    Answer::Ready(match context.encode(ApiKey::API_VERSIONS, 0, &body) {
        Ok(response) => Outcome::Respond(response),
        Err(reason) => Outcome::Close(reason),
    })
}

fn api_version(served: &ServedVersions) -> ApiVersion {
    ApiVersion { api_key: served.key.0, min_version: served.first, max_version: served.last }
}

/// Letters, digits, '.' and '-', with a letter or digit at both ends (KIP-511).
fn is_software_text(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    text.as_bytes().first().is_some_and(plain)
        && text.as_bytes().last().is_some_and(plain)
        && text.bytes().all(|byte| plain(&byte) || matches!(byte, b'.' | b'-'))
}
