//! Metadata records, and the state that they make.

use super::Target;
use highwater_env::Rng;
use highwater_metadata::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, Endpoint, FRAME_VERSION, FeatureRange, FeatureRecord,
    Image, METADATA_VERSION, MetadataRecord, PartitionRecord, ProducerIdsRecord, RemoveBrokerRecord,
    RemoveTopicRecord, TopicConfigRecord, TopicRecord, decode, encode,
};
use highwater_types::{
    BrokerEpoch, BrokerId, ClusterId, DiskId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, Uuid,
};
use rand::RngExt;

/// Frames one after another, each behind its length in two bytes.
pub struct Frames;

const LENGTH_BYTES: usize = 2;

/// What stands in front of a frame's message: its version and the message's checksum.
const HEADER_BYTES: usize = 5;

fn frames(mut input: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (frame, following) = rest.split_at(length);
        frames.push(frame);
        input = following;
    }
    frames
}

fn joined<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&u16::try_from(frame.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

/// Few of each, so that records meet.
fn topic(rng: &mut Rng) -> TopicId {
    TopicId(Uuid::from_random(rng.random_range(1..4)))
}

fn broker(rng: &mut Rng) -> BrokerId {
    BrokerId(rng.random_range(0..3))
}

/// Mostly none of these, sometimes some.
fn some_of(rng: &mut Rng, ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().filter(|_| rng.random_range(0..4) == 0).map(|&id| BrokerId(id)).collect()
}

fn some_record(rng: &mut Rng) -> MetadataRecord {
    let text =
        |rng: &mut Rng| ["orders", "retention.ms", "1000", "", "a b"][rng.random_range(0..5)].to_owned();
    match rng.random_range(0..10) {
        0 => MetadataRecord::Broker(BrokerRecord {
            id: broker(rng),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: text(rng),
                port: rng.random(),
                security_protocol: 0,
            }],
            rack: rng.random::<bool>().then(|| text(rng)),
            fenced: rng.random(),
            // Either a new registration, or what happens to one that may be in force.
            epoch: BrokerEpoch(rng.random_range(-1..4)),
            incarnation: Uuid::from_random(rng.random_range(1..3)),
            disk: DiskId(Uuid::from_random(rng.random_range(1..3))),
            shutting_down: rng.random(),
            is_controller: rng.random(),
            features: (0..rng.random_range(0..3))
                .map(|_| FeatureRange { name: text(rng), min: rng.random(), max: rng.random() })
                .collect(),
        }),
        1 => MetadataRecord::RemoveBroker(RemoveBrokerRecord { id: broker(rng) }),
        2 | 3 => MetadataRecord::Topic(TopicRecord { id: topic(rng), name: text(rng) }),
        4 => MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic(rng) }),
        5 => MetadataRecord::Partition(PartitionRecord {
            topic: topic(rng),
            partition: PartitionIndex(rng.random_range(0..3)),
            replicas: vec![BrokerId(0), BrokerId(1), BrokerId(2)],
            isr: vec![BrokerId(0)],
            elr: some_of(rng, &[0, 1]),
            last_known_elr: some_of(rng, &[0, 3]),
            adding: some_of(rng, &[1, 2]),
            removing: some_of(rng, &[0, 2]),
            leader: Some(BrokerId(0)).filter(|_| rng.random()),
            leader_epoch: LeaderEpoch(rng.random_range(0..3)),
            partition_epoch: rng.random_range(0..5),
            unclean_epoch: Some(LeaderEpoch(1)).filter(|_| rng.random()),
            created: rng.random::<bool>().then(|| rng.random_range(0..100)),
        }),
        6 => MetadataRecord::TopicConfig(TopicConfigRecord {
            topic: topic(rng),
            name: text(rng),
            value: rng.random::<bool>().then(|| text(rng)),
        }),
        7 => MetadataRecord::BrokerConfig(BrokerConfigRecord {
            broker: rng.random::<bool>().then(|| broker(rng)),
            name: text(rng),
            value: rng.random::<bool>().then(|| text(rng)),
        }),
        8 => MetadataRecord::Feature(FeatureRecord { name: text(rng), level: rng.random_range(0..3) }),
        _ => MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker: broker(rng),
            next: ProducerId(rng.random_range(0..10_000)),
        }),
    }
}

impl Target for Frames {
    fn name(&self) -> &'static str {
        "metadata"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let cluster = MetadataRecord::Cluster(ClusterRecord {
            cluster_id: ClusterId(Uuid::from_random(1)),
            metadata_version: METADATA_VERSION,
        });
        let more = (0..rng.random_range(0..12)).map(|_| some_record(rng));
        // What the records' own rules refuse is left out.
        let frames: Vec<_> =
            std::iter::once(cluster).chain(more).filter_map(|record| encode(&record).ok()).collect();
        joined(frames.iter().map(|frame| &frame[..]))
    }

    fn repair(&self, input: &mut Vec<u8>) {
        let repaired: Vec<Vec<u8>> = frames(input)
            .into_iter()
            .map(|frame| {
                let message = frame.get(HEADER_BYTES..).unwrap_or_default();
                [&[FRAME_VERSION][..], &crc32fast::hash(message).to_be_bytes(), message].concat()
            })
            .collect();
        *input = joined(repaired.iter().map(|frame| &frame[..]));
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let mut image = Image::new();
        for (index, frame) in (0..).zip(frames(input)) {
            let Ok(record) = decode(frame) else { continue };
            let again =
                encode(&record).map_err(|error| format!("{record:?} is read and not written: {error}"))?;
            if decode(&again).as_ref() != Ok(&record) {
                return Err(format!("{record:?} changes when it is written"));
            }
            let before = image.clone();
            // A record that is refused must leave nothing behind.
            if image.apply(&record, index).is_err() && image != before {
                return Err(format!("{record:?} is refused and changes the state"));
            }
        }
        let mut copy = Image::new();
        for record in image.to_records() {
            copy.apply(&record, u64::MAX)
                .map_err(|error| format!("of the state's own snapshot {record:?}: {error}"))?;
        }
        if copy == image { Ok(()) } else { Err("the state differs from its snapshot".to_owned()) }
    }
}
