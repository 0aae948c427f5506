//! `highwater cluster`: looks after a cluster.

mod ask;
mod leaders;
mod plan;
mod quorum;
mod reassign;
mod status;
mod throttle;
mod view;

use crate::cli::Connection;
use crate::output::Output;
use crate::session;
use clap::Subcommand;
use highwater_client::Admin;
use highwater_env::{Env, Purpose};
use highwater_types::{BrokerId, ClusterId, Uuid};
use quorum::QuorumView;
use rand::RngExt;
use serde_json::json;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use view::View;

/// `highwater cluster ...`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Draw the id of a new cluster, for the cluster_id of all its nodes.
    #[command(after_help = "Example:\n  highwater cluster new-id")]
    NewId,
    /// Tell the brokers, what each has to do, and what is wrong.
    #[command(
        after_help = "Examples:\n  highwater cluster status\n  highwater cluster status --json | jq .healthy"
    )]
    Status {
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell what is wrong.
    #[command(after_help = "\
Example:
  highwater cluster health || page-somebody

Exits with 0 if all brokers are live and all replicas in sync, with 4 if not, and with 1 if the cluster cannot be asked.")]
    Health {
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Tell how leaderships are spread, or elect leaders.
    Leaders(leaders::LeadersArgs),
    /// Move partitions to other brokers.
    Reassign(reassign::ReassignArgs),
    /// Empty a broker, and have the cluster forget it.
    Decommission(reassign::DecommissionArgs),
    /// Make a node that follows the metadata quorum a voter of it.
    #[command(after_help = "Example:\n  highwater cluster add-voter 4")]
    AddVoter {
        /// The node.
        node: i32,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
    /// Take a node's vote in the metadata quorum away.
    #[command(after_help = "Example:\n  highwater cluster remove-voter 4")]
    RemoveVoter {
        /// The node.
        node: i32,
        /// How the cluster is reached.
        #[command(flatten)]
        connection: Connection,
    },
}

/// Does what was asked.
pub fn run(command: &ClusterCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let connection = match command {
        ClusterCommand::NewId => {
            let id = new_id()?;
            output.item(&json!({ "cluster_id": id.to_string() }), &id.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        ClusterCommand::Status { connection }
        | ClusterCommand::Health { connection }
        | ClusterCommand::AddVoter { connection, .. }
        | ClusterCommand::RemoveVoter { connection, .. } => connection,
        ClusterCommand::Leaders(args) => &args.connection,
        ClusterCommand::Reassign(args) => &args.connection,
        ClusterCommand::Decommission(args) => &args.connection,
    };
    session::run(connection, |client| async move {
        let admin = Admin::new(client);
        match command {
            ClusterCommand::NewId => {}
            ClusterCommand::Status { .. } => {
                let (view, quorum) = (View::of(&admin).await?, QuorumView::of(&admin).await?);
                status::status(&view, quorum.as_ref(), output)?;
            }
            ClusterCommand::Health { .. } => return status::health(&View::of(&admin).await?, output),
            ClusterCommand::Leaders(args) => return leaders::run(&admin, args, output).await,
            ClusterCommand::Reassign(args) => return reassign::run(&admin, args, output).await,
            ClusterCommand::Decommission(args) => return reassign::decommission(&admin, args, output).await,
            ClusterCommand::AddVoter { node, .. } => {
                quorum::add(&admin, BrokerId(*node), output).await?;
            }
            ClusterCommand::RemoveVoter { node, .. } => {
                quorum::remove(&admin, BrokerId(*node), output).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// An id that no other cluster has.
pub fn new_id() -> anyhow::Result<ClusterId> {
    let bits = highwater_env_tokio::run(Some(NonZeroUsize::MIN), |env| async move {
        env.entropy(Purpose::Ids).random::<u128>()
    })?;
    Ok(ClusterId(Uuid::from_random(bits)))
}
