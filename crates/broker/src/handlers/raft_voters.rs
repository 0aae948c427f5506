//! AddRaftVoter (key 80) and RemoveRaftVoter (key 81), version 0: the voters of the metadata quorum.
//!
//! - A new voter is a node that runs and follows the metadata with the disk that is named: it is made a voter once it
//!   has caught up. Its listeners are those that it registered with.
//! - The answer comes when the change is committed.

use crate::cluster::CommitError;
use crate::dispatch::Context;
use crate::errors;
use highwater_env::Env;
use highwater_metadata::{Refusal, RefusalCode};
use highwater_types::DiskId;
use highwater_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;
use std::time::Duration;

/// How long a request may wait for a node to catch up.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(crate) async fn add<E: Env>(
    context: Arc<Context<E>>,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let id = request.voter_id;
    let quorum = context.shared.cluster.quorum();
    let outcome = if let Err(error) = check_cluster(&context, request.cluster_id.as_ref()) {
        Err(error)
    } else if quorum.status().voters.iter().flatten().any(|voter| *voter == id) {
        refuse(format!("Node {id} is a voter already."))
    } else {
        let patience = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
        let disk = DiskId(request.voter_directory_id);
        quorum.add_voter(id, disk, patience.min(LONGEST_WAIT)).await.map_err(CommitError::from)
    };
    let (error_code, error_message) = told(outcome);
    AddRaftVoterResponse { throttle_time_ms: 0, error_code, error_message }
}

pub(crate) async fn remove<E: Env>(
    context: Arc<Context<E>>,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let id = request.voter_id;
    let quorum = context.shared.cluster.quorum();
    let outcome = if let Err(error) = check_cluster(&context, request.cluster_id.as_ref()) {
        Err(error)
    } else {
        quorum.remove_voter(id, DiskId(request.voter_directory_id)).await.map_err(CommitError::from)
    };
    let (error_code, error_message) = told(outcome);
    RemoveRaftVoterResponse { throttle_time_ms: 0, error_code, error_message }
}

fn check_cluster<E: Env>(context: &Context<E>, named: Option<&Str>) -> Result<(), CommitError> {
    let own = context.shared.store.cluster_id().to_string();
    match named {
        Some(named) if **named != *own => {
            let message = format!("This is cluster {own}, and not {named}.");
            Err(CommitError::Refused(Refusal::new(RefusalCode::InconsistentClusterId, message)))
        }
        _ => Ok(()),
    }
}

fn refuse(message: String) -> Result<(), CommitError> {
    Err(CommitError::Refused(Refusal::new(RefusalCode::InvalidRequest, message)))
}

fn told(outcome: Result<(), CommitError>) -> (ErrorCode, Option<Str>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE, None),
        Err(error) => (errors::of_commit(&error), Some(Str::from(error.to_string()))),
    }
}
