//! The `kafka-protocol` crate, whose codecs are other implementations than ours where it matters (C's LZ4), as an
//! oracle.

use super::*;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType as TheirType,
};

fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}

/// Their map of headers holds no key twice.
fn without_repeats(mut inputs: Vec<Input>) -> Vec<Input> {
    for input in &mut inputs {
        let mut kept: Vec<Header> = Vec::new();
        for header in input.headers.drain(..) {
            if kept.iter().all(|other| other.key != header.key) {
                kept.push(header);
            }
        }
        input.headers = kept;
    }
    inputs
}

fn their_record(input: &Input, index: usize) -> TheirRecord {
    let mut headers = IndexMap::new();
    for header in &input.headers {
        let key = String::from_utf8(header.key.to_vec()).expect("test keys are texts");
        headers.insert(StrBytes::from_string(key), header.value.clone());
    }
    TheirRecord {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 8,
        producer_epoch: 2,
        timestamp_type: TheirType::Creation,
        offset: index as i64,
        sequence: 100 + index as i32,
        timestamp: input.timestamp,
        key: input.key.clone().map(Bytes::from),
        value: input.value.clone().map(Bytes::from),
        headers,
    }
}

proptest! {
    #[test]
    fn they_read_what_we_write(inputs in inputs(), codec in codec()) {
        let inputs = without_repeats(inputs);
        let mut builder = builder(codec, &inputs);
        builder.set_producer(ProducerId(8), ProducerEpoch(2), 100);
        let set = RecordBatchDecoder::decode(&mut builder.build()).expect("they read it");
        let expected: Vec<_> = inputs.iter().enumerate().map(|(i, input)| their_record(input, i)).collect();
        prop_assert_eq!(set.records, expected);
        prop_assert_eq!(set.compression, compression(codec));
    }

    #[test]
    fn we_read_what_they_write(inputs in inputs(), codec in codec()) {
        let inputs = without_repeats(inputs);
        let theirs: Vec<_> = inputs.iter().enumerate().map(|(i, input)| their_record(input, i)).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: compression(codec) };
        RecordBatchEncoder::encode(&mut bytes, &theirs, &options).expect("they write it");
        let batch = validate_produced(bytes.freeze(), &ProduceRules { deep: true, ..ProduceRules::default() });
        let batch = batch.expect("it is a batch that a client may send");
        let records: Result<Vec<_>, _> = batch.records().expect("it decompresses").collect();
        let expected: Vec<_> = inputs.iter().zip(0..).map(|(input, offset)| input.record(offset)).collect();
        prop_assert_eq!(records, Ok(expected));
        prop_assert_eq!(batch.header().producer_id, ProducerId(8));
        prop_assert_eq!(batch.header().base_sequence, 100);
    }
}
