//! Fetch, versions 4 to 18, for consumers and followers.
//!
//! A request that waits for data is parked with the partitions it reads, is woken once per group commit (a follower:
//! once per append), and has the connection's timer for its deadline. Records that this process appended lately are
//! sent from their file; others are read, checked and sent from memory.
//!
//! - Consumers read up to the high watermark: of the leader, or, from version 11 on, of any replica (KIP-392). Where
//!   `replica.selector.class` asks for it, the leader sends them to an in-sync replica of their own rack.
//! - Damaged records are not served. Where other replicas may have them the answer is KAFKA_STORAGE_ERROR, since they
//!   are put back from there; else CORRUPT_MESSAGE.
//! - Followers read up to the leader's end. What they say of their own logs is counted before anything is read; one
//!   whose log parts from the leader's is told where instead of getting records.
//! - Fetch sessions are in [`session`].

mod reading;
mod session;
mod wanted;

pub(crate) use session::Sessions;

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::link::Deadline;
use crate::response::{Answer, FileOf, FileRange, Outcome};
use bytes::Bytes;
use highwater_env::Env;
use highwater_log::ReadSlice;
use highwater_types::TopicId;
use highwater_wire::messages::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use highwater_wire::{ApiKey, ErrorCode, Message, Records};
use reading::{Found, Reading};
use session::Mode;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a fetch waits, whatever it asks for: a connection whose peer is gone is found out that way.
const MAX_WAIT: Duration = Duration::from_secs(300);

const TOPIC_IDS_FROM: i16 = 13;
const ENDPOINTS_FROM: i16 = 16;

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes, charge: Option<Arc<Charge>>) -> Answer<E> {
    let request = match FetchRequest::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    let by_id = context.version() >= TOPIC_IDS_FROM;
    let mode = match context.shared.sessions.open(&request, by_id, context.begun) {
        Ok(mode) => mode,
        Err(error_code) => {
            return Answer::Ready(context.respond(&FetchResponse { error_code, ..FetchResponse::default() }));
        }
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let reading = Reading::new(context, &request, mode);
    // No more than can be given is waited for.
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(reading.max_bytes());
    // What is kept of the request is copied or shared: the frame is needed no more.
    drop((request, charge));
    // Most often all that is wanted is in reach without a look at the disk, and the answer ready at once.
    match reading.read_at_once() {
        Some(found) if found.is_due(min_bytes) || wait.is_zero() => Answer::Ready(finish(&reading, found)),
        found => Answer::Pending { work: Box::pin(go_on(reading, found, min_bytes, wait)), finish: false },
    }
}

/// Reads what could not be read at once, and waits for what is not there yet.
async fn go_on<E: Env>(
    reading: Reading<E>,
    found: Option<Found<FileOf<E>>>,
    min_bytes: usize,
    wait: Duration,
) -> Outcome<E> {
    let context = reading.context();
    let deadline: Deadline = context.link.deadline(context.begun.after(wait));
    let mut found = match found {
        Some(found) => found,
        None => reading.read().await,
    };
    if !found.is_due(min_bytes) && !wait.is_zero() {
        context.shared.metrics.fetches_parked.one();
        while !found.is_due(min_bytes) && deadline.poll_passed().is_pending() {
            reading.wait(&found, &deadline).await;
            found = reading.read().await;
        }
    }
    finish(&reading, found)
}

fn finish<E: Env>(reading: &Reading<E>, found: Found<FileOf<E>>) -> Outcome<E> {
    let context = reading.context();
    let metrics = &context.shared.metrics;
    metrics.fetched_bytes.add(found.bytes as u64);
    reading.count_throttled(&found);
    let outcome = respond(reading, found);
    metrics.fetch_time.record(context.shared.env.clock().now().since(context.begun));
    outcome
}

fn respond<E: Env>(reading: &Reading<E>, mut found: Found<FileOf<E>>) -> Outcome<E> {
    let context = reading.context();
    let session_id = settle_session(reading, &mut found);
    let node_endpoints =
        if context.version() >= ENDPOINTS_FROM { reading.endpoints(&found) } else { Vec::new() };
    let mut files: SmallVec<[FileRange<FileOf<E>>; 1]> = SmallVec::new();
    let charge = found.charge;
    let mut responses: Vec<FetchableTopicResponse> = Vec::with_capacity(reading.topic_count());
    let mut last_topic = None;
    for (part, found) in reading.parts().zip(found.partitions).filter(|(_, found)| !found.untold) {
        let records = match found.slice {
            None => Records::EMPTY,
            Some(ReadSlice::Checked(bytes)) => Records::Bytes(bytes),
            Some(ReadSlice::Verified { file, position, length }) => {
                let id = u32::try_from(files.len()).expect("a request has fewer partitions than that");
                files.push(FileRange { file, position, length });
                Records::External { id, length: u32::try_from(length).expect("a read is bounded by 31 bits") }
            }
        };
        let topic = (part.wanted.key.topic_id, &part.wanted.key.topic);
        if last_topic != Some(topic) {
            last_topic = Some(topic);
            let (topic_id, topic): (TopicId, _) = (topic.0, topic.1.clone());
            responses.push(FetchableTopicResponse { topic, topic_id, partitions: Vec::new() });
        }
        let topic = responses.last_mut().expect("the partition's topic");
        topic.partitions.push(PartitionData { records, ..found.data });
    }
    let body = FetchResponse { session_id, responses, node_endpoints, ..FetchResponse::default() };
    match context.encode(ApiKey::FETCH, context.version(), &body) {
        Ok(mut response) => {
            response.files = files;
            response.charge = charge;
            Outcome::Respond(response)
        }
        Err(reason) => Outcome::Close(reason),
    }
}

/// Begins the session that the client would like, or leaves out what has not changed for one that has it. Returns its
/// id.
fn settle_session<E: Env>(reading: &Reading<E>, found: &mut Found<FileOf<E>>) -> i32 {
    match reading.mode() {
        Mode::Full => 0,
        Mode::Begin => {
            let context = reading.context();
            let parts = reading
                .parts()
                .zip(&found.partitions)
                .map(|(part, found)| (part.wanted.clone(), &found.data));
            let by_id = context.version() >= TOPIC_IDS_FROM;
            context.shared.sessions.begin(parts, by_id, reading.is_follower(), context.begun)
        }
        Mode::Incremental(session) => {
            let mut session = session::lock(session);
            for (part, found) in reading.parts().zip(&mut found.partitions) {
                let has_records = found.slice.is_some();
                found.untold = !session.tells(&part.wanted.key, &found.data, has_records);
            }
            session.id()
        }
    }
}

/// What is answered for a partition that nothing can be read of.
fn failed(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: highwater_types::Offset(-1), ..PartitionData::default() }
}
