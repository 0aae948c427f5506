//! Measures the state at 100,000 partitions: `cargo run --release -p highwater-metadata --example scale`.

use bytes::Bytes;
use highwater_metadata::configs::{ConfigView, StaticConfig};
use highwater_metadata::controller::{Controller, Heartbeat};
use highwater_metadata::{BrokerRecord, Image, MetadataRecord, PartitionRecord, TopicRecord, decode, encode};
use highwater_types::{BrokerId, Instant, PartitionIndex, TopicId, Uuid};
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Duration;

const PARTITIONS: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    for topics in [1, 10_000] {
        measure(topics)?;
    }
    Ok(())
}

fn measure(topics: u32) -> Result<(), Box<dyn Error>> {
    let per_topic = PARTITIONS / topics;
    let frames = frames(topics, per_topic)?;
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    let resident = resident_bytes()?;
    let mut image = Image::new();
    let load = timed(|| {
        for (index, frame) in (1..).zip(&frames) {
            image.apply(&decode(frame)?, index)?;
        }
        Ok(())
    })?;
    let memory = resident_bytes()?.saturating_sub(resident);
    let records = image.to_records().count();
    let write = timed(|| {
        for record in image.to_records() {
            black_box(encode(&record)?);
        }
        Ok(())
    })?;
    // As a node does it: a copy of the image is changed while readers hold the old one.
    let mut old = image.clone();
    let change = timed(|| {
        for at in 0..1_000u32 {
            let mut next = old.clone();
            let (topic, partition) = (at * 7 % topics, at * 31 % per_topic);
            next.apply(&record(topic, partition, 1 + i32::try_from(at)?), 1)?;
            old = next;
        }
        Ok(())
    })? / 1_000;
    let (fence, entries) = fence(&image)?;
    let create = timed(|| {
        let mut next = image.clone();
        let topic = topics;
        next.apply_all(&[topic_record(topic), record(topic, 0, 0), record(topic, 1, 0)], 1)?;
        black_box(next);
        Ok(())
    })?;
    writeln!(
        io::stdout(),
        "{topics} topics, {PARTITIONS} partitions: {records} records of {bytes} bytes loaded in {load:?}, \
         {} MiB more resident; written in {write:?}; one partition changed in {change:?}; a topic added in {create:?}; \
         a broker of 5 fenced in {fence:?}, in {entries} entries",
        memory >> 20,
    )?;
    Ok(())
}

/// Fences broker 1: the time that takes, and how many entries.
fn fence(image: &Image) -> Result<(Duration, u64), Box<dyn Error>> {
    let mut image = image.clone();
    let statics = StaticConfig::default();
    let mut controller = Controller::new(&image, Instant(0));
    let late = Instant(10_000_000_000);
    for broker in image.brokers().filter(|broker| broker.id != BrokerId(1)) {
        let (id, epoch) = (broker.id, broker.epoch);
        let heartbeat = Heartbeat { id, epoch, applied: 1, want_fence: false, want_shut_down: false };
        let view = ConfigView { image: &image, statics: &statics, broker: BrokerId(2) };
        controller.heartbeat(&view, 1, &heartbeat, late);
    }
    let mut entries = 0;
    let time = timed(|| {
        loop {
            let view = ConfigView { image: &image, statics: &statics, broker: BrokerId(2) };
            let records = controller.tick(&view, late);
            if records.is_empty() {
                return Ok(());
            }
            entries += 1;
            image.apply_all(&records, 1_000_000 + entries)?;
        }
    })?;
    Ok((time, entries))
}

fn frames(topics: u32, per_topic: u32) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let mut records: Vec<MetadataRecord> = (1..=5)
        .map(|id| MetadataRecord::Broker(BrokerRecord { id: BrokerId(id), ..BrokerRecord::default() }))
        .collect();
    for topic in 0..topics {
        records.push(topic_record(topic));
        records.extend((0..per_topic).map(|partition| record(topic, partition, 0)));
    }
    Ok(records.iter().map(encode).collect::<Result<_, _>>()?)
}

fn topic_id(topic: u32) -> TopicId {
    TopicId(Uuid::from_random(0x1_0000_0000 + u128::from(topic).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)))
}

fn topic_record(topic: u32) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { id: topic_id(topic), name: format!("topic-{topic}") })
}

fn record(topic: u32, partition: u32, partition_epoch: i32) -> MetadataRecord {
    let brokers: Vec<BrokerId> = (0..3)
        .map(|place| BrokerId(i32::try_from((partition + place) % 5 + 1).expect("it is small")))
        .collect();
    MetadataRecord::Partition(PartitionRecord {
        topic: topic_id(topic),
        partition: PartitionIndex(i32::try_from(partition).expect("it is small")),
        leader: brokers.first().copied(),
        isr: brokers.clone(),
        replicas: brokers,
        partition_epoch,
        ..PartitionRecord::default()
    })
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods)] // A measurement is about the real clock.
fn timed(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = std::time::Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("statm has a second field")?.parse()?;
    Ok(pages * 4096)
}
