//! The voters of the metadata quorum: told, added, taken away.

use super::ask::Ask;
use crate::output::Output;
use anyhow::{Context, bail};
use highwater_client::Admin;
use highwater_env_tokio::TokioEnv;
use highwater_types::{BrokerId, Uuid};
use highwater_wire::messages::QuorumReplica;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The quorum as its leader knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumView {
    /// The active controller.
    pub leader: BrokerId,
    /// Its term.
    pub term: i32,
    /// The index up to which changes are decided.
    pub committed: i64,
    /// Voters, then those that only follow.
    pub members: Vec<Member>,
    /// Where the internal ports are, of those that the answer tells of.
    addresses: BTreeMap<BrokerId, (String, u16)>,
}

/// A node that has the quorum's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub id: BrokerId,
    /// Its disk.
    pub disk: Uuid,
    /// Whether it votes.
    pub is_voter: bool,
    /// How many entries it is behind the leader; None if the leader could not be asked, or does not know.
    pub lag: Option<i64>,
}

impl QuorumView {
    /// Asks; None if the broker cannot tell.
    pub async fn of(admin: &Admin<TokioEnv>) -> anyhow::Result<Option<Self>> {
        let Some((log, answer)) = Ask::new(admin).quorum().await? else { return Ok(None) };
        let mut all = log.current_voters.iter().chain(&log.observers);
        let leader = all.find(|member| member.replica_id == log.leader_id);
        let end = leader.map(|leader| leader.log_end_offset.0).filter(|end| *end >= 0);
        let member = |state: &QuorumReplica, is_voter| Member {
            id: state.replica_id,
            disk: state.replica_directory_id,
            is_voter,
            lag: end.filter(|_| state.log_end_offset.0 >= 0).map(|end| end - state.log_end_offset.0),
        };
        let voters = log.current_voters.iter().map(|state| member(state, true));
        let observers = log.observers.iter().map(|state| member(state, false));
        let addresses = answer.nodes.iter().filter_map(|node| {
            let listener = node.listeners.first()?;
            Some((node.node_id, (listener.host.to_string(), listener.port)))
        });
        Ok(Some(Self {
            leader: log.leader_id,
            term: log.leader_epoch.0,
            committed: log.high_watermark.0,
            members: voters.chain(observers).collect(),
            addresses: addresses.collect(),
        }))
    }

    /// A member's row.
    fn row(&self, member: &Member) -> (Value, Vec<String>) {
        let role = match member.is_voter {
            true if member.id == self.leader => "leader",
            true => "voter",
            false => "observer",
        };
        let value = json!({
            "node": member.id.0,
            "role": role,
            "disk": member.disk.to_string(),
            "lag": member.lag,
        });
        let lag = member.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        (value, vec![member.id.to_string(), role.to_owned(), lag, member.disk.to_string()])
    }

    /// All of it, for machines.
    pub fn json(&self) -> Value {
        let members: Vec<Value> = self.members.iter().map(|member| self.row(member).0).collect();
        json!({ "leader": self.leader.0, "term": self.term, "committed": self.committed, "members": members })
    }

    /// Prints it for people.
    pub fn print(&self, output: &Output) -> anyhow::Result<()> {
        let Self { leader, term, committed, .. } = self;
        output.item(&(), &format!("\nquorum: leader {leader}, term {term}, decided up to {committed}"))?;
        let rows: Vec<_> = self.members.iter().map(|member| self.row(member)).collect();
        output.table(&["NODE", "ROLE", "BEHIND", "DISK"], &rows)
    }

    fn member(&self, id: BrokerId) -> anyhow::Result<&Member> {
        self.members.iter().find(|member| member.id == id).with_context(|| {
            let known: Vec<String> = self.members.iter().map(|member| member.id.to_string()).collect();
            format!("node {id} does not follow the quorum; {} do: is it running?", known.join(", "))
        })
    }
}

/// Makes a node that follows the quorum a voter of it.
pub async fn add(admin: &Admin<TokioEnv>, id: BrokerId, output: &Output) -> anyhow::Result<()> {
    let view = needed(admin).await?;
    let member = view.member(id)?;
    if member.is_voter {
        bail!("node {id} is a voter already");
    }
    admin.add_voter(id, member.disk).await?;
    let (host, port) = view.addresses.get(&id).cloned().unwrap_or_default();
    let value = json!({ "node": id.0, "voter": true });
    output.item(
        &value,
        &format!("node {id} is a voter; add {id}@{host}:{port} to voters in the files of all nodes"),
    )
}

/// Takes a voter's vote away.
pub async fn remove(admin: &Admin<TokioEnv>, id: BrokerId, output: &Output) -> anyhow::Result<()> {
    let view = needed(admin).await?;
    let member = view.member(id)?;
    if !member.is_voter {
        bail!("node {id} is no voter");
    }
    admin.remove_voter(id, member.disk).await?;
    let value = json!({ "node": id.0, "voter": false });
    output.item(
        &value,
        &format!("node {id} is no voter any more; take it out of voters in the files of all nodes"),
    )
}

async fn needed(admin: &Admin<TokioEnv>) -> anyhow::Result<QuorumView> {
    QuorumView::of(admin).await?.context("the broker does not tell of a quorum")
}
