//! From a request's bytes to the handler of its API.
//!
//! Kafka closes a connection that asks for an API or version that is not advertised, without an answer; the one
//! exception is ApiVersions, which is answered in version 0. So it is here.

use crate::budget::Charge;
use crate::cluster::Forward;
use crate::handlers;
use crate::link::Link;
use crate::response::{Answer, Outcome, Response};
use crate::state::Shared;
use bytes::Bytes;
use highwater_env::Env;
use highwater_types::Instant;
use highwater_wire::{
    ApiKey, Frame, Message, Request, RequestHeader, Segment, decode_request_header, encode_response,
    version_table,
};
use std::future::Future;
use std::sync::Arc;

/// What a handler knows beside the request's body.
pub(crate) struct Context<E: Env> {
    /// The node.
    pub(crate) shared: Arc<Shared<E>>,
    /// The connection.
    pub(crate) link: Arc<Link>,
    /// The request's header.
    pub(crate) header: RequestHeader,
    /// When the request was begun.
    pub(crate) begun: Instant,
    /// Whether another node sent it on: it is carried out here or not at all.
    pub(crate) forwarded: bool,
}

impl<E: Env> Context<E> {
    /// The version of the request and its answer.
    pub(crate) fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The answer as bytes.
    pub(crate) fn respond<M: Message>(&self, body: &M) -> Outcome<E> {
        match self.encode(ApiKey(self.header.api_key), self.header.api_version, body) {
            Ok(response) => Outcome::Respond(response),
            Err(reason) => Outcome::Close(reason),
        }
    }

    /// The answer as bytes, for a caller that adds to it.
    pub(crate) fn encode<M: Message>(
        &self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> Result<Response<E>, String> {
        encode_response(self.header.correlation_id, key, version, body)
            .map(Response::plain)
            .map_err(|error| format!("the answer cannot be encoded: {error}"))
    }
}

/// The API that a frame asks for, before anything else of it is looked at.
pub(crate) fn peek_api(frame: &[u8]) -> Option<ApiKey> {
    frame.first_chunk().map(|key| ApiKey(i16::from_be_bytes(*key)))
}

/// Begins a request. `charge` is what its frame takes of the memory of all connections.
pub(crate) fn begin<E: Env>(
    shared: &Arc<Shared<E>>,
    link: &Arc<Link>,
    frame: Bytes,
    charge: Option<Arc<Charge>>,
) -> Answer<E> {
    run(shared, link, frame, charge, false)
}

/// Begins a request that another node sent on to this one, because it is the active controller.
pub(crate) fn begin_forwarded<E: Env>(shared: &Arc<Shared<E>>, link: &Arc<Link>, frame: Bytes) -> Answer<E> {
    match peek_api(&frame) {
        Some(key) if is_for_controller(key) => run(shared, link, frame, None, true),
        Some(key) => Answer::close(format!("{key} is not for the active controller")),
        None => Answer::close("a request without a header"),
    }
}

/// Whether only the active controller can carry the call out.
fn is_for_controller(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::CREATE_TOPICS
            | ApiKey::DELETE_TOPICS
            | ApiKey::CREATE_PARTITIONS
            | ApiKey::INCREMENTAL_ALTER_CONFIGS
            | ApiKey::ALTER_CONFIGS
            | ApiKey::ELECT_LEADERS
            | ApiKey::ALTER_PARTITION_REASSIGNMENTS
            | ApiKey::DESCRIBE_QUORUM
            | ApiKey::UPDATE_FEATURES
            | ApiKey::UNREGISTER_BROKER
            | ApiKey::ADD_RAFT_VOTER
            | ApiKey::REMOVE_RAFT_VOTER
    )
}

