//! `highwater cluster`: looks after a cluster.

use crate::output::Output;
use clap::Subcommand;
use highwater_env::{Env, Purpose};
use highwater_types::{ClusterId, Uuid};
use rand::RngExt;
use serde_json::json;
use std::process::ExitCode;

/// `highwater cluster ...`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Draw the id of a new cluster, for the cluster_id of all its nodes.
    #[command(after_help = "Example:\n  highwater cluster new-id")]
    NewId,
}

/// Does what was asked.
pub fn run(command: &ClusterCommand, output: &Output) -> anyhow::Result<ExitCode> {
    match command {
        ClusterCommand::NewId => {
            let id = new_id()?;
            output.item(&json!({ "cluster_id": id.to_string() }), &id.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An id that no other cluster has.
pub fn new_id() -> anyhow::Result<ClusterId> {
    let bits = highwater_env_tokio::run(Some(std::num::NonZeroUsize::MIN), |env| async move {
        env.entropy(Purpose::Ids).random::<u128>()
    })?;
    Ok(ClusterId(Uuid::from_random(bits)))
}
