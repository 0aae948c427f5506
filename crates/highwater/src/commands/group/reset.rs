//! `highwater group reset-offsets`: where a group goes on.

use crate::cli::Connection;
use crate::output::Output;
use anyhow::{Context, bail};
use clap::Args;
use highwater_client::{Admin, EARLIEST, LATEST, Positions};
use highwater_env_tokio::TokioEnv;
use highwater_types::{Offset, PartitionIndex, Timestamp};
use highwater_wire::Str;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// `highwater group reset-offsets`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater group reset-offsets billing --topic orders --to-earliest --dry-run
  highwater group reset-offsets billing --shift-by -100
  highwater group reset-offsets billing --to-time 1767225600000
  highwater group reset-offsets billing --to-file offsets.csv       keep where it is
  highwater group reset-offsets billing --from-file offsets.csv     and go back there

Without --topic, all that the group has read is meant. The group must have no members. A place before the first record
or behind the last becomes that one. Files hold a line topic,partition,offset for each partition.")]
pub struct ResetArgs {
    /// The group.
    group: String,
    /// A topic, or a partition of it as TOPIC:PARTITION; may be given several times.
    #[arg(long)]
    topic: Vec<String>,
    /// To where.
    #[command(flatten)]
    to: To,
    /// Tell what would be set, and set nothing.
    #[arg(long)]
    dry_run: bool,
    /// How the cluster is reached.
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// To where.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record there is.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To the first record of this time (milliseconds since 1970) or later.
    #[arg(long)]
    to_time: Option<i64>,
    /// To this offset.
    #[arg(long)]
    to_offset: Option<i64>,
    /// So many records on, or back if below zero.
    #[arg(long, allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the offsets in this file.
    #[arg(long)]
    from_file: Option<PathBuf>,
    /// Nowhere: write where the group is to this file.
    #[arg(long)]
    to_file: Option<PathBuf>,
}

pub(super) async fn run(admin: &Admin<TokioEnv>, args: &ResetArgs, output: &Output) -> anyhow::Result<()> {
    let current = admin.group_offsets(&args.group).await?;
    if let Some(path) = &args.to.to_file {
        let line = |((topic, partition), offset): (&(Str, PartitionIndex), &Offset)| {
            format!("{topic},{partition},{offset}\n")
        };
        let text: String = current.iter().map(line).collect();
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        let value = json!({ "group": args.group, "written": current.len() });
        return output.item(&value, &format!("wrote {} offsets to {}", current.len(), path.display()));
    }
    let wanted = match &args.to.from_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            parse(&text).with_context(|| path.display().to_string())?
        }
        None => {
            let mut wanted = Positions::new();
            for key in meant(admin, args, &current).await? {
                let at = current.get(&key).copied();
                if let Some(offset) = place(admin, &args.to, &key, at).await? {
                    wanted.insert(key, offset);
                }
            }
            wanted
        }
    };
    let mut new = Positions::new();
    for (key, offset) in wanted {
        let first = found(admin, &key, EARLIEST).await?;
        let end = found(admin, &key, LATEST).await?;
        new.insert(key, offset.clamp(first, end.max(first)));
    }
    if !args.dry_run && !new.is_empty() {
        admin.set_group_offsets(&args.group, &new).await?;
    }
    let row = |((topic, partition), offset): (&(Str, PartitionIndex), &Offset)| {
        let before = current.get(&(topic.clone(), *partition)).map(|offset| offset.0);
        let value = json!({
            "group": args.group,
            "topic": topic.to_string(),
            "partition": partition.0,
            "before": before,
            "offset": offset.0,
            "dry_run": args.dry_run,
        });
        let before = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        (value, vec![topic.to_string(), partition.to_string(), before, offset.to_string()])
    };
    let rows: Vec<_> = new.iter().map(row).collect();
    output.table(&["TOPIC", "PARTITION", "BEFORE", "NEW"], &rows)?;
    if args.dry_run {
        output.note("nothing was set");
    }
    Ok(())
}

/// The partitions that are meant.
async fn meant(
    admin: &Admin<TokioEnv>,
    args: &ResetArgs,
    current: &Positions,
) -> anyhow::Result<BTreeSet<(Str, PartitionIndex)>> {
    if args.topic.is_empty() {
        if current.is_empty() {
            bail!("group {} has read nothing: say which topic is meant (--topic)", args.group);
        }
        return Ok(current.keys().cloned().collect());
    }
    let mut meant = BTreeSet::new();
    for named in &args.topic {
        match named.split_once(':') {
            Some((topic, partition)) => {
                let partition =
                    partition.parse().with_context(|| format!("{named}: a partition is a number"))?;
                meant.insert((Str::from(topic), PartitionIndex(partition)));
            }
            None => {
                let topic = Str::from(named.as_str());
                let partitions = admin.partitions_of(named).await?;
                meant.extend(partitions.into_iter().map(|partition| (topic.clone(), partition)));
            }
        }
    }
    Ok(meant)
}

/// The new place of a partition; none if it stays where it is.
async fn place(
    admin: &Admin<TokioEnv>,
    to: &To,
    key: &(Str, PartitionIndex),
    current: Option<Offset>,
) -> anyhow::Result<Option<Offset>> {
    if to.to_earliest {
        return found(admin, key, EARLIEST).await.map(Some);
    }
    if let Some(time) = to.to_time {
        let at = admin.list_offset(&key.0, key.1, Timestamp(time)).await?.offset;
        return match at {
            Some(offset) => Ok(Some(offset)),
            None => found(admin, key, LATEST).await.map(Some),
        };
    }
    if let Some(by) = to.shift_by {
        return Ok(current.map(|offset| Offset(offset.0.saturating_add(by))));
    }
    match to.to_offset {
        Some(offset) => Ok(Some(Offset(offset))),
        None => found(admin, key, LATEST).await.map(Some),
    }
}

async fn found(
    admin: &Admin<TokioEnv>,
    (topic, partition): &(Str, PartitionIndex),
    which: Timestamp,
) -> anyhow::Result<Offset> {
    let found = admin.list_offset(topic, *partition, which).await?;
    found.offset.with_context(|| format!("the broker knows no such offset of {topic}-{partition}"))
}

fn parse(text: &str) -> anyhow::Result<Positions> {
    let mut offsets = Positions::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.trim().split(',').map(str::trim);
        let (topic, partition, offset, rest) = (words.next(), words.next(), words.next(), words.next());
        let parsed = (|| {
            let (partition, offset) = (partition?.parse().ok()?, offset?.parse().ok()?);
            let topic = topic.filter(|topic| !topic.is_empty() && rest.is_none())?;
            Some(((Str::from(topic), PartitionIndex(partition)), Offset(offset)))
        })();
        let Some((key, offset)) = parsed else {
            bail!("line {number}: topic,partition,offset is expected, not {line:?}");
        };
        offsets.insert(key, offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_a_line_for_each_partition() {
        let offsets = parse("a,0,5\n\n b , 12 , 7 \n").unwrap();
        let expected =
            [(("a".into(), PartitionIndex(0)), Offset(5)), (("b".into(), PartitionIndex(12)), Offset(7))];
        assert_eq!(offsets, expected.into_iter().collect());
        for wrong in ["a", "a,0", "a,x,1", ",0,1", "a,0,1,2"] {
            let problem = parse(wrong).unwrap_err().to_string();
            assert!(problem.starts_with("line 1: topic,partition,offset is expected"), "{problem}");
        }
    }
}
