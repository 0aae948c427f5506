//! S11: in-sync and eligible sets lie within the replicas and are disjoint; the leader is in sync; a fenced broker
//! is not in sync, and one whose process or disk was lost is in neither set until it has caught up.
//!
//! The controller moves members that it fences to the eligible set (KIP-966), and may leave the last one of a partition
//! without a leader where it is. Where page caches are the promise, and nobody is left who is known to be complete, the
//! one that led last may lead again, alone, though its process did not end in order (KIP-966). Asked once all of an
//! entry has been told. What it takes to have caught up is S5. Source: durability.md (S11), after the published TLA+ of
//! KIP-966; KIP-841 (fenced replicas let in), KAFKA-13173 (two expiries at once), KAFKA-10471 (a crash that looks like
//! a clean stop).

use super::rules::check;
use super::{Checker, End, Ghost, PartitionState, Seen};
use crate::executor::Violation;
use highwater_types::{BrokerId, LogId};
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub struct Sets;

impl Checker for Sets {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let Some(touched) = seen.closed() else { return Ok(()) };
        touched
            .iter()
            .try_for_each(|&log| partition(seen.ghost, log).map_err(|violation| seen.tell(log, violation)))
    }

    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        end.ghost.controlled().touched().iter().try_for_each(|&log| partition(end.ghost, log))
    }
}

fn partition(ghost: &Ghost, log: LogId) -> Result<(), Violation> {
    let Some(state) = ghost.controlled().partition(log) else { return Ok(()) };
    if ghost.deleted(log.topic).is_some() {
        return Ok(());
    }
    shape(state)?;
    for &member in &state.isr {
        let fenced = ghost.controlled().broker(member).is_some_and(|known| known.fenced);
        let last = state.leader.is_none() && state.isr.len() == 1;
        check(!fenced || last, "S11", || {
            format!("broker {member} is fenced, and in sync ({})", shown(state))
        })?;
    }
    for member in ghost.controlled().arrived() {
        let listed = state.members().any(|other| other == *member);
        let Some(machine) = ghost.node_of(*member).and_then(|node| ghost.machine(node)) else { continue };
        let resort = ghost.controlled().is_last_resort(log) && state.isr == [*member] && state.elr.is_empty();
        let lost = if machine.wiped {
            "its disk was replaced"
        } else if machine.unclean && !ghost.terms().durable && !resort {
            "its process did not end in order"
        } else {
            continue;
        };
        check(!listed, "S11", || {
            format!("broker {member} serves again, and is a member still though {lost} ({})", shown(state))
        })?;
    }
    Ok(())
}

/// What holds whatever became of brokers.
fn shape(state: &PartitionState) -> Result<(), Violation> {
    let replicas: BTreeSet<BrokerId> = state.replicas.iter().copied().collect();
    let isr: BTreeSet<BrokerId> = state.isr.iter().copied().collect();
    check(state.members().all(|member| replicas.contains(&member)), "S11", || {
        format!("a member is no replica ({})", shown(state))
    })?;
    check(!state.elr.iter().any(|member| isr.contains(member)), "S11", || {
        format!("a member is both in sync and eligible ({})", shown(state))
    })?;
    check(isr.len() == state.isr.len() && replicas.len() == state.replicas.len(), "S11", || {
        format!("somebody is named twice ({})", shown(state))
    })?;
    check(state.leader.is_none_or(|leader| isr.contains(&leader)), "S11", || {
        format!("the leader is not in sync ({})", shown(state))
    })
}

fn shown(state: &PartitionState) -> String {
    let list = |of: &[BrokerId]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let leader = state.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
    let (isr, elr, replicas) = (list(&state.isr), list(&state.elr), list(&state.replicas));
    format!(
        "led by {leader} in epoch {}, in sync [{isr}], eligible [{elr}], replicas [{replicas}]",
        state.epoch
    )
}

#[cfg(test)]
mod tests {
    use super::super::Terms;
    use super::super::kit::Stage;
    use super::Sets;

    fn stage() -> Stage {
        let mut stage = Stage::new(Sets);
        stage.register(0).register(1).register(2).partition(0, 1, &[0, 1, 2], &[0, 1], &[2]);
        stage
    }

    fn cached() -> Stage {
        let mut stage = stage();
        stage.terms(Terms { durable: false, ..Terms::default() });
        stage
    }

