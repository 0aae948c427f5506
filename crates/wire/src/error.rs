//! Why bytes are not a message, or a message has no bytes, with the path to the field.

use smallvec::SmallVec;
use std::fmt;

/// One step of a path: a message or field, or an element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Name(&'static str),
    Element(usize),
}

/// A path, innermost step first: it is built on the way out of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Path(SmallVec<[Step; 8]>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().rev().enumerate() {
            match step {
                Step::Name(name) if index == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Element(element) => write!(f, "[{element}]")?,
            }
        }
        Ok(())
    }
}

macro_rules! error {
    ($(#[$doc:meta])* $name:ident, $problem:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Box<(Path, $problem)>);

        impl $name {
            /// An error with no path yet.
            #[cold]
            pub fn new(problem: $problem) -> Self {
                Self(Box::new((Path::default(), problem)))
            }

            /// The error as seen from the message or field around it.
            #[cold]
            #[must_use]
            pub fn within(mut self, name: &'static str) -> Self {
                self.0.0.0.push(Step::Name(name));
                self
            }

            /// The error as seen from the array around it.
            #[cold]
            #[must_use]
            pub fn at_element(mut self, index: usize) -> Self {
                self.0.0.0.push(Step::Element(index));
                self
            }

            /// What is wrong, without where.
            pub fn problem(&self) -> &$problem {
                &self.0.1
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0.0.0.is_empty() {
                    self.0.1.fmt(f)
                } else {
                    write!(f, "{}: {}", self.0.0, self.0.1)
                }
            }
        }

        impl std::error::Error for $name {}
    };
}

error! {
    /// Bytes that are not the message that they should be. Prints as `ProduceRequest.topic_data[3].name:
    /// ...`.
    DecodeError, DecodeProblem
}
error! {
    /// A message that has no form in that version. Prints as `ProduceRequest.topic_data[3].name: ...`.
    EncodeError, EncodeProblem
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// The bytes end too early.
    #[error("{wanted} bytes wanted, {remaining} remain")]
    Truncated {
        /// The size of what was to be read.
        wanted: usize,
        /// The bytes left.
        remaining: usize,
    },
    /// A length below -1.
    #[error("length {length} is below -1")]
    NegativeLength {
        /// The length.
        length: i64,
    },
    /// A string longer than Kafka allows.
    #[error("length {length} is above {limit}")]
    TooLong {
        /// The length.
        length: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// More elements than the remaining bytes can hold.
    #[error(
        "{count} elements of at least {least} bytes each do not fit in the {remaining} bytes that remain"
    )]
    Count {
        /// The number of elements.
        count: usize,
        /// The least size of one.
        least: usize,
        /// The bytes left.
        remaining: usize,
    },
    /// The arrays would take more memory than one message may.
    #[error("{count} elements take more memory than one message may ({limit} bytes)")]
    Memory {
        /// The number of elements.
        count: usize,
        /// The limit for all arrays of one message.
        limit: usize,
    },
    /// A null where the version allows none.
    #[error("null is not allowed in this version")]
    Null,
    /// A string that is not UTF-8.
    #[error("not UTF-8 after {valid_up_to} bytes")]
    Utf8 {
        /// The length of its valid start.
        valid_up_to: usize,
    },
    /// A variable-length integer of more than 32 bits.
    #[error("variable-length integer of more than 32 bits")]
    Varint,
    /// A tagged field of another size than it says.
    #[error("tagged field of {size} bytes has {unread} too many")]
    TagSize {
        /// The size that it says.
        size: usize,
        /// What remains of it.
        unread: usize,
    },
    /// The first byte of a nullable struct is neither "absent" nor "present".
    #[error("presence byte {byte}")]
    Presence {
        /// The byte.
        byte: i8,
    },
    /// A version that the message does not know.
    #[error("version {version} is not known")]
    Version {
        /// The version.
        version: i16,
    },
}

/// What is wrong with the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeProblem {
    /// A null where the version allows none.
    #[error("null is not allowed in this version")]
    Null,
    /// Longer than its length field can say.
    #[error("length {length} is above {limit}")]
    TooLong {
        /// The length.
        length: usize,
        /// The largest that can be written.
        limit: usize,
    },
    /// A version that the message does not know.
    #[error("version {version} is not known")]
    Version {
        /// The version.
        version: i16,
    },
}
