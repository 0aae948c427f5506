//! 128-bit identifiers, printed as Kafka prints them: 22 characters of unpadded URL-safe base64.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// A 128-bit identifier, big-endian on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

/// As the bytes in their order. Maps of logs compare little else, and a call for 16 bytes costs more than they do.
impl Ord for Uuid {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for Uuid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A text that is not a [`Uuid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 22 characters of URL-safe base64 (A-Z a-z 0-9 - _)")
    }
}

impl std::error::Error for ParseUuidError {}

impl Uuid {
    /// All bits zero: "none" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// An identifier from 128 random bits, made a version-4 UUID. It never prints with a leading '-', so that it can
    /// name a directory or be typed on a command line.
    pub fn from_random(bits: u128) -> Self {
        let mut bytes = bits.to_be_bytes();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] &= 0x7f;
        }
        Self(bytes)
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_LENGTH];
        for (index, out) in text.iter_mut().enumerate() {
            // 22 digits of 6 bits are 132 bits: the last digit holds 2 bits and 4 zero bits.
            let shift = 122 - 6 * index as i32;
            let digit = if shift >= 0 { (value >> shift) & 63 } else { (value << -shift) & 63 };
            *out = ALPHABET[digit as usize];
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != TEXT_LENGTH {
            return Err(ParseUuidError);
        }
        let mut value: u128 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&known| known == byte).ok_or(ParseUuidError)? as u128;
            if index == TEXT_LENGTH - 1 {
                if digit & 15 != 0 {
                    return Err(ParseUuidError);
                }
                value = (value << 2) | (digit >> 4);
            } else {
                value = (value << 6) | digit;
            }
        }
        Ok(Self(value.to_be_bytes()))
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseUuidError;

            fn from_str(text: &str) -> Result<Self, ParseUuidError> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id! {
    /// Identifies one life of a topic name (KIP-516).
    TopicId
}
uuid_id! {
    /// Identifies a cluster; a node refuses a data directory of another one.
    ClusterId
}
uuid_id! {
    /// Identifies one disk's contents; a wiped disk comes back with another (KIP-853, KIP-858).
    DiskId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_what_kafka_prints() {
        let bytes =
            [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10];
        let uuid = Uuid(bytes);
        assert_eq!(uuid.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }

    #[test]
    fn every_random_identifier_survives_printing_and_has_no_leading_dash() {
        for seed in 0..2_000u128 {
            let uuid = Uuid::from_random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            let text = uuid.to_string();
            assert_eq!(text.parse(), Ok(uuid));
            assert!(!text.starts_with('-'), "{text}");
        }
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        for text in [
            "",
            "ASNFZ4mrze_-3LqYdlQyE",
            "ASNFZ4mrze_-3LqYdlQyEAA",
            "ASNFZ4mrze_-3LqYdlQyE!",
            "ASNFZ4mrze_-3LqYdlQyEB",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(ParseUuidError), "{text}");
        }
    }
}