    #[test]
    fn sets_as_they_should_be_pass() {
        let mut stage = stage();
        stage.fence(2).partition(0, 1, &[0, 1, 2], &[0, 1], &[2]);
        stage
            .fence_and(1, 0, 1, [&[0, 1, 2], &[0], &[1, 2]])
            .partition(-1, 2, &[0, 1, 2], &[0], &[1])
            .fence(0);
        stage.register(1).partition(1, 3, &[0, 1, 2], &[1], &[0]).settle().passes();
    }

    #[test]
    fn sets_that_contradict_themselves_are_found() {
        let find = |isr: &[usize], elr: &[usize], leader: i32, part: &str| {
            stage().partition(leader, 2, &[0, 1], isr, elr).settle().finds("S11", part);
        };
        find(&[0, 1, 2], &[], 0, "a member is no replica");
        find(&[0], &[2], 0, "a member is no replica");
        find(&[0, 1], &[1], 0, "both in sync and eligible");
        find(&[0, 0], &[], 0, "named twice");
        find(&[0], &[1], 1, "the leader is not in sync");
    }

    #[test]
    fn one_that_is_fenced_and_in_sync_is_found() {
        stage().fence(1).settle().finds("S11", "broker 2 is fenced, and in sync");
        let mut stage = stage();
        stage
            .fence(2)
            .partition(0, 1, &[0, 1, 2], &[0, 1, 2], &[])
            .settle()
            .finds("S11", "broker 3 is fenced");
    }

    #[test]
    fn an_entry_is_judged_as_a_whole() {
        stage().fence_and(1, 0, 1, [&[0, 1, 2], &[0], &[1]]).settle().passes();
    }

    #[test]
    fn one_whose_disk_was_replaced_and_that_is_a_member_still_is_found() {
        stage()
            .on(1)
            .wipe()
            .register(1)
            .settle()
            .finds("S11", "broker 2 serves again, and is a member still");
        stage().on(2).wipe().register(2).settle().finds("S11", "its disk was replaced");
        let mut stage = stage();
        stage.on(1).wipe().partition(0, 1, &[0, 1, 2], &[0], &[2]).register(1).settle().passes();
        stage.partition(0, 1, &[0, 1, 2], &[0, 1], &[2]).settle().passes();
    }

    #[test]
    fn one_that_served_with_its_new_disk_and_ended_before_anything_was_told_has_joined_rightly() {
        let mut stage = stage();
        stage.on(1).wipe().partition(0, 1, &[0, 1, 2], &[0], &[2]).register(1).crash();
        stage.partition(0, 1, &[0, 1, 2], &[0, 1], &[2]).register(1).settle().passes();
    }

    #[test]
    fn one_that_ended_before_anything_was_told_and_was_a_member_still_is_found() {
        let mut stage = stage();
        stage.on(1).wipe().register(1).crash().register(1).settle();
        stage.finds("S11", "broker 2 serves again, and is a member still");
    }

    #[test]
    fn one_that_did_not_end_in_order_is_found_where_page_caches_are_the_promise() {
        let text = "its process did not end in order";
        cached().on(1).append(0, 4).crash().register(1).settle().finds("S11", text);
        cached().on(1).append(0, 4).cut_power().register(1).settle().finds("S11", text);
        cached().on(1).append(0, 4).stop().register(1).settle().passes();
        // Nothing was changed since it last ended in order.
        cached().on(1).append(0, 4).stop().recovered(0, 5, 5).crash().register(1).settle().passes();
        stage().on(1).append(0, 4).crash().register(1).settle().passes();
    }

    #[test]
    fn the_one_that_led_last_may_lead_alone_where_nobody_is_left() {
        let left = || {
            let mut stage = cached();
            stage.on(1).append(0, 4).crash().partition(-1, 2, &[0, 1, 2], &[], &[]);
            stage
        };
        left().register_and(1, 1, 3, [&[0, 1, 2], &[1], &[]]).settle().passes();
        let text = "broker 2 serves again, and is a member still";
        left().register_and(1, 2, 3, [&[0, 1, 2], &[2], &[1]]).settle().finds("S11", text);
        left().on(1).wipe().register_and(1, 1, 3, [&[0, 1, 2], &[1], &[]]).settle().finds("S11", text);
    }
}