fn run<E: Env>(
    shared: &Arc<Shared<E>>,
    link: &Arc<Link>,
    mut frame: Bytes,
    charge: Option<Arc<Charge>>,
    forwarded: bool,
) -> Answer<E> {
    let whole = frame.clone();
    let header = match decode_request_header(&mut frame) {
        Ok(header) => header,
        Err(error) => return Answer::close(error.to_string()),
    };
    let key = ApiKey(header.api_key);
    shared.metrics.requests.of(key).one();
    let version = header.api_version;
    let (shared, link, begun) = (Arc::clone(shared), Arc::clone(link), link.now());
    let context = Context { shared, link, header, begun, forwarded };
    if !is_served(key, version) {
        if key == ApiKey::API_VERSIONS {
            return handlers::api_versions::refuse(&context);
        }
        return Answer::close(format!("{key} version {version} is not served"));
    }
    match key {
        ApiKey::PRODUCE => handlers::produce::begin(context, frame, charge),
        ApiKey::FETCH => handlers::fetch::begin(context, frame, charge),
        ApiKey::API_VERSIONS => handlers::api_versions::begin(&context, frame),
        ApiKey::METADATA => handlers::metadata::begin(context, frame),
        ApiKey::LIST_OFFSETS => read(context, frame, handlers::list_offsets::handle),
        ApiKey::INIT_PRODUCER_ID => change(context, frame, handlers::init_producer_id::handle),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => read(context, frame, handlers::offset_for_leader_epoch::handle),
        ApiKey::CREATE_TOPICS => decide(context, frame, whole, handlers::create_topics::handle),
        ApiKey::DELETE_TOPICS => decide(context, frame, whole, handlers::delete_topics::handle),
        ApiKey::CREATE_PARTITIONS => decide(context, frame, whole, handlers::create_partitions::handle),
        ApiKey::DELETE_RECORDS => change(context, frame, handlers::delete_records::handle),
        ApiKey::DESCRIBE_CONFIGS => read(context, frame, handlers::describe_configs::handle),
        ApiKey::INCREMENTAL_ALTER_CONFIGS => {
            decide(context, frame, whole, handlers::incremental_alter_configs::handle)
        }
        ApiKey::ALTER_CONFIGS => decide(context, frame, whole, handlers::alter_configs::handle),
        ApiKey::DESCRIBE_CLUSTER => read(context, frame, handlers::describe_cluster::handle),
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => {
            read(context, frame, handlers::describe_topic_partitions::handle)
        }
        ApiKey::ELECT_LEADERS => decide(context, frame, whole, handlers::elect_leaders::handle),
        ApiKey::ALTER_PARTITION_REASSIGNMENTS => {
            decide(context, frame, whole, handlers::alter_partition_reassignments::handle)
        }
        ApiKey::LIST_PARTITION_REASSIGNMENTS => {
            read(context, frame, handlers::list_partition_reassignments::handle)
        }
        ApiKey::DESCRIBE_QUORUM => decide(context, frame, whole, handlers::describe_quorum::handle),
        ApiKey::UPDATE_FEATURES => decide(context, frame, whole, handlers::update_features::handle),
        ApiKey::UNREGISTER_BROKER => decide(context, frame, whole, handlers::unregister_broker::handle),
        ApiKey::ADD_RAFT_VOTER => decide(context, frame, whole, handlers::raft_voters::add),
        ApiKey::REMOVE_RAFT_VOTER => decide(context, frame, whole, handlers::raft_voters::remove),
        ApiKey::DESCRIBE_LOG_DIRS => read(context, frame, handlers::describe_log_dirs::handle),
        ApiKey::CONSUMER_GROUP_HEARTBEAT => read(context, frame, handlers::consumer_group_heartbeat::handle),
        ApiKey::CONSUMER_GROUP_DESCRIBE => read(context, frame, handlers::consumer_group_describe::handle),
        ApiKey::FIND_COORDINATOR => change(context, frame, handlers::find_coordinator::handle),
        ApiKey::JOIN_GROUP => read(context, frame, handlers::join_group::handle),
        ApiKey::SYNC_GROUP => read(context, frame, handlers::sync_group::handle),
        ApiKey::HEARTBEAT => read(context, frame, handlers::heartbeat::handle),
        ApiKey::LEAVE_GROUP => read(context, frame, handlers::leave_group::handle),
        ApiKey::OFFSET_COMMIT => read(context, frame, handlers::offset_commit::handle),
        ApiKey::OFFSET_FETCH => read(context, frame, handlers::offset_fetch::handle),
        ApiKey::OFFSET_DELETE => read(context, frame, handlers::offset_delete::handle),
        ApiKey::DESCRIBE_GROUPS => read(context, frame, handlers::describe_groups::handle),
        ApiKey::LIST_GROUPS => read(context, frame, handlers::list_groups::handle),
        ApiKey::DELETE_GROUPS => read(context, frame, handlers::delete_groups::handle),
        _ => Answer::close(format!("{key} is advertised but not served")),
    }
}

fn is_served(key: ApiKey, version: i16) -> bool {
    version_table().iter().any(|served| served.key == key && (served.first..=served.last).contains(&version))
}

/// A request that changes nothing: dropped in the middle when its client goes away.
fn read<E, R, F>(context: Context<E>, body: Bytes, handler: impl FnOnce(Arc<Context<E>>, R) -> F) -> Answer<E>
where
    E: Env,
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
{
    handle(context, body, handler, false)
}

/// A request that changes something: runs to its end even when its client goes away.
fn change<E, R, F>(
    context: Context<E>,
    body: Bytes,
    handler: impl FnOnce(Arc<Context<E>>, R) -> F,
) -> Answer<E>
where
    E: Env,
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
{
    handle(context, body, handler, true)
}

fn handle<E, R, F>(
    context: Context<E>,
    body: Bytes,
    handler: impl FnOnce(Arc<Context<E>>, R) -> F,
    finish: bool,
) -> Answer<E>
where
    E: Env,
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
{
    let request = match R::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    let context = Arc::new(context);
    let response = handler(Arc::clone(&context), request);
    Answer::Pending { work: Box::pin(async move { context.respond(&response.await) }), finish }
}

/// A request that only the active controller can carry out: sent on to it, if that is another node. `whole` is its
/// frame.
fn decide<E, R, F>(
    context: Context<E>,
    body: Bytes,
    whole: Bytes,
    handler: impl FnOnce(Arc<Context<E>>, R) -> F + Send + 'static,
) -> Answer<E>
where
    E: Env,
    R: Request + Send + 'static,
    F: Future<Output = R::Response> + Send + 'static,
{
    if context.forwarded {
        return handle(context, body, handler, true);
    }
    let request = match R::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    let context = Arc::new(context);
    let work = async move {
        match context.shared.cluster.forward(whole).await {
            Forward::Here => context.respond(&handler(Arc::clone(&context), request).await),
            Forward::Answered(bytes) => Outcome::Respond(Response::plain(Frame {
                length: bytes.len(),
                segments: [Segment::Bytes(bytes)].into_iter().collect(),
            })),
            // The client learns that the outcome is open by losing its connection.
            Forward::Lost(problem) => Outcome::Close(problem),
        }
    };
    Answer::Pending { work: Box::pin(work), finish: true }
}
