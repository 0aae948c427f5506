//! A cluster in one process, each node on a runtime of its own: to try things with, crashes among them.

mod console;
mod layout;
mod metrics;
mod node;

pub use layout::{check_alone, configs};

use crate::admin::{self, Health};
use crate::output::Output;
use anyhow::Context;
use console::Typed;
use highwater_broker::BrokerConfig;
use highwater_env::Env;
use highwater_env_tokio::TokioEnv;
use highwater_types::BrokerId;
use node::{LocalNode, State, Told};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How often people are told what is waited for.
const WORD: Duration = Duration::from_secs(5);

/// The nodes, as the admin port and the console see them.
struct LocalCluster {
    nodes: Vec<LocalNode>,
}

/// Runs a cluster until it is told to stop by SIGTERM, SIGINT or its console; a second signal stops it at once, which
/// loses nothing that was acknowledged. `ready` is told the Kafka addresses and the admin address.
pub fn run(
    configs: Vec<BrokerConfig>,
    admin: SocketAddr,
    output: &Output,
    ready: impl FnOnce(&[SocketAddr], SocketAddr, &Output) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let ended = highwater_env_tokio::run(Some(NonZeroUsize::MIN), |env| async move {
        let (told, events) = mpsc::unbounded_channel();
        let nodes = configs.into_iter().map(|config| LocalNode::new(config, told.clone())).collect();
        let cluster = Arc::new(LocalCluster { nodes });
        let (admin, _served) = admin::serve(&env, admin, Arc::clone(&cluster)).await?;
        let mut desk = Desk { env, cluster, output };
        let done = desk.attend(events, |output, cluster| ready(&cluster.kafka(), admin, output)).await;
        match desk.cluster.nodes.iter().all(|node| node.state() == State::Down) {
            true => done,
            false => desk.stop_all().await.and(done),
        }
    })?;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Where what is typed, and what the nodes tell, is attended to.
struct Desk<'a> {
    env: TokioEnv,
    cluster: Arc<LocalCluster>,
    output: &'a Output,
}

