//! Produce, versions 0 to 2: advertised, because librdkafka before 2.11 stops compressing without them (KAFKA-18659),
//! and refused as Kafka 4 does, with UNSUPPORTED_VERSION for every partition.

use crate::dispatch::Context;
use crate::response::{Answer, Outcome, Response};
use bytes::Bytes;
use highwater_env::Env;
use highwater_wire::{DecodeError, Decoder, Encoder, ErrorCode, Frame, Segment, Str};

/// What a topic and a partition take on the wire at least.
const LEAST_TOPIC_BYTES: usize = 6;
const LEAST_PARTITION_BYTES: usize = 8;

struct OldRequest {
    acks: i16,
    topics: Vec<(Str, Vec<i32>)>,
}

/// Refuses the request.
pub(super) fn refuse<E: Env>(context: &Context<E>, body: Bytes) -> Answer<E> {
    let request = match decode(body) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.within("ProduceRequest").to_string()),
    };
    if request.acks == 0 {
        return Answer::close(format!("Produce version {} is not served", context.version()));
    }
    let body = encode(&request, context.version());
    let mut head = Vec::with_capacity(8);
    let length = i32::try_from(4 + body.length).unwrap_or(i32::MAX);
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&context.header.correlation_id.to_be_bytes());
    let mut frame = Frame { length: head.len() + body.length, ..Frame::default() };
    frame.segments.push(Segment::Bytes(head.into()));
    frame.segments.extend(body.segments);
    Answer::Ready(Outcome::Respond(Response::plain(frame)))
}

fn decode(body: Bytes) -> Result<OldRequest, DecodeError> {
    let mut input = Decoder::new(body);
    let acks = i16::from_be_bytes(input.array()?);
    input.skip(size_of::<i32>())?; // The timeout.
    let count = input.long_length()?.unwrap_or(0);
    let mut topics = input.reserve(count, LEAST_TOPIC_BYTES)?;
    for _ in 0..count {
        let length = input.short_length()?.unwrap_or(0);
        let name = input.string(length)?;
        let count = input.long_length()?.unwrap_or(0);
        let mut partitions = input.reserve(count, LEAST_PARTITION_BYTES)?;
        for _ in 0..count {
            partitions.push(i32::from_be_bytes(input.array()?));
            let records = input.long_length()?.unwrap_or(0);
            input.skip(records)?;
        }
        topics.push((name, partitions));
    }
    Ok(OldRequest { acks, topics })
}

fn encode(request: &OldRequest, version: i16) -> Frame {
    const NONE: [u8; 8] = (-1i64).to_be_bytes();
    let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
    let mut out = Encoder::with_capacity(64);
    out.raw(&count(request.topics.len()));
    for (name, partitions) in &request.topics {
        // Came with a 16-bit length, so that it has one.
        let _ = out.short_length(Some(name.len()));
        out.raw(name.as_bytes());
        out.raw(&count(partitions.len()));
        for partition in partitions {
            out.raw(&partition.to_be_bytes());
            out.raw(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
            out.raw(&NONE);
            if version >= 2 {
                out.raw(&NONE);
            }
        }
    }
    if version >= 1 {
        out.raw(&0i32.to_be_bytes());
    }
    out.finish()
}
