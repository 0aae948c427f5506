//! `highwater cluster`: looks after a cluster.

mod status;
mod view;

use crate::cli::Connection;
use crate::output::Output;
use crate::session;
use clap::Subcommand;
use highwater_client::Admin;
use highwater_env::{Env, Purpose};
use highwater_types::{ClusterId, Uuid};
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
}

/// Does what was asked.
pub fn run(command: &ClusterCommand, output: &Output) -> anyhow::Result<ExitCode> {
    let connection = match command {
        ClusterCommand::NewId => {
            let id = new_id()?;
            output.item(&json!({ "cluster_id": id.to_string() }), &id.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        ClusterCommand::Status { connection } | ClusterCommand::Health { connection } => connection,
    };
    session::run(connection, |client| async move {
        let admin = Admin::new(client);
        match command {
            ClusterCommand::NewId => Ok(ExitCode::SUCCESS),
            ClusterCommand::Status { .. } => status::status(&View::of(&admin).await?, output),
            ClusterCommand::Health { .. } => status::health(&View::of(&admin).await?, output),
        }
    })
}

/// An id that no other cluster has.
pub fn new_id() -> anyhow::Result<ClusterId> {
    let bits = highwater_env_tokio::run(Some(NonZeroUsize::MIN), |env| async move {
        env.entropy(Purpose::Ids).random::<u128>()
    })?;
    Ok(ClusterId(Uuid::from_random(bits)))
}