impl Desk<'_> {
    /// Starts all nodes, and does what is typed until the end is asked for.
    async fn attend(
        &mut self,
        mut events: mpsc::UnboundedReceiver<Told>,
        ready: impl FnOnce(&Output, &LocalCluster) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for node in &self.cluster.nodes {
            node.start(&self.env).await.with_context(|| format!("node {}", node.config().node_id))?;
        }
        let mut lines = highwater_env_tokio::input_lines()?;
        let (mut ready, mut typing) = (Some(ready), true);
        let mut starting: BTreeSet<BrokerId> =
            self.cluster.nodes.iter().map(|node| node.config().node_id).collect();
        let mut next_word = self.env.clock().now().after(WORD);
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                Some(told) = events.recv() => match told {
                    Told::Failed(id, error) if ready.is_some() => {
                        return Err(error).with_context(|| format!("node {id}"));
                    }
                    Told::Failed(id, error) => self.say(id, "failed", &format!("node {id} failed: {error}"))?,
                    Told::Ready(id) if ready.is_none() => self.say(id, "ready", &format!("node {id} is ready"))?,
                    Told::Ready(id) => {
                        starting.remove(&id);
                        if starting.is_empty() && let Some(ready) = ready.take() {
                            ready(self.output, &self.cluster)?;
                        }
                    }
                },
                line = lines.recv(), if typing => match line {
                    Some(line) if self.typed(&line).await? => return Ok(()),
                    Some(_) => {}
                    None => typing = false,
                },
                () = self.env.clock().sleep_until(next_word) => {
                    next_word = self.env.clock().now().after(WORD);
                    self.say_what_is_waited_for();
                }
            }
        }
    }

    /// Does what was typed. Returns whether the end was asked for.
    async fn typed(&self, line: &str) -> anyhow::Result<bool> {
        let nodes = &self.cluster.nodes;
        let typed = match console::parse(line, 1..=nodes.len()) {
            Ok(typed) => typed,
            Err(problem) => {
                self.output.note(&problem);
                return Ok(false);
            }
        };
        let (number, event, done) = match typed {
            Typed::Kill(number) => (number, "killed", nodes[number - 1].kill(&self.env).await),
            Typed::Stop(number) => {
                self.output.note(&format!("node {number} is stopping"));
                (number, "stopped", nodes[number - 1].stop(&self.env).await)
            }
            Typed::Start(number) => (number, "started", nodes[number - 1].start(&self.env).await),
            Typed::Status => return self.status().map(|()| false),
            Typed::Help => {
                return self.output.item(&json!({ "help": console::HELP }), console::HELP).map(|()| false);
            }
            Typed::Quit => return Ok(true),
            Typed::Nothing => return Ok(false),
        };
        match done {
            Ok(()) => {
                self.say(nodes[number - 1].config().node_id, event, &format!("node {number} was {event}"))?
            }
            Err(error) => self.output.error(&error),
        }
        Ok(false)
    }

    fn status(&self) -> anyhow::Result<()> {
        let rows: Vec<_> = self.cluster.nodes.iter().map(row).collect();
        self.output.table(&["NODE", "STATE", "KAFKA", "VOTER", "RACK", "DATA"], &rows)
    }

    fn say(&self, node: BrokerId, event: &str, text: &str) -> anyhow::Result<()> {
        self.output.item(&json!({ "node": node.0, "event": event }), text)
    }

    fn say_what_is_waited_for(&self) {
        let of = |state| -> Vec<String> {
            let nodes = self.cluster.nodes.iter().filter(|node| node.state() == state);
            nodes.map(|node| node.config().node_id.to_string()).collect()
        };
        let (waiting, down) = (of(State::Waiting), of(State::Down));
        if !waiting.is_empty() {
            let down = if down.is_empty() { "none".to_owned() } else { down.join(", ") };
            let waiting = waiting.join(", ");
            self.output
                .note(&format!("waiting for the cluster: nodes {waiting} (nodes that are down: {down})"));
        }
    }

    /// Stops all that run, at the same time: the last ones find no majority any more, and need none.
    async fn stop_all(&self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        self.output.note("stopping: finishing what is under way");
        let (sender, mut outcomes) = mpsc::unbounded_channel();
        for place in 0..self.cluster.nodes.len() {
            let (sender, env, cluster) = (sender.clone(), self.env.clone(), Arc::clone(&self.cluster));
            let stop = async move {
                let node = &cluster.nodes[place];
                if node.state() != State::Down {
                    let stopped = node.stop(&env).await;
                    let _ = sender.send(stopped.with_context(|| format!("node {}", node.config().node_id)));
                }
            };
            self.env.spawn("stop", stop).detach();
        }
        drop(sender);
        let mut worst = Ok(());
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
                _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
                outcome = outcomes.recv() => match outcome {
                    Some(outcome) => worst = worst.and(outcome),
                    None => return worst,
                }
            }
        }
    }
}

fn row(node: &LocalNode) -> (serde_json::Value, Vec<String>) {
    let config = node.config();
    let kafka: Vec<String> = config.listeners.iter().map(|listener| listener.listen.to_string()).collect();
    let (state, rack) = (node.state().word(), config.rack.clone().unwrap_or_default());
    let value = json!({
        "node": config.node_id.0,
        "state": state,
        "kafka": kafka,
        "voter": config.is_voter(),
        "rack": rack,
        "data_dir": config.data_dir,
    });
    let voter = if config.is_voter() { "yes" } else { "no" };
    let data = config.data_dir.display().to_string();
    (value, vec![config.node_id.to_string(), state.to_owned(), kafka.join(","), voter.to_owned(), rack, data])
}

impl LocalCluster {
    fn kafka(&self) -> Vec<SocketAddr> {
        let listeners = self.nodes.iter().flat_map(|node| &node.config().listeners);
        listeners.map(|listener| listener.listen).collect()
    }
}

impl Health for LocalCluster {
    fn metrics(&self) -> String {
        let texts: Vec<(i32, String)> = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.config().node_id.0, node.look(|node| node.render_metrics())?)))
            .collect();
        metrics::merged(texts.iter().map(|(node, text)| (*node, text.as_str())))
    }

    fn failure(&self) -> Option<String> {
        let failures = self.nodes.iter().filter_map(|node| {
            let id = node.config().node_id;
            match node.state() {
                State::Down => Some(format!("node {id} is down")),
                State::Waiting => Some(format!("node {id} waits for the cluster")),
                State::Ready => match node.look(|node| node.metrics().logs_failed.get())? {
                    0 => None,
                    count => {
                        Some(format!("node {id}: {count} logs are offline after a failed write or sync"))
                    }
                },
            }
        });
        let failures: Vec<String> = failures.collect();
        if failures.is_empty() { None } else { Some(failures.join("\n")) }
    }
}
