//! L2: some time after the last fault every replica is in sync, and all hold the same.
//!
//! Source: durability.md (L2).

use super::{Checker, End, Ghost, Regime};
use crate::executor::Violation;
use highwater_types::{BrokerId, Offset};
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub struct Converged;

impl Checker for Converged {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        if end.regime == Regime::Unlimited {
            return Ok(());
        }
        unsettled(end.ghost).map_or(Ok(()), Err)
    }
}

/// What is not as it should be, if anything.
pub fn unsettled(ghost: &Ghost) -> Option<Violation> {
    let partitions = ghost.controlled().partitions().filter(|(log, _)| ghost.deleted(log.topic).is_none());
    for (log, state) in partitions {
        let name = ghost.name(log);
        let missing = |of: &[BrokerId]| {
            let of: BTreeSet<_> = of.iter().copied().collect();
            state.replicas.iter().copied().find(|replica| !of.contains(replica))
        };
        if let Some(replica) = missing(&state.isr) {
            return Some(Violation::new("L2", format!("replica {replica} of {name} is not in sync")));
        }
        let end_of = |broker: BrokerId| -> Option<Offset> { ghost.replica(ghost.node_of(broker)?, log)?.end };
        let leader = state.leader.and_then(end_of).unwrap_or_default();
        for &replica in &state.replicas {
            let end = end_of(replica).unwrap_or_default();
            if end != leader {
                let text = format!("replica {replica} of {name} ends at {end}, and its leader at {leader}");
                return Some(Violation::new("L2", text));
            }
        }
        let committed = ghost.committed(log).map_or(Offset::ZERO, |committed| committed.end);
        if committed != leader {
            let text = format!("the high watermark of {name} is {committed}, and its log ends at {leader}");
            return Some(Violation::new("L2", text));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::Converged;

    fn stage() -> Stage {
        let mut stage = Stage::new(Converged);
        stage.register(0).register(1);
        stage.partition(1, 2, &[0, 1], &[1, 0], &[]);
        stage.on(1).leads(2).append_as(0, 4, 2, 1).on(0).follows(2).append_as(0, 4, 2, 1).on(1).watermark(5);
        stage
    }

    #[test]
    fn replicas_that_are_alike_pass() {
        stage().settled();
    }

    #[test]
    fn a_replica_that_is_not_in_sync_is_found() {
        stage()
            .partition(1, 2, &[0, 1], &[1], &[])
            .is_unsettled("L2", "replica 1 of orders-0 is not in sync");
    }

    #[test]
    fn a_replica_that_is_behind_is_found() {
        let mut stage = stage();
        stage
            .append_as(5, 5, 2, 1)
            .is_unsettled("L2", "replica 1 of orders-0 ends at 5, and its leader at 6");
        stage.on(0).append_as(5, 5, 2, 1).is_unsettled("L2", "the high watermark of orders-0 is 5");
        stage.on(1).watermark(6).settled();
    }
}
