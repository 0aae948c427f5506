//! Going over batches that follow each other.

use crate::{Batch, BatchError, BatchHeader, HEADER_BYTES};
use bytes::Bytes;

/// The batches in a row of bytes, each checked. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    ignore_partial_tail: bool,
}

impl Batches {
    /// All of `bytes` must be whole batches.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, ignore_partial_tail: false }
    }

    /// As the answer to a Fetch: the last batch may be cut short, and is left out then.
    pub fn with_partial_tail(bytes: Bytes) -> Self {
        Self { rest: bytes, ignore_partial_tail: true }
    }

    /// What has not been gone over yet: nothing, or a partial batch, when the iterator has ended without an error.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn take(&mut self) -> Result<Option<Batch>, BatchError> {
        let needed = match BatchHeader::decode(&self.rest) {
            Ok(header) => header.size_bytes(),
            Err(BatchError::Truncated { .. }) => HEADER_BYTES,
            Err(error) => return Err(error),
        };
        if self.rest.len() < needed {
            return match self.ignore_partial_tail {
                true => Ok(None),
                false => Err(BatchError::Truncated { needed, have: self.rest.len() }),
            };
        }
        let batch = Batch::check(self.rest.slice(..needed))?;
        self.rest = self.rest.slice(needed..);
        Ok(Some(batch))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = self.take();
        if result.is_err() {
            self.rest = Bytes::new();
        }
        result.transpose()
    }
}
