//! The bytes of a metadata record: a version, a checksum and a prost message.
//!
//! ```text
//! offset  size  field
//! 0       1     frame version, now 2
//! 1       4     CRC-32 (IEEE) of the message, big-endian
//! 5       ..    the message, protobuf-encoded
//! ```
//!
//! The frame is the value of a record in a batch of the metadata log, which gives it its length. The batch has a
//! checksum of its own; the frame's own travels with the message wherever it is copied to. What cannot be
//! understood is an error and never skipped: a state that misses a record is a wrong state.

mod proto;

use crate::records::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, Endpoint, FeatureRange, FeatureRecord, MetadataRecord,
    PartitionRecord, ProducerIdsRecord, RemoveBrokerRecord, RemoveTopicRecord, TopicConfigRecord,
    TopicRecord,
};
use bytes::{BufMut, Bytes, BytesMut};
use highwater_types::{
    BrokerEpoch, BrokerId, ClusterId, DiskId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, Uuid,
};
use prost::Message;

/// The version of the frame and of the messages' schema. Any change that an older reader would misunderstand, a new
/// field included, raises it.
pub const FRAME_VERSION: u8 = 2;

/// The largest frame that is written or read.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

const HEADER_BYTES: usize = 5;

/// Bytes that are not a metadata record of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short to hold a header.
    #[error("a metadata record of {0} bytes is too short")]
    TooShort(usize),
    /// Longer than any record may be.
    #[error("a metadata record of {length} bytes is longer than the {max} bytes allowed", max = MAX_RECORD_BYTES)]
    TooLong {
        /// How long it is.
        length: usize,
    },
    /// Written by a newer version of the program.
    #[error(
        "a metadata record has format version {found}, and this program knows versions up to {known}: \
         start the version of the program that wrote it, or a later one"
    )]
    NewerVersion {
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// Written by a version of the program from before the first release.
    #[error("a metadata record has format version {0}, which no released version of the program wrote")]
    OlderVersion(u8),
    /// The version byte holds a value that was never used.
    #[error("a metadata record has format version 0, which does not exist: the bytes are damaged")]
    NoVersion,
    /// The checksum differs.
    #[error("a metadata record's checksum is {found:#010x}, and its header says {expected:#010x}")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The message is not valid protobuf of the expected form.
    #[error("a metadata record cannot be decoded: {0}")]
    Malformed(String),
    /// A kind of record that this version does not know.
    #[error("a metadata record of a kind that this program does not know")]
    UnknownKind,
    /// A field holds what it must not.
    #[error("a metadata record's field `{field}` is not valid: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The bytes of a record. Fails only for one that is longer than [`MAX_RECORD_BYTES`].
pub fn encode(record: &MetadataRecord) -> Result<Bytes, FrameError> {
    let message = proto::Record::from(record);
    let length = HEADER_BYTES + message.encoded_len();
    if length > MAX_RECORD_BYTES {
        return Err(FrameError::TooLong { length });
    }
    let payload = message.encode_to_vec();
    let mut out = BytesMut::with_capacity(length);
    out.put_u8(FRAME_VERSION);
    out.put_u32(crc32fast::hash(&payload));
    out.put_slice(&payload);
    Ok(out.freeze())
}

/// The record that the bytes hold, all of them.
pub fn decode(frame: &[u8]) -> Result<MetadataRecord, FrameError> {
    if frame.len() > MAX_RECORD_BYTES {
        return Err(FrameError::TooLong { length: frame.len() });
    }
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::TooShort(frame.len()));
    };
    let [version, crc @ ..] = *header;
    match version {
        0 => return Err(FrameError::NoVersion),
        FRAME_VERSION => {}
        found if found < FRAME_VERSION => return Err(FrameError::OlderVersion(found)),
        found => return Err(FrameError::NewerVersion { found, known: FRAME_VERSION }),
    }
    let expected = u32::from_be_bytes(crc);
    let found = crc32fast::hash(payload);
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    let message = proto::Record::decode(payload).map_err(|error| FrameError::Malformed(error.to_string()))?;
    message.kind.ok_or(FrameError::UnknownKind)?.try_into()
}

