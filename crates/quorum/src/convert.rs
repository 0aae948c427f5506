//! The library's types as messages and back. What comes back has been checked: the library trusts what it is given.

use crate::frame::FrameError;
use crate::types::{
    Command, Entry, EntryPayload, LeaderId, LogId, Membership, SnapshotMeta, StoredMembership, Vote, log_id,
    next_index,
};
use crate::{Peer, proto};
use bytes::Bytes;
use highwater_types::{DiskId, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// The most nodes that a membership may have.
const MAX_NODES: usize = 10_000;

/// The longest name of a host.
const MAX_HOST_BYTES: usize = 1024;

/// The largest term: a log's leader epochs have 31 bits.
pub(crate) const MAX_TERM: u64 = i32::MAX as u64;

/// The largest index: a log's offsets have 63 bits, and need room behind the last one.
pub(crate) const MAX_INDEX: u64 = i64::MAX as u64 - (1 << 33);

pub(crate) fn vote_to(vote: &Vote) -> proto::Vote {
    let LeaderId { term, voted_for } = vote.leader_id;
    proto::Vote { term, candidate: voted_for, granted: vote.committed }
}

pub(crate) fn vote_from(vote: Option<proto::Vote>) -> Result<Vote, FrameError> {
    let vote = vote.ok_or_else(|| FrameError::field("vote", "it is missing"))?;
    let candidate = vote.candidate.map(node_from).transpose()?;
    if vote.granted && candidate.is_none() {
        return Err(FrameError::field("vote", "it was granted to nobody"));
    }
    let leader_id = LeaderId { term: term_from(vote.term)?, voted_for: candidate };
    Ok(Vote { leader_id, committed: vote.granted })
}

fn term_from(term: u64) -> Result<u64, FrameError> {
    if term > MAX_TERM {
        return Err(FrameError::field("term", format!("{term} is beyond any term")));
    }
    Ok(term)
}

pub(crate) fn node_from(id: u64) -> Result<u64, FrameError> {
    if i32::try_from(id).is_err() {
        return Err(FrameError::field("node", format!("{id} is no node's id")));
    }
    Ok(id)
}

pub(crate) fn id_to(id: &LogId) -> proto::LogId {
    proto::LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn id_from(id: proto::LogId) -> Result<LogId, FrameError> {
    if id.index > MAX_INDEX {
        return Err(FrameError::field("index", format!("{} is beyond any index", id.index)));
    }
    Ok(log_id(term_from(id.term)?, id.index))
}

pub(crate) fn some_id_from(id: Option<proto::LogId>) -> Result<Option<LogId>, FrameError> {
    id.map(id_from).transpose()
}

pub(crate) fn disk_to(disk: DiskId) -> Bytes {
    Bytes::copy_from_slice(&disk.0.0)
}

pub(crate) fn disk_from(bytes: &[u8]) -> Result<DiskId, FrameError> {
    let bytes = bytes.try_into().map_err(|_| FrameError::field("disk", "it does not have 16 bytes"))?;
    Ok(DiskId(Uuid(bytes)))
}

pub(crate) fn membership_to(membership: &Membership) -> proto::Membership {
    let set = |ids: &BTreeSet<u64>| proto::VoterSet { ids: ids.iter().copied().collect() };
    let node = |(&id, peer): (&u64, &Peer)| proto::Node {
        id,
        host: peer.host.clone(),
        port: u32::from(peer.port),
        disk: disk_to(peer.disk),
    };
    proto::Membership {
        voters: membership.get_joint_config().iter().map(set).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

/// A membership; `empty` says whether it may be that of a member that has not heard of any.
pub(crate) fn membership_from(
    membership: Option<proto::Membership>,
    empty: bool,
) -> Result<Membership, FrameError> {
    let membership = membership.ok_or_else(|| FrameError::field("membership", "it is missing"))?;
    if membership.nodes.len() > MAX_NODES {
        return Err(FrameError::field("nodes", format!("there are {}", membership.nodes.len())));
    }
    let mut nodes = BTreeMap::new();
    for node in membership.nodes {
        if node.host.len() > MAX_HOST_BYTES {
            return Err(FrameError::field("host", "it is too long"));
        }
        let port = u16::try_from(node.port).map_err(|_| FrameError::field("port", "it is too large"))?;
        let peer = Peer { host: node.host, port, disk: disk_from(&node.disk)? };
        if nodes.insert(node_from(node.id)?, peer).is_some() {
            return Err(FrameError::field("nodes", format!("{} is there twice", node.id)));
        }
    }
    let sets: Vec<BTreeSet<u64>> =
        membership.voters.into_iter().map(|set| set.ids.into_iter().collect()).collect();
    let bare = sets.is_empty() && nodes.is_empty() && empty;
    if !bare && !(1..=2).contains(&sets.len()) {
        return Err(FrameError::field("voters", format!("there are {} sets of them", sets.len())));
    }
    if sets.iter().any(BTreeSet::is_empty) {
        return Err(FrameError::field("voters", "there are none"));
    }
    if sets.iter().flatten().any(|id| !nodes.contains_key(id)) {
        return Err(FrameError::field("voters", "one of them is no node"));
    }
    Ok(Membership::new(sets, nodes))
}

pub(crate) fn payload_to(payload: &EntryPayload) -> proto::Payload {
    let kind = match payload {
        EntryPayload::Blank => proto::PayloadKind::Blank(proto::Blank {}),
        EntryPayload::Normal(command) => {
            proto::PayloadKind::Command(proto::Command { term: command.term, data: command.data.clone() })
        }
        EntryPayload::Membership(membership) => proto::PayloadKind::Membership(membership_to(membership)),
    };
    proto::Payload { kind: Some(kind) }
}

pub(crate) fn payload_from(payload: proto::Payload) -> Result<EntryPayload, FrameError> {
    match payload.kind {
        None => Err(FrameError::field("payload", "it is of a kind that this program does not know")),
        Some(proto::PayloadKind::Blank(_)) => Ok(EntryPayload::Blank),
        Some(proto::PayloadKind::Command(command)) => {
            let term = term_from(command.term)?;
            Ok(EntryPayload::Normal(Command { term, data: command.data, fate: None }))
        }
        Some(proto::PayloadKind::Membership(membership)) => {
            Ok(EntryPayload::Membership(membership_from(Some(membership), false)?))
        }
    }
}

pub(crate) fn entry_to(entry: &Entry) -> proto::Entry {
    proto::Entry { id: Some(id_to(&entry.log_id)), payload: Some(payload_to(&entry.payload)) }
}

/// The entries that follow another: their indexes without a gap, their terms never falling.
pub(crate) fn entries_from(
    previous: Option<LogId>,
    entries: Vec<proto::Entry>,
) -> Result<Vec<Entry>, FrameError> {
    let mut before = previous;
    entries
        .into_iter()
        .map(|entry| {
            let id = some_id_from(entry.id)?.ok_or_else(|| FrameError::field("entry", "it has no id"))?;
            let payload = entry.payload.ok_or_else(|| FrameError::field("entry", "it is empty"))?;
            if id.index != next_index(before) || before.is_some_and(|before| id.leader_id < before.leader_id)
            {
                return Err(FrameError::field("entry", format!("{id} does not follow")));
            }
            before = Some(id);
            Ok(Entry { log_id: id, payload: payload_from(payload)? })
        })
        .collect()
}

/// The description of a snapshot, and how many pieces it has.
pub(crate) fn meta_to(meta: &SnapshotMeta, pieces: usize) -> proto::SnapshotMeta {
    proto::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(id_to),
        membership_id: meta.last_membership.log_id().as_ref().map(id_to),
        membership: Some(membership_to(meta.last_membership.membership())),
        pieces: u32::try_from(pieces).expect("a snapshot has fewer pieces"),
    }
}

pub(crate) fn meta_from(meta: Option<proto::SnapshotMeta>) -> Result<(SnapshotMeta, u32), FrameError> {
    let meta = meta.ok_or_else(|| FrameError::field("snapshot", "it is not described"))?;
    let last = some_id_from(meta.last)?
        .ok_or_else(|| FrameError::field("snapshot", "it does not say what it covers"))?;
    let membership_id = some_id_from(meta.membership_id)?;
    if membership_id.is_some_and(|id| id > last) {
        return Err(FrameError::field("snapshot", "its members are later than what it covers"));
    }
    let membership = membership_from(meta.membership, membership_id.is_none())?;
    let membership = StoredMembership::new(membership_id, membership);
    Ok((snapshot_meta(last, membership), meta.pieces))
}

/// The library's description of a snapshot.
pub(crate) fn snapshot_meta(last: LogId, membership: StoredMembership) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(last),
        last_membership: membership,
        snapshot_id: format!("{}-{}", last.leader_id.term, last.index),
    }
}
