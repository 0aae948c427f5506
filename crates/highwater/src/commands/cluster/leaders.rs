//! `highwater cluster leaders`: who leads what, and elections.

use super::ask::Ask;
use super::view::{View, parse_partition};
use crate::cli::{Connection, EXIT_FAILED};
use crate::output::Output;
use clap::Args;
use highwater_client::Admin;
use highwater_env_tokio::TokioEnv;
use serde_json::json;
use std::process::ExitCode;

/// ELECTION_NOT_NEEDED: the leader is the right one already.
const NOT_NEEDED: i16 = 84;

/// `highwater cluster leaders`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater cluster leaders                         how leaderships are spread
  highwater cluster leaders --elect                 give every partition to its preferred leader
  highwater cluster leaders --elect orders-0        one partition
  highwater cluster leaders --elect --unclean orders-0
      lets a replica lead that is not in sync, because no other is left: LOSES what only the others had")]
pub struct LeadersArgs {
    /// Partitions to elect leaders of, such as orders-0; all if none is named.
    #[arg(requires = "elect")]
    partitions: Vec<String>,
    /// Elect the preferred leaders, where they do not lead and are in sync.
    #[arg(long)]
    elect: bool,
    /// Elect any replica for partitions without a leader. Acknowledged records may be lost.
    #[arg(long, requires = "partitions")]
    unclean: bool,
    /// How the cluster is reached.
    #[command(flatten)]
    pub connection: Connection,
}

/// Does what was asked.
pub async fn run(admin: &Admin<TokioEnv>, args: &LeadersArgs, output: &Output) -> anyhow::Result<ExitCode> {
    if args.elect { elect(admin, args, output).await } else { tell(&View::of(admin).await?, output) }
}

fn tell(view: &View, output: &Output) -> anyhow::Result<ExitCode> {
    let rows: Vec<_> = view
        .loads()
        .into_iter()
        .map(|(id, load)| {
            let away = view.partitions.iter().filter(|partition| partition.is_displaced());
            let away = away.filter(|partition| partition.replicas.first() == Some(&id)).count();
            let value =
                json!({ "broker": id.0, "leads": load.leads, "preferred": load.preferred, "away": away });
            let cells =
                [id.to_string(), load.leads.to_string(), load.preferred.to_string(), away.to_string()];
            (value, cells.to_vec())
        })
        .collect();
    output.table(&["BROKER", "LEADS", "PREFERRED", "LED BY OTHERS"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn elect(admin: &Admin<TokioEnv>, args: &LeadersArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let named = args.partitions.iter().map(|text| parse_partition(text)).collect::<Result<Vec<_>, _>>()?;
    let partitions = if named.is_empty() { None } else { Some(named.as_slice()) };
    let results = Ask::new(admin).elect(partitions, args.unclean).await?;
    let (mut elected, mut failed) = (0, 0);
    let mut rows = Vec::new();
    for ((topic, index), code, message) in results {
        let outcome = match code.0 {
            0 => {
                elected += 1;
                "elected".to_owned()
            }
            NOT_NEEDED => continue,
            _ => {
                failed += 1;
                message.map_or_else(|| code.to_string(), |message| format!("{code}: {message}"))
            }
        };
        let value =
            json!({ "topic": topic, "partition": index, "elected": code.is_ok(), "outcome": outcome });
        rows.push((value, vec![format!("{topic}-{index}"), outcome]));
    }
    if rows.is_empty() {
        output.note("every leader is the right one already");
    } else {
        output.table(&["PARTITION", "OUTCOME"], &rows)?;
        output.note(&format!("{elected} elected, {failed} not"));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}
