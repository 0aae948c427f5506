//! Frames: requests as a broker reads them, responses as a client does.

// The random messages of the codec's own tests; not every helper among them is used here.
#[allow(dead_code)]
#[path = "../../../wire/tests/oracle/sample.rs"]
mod sample;

use super::Target;
use bytes::{BufMut, Bytes, BytesMut};
use highwater_env::Rng;
use highwater_wire::messages::*;
use highwater_wire::{
    ApiKey, Encoder, Message, Request, RequestHeader, Segment, decode_request_header, decode_response_header,
    encode_request, encode_response,
};
use rand::RngExt;
use sample::Sample;

/// How often a value is drawn whose nulls its version does not have, before an empty input is taken.
const DRAWS: usize = 20;

/// A frame of a request, without its length.
pub struct Requests;

/// Key and version of a response, two bytes each, and its frame without its length.
pub struct Responses;

/// One request's type, and with it its response's.
struct Api {
    key: ApiKey,
    first: i16,
    last: i16,
    generate_request: fn(i16, &mut Rng) -> Option<Bytes>,
    generate_response: fn(i16, &mut Rng) -> Option<Bytes>,
    check_request: fn(Bytes, i16) -> Result<(), String>,
    check_response: fn(Bytes, i16) -> Result<(), String>,
}

fn api<R: Request + Sample + PartialEq>() -> Api
where
    R::Response: Sample + PartialEq,
{
    Api {
        key: R::KEY,
        first: *R::VERSIONS.start(),
        last: *R::VERSIONS.end(),
        generate_request: |version, rng| {
            let client = Some("fuzz").filter(|_| rng.random());
            encode_request(rng.random(), client, version, &R::sample(rng)).ok().map(gathered)
        },
        generate_response: |version, rng| {
            let response = R::Response::sample(rng);
            encode_response(rng.random(), R::KEY, version, &response).ok().map(gathered)
        },
        check_request: survives_a_round_trip::<R>,
        check_response: survives_a_round_trip::<R::Response>,
    }
}

macro_rules! apis {
    ($($module:ident: $request:ident,)*) => {
        fn apis() -> Vec<Api> {
            vec![$(api::<$module::$request>()),*]
        }
    };
}

highwater_wire::for_each_request!(apis);

/// A frame's bytes without the length in front.
pub(super) fn gathered(frame: highwater_wire::Frame) -> Bytes {
    let mut out = BytesMut::with_capacity(frame.length);
    for segment in frame.segments {
        match segment {
            Segment::Bytes(bytes) => out.put(bytes),
            Segment::External { .. } => unreachable!("no sample has external records"),
        }
    }
    out.freeze().slice(4..)
}

/// What can be read can be written, and reads as the same again.
fn survives_a_round_trip<M: Message + PartialEq>(body: Bytes, version: i16) -> Result<(), String> {
    let Ok(message) = M::decode_body(body, version) else { return Ok(()) };
    let encoded = |message: &M| {
        let mut out = Encoder::default();
        message.encode(&mut out, version).map_err(|error| format!("{}: {error}", M::NAME))?;
        let frame = out.finish();
        let mut bytes = BytesMut::with_capacity(frame.length);
        for segment in frame.segments {
            if let Segment::Bytes(part) = segment {
                bytes.put(part);
            }
        }
        Ok::<_, String>(bytes.freeze())
    };
    let again =
        M::decode_body(encoded(&message)?, version).map_err(|error| format!("{}: {error}", M::NAME))?;
    if again == message { Ok(()) } else { Err(format!("{} version {version} changes when written", M::NAME)) }
}

fn find(key: ApiKey) -> Option<Api> {
    apis().into_iter().find(|api| api.key == key)
}

fn any_api(rng: &mut Rng) -> (Api, i16) {
    let mut apis = apis();
    let api = apis.swap_remove(rng.random_range(0..apis.len()));
    let version = rng.random_range(api.first..=api.last);
    (api, version)
}

impl Target for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let (api, version) = any_api(rng);
        let drawn = (0..DRAWS).find_map(|_| (api.generate_request)(version, rng));
        drawn.unwrap_or_default().to_vec()
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let mut frame = Bytes::copy_from_slice(input);
        let Ok(RequestHeader { api_key, api_version, .. }) = decode_request_header(&mut frame) else {
            return Ok(());
        };
        find(ApiKey(api_key)).map_or(Ok(()), |api| (api.check_request)(frame, api_version))
    }
}

impl Target for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let (api, version) = any_api(rng);
        let drawn = (0..DRAWS).find_map(|_| (api.generate_response)(version, rng)).unwrap_or_default();
        [&api.key.0.to_be_bytes()[..], &version.to_be_bytes(), &drawn].concat()
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let Some(&[key_high, key_low, version_high, version_low]) = input.first_chunk() else {
            return Ok(());
        };
        let key = ApiKey(i16::from_be_bytes([key_high, key_low]));
        let version = i16::from_be_bytes([version_high, version_low]);
        let mut frame = Bytes::copy_from_slice(&input[4..]);
        if decode_response_header(&mut frame, key, version).is_err() {
            return Ok(());
        }
        find(key).map_or(Ok(()), |api| (api.check_response)(frame, version))
    }
}
