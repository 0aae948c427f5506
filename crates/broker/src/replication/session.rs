//! A follower's side of a fetch session (KIP-227): only what changed is asked for again.

use super::requests;
use super::source::Ready;
use crate::partition::Followed;
use highwater_env::Env;
use highwater_types::LogId;
use highwater_wire::messages::{FetchRequest, ForgottenTopic};
use std::collections::BTreeMap;

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
    /// Puts into a request what the other side does not know yet.
    pub(super) fn fill<E: Env>(&mut self, request: &mut FetchRequest, ready: &[Ready<E>], max_bytes: i32) {
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        if self.epoch == 0 {
            self.known.clear();
        }
        let mut unwanted = std::mem::take(&mut self.known);
        for one in ready {
            let (log, followed) = (one.partition.id(), one.followed);
            let told = |it: Followed| (it.position, it.log_start, it.synced);
            let same = |known: Followed| told(known) == told(followed);
            if !unwanted.remove(&log).is_some_and(same) {
                requests::add(request, one, max_bytes);
            }
            self.known.insert(log, followed);
        }
        for log in unwanted.into_keys() {
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
