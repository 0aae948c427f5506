use super::*;
use crate::Peer;
use crate::convert::{MAX_TERM, snapshot_meta};
use crate::types::{Command, Entry, EntryPayload, Membership, StoredMembership, log_id};
use highwater_types::Uuid;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn membership() -> Membership {
    let peer = |number: u8| Peer { host: format!("h{number}"), port: 9093, disk: DiskId(Uuid([number; 16])) };
    let nodes: BTreeMap<u64, Peer> = (1..=4_u8).map(|number| (number.into(), peer(number))).collect();
    Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes)
}

fn entry(term: u64, index: u64, payload: EntryPayload) -> Entry {
    Entry { log_id: log_id(term, index), payload }
}

fn append(previous: Option<(u64, u64)>, entries: Vec<Entry>) -> Request {
    let call = AppendEntriesRequest {
        vote: Vote::new_committed(3, 1),
        prev_log_id: previous.map(|(term, index)| log_id(term, index)),
        entries,
        leader_commit: Some(log_id(2, 1)),
    };
    Request { from: 1, to: 2, to_disk: DiskId(Uuid([2; 16])), call: Call::Append(call) }
}

fn entries() -> Vec<Entry> {
    let command = Command { term: 2, data: Bytes::from_static(b"orders"), fate: None };
    vec![
        entry(2, 6, EntryPayload::Blank),
        entry(2, 7, EntryPayload::Normal(command)),
        entry(3, 8, EntryPayload::Membership(membership())),
    ]
}

#[test]
fn calls_come_back_as_they_were() {
    let request = append(Some((2, 5)), entries());
    let back = Request::decode(request.encode()).unwrap();
    assert_eq!((back.from, back.to, back.to_disk), (1, 2, DiskId(Uuid([2; 16]))));
    let Call::Append(call) = back.call else { panic!("another call") };
    assert_eq!(call.vote, Vote::new_committed(3, 1));
    assert_eq!(call.prev_log_id, Some(log_id(2, 5)));
    assert_eq!(call.leader_commit, Some(log_id(2, 1)));
    assert!(call.entries == entries());

    let meta = snapshot_meta(log_id(2, 9), StoredMembership::new(Some(log_id(1, 0)), membership()));
    let chunk = Chunk {
        vote: Vote::new_committed(3, 1),
        meta: meta.clone(),
        pieces: 2,
        number: 1,
        piece: Bytes::from_static(b"x"),
    };
    let request = Request { call: Call::Snapshot(Box::new(chunk)), ..append(None, Vec::new()) };
    let Call::Snapshot(chunk) = Request::decode(request.encode()).unwrap().call else {
        panic!("another call")
    };
    assert_eq!((chunk.meta, chunk.pieces, chunk.number), (meta, 2, 1));
}

fn check_refused(request: &Request, field: &str) {
    let Err(FrameError::Field { field: found, .. }) = Request::decode(request.encode()) else {
        panic!("{field} was accepted")
    };
    assert_eq!(found, field);
}

#[test]
fn what_the_library_could_not_bear_is_refused() {
    check_refused(&append(Some((2, 4)), entries()), "entry");
    check_refused(&append(None, entries()), "entry");
    check_refused(&append(Some((3, 5)), entries()), "entry");
    check_refused(&append(Some((MAX_TERM + 1, 5)), Vec::new()), "term");
    check_refused(&append(Some((2, u64::MAX)), Vec::new()), "index");
    let mut request = append(None, Vec::new());
    let Call::Append(call) = &mut request.call else { panic!("another call") };
    call.vote.committed = false;
    check_refused(&request, "vote");
    let nobody = Membership::new(Vec::new(), BTreeMap::from([(1, Peer::default())]));
    check_refused(&append(Some((2, 5)), vec![entry(2, 6, EntryPayload::Membership(nobody))]), "voters");
}

#[test]
fn answers_come_back_as_they_were() {
    let vote = Vote::new(4, 2);
    let reply = Reply::Append(AppendEntriesResponse::HigherVote(vote));
    let back = Reply::decode(reply.encode()).unwrap();
    assert!(matches!(back, Reply::Append(AppendEntriesResponse::HigherVote(found)) if found == vote));
    let reply = Reply::Vote(VoteResponse { vote, vote_granted: true, last_log_id: Some(log_id(1, 1)) });
    let back = Reply::decode(reply.encode()).unwrap();
    assert!(matches!(back, Reply::Vote(answer) if answer.vote_granted && answer.vote == vote));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&[frame::FRAME_VERSION][..], &crc32fast::hash(&bytes).to_be_bytes(), &bytes].concat();
        for input in [bytes, framed] {
            let _ = Request::decode(input.clone().into());
            let _ = Reply::decode(input.clone().into());
            let _ = crate::payload::decode(input.clone().into());
            let _ = crate::snapshot_file::decode(input.into());
        }
    }
}
