//! Batches that are not appended, and what the answer says of them.

use crate::errors;
use highwater_records::BatchError;
use highwater_wire::messages::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use highwater_wire::{ErrorCode, Str};

/// Why a batch was not appended.
pub(super) struct Refused {
    code: ErrorCode,
    message: Option<Str>,
    /// The record that it was for.
    record: Option<(i32, &'static str)>,
    /// Whether this node cannot say who leads.
    pub(super) is_cut_off: bool,
}

impl Refused {
    pub(super) fn new(code: ErrorCode, message: &str) -> Self {
        Self { message: Some(Str::from(message)), ..Self::from(code) }
    }

    /// This node leads as far as it knows, and others probably do.
    pub(super) fn cut_off() -> Self {
        let message = "this broker hears neither the controller nor the partition's other replicas";
        Self { is_cut_off: true, ..Self::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, message) }
    }

    pub(super) fn transactional() -> Self {
        Self::new(ErrorCode::INVALID_TXN_STATE, "this broker has no transactions yet")
    }

    pub(super) fn tell(self, response: &mut PartitionProduceResponse) {
        super::fail(response, self.code);
        response.error_message = self.message;
        response.record_errors = self
            .record
            .map(|(batch_index, reason)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(Str::from_static(reason)),
            })
            .into_iter()
            .collect();
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record: None, is_cut_off: false }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        let record = match error {
            BatchError::InvalidRecord { index, reason } => Some((index, reason)),
            _ => None,
        };
        Self { record, ..Self::new(errors::of_batch(&error), &error.to_string()) }
    }
}
