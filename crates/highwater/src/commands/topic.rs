//! `highwater topic`: makes, lists, describes, alters and deletes topics.

use crate::cli::Connection;
use crate::output::{Output, Style};
use crate::session;
use anyhow::Context;
use clap::{Args, Subcommand};
use highwater_client::{Admin, ConfigChange, EARLIEST, LATEST, NewTopic, Resource, TopicMetadata};
use highwater_env_tokio::TokioEnv;
use highwater_types::PartitionIndex;
use serde_json::json;
use std::process::ExitCode;

/// `highwater topic ...`.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Make a topic.
    #[command(after_help = "\
Examples:
  highwater topic create orders --partitions 6
  highwater topic create audit --config retention.ms=-1 --config compression.type=zstd")]
    Create(CreateArgs),
    /// List the topics.
    List {
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell a topic's partitions, offsets and configuration.
    #[command(after_help = "Example:\n  highwater topic describe orders")]
    Describe {
        /// The topic.
        topic: String,
        /// Tell the configurations that nobody set, too.
        #[arg(long)]
        all_configs: bool,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Change a topic's configuration, or add partitions.
    #[command(after_help = "\
Examples:
  highwater topic alter orders --partitions 12
  highwater topic alter orders --config retention.ms=86400000 --delete-config segment.ms")]
    Alter(AlterArgs),
    /// Delete topics and all their records.
    #[command(after_help = "Example:\n  highwater topic delete orders")]
    Delete {
        /// The topics.
        #[arg(required = true)]
        topics: Vec<String>,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
}

/// `highwater topic create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The topic's name.
    topic: String,
    /// How many partitions; the broker's default if left out.
    #[arg(long, short)]
    partitions: Option<i32>,
    /// How many replicas; the broker's default if left out.
    #[arg(long, short)]
    replication_factor: Option<i16>,
    /// A configuration, NAME=VALUE; may be given several times.
    #[arg(long, value_parser = assignment)]
    config: Vec<(String, String)>,
    /// No error if the topic exists.
    #[arg(long)]
    if_not_exists: bool,
    /// How the cluster is reached.
    #[command(flatten)]
    connection: Connection,
}

/// `highwater topic alter`.
#[derive(Args, Debug)]
pub struct AlterArgs {
    /// The topic.
    topic: String,
    /// Grow to this many partitions.
    #[arg(long, short, required_unless_present_any = ["config", "delete_config"])]
    partitions: Option<i32>,
    /// Set a configuration, NAME=VALUE; may be given several times.
    #[arg(long, value_parser = assignment)]
    config: Vec<(String, String)>,
    /// Take a configuration back to its default; may be given several times.
    #[arg(long)]
    delete_config: Vec<String>,
    /// How the cluster is reached.
    #[command(flatten)]
    connection: Connection,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Does what was asked.
pub fn run(command: &TopicCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let connection = match command {
        TopicCommand::Create(args) => &args.connection,
        TopicCommand::Alter(args) => &args.connection,
        TopicCommand::List { connection }
        | TopicCommand::Describe { connection, .. }
        | TopicCommand::Delete { connection, .. } => connection,
    };
    session::run(connection, |client| async move {
        let admin = Admin::new(client);
        match command {
            TopicCommand::Create(args) => create(&admin, args, output).await?,
            TopicCommand::List { .. } => list(&admin, output).await?,
            TopicCommand::Describe { topic, all_configs, .. } => {
                describe(&admin, topic, *all_configs, output).await?
            }
            TopicCommand::Alter(args) => alter(&admin, args, output).await?,
            TopicCommand::Delete { topics, .. } => delete(&admin, topics, output).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn create(admin: &Admin<TokioEnv>, args: &CreateArgs, output: &Output) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: args.topic.clone(),
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args.config.clone(),
    };
    match admin.create_topic(&topic, false).await {
        Ok(id) => {
            let value = json!({ "topic": args.topic, "id": id.to_string(), "created": true });
            output.item(&value, &format!("created topic {}", args.topic))
        }
        Err(error) if args.if_not_exists && session::is_existing_topic(&error) => {
            let value = json!({ "topic": args.topic, "created": false });
            output.item(&value, &format!("topic {} exists", args.topic))
        }
        Err(error) => Err(error.into()),
    }
}

async fn list(admin: &Admin<TokioEnv>, output: &Output) -> anyhow::Result<()> {
    let metadata = admin.client().refresh_all().await?;
    let rows: Vec<_> = metadata
        .topics
        .iter()
        .map(|(name, topic)| {
            let partitions = topic.partitions.len();
            let replicas = replication_factor(topic);
            let value = json!({
                "topic": name.to_string(),
                "id": topic.id.to_string(),
                "partitions": partitions,
                "replication_factor": replicas,
                "internal": topic.is_internal,
            });
            (
                value,
                vec![name.to_string(), partitions.to_string(), replicas.to_string(), topic.id.to_string()],
            )
        })
        .collect();
    output.table(&["TOPIC", "PARTITIONS", "REPLICAS", "ID"], &rows)
}

async fn describe(admin: &Admin<TokioEnv>, name: &str, all: bool, output: &Output) -> anyhow::Result<()> {
    let topic = session::topic(admin.client(), name).await?;
    let configs = admin.describe_configs(&Resource::Topic(name.to_owned())).await?;
    let partitions = partition_rows(admin, name, &topic).await?;
    // Kafka's number for "nobody set it".
    const DEFAULT: i8 = 5;
    let configs: Vec<_> =
        configs.into_iter().filter(|config| all || config.config_source != DEFAULT).collect();
    if output.style() == Style::Json {
        let partitions: Vec<_> = partitions.into_iter().map(|(value, _)| value).collect();
        let configs: serde_json::Map<_, _> =
            configs.iter().map(|config| (config.name.to_string(), json!(config.value.as_deref()))).collect();
        return output.json(&json!({
            "topic": name,
            "id": topic.id.to_string(),
            "partitions": partitions,
            "configs": configs,
        }));
    }
    let count = topic.partitions.len();
    output.item(
        &(),
        &format!("{name}  id {}  partitions {count}  replicas {}", topic.id, replication_factor(&topic)),
    )?;
    output.table(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "START", "END"], &partitions)?;
    let rows: Vec<_> = configs
        .iter()
        .map(|config| ((), vec![config.name.to_string(), config.value.as_deref().unwrap_or("").to_owned()]))
        .collect();
    if rows.is_empty() { Ok(()) } else { output.table(&["CONFIG", "VALUE"], &rows) }
}

async fn partition_rows(
    admin: &Admin<TokioEnv>,
    name: &str,
    topic: &TopicMetadata,
) -> anyhow::Result<Vec<(serde_json::Value, Vec<String>)>> {
    let mut rows = Vec::new();
    for partition in &topic.partitions {
        let start = offset(admin, name, partition.index, EARLIEST).await?;
        let end = offset(admin, name, partition.index, LATEST).await?;
        let ids = |ids: &[highwater_types::BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        let (replicas, in_sync) = (ids(&partition.replicas), ids(&partition.in_sync));
        let leader = partition.leader.map(|id| id.0);
        let value = json!({
            "partition": partition.index.0,
            "leader": leader,
            "leader_epoch": partition.leader_epoch.0,
            "replicas": replicas,
            "in_sync": in_sync,
            "start_offset": start,
            "end_offset": end,
        });
        let cells = vec![
            partition.index.to_string(),
            leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
            partition.leader_epoch.to_string(),
            format!("{replicas:?}"),
            format!("{in_sync:?}"),
            start.to_string(),
            end.to_string(),
        ];
        rows.push((value, cells));
    }
    Ok(rows)
}

async fn offset(
    admin: &Admin<TokioEnv>,
    name: &str,
    partition: PartitionIndex,
    which: highwater_types::Timestamp,
) -> anyhow::Result<i64> {
    let found = admin.list_offset(name, partition, which).await?;
    Ok(found.offset.context("the broker knows no such offset")?.0)
}

async fn alter(admin: &Admin<TokioEnv>, args: &AlterArgs, output: &Output) -> anyhow::Result<()> {
    let set = args.config.iter().map(|(name, value)| ConfigChange::Set(name.clone(), value.clone()));
    let deleted = args.delete_config.iter().map(|name| ConfigChange::Delete(name.clone()));
    let changes: Vec<ConfigChange> = set.chain(deleted).collect();
    if !changes.is_empty() {
        admin.alter_configs(&Resource::Topic(args.topic.clone()), &changes, false).await?;
    }
    if let Some(count) = args.partitions {
        admin.create_partitions(&args.topic, count).await?;
    }
    let value = json!({ "topic": args.topic, "altered": true });
    output.item(&value, &format!("altered topic {}", args.topic))
}

async fn delete(admin: &Admin<TokioEnv>, topics: &[String], output: &Output) -> anyhow::Result<()> {
    for topic in topics {
        admin.delete_topic(topic).await?;
        output.item(&json!({ "topic": topic, "deleted": true }), &format!("deleted topic {topic}"))?;
    }
    Ok(())
}

fn replication_factor(topic: &TopicMetadata) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}
