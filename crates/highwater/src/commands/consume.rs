//! `highwater consume`: prints the records of a topic.

use crate::cli::Connection;
use crate::output::{Output, Style};
use crate::record_format::RecordFormat;
use crate::session;
use clap::{Args, ValueEnum};
use highwater_client::{
    ClassicAssignor, Client, ConsumedRecord, Consumer, ConsumerConfig, GroupConfig, GroupConsumer,
    GroupProtocol, OffsetReset, Positions, Rebalance, StartAt,
};
use highwater_env_tokio::TokioEnv;
use highwater_types::{Offset, PartitionIndex, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// How long one poll waits; between polls it is seen whether all has been read.
const POLL: Duration = Duration::from_millis(500);

/// `highwater consume`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater consume orders                                 what comes from now on
  highwater consume orders --from-beginning --count 10
  highwater consume orders --partition 2 --offset 1000 --exit-at-end
  highwater consume orders --group billing                 as a member of a group, which goes on where it was
  highwater consume orders --group billing --group-protocol consumer --assignor uniform
  highwater consume orders --from-time 1767225600000 --format '%p@%o %k: %s\\n'

Formats: %s value, %k key, %t topic, %p partition, %o offset, %T timestamp (ms), %h headers,
%S and %K lengths in bytes (-1 for null), %% percent, \\n \\t \\0 \\\\.")]
pub struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Start at the first record there is.
    #[arg(long, conflicts_with_all = ["offset", "from_time"])]
    from_beginning: bool,
    /// Start at this offset; below zero counts from the end.
    #[arg(long, short, allow_negative_numbers = true, conflicts_with = "from_time")]
    offset: Option<i64>,
    /// Start at the first record of this time (milliseconds since 1970) or later.
    #[arg(long)]
    from_time: Option<i64>,
    /// Read this partition alone; may be given several times.
    #[arg(long, short)]
    partition: Vec<i32>,
    /// Read as a member of this group: share the topic with its other members, and commit what was printed. What the
    /// group has not read before starts at the end, or --from-beginning.
    #[arg(long, short, conflicts_with_all = ["offset", "from_time", "partition", "exit_at_end"])]
    group: Option<String>,
    /// How the members of the group come to share it: all of a group the same way.
    #[arg(long, requires = "group", default_value = "classic")]
    group_protocol: Protocol,
    /// How partitions are shared out: range (the default) or cooperative-sticky with the classic protocol, uniform or
    /// range with the consumer protocol, where the cluster chooses if it is not given.
    #[arg(long, requires = "group")]
    assignor: Option<String>,
    /// Stop after this many records.
    #[arg(long, short)]
    count: Option<u64>,
    /// Stop at what was the end when the command started.
    #[arg(long, short)]
    exit_at_end: bool,
    /// How a record is printed.
    #[arg(long, short, default_value = "%s\\n")]
    format: RecordFormat,
    /// How the cluster is reached.
    #[command(flatten)]
    connection: Connection,
}

/// How the members of a group come to share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// One of the members shares the partitions out.
    Classic,
    /// The cluster shares them out.
    Consumer,
}

/// Does what was asked.
pub fn run(args: &ConsumeArgs, output: &Output) -> anyhow::Result<ExitCode> {
    session::run(&args.connection, |client| async move {
        match &args.group {
            Some(group) => share(client, args, group, output).await,
            None => consume(client, args, output).await,
        }
    })
}

/// Reads as a member of a group.
async fn share(
    client: Client<TokioEnv>,
    args: &ConsumeArgs,
    group: &str,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let mut stop = session::Stop::new()?;
    session::topic(&client, &args.topic).await?;
    // What is printed is committed right behind it.
    let config = GroupConfig {
        protocol: protocol(args.group_protocol, args.assignor.as_deref())?,
        auto_commit: None,
        from_beginning: args.from_beginning,
        ..GroupConfig::new(group)
    };
    let mut member = GroupConsumer::new(client, [&args.topic], config)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let records = tokio::select! {
            biased;
            () = stop.asked() => break,
            records = member.poll(POLL) => records?,
        };
        for rebalance in member.take_rebalances() {
            output.note(&told(&rebalance));
        }
        let Some(last) = records.last().map(|record| record.partition) else { continue };
        let mut printed = Positions::new();
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for record in records {
            if left == 0 {
                break;
            }
            left -= 1;
            write(&record, args, output, &mut out)?;
            printed.insert((record.topic.clone(), record.partition), record.offset.plus(1));
        }
        out.flush()?;
        drop(out);
        if let Err(error) = member.commit_offsets(printed).await {
            output.note(&format!("what was printed, up to partition {last}, may be printed again: {error}"));
        }
    }
    member.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn protocol(protocol: Protocol, assignor: Option<&str>) -> anyhow::Result<GroupProtocol> {
    Ok(match (protocol, assignor) {
        (Protocol::Classic, None | Some("range")) => {
            GroupProtocol::Classic { assignor: ClassicAssignor::Range }
        }
        (Protocol::Classic, Some("cooperative-sticky")) => {
            GroupProtocol::Classic { assignor: ClassicAssignor::CooperativeSticky }
        }
        (Protocol::Classic, Some(other)) => {
            anyhow::bail!("the classic protocol has the assignors range and cooperative-sticky, not {other}")
        }
        (Protocol::Consumer, Some("cooperative-sticky")) => anyhow::bail!(
            "cooperative-sticky is an assignor of the classic protocol; the consumer protocol has uniform and range"
        ),
        (Protocol::Consumer, assignor) => GroupProtocol::Consumer { assignor: assignor.map(str::to_owned) },
    })
}