impl From<&MetadataRecord> for proto::Record {
    fn from(record: &MetadataRecord) -> Self {
        use proto::Kind;
        let kind = match record {
            MetadataRecord::Cluster(it) => Kind::Cluster(proto::Cluster {
                cluster_id: it.cluster_id.0.0.to_vec(),
                metadata_version: it.metadata_version,
            }),
            MetadataRecord::Broker(it) => Kind::Broker(proto::Broker {
                id: it.id.0,
                endpoints: it.endpoints.iter().map(endpoint_message).collect(),
                rack: it.rack.clone(),
                fenced: it.fenced,
                epoch: Some(it.epoch.0).filter(|&epoch| epoch >= 0),
                incarnation: it.incarnation.0.to_vec(),
                disk: it.disk.0.0.to_vec(),
                shutting_down: it.shutting_down,
                is_controller: it.is_controller,
                features: it.features.iter().map(feature_range_message).collect(),
            }),
            MetadataRecord::RemoveBroker(it) => Kind::RemoveBroker(proto::RemoveBroker { id: it.id.0 }),
            MetadataRecord::Topic(it) => {
                Kind::Topic(proto::Topic { id: it.id.0.0.to_vec(), name: it.name.clone() })
            }
            MetadataRecord::RemoveTopic(it) => {
                Kind::RemoveTopic(proto::RemoveTopic { id: it.id.0.0.to_vec() })
            }
            MetadataRecord::Partition(it) => Kind::Partition(proto::Partition {
                topic: it.topic.0.0.to_vec(),
                partition: it.partition.0,
                replicas: numbers(&it.replicas),
                isr: numbers(&it.isr),
                leader: it.leader.map(|id| id.0),
                leader_epoch: it.leader_epoch.0,
                partition_epoch: it.partition_epoch,
                elr: numbers(&it.elr),
                last_known_elr: numbers(&it.last_known_elr),
                adding: numbers(&it.adding),
                removing: numbers(&it.removing),
                created: it.created,
                unclean_epoch: it.unclean_epoch.map(|epoch| epoch.0),
            }),
            MetadataRecord::TopicConfig(it) => Kind::TopicConfig(proto::TopicConfig {
                topic: it.topic.0.0.to_vec(),
                name: it.name.clone(),
                value: it.value.clone(),
            }),
            MetadataRecord::BrokerConfig(it) => Kind::BrokerConfig(proto::BrokerConfig {
                broker: it.broker.map(|id| id.0),
                name: it.name.clone(),
                value: it.value.clone(),
            }),
            MetadataRecord::ProducerIds(it) => {
                Kind::ProducerIds(proto::ProducerIds { broker: it.broker.0, next: it.next.0 })
            }
            MetadataRecord::Feature(it) => {
                Kind::Feature(proto::Feature { name: it.name.clone(), level: it.level.into() })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<proto::Kind> for MetadataRecord {
    type Error = FrameError;

    fn try_from(kind: proto::Kind) -> Result<Self, FrameError> {
        use proto::Kind;
        Ok(match kind {
            Kind::Cluster(it) => Self::Cluster(ClusterRecord {
                cluster_id: ClusterId(uuid("cluster_id", &it.cluster_id)?),
                metadata_version: it.metadata_version,
            }),
            Kind::Broker(it) => Self::Broker(BrokerRecord {
                id: broker("id", it.id)?,
                endpoints: it.endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?,
                rack: it.rack,
                fenced: it.fenced,
                epoch: match it.epoch {
                    None => BrokerEpoch::NONE,
                    Some(epoch) if epoch >= 0 => BrokerEpoch(epoch),
                    Some(epoch) => return Err(field("epoch", format!("{epoch} is negative"))),
                },
                incarnation: uuid("incarnation", &it.incarnation)?,
                disk: DiskId(uuid("disk", &it.disk)?),
                shutting_down: it.shutting_down,
                is_controller: it.is_controller,
                features: it.features.into_iter().map(feature_range).collect::<Result<_, _>>()?,
            }),
            Kind::RemoveBroker(it) => Self::RemoveBroker(RemoveBrokerRecord { id: broker("id", it.id)? }),
            Kind::Topic(it) => Self::Topic(TopicRecord { id: TopicId(uuid("id", &it.id)?), name: it.name }),
            Kind::RemoveTopic(it) => {
                Self::RemoveTopic(RemoveTopicRecord { id: TopicId(uuid("id", &it.id)?) })
            }
            Kind::Partition(it) => Self::Partition(PartitionRecord {
                topic: TopicId(uuid("topic", &it.topic)?),
                partition: PartitionIndex(natural("partition", it.partition)?),
                replicas: brokers("replicas", &it.replicas)?,
                isr: brokers("isr", &it.isr)?,
                leader: it.leader.map(|id| broker("leader", id)).transpose()?,
                leader_epoch: LeaderEpoch(natural("leader_epoch", it.leader_epoch)?),
                partition_epoch: natural("partition_epoch", it.partition_epoch)?,
                elr: brokers("elr", &it.elr)?,
                last_known_elr: brokers("last_known_elr", &it.last_known_elr)?,
                adding: brokers("adding", &it.adding)?,
                removing: brokers("removing", &it.removing)?,
                created: it.created,
                unclean_epoch: it
                    .unclean_epoch
                    .map(|epoch| natural("unclean_epoch", epoch).map(LeaderEpoch))
                    .transpose()?,
            }),
            Kind::TopicConfig(it) => Self::TopicConfig(TopicConfigRecord {
                topic: TopicId(uuid("topic", &it.topic)?),
                name: it.name,
                value: it.value,
            }),
            Kind::BrokerConfig(it) => Self::BrokerConfig(BrokerConfigRecord {
                broker: it.broker.map(|id| broker("broker", id)).transpose()?,
                name: it.name,
                value: it.value,
            }),
            Kind::ProducerIds(it) => Self::ProducerIds(ProducerIdsRecord {
                broker: broker("broker", it.broker)?,
                next: if it.next >= 0 {
                    ProducerId(it.next)
                } else {
                    return Err(field("next", format!("{} is negative", it.next)));
                },
            }),
            Kind::Feature(it) => {
                Self::Feature(FeatureRecord { name: it.name, level: level("level", it.level)? })
            }
        })
    }
}

fn endpoint_message(endpoint: &Endpoint) -> proto::Endpoint {
    proto::Endpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port.into(),
        security_protocol: endpoint.security_protocol.into(),
    }
}

fn endpoint(message: proto::Endpoint) -> Result<Endpoint, FrameError> {
    Ok(Endpoint {
        listener: message.listener,
        host: message.host,
        port: u16::try_from(message.port)
            .map_err(|_| field("port", format!("{} is not a port", message.port)))?,
        security_protocol: i16::try_from(message.security_protocol).map_err(|_| {
            field("security_protocol", format!("{} is out of range", message.security_protocol))
        })?,
    })
}

fn feature_range_message(range: &FeatureRange) -> proto::FeatureRange {
    proto::FeatureRange { name: range.name.clone(), min: range.min.into(), max: range.max.into() }
}

fn feature_range(message: proto::FeatureRange) -> Result<FeatureRange, FrameError> {
    Ok(FeatureRange { name: message.name, min: level("min", message.min)?, max: level("max", message.max)? })
}

fn level(name: &'static str, value: u32) -> Result<u16, FrameError> {
    u16::try_from(value).map_err(|_| field(name, format!("{value} is no level of a feature")))
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

fn uuid(name: &'static str, bytes: &[u8]) -> Result<Uuid, FrameError> {
    let bytes = bytes.try_into().map_err(|_| field(name, format!("{} bytes, not 16", bytes.len())))?;
    Ok(Uuid(bytes))
}

fn natural(name: &'static str, value: i32) -> Result<i32, FrameError> {
    if value >= 0 { Ok(value) } else { Err(field(name, format!("{value} is negative"))) }
}

fn broker(name: &'static str, value: i32) -> Result<BrokerId, FrameError> {
    natural(name, value).map(BrokerId)
}

fn brokers(name: &'static str, values: &[i32]) -> Result<Vec<BrokerId>, FrameError> {
    values.iter().map(|&value| broker(name, value)).collect()
}

fn field(field: &'static str, problem: String) -> FrameError {
    FrameError::Field { field, problem }
}

#[cfg(test)]
mod tests;
