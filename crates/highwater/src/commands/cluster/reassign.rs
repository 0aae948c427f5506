//! `highwater cluster reassign` and `decommission`: moves replicas from broker to broker.

use super::ask::{Ask, Ongoing};
use super::plan::{self, Plan};
use super::quorum::QuorumView;
use super::throttle::{self, Throttle};
use super::view::{View, parse_partition};
use crate::cli::{Connection, EXIT_FAILED};
use crate::output::Output;
use anyhow::{Context, bail, ensure};
use clap::Args;
use highwater_client::Admin;
use highwater_env::{Env, sleep};
use highwater_env_tokio::TokioEnv;
use highwater_types::{BrokerId, Instant};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often the cluster is asked how far it is.
const ASK: Duration = Duration::from_millis(500);

/// `highwater cluster reassign`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater cluster reassign orders-0=2,3,4 --wait     the first is the preferred leader
  highwater cluster reassign --file plan.json          {\"version\":1,\"partitions\":[{\"topic\":...}]}, Kafka's format
  highwater cluster reassign orders-0=2,3,4 --throttle 10000000 --wait     at most 10 MB/s from and to any broker
  highwater cluster reassign --status                  what is under way
  highwater cluster reassign --verify                  that, and lift the throttle if nothing is any more
  highwater cluster reassign --cancel                  call all of it off")]
pub struct ReassignArgs {
    /// Moves, PARTITION=BROKERS such as orders-0=2,3,4; with --cancel, the partitions alone.
    moves: Vec<String>,
    /// Take the moves from a file in Kafka's format.
    #[arg(long, conflicts_with = "moves")]
    file: Option<PathBuf>,
    /// Tell the moves that are under way.
    #[arg(long, conflicts_with_all = ["moves", "file", "cancel", "wait"])]
    status: bool,
    /// Tell the moves that are under way, and lift the throttle if none is any more.
    #[arg(long, conflicts_with_all = ["moves", "file", "cancel", "wait", "status"])]
    verify: bool,
    /// How many bytes per second the moves may take from any broker, and bring to any. Lifted at the end by --wait, and
    /// by --verify or --cancel once nothing is under way any more. Replicas in sync are never held back.
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["status", "verify", "cancel"],
          value_parser = clap::value_parser!(i64).range(1..))]
    throttle: Option<i64>,
    /// Call off moves, all of them if none is named.
    #[arg(long, conflicts_with_all = ["file", "wait"])]
    cancel: bool,
    /// Wait until they are done.
    #[arg(long)]
    wait: bool,
    /// How the cluster is reached.
    #[command(flatten)]
    pub connection: Connection,
}

/// `highwater cluster decommission`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  highwater cluster decommission 4

Moves all replicas of the broker to others, waits until they are there and the broker was stopped, and has the cluster
forget it. It can be ended at any moment and started again: it goes on where it was.")]
pub struct DecommissionArgs {
    /// The broker.
    broker: i32,
    /// Tell the moves, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How the cluster is reached.
    #[command(flatten)]
    pub connection: Connection,
}

