//! How a command talks to a cluster.

use crate::cli::Connection;
use highwater_client::{Client, ClientConfig, ClientError, TopicMetadata};
use highwater_env_tokio::TokioEnv;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// One worker is enough for a command.
const WORKERS: NonZeroUsize = NonZeroUsize::MIN;

/// Connects, and runs what `command` makes of the connection.
pub fn run<F: Future<Output = anyhow::Result<ExitCode>>>(
    connection: &Connection,
    command: impl FnOnce(Client<TokioEnv>) -> F,
) -> anyhow::Result<ExitCode> {
    let timeout = Duration::from_millis(connection.timeout_ms);
    let config = ClientConfig {
        client_id: "highwater-cli".to_owned(),
        request_timeout: timeout,
        connect_timeout: timeout.min(Duration::from_secs(10)),
        operation_timeout: timeout,
        ..ClientConfig::new(connection.bootstrap.iter().cloned())
    };
    highwater_env_tokio::run(Some(WORKERS), |env| async move {
        let client = Client::connect(env, config).await?;
        command(client).await
    })?
}

/// Whether a command that goes on by itself is asked to end: by Ctrl-C, or by whoever started it.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Waits for it from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Comes back when it is asked to end.
    pub async fn asked(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What is known of a topic. A topic that is not there is an error at once: whoever mistyped its name need not wait for
/// it to be made.
pub async fn topic(client: &Client<TokioEnv>, name: &str) -> Result<TopicMetadata, ClientError> {
    let refused = client.refresh(&[name], false).await?;
    // UNKNOWN_TOPIC_OR_PARTITION; other refusals may pass.
    if let Some(&code) = refused.get(name)
        && code.0 == 3
    {
        let message = Some("there is no such topic".to_owned());
        return Err(ClientError::Refused { what: format!("topic {name}"), code, message });
    }
    client.topic(name, false).await
}

/// Whether the broker refused because the topic is there already.
pub fn is_existing_topic(error: &ClientError) -> bool {
    // TOPIC_ALREADY_EXISTS.
    error.code().is_some_and(|code| code.0 == 36)
}
