//! L1: some time after the last fault there is one stable controller, and every partition with an eligible live replica
//! has a leader that knows it.
//!
//! Source: durability.md (L1); NATS 6999 (elections that follow the wall clock).

use super::{Checker, End, Ghost, Regime, Role};
use crate::executor::Violation;
use highwater_types::Instant;
use std::time::Duration;

/// For how long the controller must have stayed the same.
const STABLE_FOR: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub struct Leaders;

impl Checker for Leaders {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        if end.regime == Regime::Unlimited {
            return Ok(());
        }
        // How long it was stable was waited for before: the time of the final read is earlier than that.
        unsettled(end.ghost, Instant(u64::MAX)).map_or(Ok(()), Err)
    }
}

/// What is not as it should be, if anything.
pub fn unsettled(ghost: &Ghost, now: Instant) -> Option<Violation> {
    controller(ghost, now).or_else(|| partitions(ghost)).map(|text| Violation::new("L1", text))
}

fn controller(ghost: &Ghost, now: Instant) -> Option<String> {
    // A cluster that tells nothing of a quorum has none.
    let leader = ghost.quorum().leader?;
    // One that was restarted quickly may go on in its term without a word.
    let runs = leader.runs || ghost.machine(leader.node).is_some_and(|machine| machine.running);
    if !runs {
        return Some(format!("the controller of term {} is gone, and there is no other one", leader.term));
    }
    let since = now.since(leader.at);
    (since < STABLE_FOR).then(|| {
        format!("node {} became the controller of term {} only {since:?} ago", leader.node.0, leader.term)
    })
}

fn partitions(ghost: &Ghost) -> Option<String> {
    ghost.controlled().partitions().filter(|(log, _)| ghost.deleted(log.topic).is_none()).find_map(
        |(log, state)| {
            let name = ghost.name(log);
            let Some(leader) = state.leader else {
                return Some(format!("{name} has no leader"));
            };
            let node = ghost.node_of(leader).filter(|_| ghost.serves(leader));
            let Some(node) = node else {
                return Some(format!("broker {leader}, which leads {name}, does not serve"));
            };
            let role = ghost.replica(node, log).and_then(|copy| copy.role);
            (role != Some(Role::Leader { epoch: state.epoch })).then(|| {
                format!(
                    "broker {leader} does not know that it leads {name} in epoch {}: {role:?}",
                    state.epoch
                )
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::Leaders;
    use highwater_env::Event;

    fn stage() -> Stage {
        let mut stage = Stage::new(Leaders);
        stage.register(0).register(1).on(0).tell(Event::QuorumLeader { term: 3 });
        stage.partition(1, 2, &[0, 1], &[0, 1], &[]).on(1).leads(2).on(0).follows(2).wait(5);
        stage
    }

    #[test]
    fn a_controller_that_stays_and_leaders_that_know_it_pass() {
        stage().settled();
        // A topic that is deleted has no leader.
        stage().on(1).crash().topic_deleted().settled();
    }

    #[test]
    fn a_controller_that_is_gone_or_new_is_found() {
        stage().on(0).crash().is_unsettled("L1", "the controller of term 3 is gone");
        stage().on(1).tell(Event::QuorumLeader { term: 4 }).is_unsettled("L1", "controller of term 4 only");
    }

    #[test]
    fn a_partition_without_a_leader_is_found() {
        stage().partition(-1, 3, &[0, 1], &[0, 1], &[]).is_unsettled("L1", "orders-0 has no leader");
        stage().fence(1).is_unsettled("L1", "broker 2, which leads orders-0, does not serve");
        stage().on(1).crash().is_unsettled("L1", "does not serve");
        stage()
            .partition(0, 3, &[0, 1], &[0, 1], &[])
            .is_unsettled("L1", "broker 1 does not know that it leads");
    }
}
