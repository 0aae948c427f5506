//! `highwater group`: consumer groups, how far they have read, and where they go on.

mod reset;

use crate::cli::Connection;
use crate::output::{Output, Style};
use crate::session;
use clap::Subcommand;
use highwater_client::{Admin, ClientError, GroupMember, LATEST};
use highwater_env_tokio::TokioEnv;
use highwater_types::PartitionIndex;
use highwater_wire::{ErrorCode, Str};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// `highwater group ...`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups.
    List {
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell a group's state and members.
    #[command(after_help = "Example:\n  highwater group describe billing")]
    Describe {
        /// The group.
        group: String,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell how far a group has read, and how much is left for it.
    #[command(after_help = "\
Examples:
  highwater group lag billing
  watch highwater group lag billing
  highwater group lag billing --json | jq -s 'map(.lag) | add'")]
    Lag {
        /// The group.
        group: String,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Set where a group without members goes on.
    ResetOffsets(reset::ResetArgs),
    /// Delete groups without members, and how far they have read.
    #[command(after_help = "Example:\n  highwater group delete billing")]
    Delete {
        /// The groups.
        #[arg(required = true)]
        groups: Vec<String>,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
}

/// Does what was asked.
pub fn run(command: &GroupCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let connection = match command {
        GroupCommand::ResetOffsets(args) => &args.connection,
        GroupCommand::List { connection }
        | GroupCommand::Describe { connection, .. }
        | GroupCommand::Lag { connection, .. }
        | GroupCommand::Delete { connection, .. } => connection,
    };
    session::run(connection, |client| async move {
        let admin = Admin::new(client);
        match command {
            GroupCommand::List { .. } => list(&admin, output).await?,
            GroupCommand::Describe { group, .. } => describe(&admin, group, output).await?,
            GroupCommand::Lag { group, .. } => lag(&admin, group, output).await?,
            GroupCommand::ResetOffsets(args) => reset::run(&admin, args, output).await?,
            GroupCommand::Delete { groups, .. } => delete(&admin, groups, output).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(admin: &Admin<TokioEnv>, output: &Output) -> anyhow::Result<()> {
    let groups = admin.list_groups().await?;
    let row = |group: &highwater_wire::messages::list_groups::ListedGroup| {
        let value = json!({
            "group": group.group_id.to_string(),
            "state": group.group_state.to_string(),
            "type": group.group_type.to_string(),
            "protocol_type": group.protocol_type.to_string(),
        });
        let cells = [&group.group_id, &group.group_state, &group.group_type, &group.protocol_type];
        (value, cells.map(ToString::to_string).to_vec())
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    output.table(&["GROUP", "STATE", "TYPE", "PROTOCOL"], &rows)
}

async fn describe(admin: &Admin<TokioEnv>, name: &str, output: &Output) -> anyhow::Result<()> {
    let group = admin.describe_group(name).await?;
    let partitions = |member: &GroupMember| -> Vec<String> {
        member.partitions.iter().map(|(topic, partition)| format!("{topic}-{partition}")).collect()
    };
    if output.style() == Style::Json {
        let member = |member: &GroupMember| {
            json!({
                "member": member.id.to_string(),
                "instance": member.instance.as_deref(),
                "client": member.client.to_string(),
                "host": member.host.to_string(),
                "partitions": partitions(member),
            })
        };
        return output.json(&json!({
            "group": name,
            "state": group.state.to_string(),
            "protocol_type": group.protocol_type.to_string(),
            "protocol": group.assignor.to_string(),
            "members": group.members.iter().map(member).collect::<Vec<_>>(),
        }));
    }
    let assignor = if group.assignor.is_empty() { "-" } else { &*group.assignor };
    let members = group.members.len();
    output.item(&(), &format!("{name}  {}  assignor {assignor}  members {members}", group.state))?;
    let row = |member: &GroupMember| {
        let instance = member.instance.as_deref().unwrap_or("-").to_owned();
        let cells = vec![member.id.to_string(), instance, member.client.to_string(), member.host.to_string()];
        (json!(null), [cells, vec![partitions(member).join(" ")]].concat())
    };
    let rows: Vec<_> = group.members.iter().map(row).collect();
    match rows.is_empty() {
        true => Ok(()),
        false => output.table(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"], &rows),
    }
}

async fn lag(admin: &Admin<TokioEnv>, group: &str, output: &Output) -> anyhow::Result<()> {
    let offsets = admin.group_offsets(group).await?;
    if offsets.is_empty() {
        output.note(&format!("group {group} has read nothing"));
    }
    // Of a topic that it reads, what it has not come to yet counts as well.
    let topics: BTreeSet<&Str> = offsets.keys().map(|(topic, _)| topic).collect();
    let mut places: BTreeSet<(Str, PartitionIndex)> = offsets.keys().cloned().collect();
    for topic in topics {
        if let Some(partitions) = partitions_of(admin, topic).await? {
            places.extend(partitions.into_iter().map(|partition| (topic.clone(), partition)));
        }
    }
    let mut rows = Vec::with_capacity(places.len());
    for (topic, partition) in places {
        let offset = offsets.get(&(topic.clone(), partition)).map(|offset| offset.0);
        // A topic that is gone has no end.
        let end = end_of(admin, &topic, partition).await?;
        let lag = end.zip(offset).map(|(end, offset)| (end - offset).max(0));
        let value = json!({
            "group": group,
            "topic": topic.to_string(),
            "partition": partition.0,
            "offset": offset,
            "end": end,
            "lag": lag,
        });
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let cells = vec![topic.to_string(), partition.to_string(), number(offset), number(end), number(lag)];
        rows.push((value, cells));
    }
    output.table(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG"], &rows)
}

/// The partitions of a topic; None if it is gone.
async fn partitions_of(admin: &Admin<TokioEnv>, topic: &str) -> anyhow::Result<Option<Vec<PartitionIndex>>> {
    match session::topic(admin.client(), topic).await {
        Ok(topic) => Ok(Some(topic.partitions.iter().map(|partition| partition.index).collect())),
        Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn end_of(
    admin: &Admin<TokioEnv>,
    topic: &str,
    partition: PartitionIndex,
) -> anyhow::Result<Option<i64>> {
    if partitions_of(admin, topic).await?.is_none_or(|partitions| !partitions.contains(&partition)) {
        return Ok(None);
    }
    match admin.list_offset(topic, partition, LATEST).await {
        Ok(found) => Ok(found.offset.map(|offset| offset.0)),
        Err(ClientError::Invalid(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn delete(admin: &Admin<TokioEnv>, groups: &[String], output: &Output) -> anyhow::Result<()> {
    for group in groups {
        admin.delete_group(group).await?;
        output.item(&json!({ "group": group, "deleted": true }), &format!("deleted group {group}"))?;
    }
    Ok(())
}
