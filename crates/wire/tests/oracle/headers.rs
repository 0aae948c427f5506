//! Headers, keys and error codes against the other codec.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_wire::messages::*;
use highwater_wire::{
    ApiKey, ErrorCode, Frame, Message, Request, RequestHeader, Segment, decode_request_header,
    decode_response_header, encode_request, encode_response, version_table,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{self as theirs, ApiKey as TheirKey};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

fn gathered(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(bytes) => out.put_slice(bytes),
            Segment::External { .. } => panic!("no external records here"),
        }
    }
    out.freeze()
}

#[test]
fn keys_and_header_versions() {
    for their_key in TheirKey::iter() {
        let key = ApiKey(their_key as i16);
        assert_eq!(key.name(), Some(format!("{their_key:?}").as_str()));
        let versions = their_key.valid_versions();
        for version in versions.min..=versions.max {
            let request = if key.is_flexible(version) { 2 } else { 1 };
            assert_eq!(request, their_key.request_header_version(version), "{key} v{version}");
            let response = i16::from(key.has_flexible_response_header(version));
            assert_eq!(response, their_key.response_header_version(version), "{key} v{version}");
        }
    }
}

fn check_request_header<R: Request>(request: &R, version: i16, client_id: Option<&'static str>) {
    let frame = encode_request(-7, client_id, version, request).expect("it has bytes");
    let mut bytes = gathered(&frame);
    assert_eq!(bytes.len(), frame.length);
    assert_eq!(bytes.split_to(4), (bytes.len() as u32).to_be_bytes().as_slice());

    let mut ours = bytes.clone();
    let header = decode_request_header(&mut ours).expect("it reads what it writes");
    let expected = RequestHeader {
        api_key: R::KEY.0,
        api_version: version,
        correlation_id: -7,
        client_id: client_id.map(Into::into),
    };
    assert_eq!(header, expected);

    let header_version = TheirKey::try_from(R::KEY.0).expect("both know it").request_header_version(version);
    let header = theirs::RequestHeader::decode(&mut bytes, header_version).expect("the other codec reads it");
    assert_eq!(header.correlation_id, -7);
    assert_eq!(header.client_id.as_deref(), client_id);
    assert_eq!(bytes, ours, "both leave the same body");
}

#[test]
fn request_headers() {
    for client_id in [None, Some(""), Some("producer-1")] {
        for version in 0..=4 {
            check_request_header(&ApiVersionsRequest::default(), version, client_id);
        }
        for version in 4..=18 {
            check_request_header(&FetchRequest::default(), version, client_id);
        }
    }
}

#[test]
fn request_headers_with_tagged_fields() {
    let header = theirs::RequestHeader::default()
        .with_request_api_key(18)
        .with_request_api_version(3)
        .with_correlation_id(5)
        .with_client_id(Some(StrBytes::from_static_str("c")))
        .with_unknown_tagged_field(9, Bytes::from_static(b"later"));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, 2).expect("the other codec writes it");
    bytes.put_slice(b"body");
    let mut bytes = bytes.freeze();
    let header = decode_request_header(&mut bytes).expect("unknown tagged fields are skipped");
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (5, Some("c")));
    assert_eq!(bytes, "body");
}

#[test]
fn response_headers() {
    for version in 0..=4 {
        let frame = encode_response(77, ApiKey::API_VERSIONS, version, &ApiVersionsResponse::default());
        check_response_header(&frame.expect("it has bytes"), ApiKey::API_VERSIONS, version);
    }
    for version in 0..=13 {
        let frame = encode_response(
            77,
            ApiKey::METADATA,
            version,
            &MetadataResponse { cluster_id: Some("c".into()), ..Default::default() },
        );
        check_response_header(&frame.expect("it has bytes"), ApiKey::METADATA, version);
    }
}

fn check_response_header(frame: &Frame, key: ApiKey, version: i16) {
    let mut bytes = gathered(frame).slice(4..);
    assert_eq!(bytes.len() + 4, frame.length);
    let mut ours = bytes.clone();
    assert_eq!(decode_response_header(&mut ours, key, version), Ok(77));
    let header_version = TheirKey::try_from(key.0).expect("both know it").response_header_version(version);
    let header =
        theirs::ResponseHeader::decode(&mut bytes, header_version).expect("the other codec reads it");
    assert_eq!(header.correlation_id, 77);
    assert_eq!(bytes, ours, "both leave the same body");
}

#[test]
fn error_codes() {
    for code in -1..=133 {
        let Some(theirs) = ResponseError::try_from_code(code) else { continue };
        let ours = ErrorCode(code);
        let name: String = ours.name().split('_').collect();
        assert_eq!(name, format!("{theirs:?}").to_uppercase(), "{ours}");
        // Kafka made this one retriable; the other codec's table does not say so.
        if ours != ErrorCode::CONCURRENT_TRANSACTIONS {
            assert_eq!(ours.is_retriable(), theirs.is_retriable(), "{ours}");
        }
    }
    assert_eq!(ErrorCode::ALL.len(), 138);
    assert!(ErrorCode::ALL.is_sorted());
}

#[test]
fn served_versions_are_known_to_the_other_codec() {
    for served in version_table() {
        let theirs = TheirKey::try_from(served.key.0).expect("both know it").valid_versions();
        let last = match served.key {
            // The other codec is of an older Kafka,
            ApiKey::LIST_OFFSETS | ApiKey::DESCRIBE_LOG_DIRS => theirs.max + 1,
            // and counts a version that is not stable.
            ApiKey::INIT_PRODUCER_ID => theirs.max - 1,
            _ => theirs.max,
        };
        // Produce 0-2 are advertised and refused.
        let first = if served.key == ApiKey::PRODUCE { 0 } else { theirs.min };
        assert_eq!((served.first, served.last), (first, last), "{}", served.key);
    }
}

#[test]
fn served_versions_are_those_of_the_messages() {
    let mut known = Vec::new();
    macro_rules! collect {
        ($($module:ident: $request:ident,)*) => {
            $(known.push(($request::KEY, *$request::VERSIONS.start(), *$request::VERSIONS.end()));)*
        };
    }
    highwater_wire::for_each_request!(collect);
    known.sort();
    let served: Vec<_> = version_table()
        .iter()
        .map(|served| (served.key, if served.key == ApiKey::PRODUCE { 3 } else { served.first }, served.last))
        .collect();
    assert_eq!(served, known);
}
