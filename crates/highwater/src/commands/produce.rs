//! `highwater produce`: lines of standard input become records.

use crate::cli::Connection;
use crate::output::{Output, Style};
use crate::session;
use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use highwater_client::{Acks, Client, Delivery, Producer, ProducerConfig, ProducerRecord};
use highwater_env_tokio::TokioEnv;
use highwater_records::{Codec, Header};
use highwater_types::PartitionIndex;
use serde_json::json;
use std::collections::VecDeque;
use std::process::ExitCode;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

/// The longest line that is taken, in bytes: more than a broker takes by default, so that its own error is seen.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// Records whose outcome may be outstanding.
const MAX_OUTSTANDING: usize = 100_000;

/// `highwater produce`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater produce logs < app.log
  printf 'k1:v1\\nk2:v2\\n' | highwater produce orders --key-separator :
  highwater produce orders --compression zstd --header source=import < orders.jsonl

Exits with 0 only if every line was acknowledged.")]
pub struct ProduceArgs {
    /// The topic. The broker makes it if its configuration allows that.
    topic: String,
    /// What stands between key and value; without it lines are values. A line without the separator is an error.
    #[arg(long, short)]
    key_separator: Option<String>,
    /// Send all records to this partition.
    #[arg(long, short)]
    partition: Option<i32>,
    /// A header for every record, NAME=VALUE; may be given several times.
    #[arg(long, value_parser = header)]
    header: Vec<(String, String)>,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    compression: Compression,
    /// Who must have a record: all in-sync replicas, the leader, or nobody.
    #[arg(long, value_enum, default_value_t = AcksName::All)]
    acks: AcksName,
    /// How the cluster is reached.
    #[command(flatten)]
    connection: Connection,
}

/// `--compression`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// DEFLATE with gzip's frame.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// `--acks`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AcksName {
    /// All in-sync replicas, as durably as the broker promises.
    All,
    /// The leader alone.
    Leader,
    /// Nobody.
    None,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Does what was asked.
pub fn run(args: &ProduceArgs, output: &Output) -> anyhow::Result<ExitCode> {
    session::run(&args.connection, |client| async move { produce(client, args, output).await })
}

async fn produce(client: Client<TokioEnv>, args: &ProduceArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let producer = Producer::new(client, producer_config(args))?;
    let headers: Vec<Header> = args
        .header
        .iter()
        .map(|(name, value)| Header { key: name.clone().into(), value: Some(Bytes::from(value.clone())) })
        .collect();
    let bar = output.progress(None, "records");
    let mut input = BufReader::with_capacity(1 << 16, tokio::io::stdin());
    let mut outstanding: VecDeque<(u64, Delivery)> = VecDeque::new();
    let mut number = 0;
    while let Some(line) = read_line(&mut input).await? {
        number += 1;
        let mut record = record_of(args, line).with_context(|| format!("line {number}"))?;
        record.headers.clone_from(&headers);
        let delivery = producer.send(record).await.with_context(|| format!("line {number}"))?;
        outstanding.push_back((number, delivery));
        if outstanding.len() >= MAX_OUTSTANDING
            && let Some((number, delivery)) = outstanding.pop_front()
        {
            delivery.await.with_context(|| format!("line {number} was not acknowledged"))?;
        }
        bar.set_position(number);
    }
    producer.flush().await;
    for (number, delivery) in outstanding {
        delivery.await.with_context(|| format!("line {number} was not acknowledged"))?;
    }
    producer.close().await;
    bar.finish_and_clear();
    match output.style() {
        Style::Json => output.json(&json!({ "topic": args.topic, "records": number }))?,
        Style::Text => output.note(&format!("{number} records acknowledged")),
    }
    Ok(ExitCode::SUCCESS)
}

fn producer_config(args: &ProduceArgs) -> ProducerConfig {
    let codec = match args.compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    };
    let (acks, idempotence) = match args.acks {
        AcksName::All => (Acks::All, true),
        AcksName::Leader => (Acks::Leader, false),
        AcksName::None => (Acks::None, false),
    };
    ProducerConfig { codec, acks, idempotence, batch_bytes: 256 << 10, ..ProducerConfig::default() }
}

fn record_of(args: &ProduceArgs, line: Vec<u8>) -> anyhow::Result<ProducerRecord> {
    let line = Bytes::from(line);
    let (key, value) = match &args.key_separator {
        None => (None, line),
        Some(separator) => {
            let at = find(&line, separator.as_bytes())
                .with_context(|| format!("no key separator {separator:?} in it"))?;
            (Some(line.slice(..at)), line.slice(at + separator.len()..))
        }
    };
    let topic = args.topic.clone().into();
    let partition = args.partition.map(PartitionIndex);
    Ok(ProducerRecord { topic, partition, key, value: Some(value), ..ProducerRecord::default() })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { None } else { text.windows(part.len()).position(|window| window == part) }
}

/// The next line without its end; None at the end of the input. A last line needs no end.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 > MAX_LINE_BYTES {
        anyhow::bail!("a line is longer than {MAX_LINE_BYTES} bytes");
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_may_be_longer_than_a_character() {
        assert_eq!(find(b"key::value", b"::"), Some(3));
        assert_eq!(find(b"key:value", b"::"), None);
        assert_eq!(find(b"key", b""), None);
    }
}
