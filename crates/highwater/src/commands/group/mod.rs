//! `highwater group`: consumer groups, how far they have read, and where they go on.

mod reset;

use crate::cli::Connection;
use crate::output::{Output, Style};
use crate::session;
use clap::Subcommand;
use highwater_client::{Admin, ClientError, LATEST};
use highwater_env_tokio::TokioEnv;
use highwater_types::PartitionIndex;
use serde_json::json;
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
    let rows: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            let instance = member.group_instance_id.as_deref();
            let value = json!({
                "member": member.member_id.to_string(),
                "instance": instance,
                "client": member.client_id.to_string(),
                "host": member.client_host.to_string(),
            });
            let cells = vec![
                member.member_id.to_string(),
                instance.unwrap_or("").to_owned(),
                member.client_id.to_string(),
                member.client_host.to_string(),
            ];
            (value, cells)
        })
        .collect();
    if output.style() == Style::Json {
        let members: Vec<_> = rows.into_iter().map(|(value, _)| value).collect();
        return output.json(&json!({
            "group": name,
            "state": group.group_state.to_string(),
            "protocol_type": group.protocol_type.to_string(),
            "protocol": group.protocol_data.to_string(),
            "members": members,
        }));
    }
    let members = group.members.len();
    let text =
        format!("{name}  {}  protocol {:?}  members {members}", group.group_state, &*group.protocol_data);
    output.item(&(), &text)?;
    if rows.is_empty() { Ok(()) } else { output.table(&["MEMBER", "INSTANCE", "CLIENT", "HOST"], &rows) }
}

async fn lag(admin: &Admin<TokioEnv>, group: &str, output: &Output) -> anyhow::Result<()> {
    let offsets = admin.group_offsets(group).await?;
    if offsets.is_empty() {
        output.note(&format!("group {group} has read nothing"));
    }
    let mut rows = Vec::with_capacity(offsets.len());
    for ((topic, partition), offset) in &offsets {
        // A topic that is gone has no end.
        let end = end_of(admin, topic, *partition).await?;
        let lag = end.map(|end| (end - offset.0).max(0));
        let value = json!({
            "group": group,
            "topic": topic.to_string(),
            "partition": partition.0,
            "offset": offset.0,
            "end": end,
            "lag": lag,
        });
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let cells =
            vec![topic.to_string(), partition.to_string(), offset.to_string(), number(end), number(lag)];
        rows.push((value, cells));
    }
    output.table(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG"], &rows)
}

async fn end_of(
    admin: &Admin<TokioEnv>,
    topic: &str,
    partition: PartitionIndex,
) -> anyhow::Result<Option<i64>> {
    match session::topic(admin.client(), topic).await {
        Ok(_) => {}
        // UNKNOWN_TOPIC_OR_PARTITION.
        Err(error) if error.code().is_some_and(|code| code.0 == 3) => return Ok(None),
        Err(error) => return Err(error.into()),
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
