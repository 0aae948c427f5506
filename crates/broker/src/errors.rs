//! Kafka's error codes for what can go wrong below: the one place where they are chosen.

use crate::append_queue::Unwritten;
use crate::cluster::CommitError;
use crate::progress::Stopped;
use highwater_log::{AppendError, LogError, ReadError};
use highwater_metadata::Refusal;
use highwater_records::BatchError;
use highwater_types::LeaderEpoch;
use highwater_wire::ErrorCode;

/// The answer to a batch that is not what a client may send.
pub(crate) fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Truncated { .. }
        | BatchError::BadLength { .. }
        | BatchError::UnknownFormat(_)
        | BatchError::Corrupt { .. }
        | BatchError::InvalidHeader { .. }
        | BatchError::BadCompression { .. } => ErrorCode::CORRUPT_MESSAGE,
        BatchError::OldFormat(_)
        | BatchError::Empty
        | BatchError::SeveralBatches { .. }
        | BatchError::BaseOffset(_)
        | BatchError::RecordCount { .. }
        | BatchError::Control
        | BatchError::InvalidRecord { .. } => ErrorCode::INVALID_RECORD,
        BatchError::TooLarge { .. } | BatchError::DecompressedTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        BatchError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        BatchError::InvalidTimestamp { .. } | BatchError::TimestampType => ErrorCode::INVALID_TIMESTAMP,
        BatchError::UnknownCodec(_) | BatchError::UnsupportedCompression { .. } => {
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        }
    }
}

/// The answer to a batch that the log did not take.
fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::StaleProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::StaleLeaderEpoch { .. } => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        AppendError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::Closed => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        // The disk is full, or failed: nothing that another attempt of the client would mend at once, but it may try.
        _ => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The answer to a batch that is not in the log, or not for certain.
pub(crate) fn of_unwritten(unwritten: &Unwritten) -> ErrorCode {
    match unwritten {
        Unwritten::Refused(error) => of_append(error),
        Unwritten::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        Unwritten::Abandoned => ErrorCode::REQUEST_TIMED_OUT,
    }
}

/// The answer to a read that gave nothing, of a partition of which other brokers may have replicas.
pub(crate) fn of_read(error: &ReadError, replicated: bool) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        // It is put back from another replica: consumers try again, as with any disk that fails.
        ReadError::Damaged { .. } if replicated => ErrorCode::KAFKA_STORAGE_ERROR,
        // A consumer stops at this and says so, where after a storage error it would try for ever in silence.
        ReadError::Damaged { .. } => ErrorCode::CORRUPT_MESSAGE,
        ReadError::Closed => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        _ => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The answer to anything else that a log was asked for.
pub(crate) fn of_log(error: &LogError) -> ErrorCode {
    match error {
        LogError::Closed | LogError::NotFound(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        LogError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        _ => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The answer to a request for which nothing more can be waited for.
pub(crate) fn of_stopped(stopped: Stopped) -> ErrorCode {
    match stopped {
        Stopped::Failed => ErrorCode::KAFKA_STORAGE_ERROR,
        // The client looks for the partition anew, be it gone or on its way to another node.
        Stopped::Closed | Stopped::Deposed | Stopped::CutOff => ErrorCode::NOT_LEADER_OR_FOLLOWER,
    }
}

/// The answer to a change of the metadata that was refused.
pub(crate) fn of_refusal(refusal: &Refusal) -> ErrorCode {
    ErrorCode(refusal.code.number())
}

/// The answer to a client that believes in the leader epoch `believed`; none if it need not be told.
pub(crate) fn of_epoch(current: LeaderEpoch, believed: LeaderEpoch) -> Option<ErrorCode> {
    if believed == LeaderEpoch::NONE || believed == current {
        None
    } else if believed < current {
        Some(ErrorCode::FENCED_LEADER_EPOCH)
    } else {
        Some(ErrorCode::UNKNOWN_LEADER_EPOCH)
    }
}

/// The answer to a change of the metadata that failed.
pub(crate) fn of_commit(error: &CommitError) -> ErrorCode {
    match error {
        // The client looks for another controller, and finds this node again if it was only restarted.
        CommitError::NotController | CommitError::Stopped => ErrorCode::NOT_CONTROLLER,
        CommitError::Open => ErrorCode::REQUEST_TIMED_OUT,
        CommitError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        CommitError::Refused(refusal) => of_refusal(refusal),
        CommitError::Contradiction(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