fn told(rebalance: &Rebalance) -> String {
    let (what, partitions) = match rebalance {
        Rebalance::Assigned(partitions) => ("is given", partitions),
        Rebalance::Revoked(partitions) => ("gives up", partitions),
        Rebalance::Lost(partitions) => ("has lost", partitions),
    };
    let names: Vec<_> = partitions.iter().map(|(topic, partition)| format!("{topic}-{partition}")).collect();
    format!("this member {what} {}", if names.is_empty() { "nothing".to_owned() } else { names.join(" ") })
}

fn write(
    record: &ConsumedRecord,
    args: &ConsumeArgs,
    output: &Output,
    out: &mut impl Write,
) -> std::io::Result<()> {
    match output.style() {
        Style::Json => writeln!(out, "{}", json_of(record)),
        Style::Text => args.format.write(record, out),
    }
}

async fn consume(client: Client<TokioEnv>, args: &ConsumeArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let mut stop = session::Stop::new()?;
    let config = ConsumerConfig { offset_reset: OffsetReset::Error, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client.clone(), config)?;
    let partitions = partitions(&client, args).await?;
    let mut ends = BTreeMap::new();
    let mut start = Vec::new();
    for &partition in &partitions {
        let end = consumer.end_offset(&args.topic, partition).await?;
        let at = start_at(&consumer, args, partition, end).await?;
        start.push((args.topic.clone().into(), partition, at));
        if args.exit_at_end {
            ends.insert(partition, end);
        }
    }
    consumer.assign(start);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !(args.exit_at_end && has_reached(&consumer, &args.topic, &ends)) {
        let records = tokio::select! {
            biased;
            () = stop.asked() => break,
            records = consumer.poll(POLL) => records?,
        };
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for record in records {
            let is_beyond = ends.get(&record.partition).is_some_and(|end| record.offset >= *end);
            if left == 0 || is_beyond {
                continue;
            }
            left -= 1;
            write(&record, args, output, &mut out)?;
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn partitions(client: &Client<TokioEnv>, args: &ConsumeArgs) -> anyhow::Result<Vec<PartitionIndex>> {
    let topic = session::topic(client, &args.topic).await?;
    if args.partition.is_empty() {
        return Ok(topic.partitions.iter().map(|partition| partition.index).collect());
    }
    for &asked in &args.partition {
        let count = topic.partitions.len();
        if !topic.partitions.iter().any(|partition| partition.index.0 == asked) {
            anyhow::bail!("{} has {count} partitions, and no partition {asked}", args.topic);
        }
    }
    Ok(args.partition.iter().copied().map(PartitionIndex).collect())
}

async fn start_at(
    consumer: &Consumer<TokioEnv>,
    args: &ConsumeArgs,
    partition: PartitionIndex,
    end: Offset,
) -> anyhow::Result<StartAt> {
    if args.from_beginning {
        return Ok(StartAt::Earliest);
    }
    if let Some(time) = args.from_time {
        return Ok(StartAt::Time(Timestamp(time)));
    }
    Ok(match args.offset {
        None => StartAt::Offset(end),
        Some(offset) if offset >= 0 => StartAt::Offset(Offset(offset)),
        Some(back) => {
            let first = consumer.beginning_offset(&args.topic, partition).await?;
            StartAt::Offset(end.plus(back).max(first))
        }
    })
}

fn has_reached(consumer: &Consumer<TokioEnv>, topic: &str, ends: &BTreeMap<PartitionIndex, Offset>) -> bool {
    ends.iter()
        .all(|(partition, end)| consumer.position(topic, *partition).is_some_and(|position| position >= *end))
}

fn json_of(record: &ConsumedRecord) -> serde_json::Value {
    let text = |bytes: &Option<bytes::Bytes>| {
        bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|header| json!([String::from_utf8_lossy(&header.key), text(&header.value)]))
        .collect();
    json!({
        "topic": record.topic.to_string(),
        "partition": record.partition.0,
        "offset": record.offset.0,
        "timestamp": record.timestamp.0,
        "key": text(&record.key),
        "value": text(&record.value),
        "headers": headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignors_go_with_their_protocol() {
        let range = GroupProtocol::Classic { assignor: ClassicAssignor::Range };
        let given = |asked, assignor| protocol(asked, assignor).map_err(|error| error.to_string());
        assert_eq!(given(Protocol::Classic, None), Ok(range.clone()));
        assert_eq!(given(Protocol::Classic, Some("range")), Ok(range));
        let cooperative = GroupProtocol::Classic { assignor: ClassicAssignor::CooperativeSticky };
        assert_eq!(given(Protocol::Classic, Some("cooperative-sticky")), Ok(cooperative));
        let uniform = GroupProtocol::Consumer { assignor: Some("uniform".to_owned()) };
        assert_eq!(given(Protocol::Consumer, Some("uniform")), Ok(uniform));
        assert_eq!(given(Protocol::Consumer, None), Ok(GroupProtocol::Consumer { assignor: None }));
        for (asked, assignor, expected) in [
            (
                Protocol::Classic,
                "uniform",
                "the classic protocol has the assignors range and cooperative-sticky",
            ),
            (Protocol::Consumer, "cooperative-sticky", "is an assignor of the classic protocol"),
        ] {
            assert!(given(asked, Some(assignor)).is_err_and(|error| error.contains(expected)));
        }
    }
}
