//! The compression codecs of record batches.

use crate::BatchError;
use std::fmt;
use std::str::FromStr;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy blocks in the framing of xerial's Java library; some clients send one bare block instead.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard; needs Produce 7 (KIP-110).
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of a number, as it stands in the lower three bits of a batch's attributes.
    pub fn from_id(id: i16) -> Result<Self, BatchError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::UnknownCodec(other)),
        }
    }

    /// The codec's name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    /// Takes the names that producers use, and `uncompressed`, which topics use for [`Codec::None`].
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uncompressed" => Ok(Self::None),
            _ => Self::ALL
                .into_iter()
                .find(|codec| codec.name() == text)
                .ok_or_else(|| "expected one of none, gzip, snappy, lz4, zstd".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_id(codec.id()), Ok(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        assert_eq!("uncompressed".parse(), Ok(Codec::None));
        assert_eq!(Codec::from_id(5), Err(BatchError::UnknownCodec(5)));
        assert!("producer".parse::<Codec>().is_err());
    }
}
