//! S8: log start <= high watermark <= end; a high watermark never falls within its epoch, log start and synced end
//! never fall while a node runs, truncation aside.
//!
//! A replica that has not told a high watermark since it started, or follows, may have its log start moved up to the
//! largest one that any replica told. One that begins anew may do so anywhere.
//!
//! Source: the promise in durability.md (S8); Kafka's KAFKA-5634 (retention beyond the high watermark) broke it.

use super::rules::{self, check};
use super::{Checker, Role, Seen, clock};
use crate::executor::Violation;
use highwater_env::Event;
use highwater_types::{LogId, Offset};

/// See the module.
#[derive(Debug, Default)]
pub struct Bounds;

impl Checker for Bounds {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Synced { end, .. } => {
                let replica = seen.replica();
                rules::synced(replica.synced, end, replica.end)
            }
            Event::HighWatermark { end, .. } => watermark(seen, end),
            Event::LogStart { start, .. } => start_moved(seen, start),
            Event::Compacting { log, up_to } => compacting(seen, log, up_to),
            Event::Recovered { start, end, .. } => recovered(seen, start, end),
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }
}

fn watermark(seen: &Seen<'_>, to: Offset) -> Result<(), Violation> {
    let replica = seen.replica();
    let end = replica.end.unwrap_or(to);
    check(to <= end, "S8", || format!("the high watermark moved to {to}, beyond the log's end {end}"))?;
    let before = replica.floor.unwrap_or_default();
    check(to >= before, "S8", || format!("the high watermark fell from {before} to {to}"))?;
    let start = replica.start;
    check(to >= start, "S8", || format!("the high watermark moved to {to}, below the log start {start}"))
}

/// What is not committed may be cut off again, and must not have removed anything before.
fn compacting(seen: &Seen<'_>, log: LogId, up_to: Offset) -> Result<(), Violation> {
    let committed = seen.ghost.committed(log).map_or(Offset::ZERO, |known| known.end);
    check(up_to <= committed || !seen.is_honest(), "S8", || {
        format!("the log is compacted up to {up_to}; the high watermark was {committed} at most")
    })
}

fn start_moved(seen: &Seen<'_>, to: Offset) -> Result<(), Violation> {
    let replica = seen.replica();
    rules::start_moved(replica.start, to)?;
    let committed =
        seen.log().and_then(|log| seen.ghost.committed(log)).map_or(Offset::ZERO, |known| known.end);
    let end = replica.end.unwrap_or(to);
    check(to <= end, "S8", || format!("the log start moved to {to}, beyond the log's end {end}"))?;
    // The brokers' own logs have no watermark that they would tell of.
    if !seen.is_topic() {
        return Ok(());
    }
    let replicated = seen.log().is_some_and(|log| seen.ghost.is_replicated(log));
    let bound = match replica.floor {
        None if replicated => committed,
        // What a follower knows of its leader's may be late.
        Some(_) if matches!(replica.role, Some(Role::Follower { .. })) => committed,
        known => known.unwrap_or_default(),
    };
    check(to <= bound, "S8", || {
        format!(
            "the log start moved to {to}, beyond the high watermark {bound}: records went that nobody could read yet"
        )
    })
}

