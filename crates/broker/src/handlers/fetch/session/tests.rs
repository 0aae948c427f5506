use super::*;
use highwater_types::{LeaderEpoch, PartitionIndex, TopicId, Uuid};
use highwater_wire::messages::{FetchPartition, FetchTopic, ForgottenTopic};

fn sessions() -> Sessions {
    Sessions::new(Rng::from_stream(1, 1))
}

fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
    let part = |&(index, offset): &(i32, i64)| FetchPartition {
        partition: PartitionIndex(index),
        fetch_offset: Offset(offset),
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic_id: TopicId(Uuid([1; 16])),
        partitions: partitions.iter().map(part).collect(),
        ..FetchTopic::default()
    };
    FetchRequest { session_id, session_epoch, topics: vec![topic], ..FetchRequest::default() }
}

/// Begins a session with that many partitions; its id.
fn begin(sessions: &Sessions, partitions: i32, privileged: bool, now: Instant) -> i32 {
    let all: Vec<_> = (0..partitions).map(|index| (index, 0)).collect();
    let data = PartitionData::default();
    let request = request(0, INITIAL, &all);
    let parts = super::super::wanted::of(&request, true).map(|wanted| (wanted, &data));
    sessions.begin(parts, true, privileged, now)
}

fn indexes(session: &Mutex<Session>) -> Vec<i32> {
    lock(session).wanted().iter().map(|wanted| wanted.key.index.0).collect()
}

#[test]
fn a_session_keeps_what_is_wanted() {
    let sessions = sessions();
    let id = begin(&sessions, 3, false, Instant(0));
    let mut second = request(id, 1, &[(1, 7), (5, 2)]);
    second.forgotten_topics_data = vec![ForgottenTopic {
        topic_id: TopicId(Uuid([1; 16])),
        partitions: vec![PartitionIndex(0)],
        ..ForgottenTopic::default()
    }];
    let Ok(Mode::Incremental(session)) = sessions.open(&second, true, Instant(1)) else { panic!() };
    assert_eq!(indexes(&session), [1, 2, 5]);
    assert_eq!(lock(&session).wanted()[0].offset, Offset(7));
    // Who had records is last the next time.
    let key = lock(&session).wanted()[1].key.clone();
    assert!(lock(&session).tells(&key, &PartitionData::default(), true));
    assert_eq!(indexes(&session), [5, 1, 2]);
    let stale = sessions.open(&request(id, 1, &[]), true, Instant(2));
    assert!(matches!(stale, Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH)));
    let named = sessions.open(&request(id, 2, &[]), false, Instant(2));
    assert!(matches!(named, Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR)));
    assert!(matches!(sessions.open(&request(id, FINAL, &[]), true, Instant(3)), Ok(Mode::Full)));
    let gone = sessions.open(&request(id, 2, &[]), true, Instant(4));
    assert!(matches!(gone, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)));
}

#[test]
fn what_has_changed_is_told_once_and_errors_always() {
    let sessions = sessions();
    let id = begin(&sessions, 1, false, Instant(0));
    let Ok(Mode::Incremental(session)) = sessions.open(&request(id, 1, &[]), true, Instant(1)) else {
        panic!()
    };
    let mut session = lock(&session);
    let key = session.wanted()[0].key.clone();
    let mut data = PartitionData::default();
    assert!(!session.tells(&key, &data, false));
    data.high_watermark = Offset(3);
    assert!(session.tells(&key, &data, false) && !session.tells(&key, &data, false));
    data.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
    assert!(session.tells(&key, &data, false) && session.tells(&key, &data, false));
    data.error_code = ErrorCode::NONE;
    assert!(session.tells(&key, &data, false) && !session.tells(&key, &data, false));
}

#[test]
fn who_has_heard_of_another_epoch_is_told_everything() {
    let sessions = sessions();
    let id = begin(&sessions, 1, true, Instant(0));
    let mut second = request(id, 1, &[(0, 0)]);
    second.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(4);
    let Ok(Mode::Incremental(session)) = sessions.open(&second, true, Instant(1)) else { panic!() };
    let mut session = lock(&session);
    let (key, data) = (session.wanted()[0].key.clone(), PartitionData::default());
    assert!(session.tells(&key, &data, false) && !session.tells(&key, &data, false));
}

#[test]
fn places_are_given_to_those_that_use_them() {
    let sessions = sessions();
    let late = Instant(0).after(SAFE * 2);
    let ids: Vec<i32> = (0..SLOTS).map(|_| begin(&sessions, 2, false, Instant(0))).collect();
    assert!(ids.iter().all(|&id| id != 0));
    assert_eq!(begin(&sessions, 9, true, Instant(1)), 0, "all are safe");
    for &id in &ids[1..] {
        assert!(sessions.open(&request(id, 1, &[]), true, late).is_ok());
    }
    // The one that was not used goes first; then those that are smaller.
    assert_ne!(begin(&sessions, 1, false, late), 0);
    let gone = sessions.open(&request(ids[0], 1, &[]), true, late);
    assert!(matches!(gone, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)));
    assert_eq!(begin(&sessions, 2, false, late), 0, "none is smaller");
    assert_ne!(begin(&sessions, 3, false, late), 0);
    assert_ne!(begin(&sessions, 1, true, late), 0, "a follower comes before consumers");
}
