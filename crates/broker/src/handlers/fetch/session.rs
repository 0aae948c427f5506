//! Fetch sessions (KIP-227): what a client wants to read, kept here so that it need only send what changes, and is
//! only answered what changed.
//!
//! There are as many places as `max.incremental.fetch.session.cache.slots` has by default in Kafka. When all are taken,
//! a new session gets the place of one that was not used for two minutes; else of one that has stood for as long and
//! is smaller. Followers' sessions only give way to other followers'. A client that gets none goes on with full
//! fetches.

use super::wanted::{Key, Wanted};
use highwater_env::Rng;
use highwater_types::{Instant, Offset};
use highwater_wire::ErrorCode;
use highwater_wire::messages::{FetchRequest, PartitionData};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many sessions there are at most.
const SLOTS: usize = 1_000;
/// For how long a session is safe from others.
const SAFE: Duration = Duration::from_secs(120);

/// The epoch of a request that begins a session, and of one that ends it or wants none.
const INITIAL: i32 = 0;
const FINAL: i32 = -1;

/// All sessions of a node.
pub(crate) struct Sessions(Mutex<State>);

struct State {
    ids: Rng,
    sessions: BTreeMap<i32, Slot>,
}

struct Slot {
    session: Arc<Mutex<Session>>,
    used: Instant,
    created: Instant,
    /// Whether it is a follower's.
    privileged: bool,
    size: usize,
}

/// One session.
pub(super) struct Session {
    id: i32,
    /// Of the next request.
    epoch: i32,
    by_id: bool,
    parts: BTreeMap<Key, Part>,
    /// The last partition that had records: the next request begins behind it, so that all get their turn.
    last: Option<Key>,
}

struct Part {
    wanted: Wanted,
    /// The marks that the client was last told.
    told: Option<(Offset, Offset)>,
}

/// What a request is to its session.
pub(super) enum Mode {
    /// There is none.
    Full,
    /// A full fetch whose client would like one.
    Begin,
    /// What has changed.
    Incremental(Arc<Mutex<Session>>),
}

impl Sessions {
    /// No sessions; their ids are drawn from `ids`.
    pub(crate) fn new(ids: Rng) -> Self {
        Self(Mutex::new(State { ids, sessions: BTreeMap::new() }))
    }

    /// Takes a request into its session.
    pub(super) fn open(&self, request: &FetchRequest, by_id: bool, now: Instant) -> Result<Mode, ErrorCode> {
        let mut state = self.lock();
        if matches!(request.session_epoch, INITIAL | FINAL) {
            state.sessions.remove(&request.session_id);
            return Ok(if request.session_epoch == INITIAL { Mode::Begin } else { Mode::Full });
        }
        let slot =
            state.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let mut session = lock(&slot.session);
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(request);
        (slot.used, slot.size) = (now, session.parts.len());
        drop(session);
        Ok(Mode::Incremental(Arc::clone(&slot.session)))
    }

    /// Begins a session with what was read and answered; 0 if there is no place for it.
    pub(super) fn begin<'a>(
        &self,
        parts: impl Iterator<Item = (Wanted, &'a PartitionData)>,
        by_id: bool,
        privileged: bool,
        now: Instant,
    ) -> i32 {
        let parts: BTreeMap<Key, Part> = parts
            .map(|(wanted, data)| (wanted.key.clone(), Part { wanted, told: Some(marks(data)) }))
            .collect();
        let mut state = self.lock();
        let size = parts.len();
        if parts.is_empty() || !state.make_room(privileged, size, now) {
            return 0;
        }
        let id = state.draw_id();
        let session = Session { id, epoch: 1, by_id, parts, last: None };
        let session = Arc::new(Mutex::new(session));
        state.sessions.insert(id, Slot { session, used: now, created: now, privileged, size });
        id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, privileged: bool, size: usize, now: Instant) -> bool {
        if self.sessions.len() < SLOTS {
            return true;
        }
        let oldest = self.sessions.iter().min_by_key(|(_, slot)| slot.used);
        let unused = oldest.filter(|(_, slot)| now.since(slot.used) > SAFE);
        let smallest = || {
            self.sessions
                .iter()
                .filter(|(_, slot)| now.since(slot.created) > SAFE && (privileged || !slot.privileged))
                .min_by_key(|(_, slot)| (slot.privileged, slot.size))
                .filter(|(_, slot)| (slot.privileged, slot.size) < (privileged, size))
        };
        let Some(id) = unused.or_else(smallest).map(|(&id, _)| id) else { return false };
        self.sessions.remove(&id);
        true
    }

    fn draw_id(&mut self) -> i32 {
        loop {
            let id = i32::try_from(self.ids.next_u32() >> 1).expect("31 bits fit");
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    fn update(&mut self, request: &FetchRequest) {
        // After the largest number comes 1: the others have a meaning of their own.
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        for wanted in super::wanted::of(request, self.by_id) {
            let wanted = wanted.owned();
            match self.parts.get_mut(&wanted.key) {
                Some(part) => {
                    if part.wanted.epoch != wanted.epoch {
                        // What was told in another epoch the other side may have passed over.
                        part.told = None;
                    }
                    part.wanted = wanted;
                }
                None => {
                    self.parts.insert(wanted.key.clone(), Part { wanted, told: None });
                }
            }
        }
        for key in super::wanted::forgotten(request, self.by_id) {
            self.parts.remove(&key);
        }
    }

    /// All that is to be read, beginning behind what was last answered with records.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.parts.range::<Key, _>((after, Bound::Unbounded));
        let before = self.last.iter().flat_map(|last| self.parts.range(..=last));
        behind.chain(before).map(|(_, part)| part.wanted.clone()).collect()
    }

    pub(super) fn id(&self) -> i32 {
        self.id
    }

    /// Whether the client is to be told of a partition, because something has changed. It counts as told then.
    pub(super) fn tells(&mut self, key: &Key, data: &PartitionData, has_records: bool) -> bool {
        let Some(part) = self.parts.get_mut(key) else { return true };
        let marks = marks(data);
        let changed = part.told != Some(marks);
        if has_records {
            self.last = Some(key.clone());
        }
        let failed = data.error_code != ErrorCode::NONE;
        // An error is told again and again, until it is none.
        part.told = (!failed).then_some(marks);
        changed
            || failed
            || has_records
            || data.diverging_epoch.end_offset >= Offset::ZERO
            || data.preferred_read_replica.0 >= 0
    }
}

pub(super) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

fn marks(data: &PartitionData) -> (Offset, Offset) {
    (data.high_watermark, data.log_start_offset)
}

#[cfg(test)]
mod tests;
