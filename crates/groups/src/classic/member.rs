//! A member of a classic group.

use crate::timers::TimerKey;
use crate::{Client, Token};
use bytes::Bytes;
use highwater_types::Instant;
use highwater_wire::Str;
use highwater_wire::messages::{JoinGroupRequest, JoinGroupRequestProtocol};
use std::time::Duration;

/// A member. What it says is copied: it does not keep requests in memory.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: Str,
    /// The name that a static member keeps over restarts.
    pub(crate) instance: Option<Str>,
    pub(crate) client_id: Str,
    pub(crate) client_host: Str,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// The protocols that it knows, the preferred one first, and what it has to say in each.
    pub(crate) protocols: Vec<(Str, Bytes)>,
    pub(crate) assignment: Bytes,
    /// It waits for the next generation.
    pub(super) join: Option<Waiting>,
    /// It waits for its assignment.
    pub(super) sync: Option<Token>,
    /// Whether it never was in a generation: it may wait longer for the first than a session is long.
    pub(super) is_new: bool,
    /// When it is taken for dead, unless it waits for something. The timer may be older, and looks again.
    pub(super) deadline: Instant,
    pub(super) timer: Option<TimerKey>,
}

/// A request to join that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) version: i16,
}

impl Member {
    pub(super) fn new(id: Str, client: &Client<'_>, request: &JoinGroupRequest) -> Self {
        Self {
            id,
            instance: request.group_instance_id.as_deref().map(Str::from),
            client_id: Str::from(client.id),
            client_host: Str::from(client.host),
            session_timeout: session_timeout(request),
            rebalance_timeout: rebalance_timeout(request),
            protocols: protocols(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
            deadline: Instant::default(),
            timer: None,
        }
    }

    /// Takes what it says of itself when it joins again.
    pub(super) fn update(&mut self, client: &Client<'_>, request: &JoinGroupRequest) {
        (self.client_id, self.client_host) = (Str::from(client.id), Str::from(client.host));
        self.session_timeout = session_timeout(request);
        self.rebalance_timeout = rebalance_timeout(request);
        self.protocols = protocols(&request.protocols);
    }

    /// Whether it says the same as it did.
    pub(super) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|((name, metadata), other)| *name == other.name && *metadata == other.metadata)
    }

    /// What it has to say in a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

fn session_timeout(request: &JoinGroupRequest) -> Duration {
    millis(request.session_timeout_ms)
}

fn rebalance_timeout(request: &JoinGroupRequest) -> Duration {
    // The first version has one timeout for both.
    let own = Some(request.rebalance_timeout_ms).filter(|timeout| *timeout >= 0);
    millis(own.unwrap_or(request.session_timeout_ms))
}

fn protocols(protocols: &[JoinGroupRequestProtocol]) -> Vec<(Str, Bytes)> {
    let copied = |protocol: &JoinGroupRequestProtocol| {
        (Str::from(&*protocol.name), Bytes::copy_from_slice(&protocol.metadata))
    };
    protocols.iter().map(copied).collect()
}
