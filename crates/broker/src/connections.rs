//! The connections that are open.

use crate::latch::Latch;
use crate::link::Link;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    state: Mutex<State>,
    /// Raised when the last one has closed after [`Connections::close`].
    empty: Latch,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Arc<Link>>,
    closed: bool,
}

impl Connections {
    /// Enters a connection, unless there are `limit` already or no more are taken.
    pub(crate) fn enter(&self, link: &Arc<Link>, limit: usize) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed || state.open.len() >= limit {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Arc::clone(link));
        Some(number)
    }

    /// A connection has closed.
    pub(crate) fn leave(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.remove(&number);
        if state.closed && state.open.is_empty() {
            self.empty.raise();
        }
    }

    /// Takes no more connections, and has those that are open look whether the node stops.
    pub(crate) fn close(&self) {
        let open: Vec<_> = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.closed = true;
            if state.open.is_empty() {
                self.empty.raise();
            }
            state.open.values().cloned().collect()
        };
        for link in open {
            link.wake();
        }
    }

    /// Ends when the last connection has closed after [`Connections::close`].
    pub(crate) async fn all_closed(&self) {
        self.empty.raised().await;
    }
}
