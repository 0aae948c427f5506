//! Names of files, and the codecs of segment headers, `disk.meta` and the clean-shutdown marker.

use crate::frame::{FrameKind, array};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_env::{Disk, OpenMode};
use highwater_types::{BrokerId, ClusterId, DiskId, LogId, Offset, PartitionIndex, Timestamp, TopicId, Uuid};
use std::io;
use std::path::Path;

pub(crate) const LOCK: &str = ".lock";
pub(crate) const DISK_META: &str = "disk.meta";
pub(crate) const CLEAN_SHUTDOWN: &str = "clean-shutdown";
pub(crate) const LOGS: &str = "logs";
pub(crate) const DELETED: &str = ".deleted";
pub(crate) const TEMPORARY: &str = ".tmp";

/// The length of a segment's header; its first batch follows.
pub(crate) const SEGMENT_HEADER_BYTES: u32 = 64;
/// The format of the directory as a whole.
pub(crate) const FORMAT_VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"HWSEGMNT";
const SEGMENT_VERSION: u16 = 1;
const HEADER_CRC_AT: usize = 60;

const DISK_META_KIND: FrameKind =
    FrameKind { magic: b"HWDISK\0\0", version: FORMAT_VERSION, limit_bytes: 4096 };
const CLEAN_KIND: FrameKind = FrameKind { magic: b"HWCLEAN\0", version: 1, limit_bytes: 4096 };

/// What a file in a log's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFile {
    /// `<base>.log`
    Segment(Offset),
    /// `<base>.index`
    Index(Offset),
    /// `<offset>.producers`
    Producers(Offset),
    /// Left over from something that did not end, or marked for deletion.
    Leftover,
    /// Anything else, `leader-epochs` included.
    Other,
}

impl LogFile {
    pub(crate) fn parse(name: &str) -> Self {
        if name.ends_with(TEMPORARY) || name.ends_with(DELETED) {
            return Self::Leftover;
        }
        let Some((digits, kind)) = name.split_once('.') else { return Self::Other };
        if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Self::Other;
        }
        let Ok(number) = digits.parse::<i64>() else { return Self::Other };
        match kind {
            "log" => Self::Segment(Offset(number)),
            "index" => Self::Index(Offset(number)),
            "producers" => Self::Producers(Offset(number)),
            _ => Self::Other,
        }
    }
}

pub(crate) fn segment_name(base: Offset) -> String {
    format!("{:020}.log", base.0)
}

pub(crate) fn index_name(base: Offset) -> String {
    format!("{:020}.index", base.0)
}

pub(crate) fn producers_name(offset: Offset) -> String {
    format!("{:020}.producers", offset.0)
}

/// The log that a directory's name stands for.
pub(crate) fn parse_log_id(name: &str) -> Option<LogId> {
    // The topic's text has a fixed length, and may hold dashes itself.
    let (topic, partition) = name.split_at_checked(22)?;
    let digits = partition.strip_prefix('-')?;
    let id = LogId { topic: topic.parse().ok()?, partition: PartitionIndex(digits.parse().ok()?) };
    (id.partition.0 >= 0 && id.to_string() == name).then_some(id)
}

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub log: LogId,
    pub base: Offset,
    pub created: Timestamp,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(SEGMENT_HEADER_BYTES as usize);
        out.put_slice(SEGMENT_MAGIC);
        out.put_u16(SEGMENT_VERSION);
        out.put_u16(0);
        out.put_slice(&self.log.topic.0.0);
        out.put_i32(self.log.partition.0);
        out.put_i64(self.base.0);
        out.put_i64(self.created.0);
        out.resize(HEADER_CRC_AT, 0);
        out.put_u32(crc32fast::hash(&out));
        out.freeze()
    }

    /// The header, if it is whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES as usize)?;
        let stored = u32::from_be_bytes(array(&bytes[HEADER_CRC_AT..]));
        if crc32fast::hash(&bytes[..HEADER_CRC_AT]) != stored || bytes[..8] != SEGMENT_MAGIC[..] {
            return None;
        }
        let mut rest = &bytes[8..];
        if rest.get_u16() != SEGMENT_VERSION {
            return None;
        }
        rest.advance(2);
        let topic = TopicId(Uuid(array(rest)));
        rest.advance(16);
        let partition = PartitionIndex(rest.get_i32());
        let base = Offset(rest.get_i64());
        let created = Timestamp(rest.get_i64());
        Some(Self { log: LogId { topic, partition }, base, created })
    }
}

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskMeta {
    pub cluster: ClusterId,
    pub node: BrokerId,
    pub disk: DiskId,
}