/// Does what was asked.
pub async fn run(admin: &Admin<TokioEnv>, args: &ReassignArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let ask = Ask::new(admin);
    if args.status || args.verify {
        tell(&ask.ongoing().await?, output)?;
        if args.verify {
            lift(admin, output).await?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.cancel {
        let named = args.moves.iter().map(|text| parse_partition(text)).collect::<Result<Vec<_>, _>>()?;
        let all = ask.ongoing().await?.into_iter().map(|ongoing| ongoing.partition);
        let partitions: Vec<_> = if named.is_empty() { all.collect() } else { named };
        if partitions.is_empty() {
            output.note("nothing is under way");
            lift(admin, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        ask.cancel(&partitions).await?;
        lift(admin, output).await?;
        let count = partitions.len();
        output
            .item(&json!({ "cancelled": count }), &format!("called off the moves of {}", counted(count)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = read_plan(args)?;
    let view = View::of(admin).await?;
    plan::check(&plan, &view)?;
    if let Some(rate) = args.throttle {
        // Before anything moves. What it is for and moves already is held back from here on, too.
        Throttle::of(&plan, &view).set(admin, rate).await?;
        output.note(&format!("at most {rate} bytes per second from and to any broker"));
    }
    ask.reassign(&plan).await?;
    let count = plan.len();
    output.item(&json!({ "started": count }), &format!("started to move {}", counted(count)))?;
    if !args.wait {
        let how = if args.throttle.is_some() {
            "--verify, which lifts the throttle in the end"
        } else {
            "--status"
        };
        output.note(&format!("see how far it is: highwater cluster reassign {how}"));
        return Ok(ExitCode::SUCCESS);
    }
    wait(admin, output, |ongoing| ongoing.iter().filter(|one| plan.contains_key(&one.partition)).count())
        .await?;
    if args.throttle.is_some() {
        lift(admin, output).await?;
    }
    let view = View::of(admin).await?;
    let missed: Vec<String> = plan
        .iter()
        .filter(|((topic, index), replicas)| {
            let found = view.partitions.iter().find(|known| known.topic == *topic && known.index == *index);
            found.is_none_or(|found| found.replicas != **replicas)
        })
        .map(|((topic, index), _)| format!("{topic}-{index}"))
        .collect();
    if !missed.is_empty() {
        bail!("called off by somebody: {}", missed.join(", "));
    }
    output.item(&json!({ "done": count }), &format!("done: {} moved", counted(count)))?;
    Ok(ExitCode::SUCCESS)
}

/// Lifts what was set by --throttle, unless something is still under way.
async fn lift(admin: &Admin<TokioEnv>, output: &Output) -> anyhow::Result<()> {
    if Ask::new(admin).ongoing().await?.is_empty() && throttle::lift(admin, &View::of(admin).await?).await? {
        output.note("the throttle is lifted");
    }
    Ok(())
}

fn counted(count: usize) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") }
}

fn read_plan(args: &ReassignArgs) -> anyhow::Result<Plan> {
    if let Some(file) = &args.file {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        return plan::parse_file(&text).with_context(|| file.display().to_string());
    }
    ensure!(!args.moves.is_empty(), "nothing to do: name moves, or --file, --status or --cancel");
    args.moves.iter().map(|text| plan::parse_move(text)).collect()
}

fn tell(ongoing: &[Ongoing], output: &Output) -> anyhow::Result<()> {
    if ongoing.is_empty() {
        output.note("nothing is under way");
        return Ok(());
    }
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let text = |ids: &[BrokerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<_> = ongoing
        .iter()
        .map(|one| {
            let (topic, index) = &one.partition;
            let value = json!({
                "topic": topic,
                "partition": index,
                "replicas": ids(&one.replicas),
                "adding": ids(&one.adding),
                "removing": ids(&one.removing),
            });
            let cells = [&one.replicas, &one.adding, &one.removing].map(|ids| text(ids));
            (value, std::iter::once(format!("{topic}-{index}")).chain(cells).collect())
        })
        .collect();
    output.table(&["PARTITION", "REPLICAS", "ADDING", "REMOVING"], &rows)
}

/// Waits until none of the moves that `count` counts is under way any more.
async fn wait(
    admin: &Admin<TokioEnv>,
    output: &Output,
    count: impl Fn(&[Ongoing]) -> usize,
) -> anyhow::Result<()> {
    let (ask, clock) = (Ask::new(admin), admin.client().env().clock());
    let mut bar = None;
    let mut last_heard = clock.now();
    loop {
        match ask.ongoing().await {
            Ok(ongoing) => {
                let left = u64::try_from(count(&ongoing)).unwrap_or(u64::MAX);
                let bar = bar.get_or_insert_with(|| output.progress(Some(left), "partitions"));
                bar.set_position(bar.length().unwrap_or(left).saturating_sub(left));
                if left == 0 {
                    bar.finish_and_clear();
                    return Ok(());
                }
                last_heard = clock.now();
            }
            // The controller may be changing: the moves go on without us.
            Err(error) => give_up_after_silence(admin, last_heard, error)?,
        }
        sleep(clock, ASK).await;
    }
}

fn give_up_after_silence(
    admin: &Admin<TokioEnv>,
    last_heard: Instant,
    error: anyhow::Error,
) -> anyhow::Result<()> {
    let client = admin.client();
    let silence = client.env().clock().now().since(last_heard);
    if silence > client.config().operation_timeout { Err(error) } else { Ok(()) }
}

/// Moves all replicas away from a broker, and has the cluster forget it.
pub async fn decommission(
    admin: &Admin<TokioEnv>,
    args: &DecommissionArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let (ask, broker) = (Ask::new(admin), BrokerId(args.broker));
    let view = View::of(admin).await?;
    let holds = view.loads().get(&broker).map_or(0, |load| load.replicas);
    ensure!(holds > 0 || view.brokers.contains_key(&broker), "there is no broker {broker}");
    if let Some(quorum) = QuorumView::of(admin).await?
        && quorum.members.iter().any(|member| member.is_voter && member.id == broker)
    {
        bail!(
            "broker {broker} is a voter: take its vote away first (highwater cluster remove-voter {broker})"
        );
    }
    // Topics that are made meanwhile may get replicas there: until it holds none.
    loop {
        let view = View::of(admin).await?;
        let plan = plan::without(&view, broker)?;
        if args.dry_run {
            return tell_plan(&plan, output).map(|()| ExitCode::SUCCESS);
        }
        if plan.is_empty() {
            break;
        }
        let count = plan.len();
        ask.reassign(&plan).await?;
        output.note(&format!("moving replicas of {} away from broker {broker}", counted(count)));
        wait(admin, output, |ongoing| ongoing.iter().filter(|one| plan.contains_key(&one.partition)).count())
            .await?;
    }
    output.note(&format!("broker {broker} holds no replicas any more"));
    if !await_stop(admin, broker, output).await? {
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    ask.unregister(broker).await?;
    let value = json!({ "broker": broker.0, "decommissioned": true });
    output.item(
        &value,
        &format!("broker {broker} is no part of the cluster any more; its data can be deleted"),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn tell_plan(plan: &Plan, output: &Output) -> anyhow::Result<()> {
    let rows: Vec<_> = plan
        .iter()
        .map(|((topic, index), replicas)| {
            let ids: Vec<i32> = replicas.iter().map(|id| id.0).collect();
            let text: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let value = json!({ "topic": topic, "partition": index, "replicas": ids });
            (value, vec![format!("{topic}-{index}"), text.join(",")])
        })
        .collect();
    output.table(&["PARTITION", "NEW REPLICAS"], &rows)
}

/// Waits until a broker does not run any more: one that does would only register itself again. False if it still does
/// after as long as an operation may take.
async fn await_stop(admin: &Admin<TokioEnv>, broker: BrokerId, output: &Output) -> anyhow::Result<bool> {
    let clock = admin.client().env().clock();
    let deadline = clock.now().after(admin.client().config().operation_timeout);
    let mut told = false;
    loop {
        let view = View::of(admin).await?;
        if view.brokers.get(&broker).is_none_or(|broker| broker.is_fenced) {
            return Ok(true);
        }
        if !told {
            output.note(&format!("stop broker {broker} now (SIGTERM); waiting for it to be gone"));
            told = true;
        }
        if clock.now() >= deadline {
            output.note(&format!("broker {broker} still runs: stop it, and give this command again"));
            return Ok(false);
        }
        sleep(clock, ASK).await;
    }
}
