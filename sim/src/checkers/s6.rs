//! S6: two replicas agree on (offset, epoch, checksum) below the smaller of their high watermarks, compaction aside.
//!
//! What anybody told to be below a high watermark is kept, and every other copy is held against it as far as its own
//! high watermark reaches. Source: durability.md (S6), after the published TLA+ of KIP-966; KIP-279 (one step of
//! truncation is not enough), KAFKA-14704 (a diverged follower takes its leader's high watermark).

use super::compared::Compared;
use super::{Checker, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::LogId;

/// See the module.
#[derive(Debug, Default)]
pub struct Copies {
    compared: Compared,
}

impl Checker for Copies {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.compared.hear(seen.node, seen.event);
        let Event::HighWatermark { log, end } = *seen.event else { return Ok(()) };
        if !seen.ghost.keeps(log) {
            return Ok(());
        }
        match self.compared.check(seen.ghost, (seen.node, log), end, false) {
            Some(difference) => {
                let text =
                    format!("its high watermark moves to {end}, and {difference} by another replica's word");
                Err(seen.place(Violation::new("S6", text)))
            }
            None => Ok(()),
        }
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.compared.forget_node(node);
    }

    fn log_reopened(&mut self, node: NodeId, log: LogId) {
        self.compared.forget(node, log);
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::Copies;

    fn stage() -> Stage {
        let mut stage = Stage::new(Copies::default());
        stage.partition(0, 1, &[0, 1], &[0, 1], &[]);
        stage.on(0).leads(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xbb).watermark(10).on(1).follows(1);
        stage
    }

    #[test]
    fn replicas_that_agree_below_their_watermarks_pass() {
        let mut stage = stage();
        stage.append_as(0, 4, 1, 0xaa).watermark(5);
        // Above the watermark, anything may stand until it is truncated.
        stage.append_as(5, 7, 2, 0xcc).truncated(5).append_as(5, 9, 1, 0xbb).watermark(10).passes();
    }

    #[test]
    fn replicas_that_differ_below_their_watermarks_are_found() {
        let mut stage = stage();
        stage.append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xcc).watermark(5).passes();
        stage.watermark(10).finds("S6", "at offset 5 it has a batch to 9 of epoch 1, checksum 000000cc");
        let mut stage = self::stage();
        stage.append_as(0, 4, 0, 0xaa).watermark(5).finds("S6", "to 4 of epoch 0");
        let mut stage = self::stage();
        stage.append_as(0, 9, 1, 0xaa).watermark(10).finds("S6", "at offset 0 it has a batch to 9");
    }

    #[test]
    fn what_was_truncated_is_compared_anew() {
        let mut stage = stage();
        stage.append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xbb).watermark(10).truncated(5);
        stage.append_as(5, 9, 2, 0xcc).watermark(10).finds("S6", "of epoch 2");
    }

    #[test]
    fn a_disk_that_lies_may_hold_anything() {
        stage().append_as(0, 4, 1, 0xcc).lie().watermark(5).passes();
    }
}
