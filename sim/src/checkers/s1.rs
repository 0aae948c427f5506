//! S1: at most one leader per term of the quorum, and one appender per leader epoch of a partition.
//!
//! Source: the Raft paper's election safety (Ongaro and Ousterhout 2014, figure 3); KIP-595.

use super::rules::check;
use super::{Checker, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::{LeaderEpoch, LogId};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct OneLeader {
    leaders: BTreeMap<u64, NodeId>,
    appenders: BTreeMap<(LogId, LeaderEpoch), NodeId>,
}

impl OneLeader {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match *event {
            Event::QuorumLeader { term } => {
                let first = *self.leaders.entry(term).or_insert(node);
                check(first == node, "S1", || {
                    format!("node {} leads the quorum in term {term}, in which node {} led", node.0, first.0)
                })
            }
            Event::Leading { log, epoch, .. } => {
                let first = *self.appenders.entry((log, epoch)).or_insert(node);
                check(first == node, "S1", || {
                    format!("node {} leads {log} in epoch {epoch}, in which node {} led", node.0, first.0)
                })
            }
            _ => Ok(()),
        }
    }
}

impl Checker for OneLeader {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.hear_of(seen.node, seen.event).map_err(|violation| seen.place(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::{Offset, PartitionIndex, TopicId};

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn check(events: &[(NodeId, Event)], expected: bool) {
        let mut checker = OneLeader::default();
        let heard = events.iter().try_for_each(|(node, event)| checker.hear_of(*node, event));
        assert_eq!(heard.is_ok(), expected, "{events:?}: {heard:?}");
    }

    #[test]
    fn a_term_has_one_leader() {
        let leads = |term| Event::QuorumLeader { term };
        check(&[(A, leads(1)), (B, leads(2)), (A, leads(3)), (A, leads(3))], true);
        check(&[(A, leads(1)), (B, leads(1))], false);
    }

    #[test]
    fn an_epoch_has_one_appender() {
        let log = LogId { topic: TopicId::default(), partition: PartitionIndex(0) };
        let leads = |epoch| Event::Leading { log, epoch: LeaderEpoch(epoch), start: Offset::ZERO };
        check(&[(A, leads(1)), (B, leads(2))], true);
        check(&[(A, leads(1)), (B, leads(1))], false);
    }
}
