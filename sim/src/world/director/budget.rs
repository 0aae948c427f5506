//! What a cluster can bear, where the plan says that it must come through.
//!
//! A disk may be lost by fewer of a record's holders than there are in-sync replicas at least, and by a minority of the
//! quorum, until others hold again what was on it; bits that rot count as well. Where page caches are the promise, the
//! same goes for them; and since a node cannot tell a lost page cache from a process that died, no two processes may
//! end at once there either.

use super::Director;
use crate::executor::{NodeId, Simulation};
use highwater_faults::{Action, Regime};
use std::time::Duration;

/// How long a fault waits for a moment at which the cluster can bear it.
const PATIENCE: Duration = Duration::from_secs(8);
const GLANCE: Duration = Duration::from_millis(50);

impl Director {
    /// Waits for a moment at which the cluster can bear what shall happen; false if none comes.
    pub(super) async fn is_bearable(
        &self,
        simulation: &Simulation,
        what: &Action,
        targets: &[NodeId],
    ) -> bool {
        let (replaces, rots) = (matches!(what, Action::ReplaceDisk { .. }), matches!(what, Action::Rot));
        if !replaces && !rots && !self.takes_a_page_cache(what) {
            return true;
        }
        let until = simulation.now() + PATIENCE;
        while !self.nodes.is_whole()
            || (replaces && !self.keeps_a_majority(targets))
            || ((replaces || rots) && self.is_rotten_beside(simulation, targets))
        {
            if simulation.now() >= until {
                return false;
            }
            simulation.sleep(GLANCE).await;
        }
        true
    }

    /// Whether a fault takes what the promise relies on.
    fn takes_a_page_cache(&self, what: &Action) -> bool {
        let ends = matches!(
            what,
            Action::Crash { .. }
                | Action::PowerCut { .. }
                | Action::PowerCutInRecovery { .. }
                | Action::CrashThenPowerCut { .. }
        );
        ends && self.regime == Regime::WithinBudget && self.cluster.durability == "replicated"
    }

    /// Whether most voters keep their disks, if these lose theirs.
    fn keeps_a_majority(&self, targets: &[NodeId]) -> bool {
        let voters = match self.cluster.controllers {
            0 => self.nodes.brokers(),
            _ => self.nodes.controllers(),
        };
        targets.iter().filter(|node| voters.contains(node)).count() * 2 < voters.len()
    }
}
