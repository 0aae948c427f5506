//! How a client reaches a cluster.

use std::time::Duration;

/// How a client reaches a cluster. Names and defaults are those of Kafka's clients where they have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Brokers to ask first: `host:port` each.
    pub bootstrap: Vec<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// How long an answer may take before the connection is given up.
    pub request_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an operation may take with all its retries.
    pub operation_timeout: Duration,
    /// The age at which metadata is asked for anew.
    pub metadata_max_age: Duration,
    /// The first wait before a retry; it doubles with each, up to `retry_backoff_max`.
    pub retry_backoff: Duration,
    /// The longest wait before a retry.
    pub retry_backoff_max: Duration,
    /// The largest answer that is taken, in bytes.
    pub max_response_bytes: usize,
    /// Requests that may be on their way on one connection.
    pub max_queued_requests: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap: vec!["127.0.0.1:9092".to_owned()],
            client_id: "highwater".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(60),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            max_response_bytes: 128 << 20,
            max_queued_requests: 64,
        }
    }
}

impl ClientConfig {
    /// The defaults, with these brokers to ask first.
    pub fn new(bootstrap: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { bootstrap: bootstrap.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}
