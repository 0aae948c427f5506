//! An application: one program pays, another one adds up what was paid. It is the code of production, over any
//! environment.

use anyhow::{Context, Result};
use bytes::Bytes;
use highwater_client::{
    Client, ClientConfig, ConsumedRecord, Consumer, ConsumerConfig, OffsetReset, Producer, ProducerConfig,
    ProducerRecord, StartAt,
};
use highwater_env::{Disk, Env, File, OpenMode, Purpose, sleep};
use highwater_types::{Offset, PartitionIndex};
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

pub const TOPIC: &str = "payments";
pub const PARTITIONS: i32 = 2;
const FOLDER: &str = "/ledger";

/// Pays small amounts, one after another.
pub async fn payer<E: Env>(env: E, bootstrap: Vec<String>) -> Result<()> {
    let client = Client::connect(env.clone(), ClientConfig::new(bootstrap)).await?;
    let producer = Producer::new(client, ProducerConfig::default())?;
    let mut rng = env.entropy(Purpose::User(0));
    loop {
        let amount: u64 = rng.random_range(1..=100);
        let partition = PartitionIndex(rng.random_range(0..PARTITIONS));
        let payment = ProducerRecord::new(TOPIC, amount.to_string()).with_partition(partition);
        producer.send(payment).await?.await?;
        sleep(env.clock(), Duration::from_millis(rng.random_range(1..100))).await;
    }
}

/// Adds up what is paid. Wrong: it records where it stands before it has done what stands there.
pub async fn hasty_ledger<E: Env>(env: E, bootstrap: Vec<String>) -> Result<()> {
    let disk = env.disk();
    let mut positions = parse_positions(&load(disk, "positions").await?.unwrap_or_default())?;
    let mut total = stored_total(disk).await?;
    let client = Client::connect(env.clone(), ClientConfig::new(bootstrap)).await?;
    let mut consumer = consumer_from(client, &positions)?;
    loop {
        for payment in consumer.poll(Duration::from_secs(1)).await? {
            positions.insert(payment.partition, payment.offset.0 + 1);
            save(disk, "positions", write_positions(&positions)).await?;
            total += amount(&payment)?;
            save(disk, "total", total.to_string()).await?;
        }
    }
}

/// Adds up what is paid. Where it stands and the total are one file, which is replaced as one.
pub async fn ledger<E: Env>(env: E, bootstrap: Vec<String>) -> Result<()> {
    let disk = env.disk();
    let stored = load(disk, "total").await?.unwrap_or_default();
    let mut positions = parse_positions(stored.split_once('\n').unwrap_or_default().1)?;
    let mut total = stored_total(disk).await?;
    let client = Client::connect(env.clone(), ClientConfig::new(bootstrap)).await?;
    let mut consumer = consumer_from(client, &positions)?;
    loop {
        for payment in consumer.poll(Duration::from_secs(1)).await? {
            positions.insert(payment.partition, payment.offset.0 + 1);
            total += amount(&payment)?;
            save(disk, "total", format!("{total}\n{}", write_positions(&positions))).await?;
        }
    }
}

/// A consumer of all payments from these offsets on; of a partition that is missing, from its start on.
pub fn consumer_from<E: Env>(
    client: Client<E>,
    positions: &BTreeMap<PartitionIndex, i64>,
) -> Result<Consumer<E>> {
    let config = ConsumerConfig { offset_reset: OffsetReset::Error, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client, config)?;
    consumer.assign((0..PARTITIONS).map(PartitionIndex).map(|partition| {
        let start = positions.get(&partition).map_or(StartAt::Earliest, |&at| StartAt::Offset(Offset(at)));
        (TOPIC.into(), partition, start)
    }));
    Ok(consumer)
}

pub fn amount(payment: &ConsumedRecord) -> Result<u64> {
    let value = payment.value.as_deref().context("a payment without an amount")?;
    Ok(std::str::from_utf8(value)?.parse()?)
}

/// What the ledger has counted, by its disk.
pub async fn stored_total(disk: &impl Disk) -> Result<u64> {
    let stored = load(disk, "total").await?.unwrap_or_default();
    stored.lines().next().map_or(Ok(0), |total| Ok(total.parse()?))
}

fn write_positions(positions: &BTreeMap<PartitionIndex, i64>) -> String {
    positions.iter().map(|(partition, offset)| format!("{partition} {offset}\n")).collect()
}

fn parse_positions(text: &str) -> Result<BTreeMap<PartitionIndex, i64>> {
    let line = |line: &str| {
        let (partition, offset) = line.split_once(' ').context("a position without an offset")?;
        Ok((PartitionIndex(partition.parse()?), offset.parse()?))
    };
    text.lines().map(line).collect()
}

async fn load(disk: &impl Disk, name: &str) -> Result<Option<String>> {
    let file = match disk.open(&Path::new(FOLDER).join(name), OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(file.len().await?)?;
    Ok(Some(String::from_utf8(file.read_at(0, length).await?.to_vec())?))
}

/// Replaces a file, so that after a power loss it is the old one or the new one.
async fn save(disk: &impl Disk, name: &str, text: String) -> Result<()> {
    let folder = Path::new(FOLDER);
    disk.create_dir_all(folder).await?;
    disk.sync_dir(Path::new("/")).await?;
    let new = folder.join(format!("{name}.new"));
    let file = disk.open(&new, OpenMode::CreateOrTruncate).await?;
    file.write_at(0, vec![Bytes::from(text)]).await?;
    file.sync_data().await?;
    disk.rename(&new, &folder.join(name)).await?;
    disk.sync_dir(folder).await?;
    Ok(())
}
