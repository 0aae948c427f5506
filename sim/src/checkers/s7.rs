//! S7: a leader's high watermark moves only while its in-sync set is large enough, and not beyond what any member
//! of it, pending ones included, holds (has synced, where that is the promise).
//!
//! Only a move beyond everything that was committed before is asked about: a new leader catches up with what the one
//! before it had told. Source: durability.md (S7), after the published TLA+ of KIP-966; KIP-497 (pending members),
//! KAFKA-15583 (too few replicas).

use super::rules::check;
use super::{Checker, InSync, Replica, Role, Seen};
use crate::executor::Violation;
use highwater_env::Event;
use highwater_types::{BrokerId, LogId, Offset};

/// See the module.
#[derive(Debug, Default)]
pub struct Watermark;

impl Checker for Watermark {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match seen.event {
            Event::HighWatermark { log, end } => moved(seen, *log, *end),
            Event::InSync { epoch, committed, pending, .. } => {
                let set = InSync { epoch: *epoch, committed: committed.clone(), pending: pending.clone() };
                whole(seen, &set)
            }
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }
}

/// A leader is a member itself, and speaks of its own epoch.
fn whole(seen: &Seen<'_>, set: &InSync) -> Result<(), Violation> {
    let Some(Role::Leader { epoch }) = seen.replica().role else { return Ok(()) };
    check(epoch == set.epoch, "S7", || {
        format!("a leader of epoch {epoch} tells an in-sync set of epoch {}", set.epoch)
    })
}

fn moved(seen: &Seen<'_>, log: LogId, to: Offset) -> Result<(), Violation> {
    let committed = seen.ghost.committed(log).map(|known| known.end).unwrap_or_default();
    let replica = seen.replica();
    match replica.role {
        _ if to <= committed || seen.ghost.deleted(log.topic).is_some() => Ok(()),
        None => Ok(()),
        Some(Role::Follower { .. }) => check(false, "S7", || {
            format!("a follower's high watermark moves to {to}, and no leader's was beyond {committed}")
        }),
        Some(Role::Leader { .. }) => {
            let Some(set) = &replica.in_sync else { return Ok(()) };
            let least = seen.ghost.min_insync(log);
            check(set.committed.len() >= least, "S7", || {
                format!(
                    "the high watermark moves from {committed} to {to} with {} in-sync replicas, and {least} are \
                     needed",
                    set.committed.len()
                )
            })?;
            let mut members = set.committed.iter().chain(&set.pending);
            members.try_for_each(|&member| counted(seen, log, member, to))
        }
    }
}

/// A member holds what the high watermark passes.
fn counted(seen: &Seen<'_>, log: LogId, member: BrokerId, to: Offset) -> Result<(), Violation> {
    let ghost = seen.ghost;
    let Some(node) = ghost.node_of(member) else { return Ok(()) };
    // What it told before its disk was replaced may be counted until the leader hears of that.
    let replaced = ghost.machine(node).is_some_and(|machine| machine.wipes > 0);
    if replaced || !ghost.is_honest_at(node) {
        return Ok(());
    }
    let empty = Replica::default();
    let copy = ghost.replica(node, log).unwrap_or(&empty);
    let (holds, how) =
        if ghost.terms().durable { (copy.synced, "synced") } else { (copy.counted, "written") };
    check(holds >= to, "S7", || {
        format!(
            "the high watermark moves to {to}; broker {member} is in the in-sync set and has {how} up to {holds}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Terms;
    use super::super::kit::Stage;
    use super::Watermark;

    fn stage() -> Stage {
        let mut stage = Stage::new(Watermark);
        stage.partition(0, 1, &[0, 1, 2], &[0, 1], &[]);
        stage.on(1).follows(1).append_as(0, 4, 1, 1).synced(5).on(2).follows(1).append_as(0, 4, 1, 1);
        stage.on(0).leads(1).append_as(0, 4, 1, 1).append_as(5, 9, 1, 1).synced(10);
        stage
    }

    #[test]
    fn a_watermark_that_every_member_has_synced_passes() {
        let mut stage = stage();
        stage.in_sync(1, &[0, 1], &[]).watermark(5).on(1).append_as(5, 9, 1, 1).synced(10).watermark(5);
        stage.on(0).watermark(10).on(1).watermark(10).passes();
    }

    #[test]
    fn one_that_a_member_has_not_synced_is_found() {
        stage()
            .in_sync(1, &[0, 1], &[])
            .watermark(10)
            .finds("S7", "broker 2 is in the in-sync set and has synced up to 5");
        stage()
            .in_sync(1, &[0, 1], &[2])
            .watermark(5)
            .finds("S7", "broker 3 is in the in-sync set and has synced up to 0");
        let mut own = stage();
        own.in_sync(1, &[0, 1], &[])
            .append_as(10, 12, 1, 1)
            .on(1)
            .append_as(5, 9, 1, 1)
            .append_as(10, 12, 1, 1)
            .synced(13);
        own.on(0).watermark(13).finds("S7", "broker 1 is in the in-sync set and has synced up to 10");
    }

    #[test]
    fn page_caches_count_where_they_are_the_promise() {
        let mut stage = stage();
        stage
            .terms(Terms { durable: false, ..Terms::default() })
            .in_sync(1, &[0, 1], &[2])
            .watermark(5)
            .passes();
        stage.watermark(10).finds("S7", "has written up to 5");
    }

    #[test]
    fn too_few_replicas_are_found() {
        stage().in_sync(1, &[0], &[1]).watermark(5).finds("S7", "with 1 in-sync replicas, and 2 are needed");
        let one = Terms { min_insync: Some(1), ..Terms::default() };
        stage().terms(one).in_sync(1, &[0], &[]).watermark(10).passes();
    }

    #[test]
    fn what_was_committed_before_may_be_told_by_a_new_leader() {
        let mut stage = stage();
        stage
            .in_sync(1, &[0, 1], &[])
            .watermark(5)
            .on(1)
            .leads(2)
            .in_sync(2, &[1], &[])
            .watermark(5)
            .passes();
    }

    #[test]
    fn a_follower_ahead_of_all_leaders_is_found() {
        stage()
            .in_sync(1, &[0, 1], &[])
            .watermark(3)
            .on(1)
            .watermark(5)
            .finds("S7", "a follower's high watermark");
    }

    #[test]
    fn a_set_of_another_epoch_is_found() {
        stage().in_sync(2, &[0, 1], &[]).finds("S7", "a leader of epoch 1 tells an in-sync set of epoch 2");
    }
}
