//! The stock clients: what each can do, and what is asked of any of them.

use crate::kcat::Kcat;
use crate::program::Program;
use crate::record::Record;
use anyhow::{Result, bail};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

/// A codec's name, as all clients know it.
pub type Codec = &'static str;

/// What a client can do.
#[derive(Debug)]
pub struct Profile {
    /// Its name on the command line.
    pub name: &'static str,
    /// The codecs that it can send.
    pub codecs: &'static [Codec],
    /// The headers that it can send.
    pub headers: Headers,
    /// Whether it can send records without a key, and without a value.
    pub nulls: bool,
    /// Whether it sends the timestamps that it is given.
    pub timestamps: bool,
    /// Whether it reads assigned partitions without a group.
    pub consumes: bool,
    /// The protocols in which it reads as a member of a group.
    pub groups: &'static [&'static str],
    /// Whether it makes and removes topics, and deletes records.
    pub administers: bool,
    /// Whether it asks for the offset of the highest timestamp.
    pub max_timestamp: bool,
    /// What it answers when no record is as late as a time that it was asked for.
    pub no_offset: NoOffset,
}

/// The headers that a client can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// In any order, keys repeated, values null.
    Any,
    /// In any order, keys repeated.
    NoNulls,
    /// Keys repeated, but all of one key together.
    Grouped,
    /// The same for all records.
    Constant,
}

/// What a client answers for a time later than every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOffset {
    /// That there is no such offset.
    None,
    /// The end of the partition.
    End,
}

const ALL_CODECS: &[Codec] = &["none", "gzip", "snappy", "lz4", "zstd"];

const FULL: Profile = Profile {
    name: "",
    codecs: ALL_CODECS,
    headers: Headers::Any,
    nulls: true,
    timestamps: true,
    consumes: true,
    groups: &["classic"],
    administers: true,
    max_timestamp: true,
    no_offset: NoOffset::None,
};

/// The classic protocol, and the one of KIP-848.
const BOTH_PROTOCOLS: &[&str] = &["classic", "consumer"];

/// Every client, in the order in which they are tried.
pub const PROFILES: &[Profile] = &[
    Profile { name: "confluent-kafka", groups: BOTH_PROTOCOLS, ..FULL },
    Profile { name: "kafka-python", headers: Headers::NoNulls, ..FULL },
    Profile { name: "java", groups: BOTH_PROTOCOLS, ..FULL },
    Profile { name: "franz-go", no_offset: NoOffset::End, ..FULL },
    Profile {
        name: "kafkajs",
        codecs: &["none", "gzip", "snappy"],
        headers: Headers::Grouped,
        consumes: false,
        max_timestamp: false,
        no_offset: NoOffset::End,
        ..FULL
    },
    Profile {
        name: "kcat",
        groups: &[],
        headers: Headers::Constant,
        nulls: false,
        timestamps: false,
        administers: false,
        max_timestamp: false,
        ..FULL
    },
];

/// The client that reads for those that cannot.
pub const READER: &str = "confluent-kafka";

/// The client of that name.
pub fn profile(name: &str) -> Result<&'static Profile> {
    match PROFILES.iter().find(|profile| profile.name == name) {
        Some(profile) => Ok(profile),
        None => {
            let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
            bail!("there is no client {name:?}; there are {}", names.join(", "))
        }
    }
}

/// How records are sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The codec.
    pub codec: Codec,
    /// The client id.
    pub client_id: String,
    /// With sequence numbers.
    pub idempotent: bool,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// The first offset.
    Earliest,
    /// The offset after the last.
    Latest,
    /// The offset of the first record with the highest timestamp.
    MaxTimestamp,
    /// The offset of the first record at or after a time.
    Time(i64),
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::MaxTimestamp => f.write_str("max-timestamp"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}

/// A client at work. Every method is asked of it only if its profile says that it can.
pub trait Client {
    /// Its library's name and version.
    fn version(&mut self) -> Result<String>;
    /// Makes a topic.
    fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<()>;
    /// The topics there are.
    fn list_topics(&mut self) -> Result<Vec<String>>;
    /// Removes a topic.
    fn delete_topic(&mut self, topic: &str) -> Result<()>;
    /// Sends records, all with acks=all, and waits until all are acknowledged.
    fn produce(&mut self, topic: &str, sending: &Sending, records: &[Record]) -> Result<()>;
    /// Reads all there is.
    fn consume(&mut self, topic: &str, partitions: i32) -> Result<Vec<Record>>;
    /// Asks for an offset; -1 if there is none.
    fn offset(&mut self, topic: &str, partition: i32, spec: Spec) -> Result<i64>;
    /// Deletes the records before an offset, and says where the partition starts now.
    fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> Result<i64>;
}

/// Starts an installed client.
pub fn start(profile: &Profile, cache: &Path, dir: &Path, bootstrap: SocketAddr) -> Result<Box<dyn Client>> {
    Ok(match profile.name {
        "kcat" => Box::new(Kcat::new(dir, bootstrap)),
        name => Box::new(Program::start(name, cache, dir, bootstrap)?),
    })
}
