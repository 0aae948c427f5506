//! S1, for partitions: at most one node appends in each (partition, leader epoch), and it appends with that epoch.
//!
//! The quorum's half of S1 is checked where the quorum is. Source: durability.md (S1); KIP-101 and KIP-279, in which an
//! offset means something only together with its leader epoch.

use super::rules::check;
use super::{Checker, Role, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::{LeaderEpoch, LogId};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct OneAppender {
    leaders: BTreeMap<(LogId, LeaderEpoch), NodeId>,
}

impl Checker for OneAppender {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Leading { log, epoch, .. } => {
                let known = *self.leaders.entry((log, epoch)).or_insert(seen.node);
                check(known == seen.node, "S1", || {
                    format!("it leads in epoch {epoch}, in which node {} has led", known.0)
                })
            }
            Event::Appended { base, epoch, .. } => match seen.replica().role {
                Some(Role::Leader { epoch: own }) => check(epoch == own, "S1", || {
                    format!("a leader of epoch {own} appends at {base} with epoch {epoch}")
                }),
                Some(Role::Follower { epoch: newest }) => check(epoch <= newest, "S1", || {
                    format!("a follower in epoch {newest} appends at {base} with epoch {epoch}")
                }),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::OneAppender;

    #[test]
    fn leaders_after_each_other_pass() {
        let mut stage = Stage::new(OneAppender::default());
        stage.leads(1).append_as(0, 4, 1, 1).on(1).follows(1).append_as(0, 4, 1, 1);
        stage.leads(2).append_as(5, 6, 2, 1).on(0).follows(2).append_as(5, 6, 2, 1);
        stage.crash().recovered(0, 7, 7).append_as(7, 8, 2, 1).leads(3).leads(3).append_as(9, 9, 3, 1);
        stage.passes();
    }

    #[test]
    fn two_leaders_in_one_epoch_are_found() {
        let mut stage = Stage::new(OneAppender::default());
        stage.leads(1).on(1).leads(1).finds("S1", "leads in epoch 1, in which node 0 has led");
    }

    #[test]
    fn an_epoch_that_is_not_the_leaders_own_is_found() {
        let mut stage = Stage::new(OneAppender::default());
        stage.leads(2).append_as(0, 4, 1, 1).finds("S1", "a leader of epoch 2 appends at 0 with epoch 1");
        let mut stage = Stage::new(OneAppender::default());
        stage.follows(2).append_as(0, 4, 3, 1).finds("S1", "a follower in epoch 2 appends at 0 with epoch 3");
    }
}
