//! How far the groups that this node coordinates are behind, for those who watch.
//!
//! The end of a partition is known where a replica of it is. Elsewhere the offset is told alone: the end is told by the
//! nodes that have it.

use super::Groups;
use crate::directory::Routing;
use crate::metrics::render_number;
use highwater_env::Env;
use std::fmt::Write as _;

/// How many partitions of groups are told of; each is a series for whoever collects them.
const MOST_SERIES: usize = 10_000;

impl<E: Env> Groups<E> {
    /// Adds what Prometheus is told of groups.
    pub(crate) fn render(&self, routing: &Routing<E>, out: &mut String) {
        let mut groups = 0;
        let mut left_out = 0usize;
        let mut rows = Vec::new();
        for shard in self.all() {
            let read = shard.read(|coordinator| {
                groups += coordinator.group_count();
                for (group, topic, partition, offset) in coordinator.all_offsets() {
                    if rows.len() == MOST_SERIES {
                        left_out += 1;
                        continue;
                    }
                    let here = routing.topic(topic).and_then(|topic| topic.partition(partition).flatten());
                    let lag = here.map(|partition| (partition.high_watermark().0 - offset.0).max(0));
                    let (group, topic) = (quoted(group), quoted(topic));
                    let labels = format!("{{group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"}}");
                    rows.push((labels, offset.0, lag));
                }
            });
            // One that reads its log tells nothing yet.
            let _ = read;
        }
        render_number(out, "gauge", "highwater_groups", "Groups that this node coordinates.", groups as u64);
        let head = |out: &mut String, name: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        };
        head(out, "highwater_group_offset", "How far a group has read a partition.");
        for (labels, offset, _) in &rows {
            let _ = writeln!(out, "highwater_group_offset{labels} {offset}");
        }
        head(
            out,
            "highwater_group_lag",
            "How many records a group has not read, where a replica is on this node.",
        );
        for (labels, lag) in rows.iter().filter_map(|(labels, _, lag)| Some((labels, (*lag)?))) {
            let _ = writeln!(out, "highwater_group_lag{labels} {lag}");
        }
        let help = "Partitions of groups that are not told of: there are too many.";
        render_number(out, "gauge", "highwater_group_series_left_out", help, left_out as u64);
    }
}

/// A label's value as Prometheus reads it.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_may_hold_anything() {
        assert_eq!(super::quoted("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