/// What a directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundMeta {
    Missing,
    Damaged,
    Newer(u16),
    Known(DiskMeta),
}

impl DiskMeta {
    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(36);
        payload.put_slice(&self.cluster.0.0);
        payload.put_i32(self.node.0);
        payload.put_slice(&self.disk.0.0);
        DISK_META_KIND.encode(&payload)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != 36 {
            return None;
        }
        Some(Self {
            cluster: ClusterId(Uuid(array(payload))),
            node: BrokerId(i32::from_be_bytes(array(&payload[16..]))),
            disk: DiskId(Uuid(array(&payload[20..]))),
        })
    }

    pub(crate) async fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<FoundMeta> {
        let file = match disk.open(&dir.join(DISK_META), OpenMode::Read).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FoundMeta::Missing),
            Err(error) => return Err(error),
        };
        Ok(match DISK_META_KIND.read(&file).await? {
            Ok((_, payload)) => Self::decode(&payload).map_or(FoundMeta::Damaged, FoundMeta::Known),
            Err(crate::frame::BadFrame::Newer(version)) => FoundMeta::Newer(version),
            Err(crate::frame::BadFrame::Damaged) => FoundMeta::Damaged,
        })
    }
}

/// The clean-shutdown marker: names the generation of proven marks that belongs to it.
pub(crate) fn encode_clean(marks_sequence: u64) -> Bytes {
    CLEAN_KIND.encode(&marks_sequence.to_be_bytes())
}

/// The generation of marks that a clean-shutdown marker names; None without a valid marker.
pub(crate) async fn read_clean<D: Disk>(disk: &D, dir: &Path) -> io::Result<Option<u64>> {
    let file = match disk.open(&dir.join(CLEAN_SHUTDOWN), OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let payload = CLEAN_KIND.read(&file).await?.ok().map(|(_, payload)| payload);
    Ok(payload.filter(|payload| payload.len() == 8).map(|payload| u64::from_be_bytes(array(&payload))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log: LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(3) },
            base: Offset(1_000),
            created: Timestamp(1_700_000_000_000),
        }
    }

    #[test]
    fn segment_headers_round_trip_and_every_changed_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES as usize);
        assert_eq!(SegmentHeader::decode(&bytes), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&bytes[..63]), None);
    }

    #[test]
    fn names_are_told_apart() {
        let check = |name: &str, expected| assert_eq!(LogFile::parse(name), expected, "{name}");
        check(&segment_name(Offset(42)), LogFile::Segment(Offset(42)));
        check(&index_name(Offset(i64::MAX)), LogFile::Index(Offset(i64::MAX)));
        check(&producers_name(Offset(0)), LogFile::Producers(Offset(0)));
        check("00000000000000000042.log.tmp", LogFile::Leftover);
        check("00000000000000000042.log.deleted", LogFile::Leftover);
        check("leader-epochs", LogFile::Other);
        check("99999999999999999999.log", LogFile::Other);
        check("+0000000000000000042.log", LogFile::Other);
        check("42.log", LogFile::Other);
    }

    #[test]
    fn log_directories_are_recognised() {
        let id = header().log;
        assert_eq!(parse_log_id(&id.to_string()), Some(id));
        for name in [
            "",
            "orders-0",
            "AAAAAAAAAAAAAAAAAAAAAA-",
            "AAAAAAAAAAAAAAAAAAAAAA--1",
            "AAAAAAAAAAAAAAAAAAAAAA-01",
        ] {
            assert_eq!(parse_log_id(name), None, "{name}");
        }
    }
}
