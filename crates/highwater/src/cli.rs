//! The command line: what is asked for, and the exit codes.

use crate::commands;
use crate::config::LogFormat;
use crate::output::{Output, Style};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes: 0 done, 1 failed, 2 wrong usage (clap's), 3 damage found by `log inspect` or `log verify`.
pub const EXIT_FAILED: u8 = 1;
/// `log inspect` or `log verify` found bytes that do not check out.
pub const EXIT_DAMAGED: u8 = 3;

/// A Kafka-compatible commit log that never loses an acknowledged record.
#[derive(Debug, Parser)]
#[command(
    name = "highwater",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  highwater dev                                    a broker on 127.0.0.1:9092 to try things with
  highwater dev --brokers 3 --data-dir three       a cluster of three
  highwater topic create orders --partitions 6     make a topic
  echo 'k1:hello' | highwater produce orders --key-separator :
  highwater consume orders --from-beginning        read it, and wait for more
  highwater serve --config node.toml               run a node for real"
)]
pub struct Cli {
    /// Print JSON, one object a line, instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker, or a cluster of them, to try things with on this machine alone.
    Dev(DevArgs),
    /// Run a node from a configuration file.
    Serve(ServeArgs),
    /// Check a configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topic(commands::topic::TopicCommand),
    /// List, describe, reset and delete consumer groups, and tell how far behind they are.
    #[command(subcommand)]
    Group(commands::group::GroupCommand),
    /// Look after a cluster.
    #[command(subcommand)]
    Cluster(commands::cluster::ClusterCommand),
    /// Send lines of standard input to a topic.
    Produce(commands::produce::ProduceArgs),
    /// Print the records of a topic.
    Consume(commands::consume::ConsumeArgs),
    /// Look into a data directory.
    #[command(subcommand)]
    Log(commands::log::LogCommand),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  highwater completions bash > /etc/bash_completion.d/highwater")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How a running cluster is reached.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Brokers to ask first: host:port, separated by commas.
    #[arg(long, short, default_value = crate::DEFAULT_LISTEN, env = "HIGHWATER_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// How long one request may take, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    pub timeout_ms: u64,
}

/// `highwater dev`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  highwater dev
  highwater dev --data-dir /tmp/hw --listen 127.0.0.1:19092
  highwater dev --brokers 3 --data-dir /tmp/hw3      a cluster; type help to see how its nodes can crash

What was acknowledged is on disk: the broker can be killed at any moment and started again on the same directory.")]
pub struct DevArgs {
    /// How many brokers, each a node of one cluster, with the ports that follow --listen's.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub brokers: u8,
    /// Where the data lies; made if missing.
    #[arg(long, default_value = "highwater-data")]
    pub data_dir: PathBuf,
    /// Where Kafka clients connect.
    #[arg(long, default_value = crate::DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// Where /metrics and /healthz are served; port 0 takes a free one.
    #[arg(long, default_value = crate::DEFAULT_ADMIN)]
    pub admin: SocketAddr,
    /// What is logged.
    #[arg(long, default_value = "warn", env = "HIGHWATER_LOG")]
    pub log_level: String,
    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// `highwater serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  highwater serve --config node.toml

A whole node.toml:
  node_id = 1
  data_dir = \"/var/lib/highwater\"
  [listener]
  listen = \"0.0.0.0:9092\"
  advertised = \"broker-1.example.org:9092\"
  [kafka]
  num.partitions = 3

A node of a cluster has these as well, the same on all nodes (cluster_id: highwater cluster new-id):
  cluster_id = \"MkU3OEVBNTcwNTJENDM2Qg\"
  voters = [\"1@broker-1.example.org:9093\", \"2@broker-2.example.org:9093\", \"3@broker-3.example.org:9093\"]")]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
}

/// `highwater config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read a configuration file and say what is wrong with it.
    #[command(after_help = "Example:\n  highwater config check node.toml")]
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// List Kafka's broker configurations that [kafka] may hold.
    List,
}

/// Does what was asked, and says how it went.
pub fn run(cli: Cli) -> ExitCode {
    let output = Output::new(if cli.json { Style::Json } else { Style::Text });
    let done = match cli.command {
        Command::Dev(args) => commands::dev::run(&args, &output),
        Command::Serve(args) => commands::serve::run(&args, &output),
        Command::Config(command) => commands::config::run(&command, &output),
        Command::Topic(command) => commands::topic::run(&command, &output),
        Command::Group(command) => commands::group::run(&command, &output),
        Command::Cluster(command) => commands::cluster::run(&command, &output),
        Command::Produce(args) => commands::produce::run(&args, &output),
        Command::Consume(args) => commands::consume::run(&args, &output),
        Command::Log(command) => commands::log::run(&command, &output),
        Command::Completions { shell } => commands::completions(shell),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Whoever read our output has gone (`highwater consume t | head`): no failure of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
