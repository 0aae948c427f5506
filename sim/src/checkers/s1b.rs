//! S1, for what is appended: a leader appends with its own epoch, and a follower nothing from a later one than it
//! knows.
//!
//! That an epoch has one leader is checked with the leaders of the quorum. Source: durability.md (S1); KIP-101 and
//! KIP-279, in which an offset means something only together with its leader epoch.

use super::rules::check;
use super::{Checker, Role, Seen};
use crate::executor::Violation;
use highwater_env::Event;

/// See the module.
#[derive(Debug, Default)]
pub struct OwnEpoch;

impl Checker for OwnEpoch {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let Event::Appended { base, epoch, .. } = *seen.event else { return Ok(()) };
        let checked = match seen.replica().role {
            Some(Role::Leader { epoch: own }) => check(epoch == own, "S1", || {
                format!("a leader of epoch {own} appends at {base} with epoch {epoch}")
            }),
            Some(Role::Follower { epoch: newest }) => check(epoch <= newest, "S1", || {
                format!("a follower in epoch {newest} appends at {base} with epoch {epoch}")
            }),
            None => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::OwnEpoch;

    #[test]
    fn leaders_after_each_other_pass() {
        let mut stage = Stage::new(OwnEpoch);
        stage.leads(1).append_as(0, 4, 1, 1).on(1).follows(1).append_as(0, 4, 1, 1);
        stage.leads(2).append_as(5, 6, 2, 1).on(0).follows(2).append_as(5, 6, 2, 1);
        stage.crash().recovered(0, 7, 7).append_as(7, 8, 2, 1).leads(3).leads(3).append_as(9, 9, 3, 1);
        stage.passes();
    }

    #[test]
    fn an_epoch_that_is_not_the_leaders_own_is_found() {
        let mut stage = Stage::new(OwnEpoch);
        stage.leads(2).append_as(0, 4, 1, 1).finds("S1", "a leader of epoch 2 appends at 0 with epoch 1");
        let mut stage = Stage::new(OwnEpoch);
        stage.follows(2).append_as(0, 4, 3, 1).finds("S1", "a follower in epoch 2 appends at 0 with epoch 3");
    }
}
