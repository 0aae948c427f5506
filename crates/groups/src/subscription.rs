//! What consumers say of themselves in the classic protocol: as much of it as a broker must know.

use bytes::Bytes;
use highwater_wire::{Decoder, Message, Str};
use std::collections::BTreeSet;

/// The kind of protocols that consumers have.
pub(crate) const CONSUMER: &str = "consumer";

/// The beginning of a consumer's subscription, which all versions have alike.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
struct Subscription {
    /// The topics that it wants.
    topics: Vec<Str>,
}

/// The topics that a consumer subscribes to; none if what it says cannot be read. The names do not keep the bytes in
/// memory.
pub(crate) fn topics_of(metadata: &Bytes) -> Option<BTreeSet<Str>> {
    let mut input = Decoder::new(metadata.clone());
    let version = i16::from_be_bytes(input.array().ok()?);
    // Later versions have more fields behind, and are read as the last one that is known.
    let subscription = Subscription::decode(&mut input, version.min(*Subscription::VERSIONS.end())).ok()?;
    Some(subscription.topics.iter().map(|topic| Str::from(&**topic)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_whatever_the_version() {
        let topics = b"\0\0\0\x02\0\x01b\0\x01a";
        for version in [0u8, 1, 3, 9] {
            let metadata = [&[0, version], topics.as_slice(), b"more"].concat();
            let expected = BTreeSet::from(["a".into(), "b".into()]);
            assert_eq!(topics_of(&metadata.into()), Some(expected));
        }
    }

    #[test]
    fn what_is_no_subscription_has_no_topics() {
        for metadata in
            [&b""[..], b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\0\x05a"]
        {
            assert_eq!(topics_of(&Bytes::from_static(metadata)), None, "{metadata:?}");
        }
    }
}
