//! A follower's side of a fetch session (KIP-227): only what changed is asked for again.

use super::requests;
use crate::partition::Followed;
use highwater_types::LogId;
use highwater_wire::messages::{FetchRequest, ForgottenTopic};
use std::collections::{BTreeMap, BTreeSet};

/// A follower's side of a fetch session.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// Of the next request; 0 begins a session anew, in the place of the one with this id.
    epoch: i32,
    /// What the other side knows that is wanted.
    known: BTreeMap<LogId, Followed>,
}

impl Session {
    /// Puts into a request what the other side does not know yet of what is wanted, which is all that is wanted now.
    pub(super) fn fill(
        &mut self,
        request: &mut FetchRequest,
        wanted: impl Iterator<Item = (LogId, Followed)> + Clone,
        max_bytes: i32,
    ) {
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        if self.epoch == 0 {
            self.known.clear();
        }
        let mut count = 0;
        for (log, followed) in wanted.clone() {
            count += 1;
            let told = |it: Followed| (it.position, it.log_start, it.synced);
            let known = self.known.insert(log, followed);
            if known.is_none_or(|known| told(known) != told(followed)) {
                requests::add(request, log, &followed, max_bytes);
            }
        }
        if self.known.len() == count {
            return;
        }
        let wanted: BTreeSet<LogId> = wanted.map(|(log, _)| log).collect();
        let unwanted: Vec<LogId> = self.known.keys().filter(|log| !wanted.contains(log)).copied().collect();
        for log in unwanted {
            self.known.remove(&log);
            match request.forgotten_topics_data.last_mut() {
                Some(topic) if topic.topic_id == log.topic => topic.partitions.push(log.partition),
                _ => request.forgotten_topics_data.push(ForgottenTopic {
                    topic_id: log.topic,
                    partitions: vec![log.partition],
                    ..ForgottenTopic::default()
                }),
            }
        }
    }

    /// The request was answered, in the session of this id.
    pub(super) fn answered(&mut self, id: i32) {
        if id == 0 {
            // There is no place for one.
            *self = Self::default();
        } else {
            // After the largest number comes 1: the others have a meaning of their own.
            (self.id, self.epoch) = (id, self.epoch.checked_add(1).unwrap_or(1));
        }
    }

    /// Nobody knows what the other side knows.
    pub(super) fn begin_anew(&mut self) {
        self.epoch = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_replication::FetchPosition;
    use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId, Uuid};

    fn log(index: i32) -> LogId {
        LogId { topic: TopicId(Uuid([1; 16])), partition: PartitionIndex(index) }
    }

    fn followed(offset: i64) -> Followed {
        let (leader_epoch, last_epoch) = (LeaderEpoch(3), LeaderEpoch(2));
        Followed {
            position: FetchPosition { leader_epoch, offset: Offset(offset), last_epoch },
            log_start: Offset(0),
            synced: Offset(offset),
            high_watermark: Offset(0),
        }
    }

    /// Checks what a request says: its session, what it asks for and at which offsets, and what it forgets.
    #[track_caller]
    fn check(
        session: &mut Session,
        wanted: &[(i32, i64)],
        (id, epoch): (i32, i32),
        asked: &[(i32, i64)],
        forgotten: &[i32],
    ) {
        let mut request = FetchRequest::default();
        let wanted = wanted.iter().map(|&(index, offset)| (log(index), followed(offset)));
        session.fill(&mut request, wanted, 1 << 20);
        assert_eq!((request.session_id, request.session_epoch), (id, epoch));
        let parts = request.topics.iter().flat_map(|topic| &topic.partitions);
        let said: Vec<_> = parts.map(|part| (part.partition.0, part.fetch_offset.0)).collect();
        assert_eq!(said, asked);
        let forgets = request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions);
        assert_eq!(forgets.map(|index| index.0).collect::<Vec<_>>(), forgotten);
    }

    #[test]
    fn only_what_changed_is_asked_for_again() {
        let mut session = Session::default();
        check(&mut session, &[(0, 5), (1, 5), (2, 5)], (0, 0), &[(0, 5), (1, 5), (2, 5)], &[]);
        session.answered(77);
        check(&mut session, &[(0, 5), (1, 6), (2, 5)], (77, 1), &[(1, 6)], &[]);
        session.answered(77);
        check(&mut session, &[(0, 5), (2, 5), (3, 0)], (77, 2), &[(3, 0)], &[1]);
        session.answered(77);
        check(&mut session, &[(0, 5), (1, 6), (2, 5), (3, 0)], (77, 3), &[(1, 6)], &[]);
        session.answered(77);
        check(&mut session, &[], (77, 4), &[], &[0, 1, 2, 3]);
    }

    #[test]
    fn what_is_on_disk_counts_as_a_change() {
        let mut session = Session::default();
        check(&mut session, &[(0, 5)], (0, 0), &[(0, 5)], &[]);
        session.answered(77);
        let mut request = FetchRequest::default();
        let synced = Followed { synced: Offset(4), high_watermark: Offset(4), ..followed(5) };
        session.fill(&mut request, [(log(0), synced)].into_iter(), 1 << 20);
        assert_eq!(request.topics[0].partitions[0].synced_end, Offset(4));
    }

    #[test]
    fn after_a_failure_everything_is_asked_for_in_the_place_of_the_old_session() {
        let mut session = Session::default();
        check(&mut session, &[(0, 5), (1, 5)], (0, 0), &[(0, 5), (1, 5)], &[]);
        session.answered(77);
        session.begin_anew();
        check(&mut session, &[(0, 5), (2, 5)], (77, 0), &[(0, 5), (2, 5)], &[]);
        session.answered(78);
        check(&mut session, &[(0, 5), (2, 5)], (78, 1), &[], &[]);
    }

    #[test]
    fn without_a_place_everything_is_asked_for_each_time() {
        let mut session = Session::default();
        for _ in 0..3 {
            check(&mut session, &[(0, 5), (1, 5)], (0, 0), &[(0, 5), (1, 5)], &[]);
            session.answered(0);
        }
    }

    #[test]
    fn the_numbers_of_requests_begin_again_after_the_last() {
        let mut session = Session { id: 77, epoch: i32::MAX, known: BTreeMap::new() };
        session.answered(77);
        assert_eq!(session.epoch, 1);
    }
}
