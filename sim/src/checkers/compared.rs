//! How far each copy was held against what is committed, so that nothing is looked at twice.

use super::committed::Difference;
use super::ghost::Ghost;
use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{LogId, Offset};
use std::collections::BTreeMap;

/// How far each copy was held against what is committed.
#[derive(Debug, Default)]
pub struct Compared(BTreeMap<(NodeId, LogId), Offset>);

impl Compared {
    /// The first difference of a node's copy below an offset, or nothing.
    pub fn check(
        &mut self,
        ghost: &Ghost,
        (node, log): (NodeId, LogId),
        to: Offset,
        whole: bool,
    ) -> Option<Difference> {
        let committed = ghost.committed(log)?;
        let from = self.0.entry((node, log)).or_default();
        let to = to.min(committed.end);
        *from = ghost.compacted(log).max(*from);
        if to <= *from {
            return None;
        }
        let empty = Default::default();
        let copy = ghost.replica(node, log).unwrap_or(&empty);
        let found = committed.difference(copy, *from, to, whole);
        if found.is_none() {
            *from = to;
        }
        found
    }

    /// What an event says about a copy that was looked at.
    pub fn hear(&mut self, node: NodeId, event: &Event) {
        if let Event::Restarted { log, .. } = event {
            self.forget(node, *log);
        }
        if let Event::Truncating { log, end }
        | Event::Truncated { log, end }
        | Event::Recovered { log, end, .. } = event
            && let Some(known) = self.0.get_mut(&(node, *log))
        {
            *known = (*known).min(*end);
        }
    }

    /// A copy is gone.
    pub fn forget(&mut self, node: NodeId, log: LogId) {
        self.0.remove(&(node, log));
    }

    /// All copies of a node are gone.
    pub fn forget_node(&mut self, node: NodeId) {
        self.0.retain(|(at, _), _| *at != node);
    }
}
