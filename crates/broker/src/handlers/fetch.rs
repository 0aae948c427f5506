//! Fetch, versions 4 to 18, for consumers.
//!
//! There are no fetch sessions yet: session id 0 is always answered, so that clients send full fetches. A request that
//! waits for data is parked with the partitions it reads, is woken once per group commit, and has the connection's
//! timer for its deadline. Records that this process appended lately are sent from their file; others are read,
//! checked and sent from memory. Follower fetches and diverging epochs come with replication.

mod reading;

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::link::Deadline;
use crate::response::{Answer, FileOf, FileRange, Outcome};
use bytes::Bytes;
use highwater_env::Env;
use highwater_log::ReadSlice;
use highwater_wire::messages::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use highwater_wire::{ApiKey, ErrorCode, Message, Records};
use reading::{Found, Reading};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a fetch waits, whatever it asks for: a connection whose peer is gone is found out that way.
const MAX_WAIT: Duration = Duration::from_secs(300);

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes, charge: Option<Arc<Charge>>) -> Answer<E> {
    let request = match FetchRequest::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    // A full fetch has epoch 0 (and would like a session) or -1 (and would not). Any other is of a session that was
    // never given.
    if request.session_epoch > 0 {
        let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        return Answer::Ready(context.respond(&FetchResponse { error_code, ..FetchResponse::default() }));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let reading = Reading::new(context, &request);
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
    let outcome = respond(reading, found);
    metrics.fetch_time.record(context.shared.env.clock().now().since(context.begun));
    outcome
}

fn respond<E: Env>(reading: &Reading<E>, found: Found<FileOf<E>>) -> Outcome<E> {
    let mut files: SmallVec<[FileRange<FileOf<E>>; 1]> = SmallVec::new();
    let charge = found.charge;
    let mut partitions = found.partitions.into_iter().map(|(data, slice)| {
        let records = match slice {
            None => Records::EMPTY,
            Some(ReadSlice::Checked(bytes)) => Records::Bytes(bytes),
            Some(ReadSlice::Verified { file, position, length }) => {
                let id = u32::try_from(files.len()).expect("a request has fewer partitions than that");
                files.push(FileRange { file, position, length });
                Records::External { id, length: u32::try_from(length).expect("a read is bounded by 31 bits") }
            }
        };
        PartitionData { records, ..data }
    });
    let responses = reading
        .topics()
        .map(|(id, name, count)| FetchableTopicResponse {
            topic: name.clone(),
            topic_id: id,
            partitions: partitions.by_ref().take(count).collect(),
        })
        .collect();
    drop(partitions);
    let body = FetchResponse { responses, ..FetchResponse::default() };
    let context = reading.context();
    match context.encode(ApiKey::FETCH, context.version(), &body) {
        Ok(mut response) => {
            response.files = files;
            response.charge = charge;
            Outcome::Respond(response)
        }
        Err(reason) => Outcome::Close(reason),
    }
}
