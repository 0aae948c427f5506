//! Clocks that jump, drift and stand still.

use super::Director;
use super::Nodes;
use crate::executor::{EPOCH_MS, NodeId, Simulation};
use highwater_env::Env;
use highwater_faults::Action;

impl Director {
    pub(super) async fn act_on_clock(&self, simulation: &Simulation, what: Action, targets: Vec<NodeId>) {
        for &node in &targets {
            let name = self.name(node);
            match what {
                Action::JumpClock { by_ms } => {
                    simulation.note(&format!("the clock of {name} jumps by {by_ms} ms"));
                    self.count("clock jump");
                    simulation.jump_clock(node, by_ms);
                }
                Action::DriftClock { ppm, lasting } => {
                    simulation.note(&format!("the clocks of {name} drift by {ppm} ppm for {lasting:?}"));
                    self.count("clock drift");
                    simulation.drift_clock(node, ppm);
                }
                Action::FreezeClock { lasting } => {
                    simulation.note(&format!("the clock of {name} stands still for {lasting:?}"));
                    self.count("frozen clock");
                    simulation.freeze_clock(node, true);
                }
                _ => {}
            }
            self.nodes.clock_moved(&simulation.env(node));
        }
        match what {
            Action::DriftClock { lasting, .. } => {
                simulation.sleep(lasting).await;
                for &node in &targets {
                    self.nodes.clock_moved(&simulation.env(node));
                    simulation.drift_clock(node, 0);
                }
            }
            Action::FreezeClock { lasting } => {
                simulation.sleep(lasting).await;
                targets.iter().for_each(|&node| simulation.freeze_clock(node, false));
            }
            _ => {}
        }
    }
}

/// Sets a machine's clocks right. What they drifted by meanwhile counts as well.
pub fn heal(simulation: &Simulation, nodes: &Nodes, node: NodeId) {
    nodes.clock_moved(&simulation.env(node));
    simulation.freeze_clock(node, false);
    simulation.drift_clock(node, 0);
    simulation.reset_clock(node);
    let right = EPOCH_MS + i64::try_from(simulation.now().as_millis()).unwrap_or(i64::MAX);
    let wall = simulation.env(node).clock().wall();
    simulation.jump_clock(node, right.saturating_sub(wall.0));
}
