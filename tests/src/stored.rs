//! What a broker wrote, as `highwater log inspect` tells it: whether a client really sent what it was told to send.
//!
//! A client that cannot find a codec or sequence numbers in the broker's answers goes without them and says nothing.
//! Its records come back equal all the same, so this is the only place where that shows.

use crate::broker::BrokerSetup;
use crate::clients::Codec;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// The codecs in the order of their numbers in a batch's attributes.
const CODECS: [Codec; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// The bits of the attributes that hold the codec.
const CODEC_BITS: u64 = 7;
/// How much of the records must be compressed, in percent: a client leaves a batch alone that would only grow.
const LEAST_COMPRESSED: i64 = 90;

/// Records that were sent in one way.
#[derive(Clone, Debug)]
pub struct Share {
    /// The codec.
    pub codec: Codec,
    /// With sequence numbers.
    pub idempotent: bool,
    /// Where they lie: partition to offsets.
    pub offsets: BTreeMap<i32, Range<i64>>,
}

/// A batch as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The partition.
    pub partition: i32,
    /// The first offset, and the one after the last.
    pub offsets: Range<i64>,
    /// The codec.
    pub codec: Codec,
    /// The producer's id and the first sequence number, both -1 without.
    pub producer: (i64, i64),
}

/// The id of a topic of a running broker.
pub fn topic_id(setup: &BrokerSetup, topic: &str) -> Result<String> {
    let address = setup.listen.to_string();
    let described = highwater(&setup.binary, &["topic", "describe", topic, "--bootstrap", &address])?;
    let described: Value = serde_json::from_str(&described).context("what topic describe printed")?;
    Ok(described["id"].as_str().context("a topic's id")?.to_owned())
}

/// The batches of a topic in the data directory of a broker, none of which may be damaged.
pub fn batches(setup: &BrokerSetup, topic_id: &str) -> Result<Vec<StoredBatch>> {
    let data = setup.data();
    let data = data.to_str().context("a path that is text")?;
    parse(&highwater(&setup.binary, &["log", "inspect", data])?, topic_id)
}

/// Checks that the batches that hold the shares were sent as they should have been.
pub fn check(batches: &[StoredBatch], shares: &[Share]) -> Result<()> {
    for share in shares {
        let here = |batch: &&StoredBatch| {
            let offsets = share.offsets.get(&batch.partition);
            offsets.is_some_and(|offsets| offsets.contains(&batch.offsets.start))
        };
        let (mut records, mut compressed) = (0, 0);
        for batch in batches.iter().filter(here) {
            let count = batch.offsets.end - batch.offsets.start;
            records += count;
            if batch.codec == share.codec {
                compressed += count;
            } else if batch.codec != "none" {
                bail!("{batch:?} should have codec {}", share.codec);
            }
            let (id, sequence) = batch.producer;
            if share.idempotent != (id >= 0 && sequence >= 0) {
                let wanted = if share.idempotent { "sequence numbers" } else { "no sequence numbers" };
                bail!("{batch:?} should have {wanted}");
            }
        }
        let expected: i64 = share.offsets.values().map(|offsets| offsets.end - offsets.start).sum();
        if records != expected {
            bail!("{records} records lie where {expected} were sent with codec {}", share.codec);
        }
        if compressed * 100 < records * LEAST_COMPRESSED {
            bail!("only {compressed} of {records} records lie there with codec {}", share.codec);
        }
    }
    Ok(())
}

/// What a command that succeeds prints, in JSON.
pub fn highwater(binary: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary).arg("--json").args(arguments).output().context("start highwater")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("highwater {} ended with {}\n{errors}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn parse(inspected: &str, topic_id: &str) -> Result<Vec<StoredBatch>> {
    let mut batches = Vec::new();
    let mut partition = None;
    for line in inspected.lines() {
        let found: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if let Some(log) = found["log"].as_str() {
            let index = log.strip_prefix(topic_id).and_then(|rest| rest.strip_prefix('-'));
            partition = index.map(str::parse).transpose()?;
        } else if let (Some(partition), Some(first)) = (partition, found["base_offset"].as_i64())
            && let Some(last) = found["last_offset"].as_i64()
        {
            let codec = found["attributes"].as_u64().context("attributes")? & CODEC_BITS;
            let codec = usize::try_from(codec).ok().and_then(|codec| CODECS.get(codec));
            let number = |field: &str| found[field].as_i64().with_context(|| field.to_owned());
            batches.push(StoredBatch {
                partition,
                offsets: first..last + 1,
                codec: codec.context("a known codec")?,
                producer: (number("producer_id")?, number("base_sequence")?),
            });
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSPECTED: &str = r#"{"log":"abc-1","dir":"d"}
{"segment":"s","base_offset":0,"bytes":1,"created_ms":1}
{"base_offset":0,"last_offset":4,"attributes":0,"producer_id":-1,"base_sequence":-1}
{"base_offset":5,"last_offset":9,"attributes":12,"producer_id":7,"base_sequence":0}
{"log":"def-1","dir":"d"}
{"base_offset":0,"last_offset":9,"attributes":1,"producer_id":-1,"base_sequence":-1}
{"totals":{}}"#;

    fn share(codec: Codec, idempotent: bool, offsets: Range<i64>) -> Share {
        Share { codec, idempotent, offsets: BTreeMap::from([(1, offsets)]) }
    }

    #[test]
    fn what_was_not_sent_as_it_should_be_is_found() {
        let batches = parse(INSPECTED, "abc").unwrap();
        assert_eq!(batches.len(), 2);
        check(&batches, &[share("none", false, 0..5), share("zstd", true, 5..10)]).unwrap();
        let fails = |share: Share, part: &str| {
            let error = check(&batches, &[share]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        fails(share("zstd", false, 5..10), "should have no sequence numbers");
        fails(share("none", true, 0..5), "should have sequence numbers");
        fails(share("lz4", true, 5..10), "should have codec lz4");
        fails(share("lz4", false, 0..5), "only 0 of 5 records");
        fails(share("none", false, 0..4), "5 records lie where 4 were sent");
    }
}
