//! Answers, written byte by byte.

/// What follows the records of a Fetch answer: the ends of partition, topic and answer.
pub const FETCH_TAIL: [u8; 3] = [0; 3];

/// Appends the answer to a Produce request, version 9.
pub fn produce(out: &mut Vec<u8>, correlation_id: i32, topic: &[u8], partition: usize, base_offset: i64) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&correlation_id.to_be_bytes());
    out.push(0); // No tags in the header.
    out.push(2); // One topic.
    compact_string(out, topic);
    out.push(2); // One partition.
    out.extend_from_slice(&index(partition));
    out.extend_from_slice(&0i16.to_be_bytes()); // No error.
    out.extend_from_slice(&base_offset.to_be_bytes());
    out.extend_from_slice(&(-1i64).to_be_bytes()); // The records keep their times.
    out.extend_from_slice(&0i64.to_be_bytes()); // The log starts at 0.
    out.push(1); // No record errors.
    out.push(0); // No message.
    out.extend_from_slice(&[0; 2]); // The ends of partition and topic.
    out.extend_from_slice(&0i32.to_be_bytes()); // No throttling.
    out.push(0); // The answer's end.
    set_length(out, start, 0);
}

/// Appends the answer to a Fetch request, version 12, up to its records; [`FETCH_TAIL`] stands behind those.
pub fn fetch(
    out: &mut Vec<u8>,
    correlation_id: i32,
    topic: &[u8],
    partition: usize,
    end_offset: i64,
    records_bytes: usize,
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&correlation_id.to_be_bytes());
    out.push(0); // No tags in the header.
    out.extend_from_slice(&[0; 4 + 2 + 4]); // No throttling, no error, no session.
    out.push(2); // One topic.
    compact_string(out, topic);
    out.push(2); // One partition.
    out.extend_from_slice(&index(partition));
    out.extend_from_slice(&0i16.to_be_bytes()); // No error.
    out.extend_from_slice(&end_offset.to_be_bytes()); // The high watermark.
    out.extend_from_slice(&end_offset.to_be_bytes()); // The last stable offset.
    out.extend_from_slice(&0i64.to_be_bytes()); // The log starts at 0.
    out.push(0); // No aborted transactions.
    out.extend_from_slice(&(-1i32).to_be_bytes()); // No other replica to read from.
    uvarint(out, records_bytes + 1);
    set_length(out, start, records_bytes + FETCH_TAIL.len());
}

fn index(partition: usize) -> [u8; 4] {
    u32::try_from(partition).unwrap_or(u32::MAX).to_be_bytes()
}

fn compact_string(out: &mut Vec<u8>, text: &[u8]) {
    uvarint(out, text.len() + 1);
    out.extend_from_slice(text);
}

fn uvarint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes the length of the frame that begins at `start`, with what will follow it.
fn set_length(out: &mut [u8], start: usize, following: usize) {
    let length = u32::try_from(out.len() - start - 4 + following).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use highwater_wire::messages::fetch::FetchResponse;
    use highwater_wire::messages::produce::ProduceResponse;
    use highwater_wire::{ApiKey, ErrorCode, Message, Records, decode_response_header};

    fn decoded<M: Message>(answer: Vec<u8>, key: ApiKey, version: i16) -> M {
        let length = u32::from_be_bytes(*answer.first_chunk().unwrap()) as usize;
        assert_eq!(length, answer.len() - 4);
        let mut frame = Bytes::from(answer).slice(4..);
        assert_eq!(decode_response_header(&mut frame, key, version).unwrap(), 77);
        M::decode_body(frame, version).unwrap()
    }

    #[test]
    fn produce_answers_are_kafkas() {
        let mut out = Vec::new();
        produce(&mut out, 77, b"bench", 3, 1234);
        let response: ProduceResponse = decoded(out, ApiKey::PRODUCE, 9);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(response.responses[0].name, "bench");
        assert_eq!(
            (partition.index.0, partition.error_code, partition.base_offset.0),
            (3, ErrorCode::NONE, 1234)
        );
    }

    #[test]
    fn fetch_answers_are_kafkas() {
        let mut out = Vec::new();
        fetch(&mut out, 77, b"bench", 3, 500, 1000);
        out.extend_from_slice(&[9; 1000]);
        out.extend_from_slice(&FETCH_TAIL);
        let response: FetchResponse = decoded(out, ApiKey::FETCH, 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.partition_index.0, partition.high_watermark.0), (3, 500));
        assert_eq!(partition.records, Records::Bytes(Bytes::from(vec![9; 1000])));
    }
}