fn recovered(seen: &Seen<'_>, start: Offset, end: Offset) -> Result<(), Violation> {
    check(start <= end, "S8", || format!("the log starts at {start} and ends at {end}"))?;
    let replica = seen.replica();
    // A log start is durable before it is told.
    let anew = replica.cutting.is_some() && start == end;
    check(!seen.is_honest() || anew || replica.deleting || start >= replica.start, "S8", || {
        let told = replica.removals.last().map(|removal| clock(removal.at)).unwrap_or_default();
        format!(
            "the log starts at {start} after a restart; records before {} were gone at {told}",
            replica.start
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::kit::{LOG, Stage};
    use super::Bounds;
    use highwater_env::Event;
    use highwater_types::Offset;

    fn stage() -> Stage {
        let mut stage = Stage::new(Bounds);
        stage.append(0, 9).synced(10).watermark(10);
        stage
    }

    #[test]
    fn what_moves_forward_passes() {
        let mut stage = stage();
        stage.log_start(5).append(10, 12).synced(13).watermark(13).log_start(13);
        stage.crash().recovered(13, 13, 13);
        stage.append(13, 13).synced(14).watermark(14).truncated(10).synced(10);
        stage.passes();
    }

    #[test]
    fn a_watermark_beyond_the_end_is_found() {
        stage().watermark(11).finds("S8", "beyond the log's end 10");
    }

    #[test]
    fn a_watermark_that_falls_is_found() {
        stage().watermark(9).finds("S8", "the high watermark fell from 10 to 9");
    }

    #[test]
    fn a_watermark_that_falls_over_a_restart_is_found() {
        stage().crash().recovered(0, 10, 10).watermark(9).finds("S8", "fell from 10 to 9");
    }

    #[test]
    fn a_watermark_below_the_start_is_found() {
        let mut stage = Stage::new(Bounds);
        stage.recovered(5, 9, 9).truncated(4).append(4, 8).log_start(4);
        stage.passes();
        let mut stage = Stage::new(Bounds);
        stage.internal().append(0, 9).log_start(5).watermark(4).finds("S8", "below the log start 5");
    }

    #[test]
    fn a_log_start_beyond_the_watermark_is_found() {
        stage().append(10, 19).synced(20).log_start(15).finds("S8", "beyond the high watermark 10");
        let mut own = Stage::new(Bounds);
        own.internal().append(0, 9).log_start(5).passes();
        own.log_start(11).finds("S8", "beyond the log's end 10");
    }

    #[test]
    fn compaction_beyond_the_watermark_is_found() {
        let up_to = |end| Event::Compacting { log: LOG, up_to: Offset(end) };
        stage().tell(up_to(10)).passes();
        stage().append(10, 19).synced(20).tell(up_to(15)).finds("S8", "the high watermark was 10 at most");
    }

    #[test]
    fn another_role_may_begin_with_a_lower_watermark() {
        let mut stage = Stage::new(Bounds);
        stage.partition(0, 1, &[0, 1], &[0, 1], &[]).leads(1).append(0, 9).watermark(10);
        stage.follows(2).watermark(8).leads(3).watermark(9).passes();
        stage.watermark(8).finds("S8", "the high watermark fell from 9 to 8");
        let mut stage = Stage::new(Bounds);
        stage.partition(0, 1, &[0, 1], &[0, 1], &[]).leads(1).append(0, 9).watermark(10);
        stage.crash().recovered(0, 10, 10).follows(2).watermark(3).passes();
    }

    #[test]
    fn a_follower_may_begin_anew_where_its_leader_begins() {
        let mut stage = Stage::new(Bounds);
        stage.partition(0, 1, &[0, 1], &[0, 1], &[]).leads(1).append(0, 9).append(10, 19).watermark(20);
        stage
            .log_start(15)
            .on(1)
            .follows(1)
            .append(0, 4)
            .watermark(5)
            .truncating(0)
            .restarted(15)
            .append(15, 19);
        stage.watermark(20).log_start(18).passes();
        stage.on(0).log_start(21).finds("S8", "beyond the log's end 20");
        let mut stage = Stage::new(Bounds);
        stage.partition(0, 1, &[0, 1], &[0, 1], &[]).on(1).follows(1).append(0, 9).log_start(5);
        stage.finds("S8", "beyond the high watermark 0");
    }

    #[test]
    fn a_log_start_that_falls_is_found() {
        stage().log_start(5).log_start(4).finds("S8", "the log start fell from 5 to 4");
        stage().log_start(5).crash().recovered(4, 10, 10).finds("S8", "records before 5 were gone");
        stage().log_start(5).crash().lie().recovered(4, 10, 10).passes();
        stage().crash().recovered(11, 10, 10).finds("S8", "starts at 11 and ends at 10");
    }

    #[test]
    fn a_synced_end_that_falls_or_flies_is_found() {
        stage().synced(9).finds("S8", "the synced end fell from 10 to 9");
        stage().synced(11).finds("S8", "beyond the end 10");
    }
}
