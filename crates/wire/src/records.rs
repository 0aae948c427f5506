//! The record bytes of one partition in a produce request or a fetch response.

use bytes::Bytes;

/// Record bytes, never copied: decoding slices them off the frame, encoding hands them on as segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// None, where the version allows it.
    Null,
    /// The bytes; what decoding gives unless they are null.
    Bytes(Bytes),
    /// Bytes that follow each other.
    Chain(Vec<Bytes>),
    /// Bytes that the caller of the encoder puts in: a range of a file, by the caller's own number.
    External {
        /// The caller's number for them.
        id: u32,
        /// How many there are.
        length: u32,
    },
}

impl Records {
    /// No records, which is not null: what most clients expect beside an error.
    pub const EMPTY: Self = Self::Bytes(Bytes::new());

    /// The number of bytes; none for null.
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Chain(parts) => parts.iter().map(Bytes::len).sum(),
            Self::External { length, .. } => *length as usize,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
