//! S5: every registered, unfenced member of the in-sync or eligible-leader set has an end offset of at least the
//! largest high watermark that was ever told, and holds the committed bytes; log start and damaged ranges under
//! repair aside.
//!
//! Where page caches are the promise and all complete replicas lost theirs, the one that led last may lead again, and
//! what it lacks is lost (KIP-966): members of that partition are not asked any more. A member is asked once its
//! present process is registered: before that the controller cannot know what the one before it left. Source:
//! durability.md (S5), after the published TLA+ of KIP-966; KIP-101 (truncation to a stale high watermark), KIP-903 (a
//! rebooted replica is let in), KAFKA-7128 and KAFKA-13141 (one that is behind is let in).

use super::compared::Compared;
use super::rules::check;
use super::{Checker, End, Ghost, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::{BrokerId, LogId, Offset};

/// See the module.
#[derive(Debug, Default)]
pub struct Members {
    compared: Compared,
}

impl Members {
    /// All members of a partition.
    fn partition(&mut self, ghost: &Ghost, log: LogId) -> Result<(), Violation> {
        let Some(state) = ghost.controlled().partition(log) else { return Ok(()) };
        // The last complete replica stays a member while its log cannot be opened: it serves nothing, and nobody takes
        // its place, so that the loss is told and not hidden.
        let alone = state.members().count() == 1;
        let opened = |member: &BrokerId| {
            let copy = ghost.node_of(*member).and_then(|node| ghost.replica(node, log));
            copy.is_some_and(|copy| copy.end.is_some())
        };
        let members: Vec<BrokerId> =
            state.members().filter(|&member| ghost.serves(member) && (!alone || opened(&member))).collect();
        members.into_iter().try_for_each(|member| match ghost.node_of(member) {
            Some(node) => self.member(ghost, node, log, "is a member of the in-sync or eligible set"),
            None => Ok(()),
        })
    }

    fn member(&mut self, ghost: &Ghost, node: NodeId, log: LogId, what: &str) -> Result<(), Violation> {
        let Some(committed) = ghost.committed(log) else { return Ok(()) };
        if !ghost.keeps(log) {
            return Ok(());
        }
        let copy = ghost.replica(node, log);
        let end = copy.and_then(|copy| copy.end).unwrap_or_default();
        let told = |found: String| format!("node {} {what}; {found}", node.0);
        check(end >= committed.end, "S5", || {
            told(format!("its log ends at {end}, and the high watermark was {}", committed.end))
        })?;
        if let Some(start) = copy.map(|copy| copy.start).filter(|&start| start > removed(ghost, log)) {
            let text = told(format!("its log starts at {start}, and nothing has removed what was before"));
            return Err(Violation::new("S5", text));
        }
        match self.compared.check(ghost, (node, log), committed.end, true) {
            Some(difference) => Err(Violation::new("S5", told(difference.to_string()))),
            None => Ok(()),
        }
    }

    /// A member may give up what is not committed, and nothing else.
    fn truncating(&self, seen: &Seen<'_>, log: LogId, to: Offset) -> Result<(), Violation> {
        let (Some(committed), Some(state)) =
            (seen.ghost.committed(log), seen.ghost.controlled().partition(log))
        else {
            return Ok(());
        };
        let broker = seen.ghost.broker_at(seen.node);
        let member = state.members().any(|member| Some(member) == broker);
        let exempt = !member || !seen.ghost.keeps(log);
        // One whose page cache is gone does not hold what it would give up.
        let holds = seen.replica().end.is_some_and(|end| end >= committed.end);
        check(exempt || to >= committed.end || !holds, "S5", || {
            format!(
                "it truncates its log to {to} as a member of the in-sync or eligible set; the high watermark was {}",
                committed.end
            )
        })
    }
}

/// The largest start that any copy was moved to by a removal.
fn removed(ghost: &Ghost, log: LogId) -> Offset {
    let removals = ghost.copies(log).filter_map(|(_, copy)| Some(copy.removals.last()?.to));
    removals.max().unwrap_or_default()
}

impl Checker for Members {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.compared.hear(seen.node, seen.event);
        if let Some(touched) = seen.closed() {
            for &log in touched {
                self.partition(seen.ghost, log).map_err(|violation| seen.tell(log, violation))?;
            }
        }
        let checked = match *seen.event {
            // What this event itself commits is asked about at the next one; S7 asks at once.
            Event::HighWatermark { log, .. } | Event::Acknowledged { log, acks: -1, .. } => {
                self.partition(seen.ghost, log)
            }
            Event::Truncating { log, end } | Event::Truncated { log, end } => self.truncating(seen, log, end),
            Event::Leading { log, epoch, .. } => {
                let state = seen.ghost.controlled().partition(log);
                if state.is_some_and(|state| state.epoch == epoch && state.replicas.len() > 1) {
                    self.member(seen.ghost, seen.node, log, "begins to lead")
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.compared.forget_node(node);
    }

    fn log_reopened(&mut self, node: NodeId, log: LogId) {
        self.compared.forget(node, log);
    }

    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let logs: Vec<LogId> = end.ghost.controlled().partitions().map(|(log, _)| log).collect();
        logs.into_iter().try_for_each(|log| {
            self.partition(end.ghost, log).map_err(|violation| {
                let text = format!("at the end, {}: {}", end.ghost.name(log), violation.message);
                Violation::new(violation.property, text)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::Members;

    /// Two in-sync replicas with two committed batches.
    fn stage() -> Stage {
        let mut stage = Stage::new(Members::default());
        stage.register(0).register(1).register(2).partition(0, 1, &[0, 1, 2], &[0, 1], &[]);
        stage.on(0).leads(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xbb);
        stage.on(1).follows(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xbb);
        stage.on(0).watermark(10);
        stage
    }

    #[test]
    fn members_that_hold_everything_pass() {
        let mut stage = stage();
        stage.append_as(10, 12, 1, 0xcc).on(1).append_as(10, 12, 1, 0xcc).on(0).watermark(13);
        stage.partition(0, 1, &[0, 1, 2], &[0, 1], &[]).partition(0, 1, &[0, 1, 2], &[0], &[1]);
        // What is not committed may go.
        stage.on(1).append_as(13, 13, 1, 0xdd).truncated(13).partition(1, 2, &[0, 1, 2], &[1], &[0]);
        stage.leads(2).on(0).crash().recovered(0, 13, 13).register(0).partition(
            1,
            2,
            &[0, 1, 2],
            &[0, 1],
            &[],
        );
        stage.settle().passes();
    }

    #[test]
    fn one_that_is_behind_and_let_in_is_found() {
        stage().partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[]).settle().finds("S5", "node 2 is a member");
        let mut stage = stage();
        stage.on(2).follows(1).append_as(0, 4, 1, 0xaa).partition(0, 1, &[0, 1, 2], &[0, 1], &[2]).settle();
        stage.finds("S5", "its log ends at 5, and the high watermark was 10");
    }

    #[test]
    fn one_that_was_let_in_before_its_crash_and_has_lost_something_is_found_once_it_is_registered() {
        let mut stage = stage();
        stage
            .on(1)
            .cut_power()
            .recovered(0, 5, 5)
            .partition(0, 1, &[0, 1, 2], &[0, 1], &[])
            .settle()
            .passes();
        stage
            .register(1)
            .settle()
            .finds("S5", "node 1 is a member of the in-sync or eligible set; its log ends at 5");
    }

    #[test]
    fn one_that_holds_something_else_is_found() {
        let mut stage = stage();
        stage.on(2).follows(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xee);
        stage.partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[]).settle();
        stage.finds("S5", "at offset 5 it has a batch to 9 of epoch 1, checksum 000000ee; committed is");
        let mut stage = self::stage();
        stage.on(2).follows(1).append_as(0, 9, 1, 0xaa);
        stage
            .partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[])
            .settle()
            .finds("S5", "at offset 0 it has a batch to 9");
    }

    #[test]
    fn a_copy_that_begins_late_without_a_removal_is_found() {
        let mut stage = stage();
        stage.on(2).follows(1).append_as(5, 9, 1, 0xbb).partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[]).settle();
        stage.finds("S5", "its log starts at 5, and nothing has removed what was before");
        let mut stage = self::stage();
        stage.log_start(5).on(2).follows(1).append_as(5, 9, 1, 0xbb);
        stage.partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[]).settle().passes();
    }

    #[test]
    fn a_member_that_truncates_what_is_committed_is_found() {
        stage().on(1).truncated(5).finds("S5", "it truncates its log to 5 as a member");
        stage().partition(0, 1, &[0, 1, 2], &[0], &[]).on(1).truncated(5).passes();
    }

    #[test]
    fn a_leader_that_lacks_something_is_found() {
        let mut stage = stage();
        stage.on(2).append_as(0, 4, 1, 0xaa).partition(2, 2, &[0, 1, 2], &[2], &[]).leads(2);
        stage.finds("S5", "node 2 begins to lead; its log ends at 5");
        // One that has not heard of a later epoch commits nothing.
        let mut stage = self::stage();
        stage.on(2).append_as(0, 4, 1, 0xaa).partition(1, 3, &[0, 1, 2], &[0, 1], &[]).leads(2).passes();
    }

    #[test]
    fn damage_and_deleted_topics_are_left_aside() {
        stage().on(1).damaged(5, 10).settle().passes();
        stage().topic_deleted().on(1).truncated(0).settle().passes();
    }
}
