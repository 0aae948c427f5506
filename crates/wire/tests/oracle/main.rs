//! The codec against another one: the `kafka-protocol` crate, generated from Kafka's schemas.
//!
//! For every message and version that both know: random values, written by this codec, are read by the other
//! into the same fields by name, written by it into the same bytes, and read back into the same value.

mod headers;
mod sample;
mod tags;
mod tree;

use bytes::{Bytes, BytesMut};
use highwater_wire::messages::*;
use highwater_wire::{Decoder, EncodeError, EncodeProblem, Encoder, Message, Request, Segment};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sample::Sample;
use std::fmt::Debug;
use tree::{Tree, tree};

const ROUNDS: u64 = 150;

const HAVE_RECORDS: &[&str] = &["ProduceRequest", "FetchResponse"];

/// Reads bytes with the other codec; gives what it printed and what it writes.
type Oracle = fn(TheirKey, Bytes, i16) -> (String, Bytes, usize);

fn their_request(key: TheirKey, mut bytes: Bytes, version: i16) -> (String, Bytes, usize) {
    let value = RequestKind::decode(key, &mut bytes, version).expect("the other codec reads it");
    let mut out = BytesMut::new();
    value.encode(&mut out, version).expect("the other codec writes it");
    (format!("{value:?}"), out.freeze(), bytes.len())
}

fn their_response(key: TheirKey, mut bytes: Bytes, version: i16) -> (String, Bytes, usize) {
    let value = ResponseKind::decode(key, &mut bytes, version).expect("the other codec reads it");
    let mut out = BytesMut::new();
    value.encode(&mut out, version).expect("the other codec writes it");
    (format!("{value:?}"), out.freeze(), bytes.len())
}

/// A message's bytes, gathered from its segments.
pub fn encoded<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = Encoder::default();
    message.encode(&mut out, version)?;
    let frame = out.finish();
    let mut gathered = BytesMut::new();
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(bytes) => gathered.extend_from_slice(bytes),
            Segment::External { .. } => panic!("no sample has external records"),
        }
    }
    assert_eq!(gathered.len(), frame.length);
    Ok(gathered.freeze())
}

/// Random values of a message and their bytes in one version. Values with a null that the version lacks are
/// passed over.
fn samples<M: Message + Sample>(version: i16) -> Vec<(M, Bytes)> {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(version.unsigned_abs()));
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        let value = M::sample(&mut rng);
        match encoded(&value, version) {
            Ok(bytes) => found.push((value, bytes)),
            Err(error) => assert_eq!(error.problem(), &EncodeProblem::Null, "{error}"),
        }
    }
    assert!(found.len() > ROUNDS as usize / 10, "{} v{version}: {} samples have bytes", M::NAME, found.len());
    found
}

fn check_message<M: Message + Sample + Clone + Debug + PartialEq>(
    key: highwater_wire::ApiKey,
    oracle: Oracle,
) {
    let their_key = TheirKey::try_from(key.0).expect("both know the key");
    let theirs = their_key.valid_versions();
    for version in M::VERSIONS {
        for (value, bytes) in samples::<M>(version) {
            let mut input = Decoder::new(bytes.clone());
            let read = M::decode(&mut input, version).expect("it reads what it writes");
            assert_eq!(input.remaining(), 0, "{} v{version}", M::NAME);
            assert_eq!(encoded(&read, version).as_ref(), Ok(&bytes), "{} v{version}", M::NAME);
            // Record bytes are not in the buffer that the bound is for.
            assert!(
                value.bound() >= bytes.len() || HAVE_RECORDS.contains(&M::NAME),
                "{} v{version}",
                M::NAME
            );
            check_hostile::<M>(&bytes, version);

            if (theirs.min..=theirs.max).contains(&version) && !is_newer_request(M::NAME, version) {
                let (printed, written, unread) = oracle(their_key, bytes.clone(), version);
                assert_eq!(unread, 0, "{} v{version}", M::NAME);
                assert_eq!(written, bytes, "{} v{version}: {value:?}", M::NAME);
                let (ours, theirs) = (tree(&format!("{read:?}")), tree(&printed));
                assert_same_fields(&ours, &theirs, &format!("{} v{version}", M::NAME));
            }
        }
    }
}

/// Whether the other codec knows of that version in answers alone.
fn is_newer_request(name: &str, version: i16) -> bool {
    matches!((name, version), ("OffsetCommitRequest" | "OffsetFetchRequest", 10))
}

/// Fields that the other codec does not know: of a newer version of Kafka, or our own.
const NEWER_FIELDS: &[&str] = &["is_cordoned", "synced_end"];

/// Fields of a version that is not served, which the other codec has.
const UNSERVED_FIELDS: &[&str] =
    &["enable_2_pc", "keep_prepared_txn", "ongoing_txn_producer_id", "ongoing_txn_producer_epoch"];

fn assert_same_fields(ours: &Tree, theirs: &Tree, path: &str) {
    match (ours, theirs) {
        (Tree::Fields(ours), Tree::Fields(theirs)) => {
            for (name, value) in ours {
                let path = format!("{path}.{name}");
                match theirs.get(name) {
                    Some(other) => assert_same_fields(value, other, &path),
                    None => assert!(NEWER_FIELDS.contains(&name.as_str()), "{path} is not in the schema"),
                }
            }
            let missing: Vec<_> = theirs
                .keys()
                .filter(|name| !ours.contains_key(*name) && !UNSERVED_FIELDS.contains(&name.as_str()))
                .collect();
            assert!(missing.is_empty(), "{path} lacks {missing:?}");
        }
        (Tree::List(ours), Tree::List(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}");
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_same_fields(ours, theirs, path);
            }
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

/// No strict prefix is a message, and no mutation does harm.
fn check_hostile<M: Message>(bytes: &Bytes, version: i16) {
    // The first samples of each version are enough for what is quadratic in their length.
    if bytes.len() < 400 {
        for length in 0..bytes.len() {
            let prefix = bytes.slice(..length);
            assert!(M::decode_body(prefix, version).is_err(), "{} v{version} cut to {length}", M::NAME);
        }
    }
    for seed in 0..20u64 {
        let mut mutated = bytes.to_vec();
        if mutated.is_empty() {
            return;
        }
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mutated.len() as u64;
        for _ in 0..=seed % 3 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let at = (state >> 33) as usize % mutated.len();
            mutated[at] = [0xff, 0x7f, 0x80, 0x00, (state >> 20) as u8][(state >> 8) as usize % 5];
        }
        if let Ok(value) = M::decode_body(mutated.into(), version) {
            encoded(&value, version).expect("what was read can be written");
        }
    }
}

fn check<R>()
where
    R: Request + Sample + Clone + Debug + PartialEq,
    R::Response: Sample + Clone + Debug + PartialEq,
{
    assert_eq!(R::VERSIONS, <R::Response as Message>::VERSIONS);
    check_message::<R>(R::KEY, their_request);
    check_message::<R::Response>(R::KEY, their_response);
}

macro_rules! oracle_tests {
    ($($test:ident: $request:ident,)*) => {$(
        #[test]
        fn $test() {
            check::<$request>();
        }
    )*};
}

highwater_wire::for_each_request!(oracle_tests);
