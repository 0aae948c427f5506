//! The events that a reader of a failure needs: those of what it speaks of, around when it speaks of, and all faults.

/// How far before and after a time that the failure names an event may lie, in seconds.
const AROUND: f64 = 1.5;
/// How many events of the named objects are shown from the end.
const LAST: usize = 12;
/// How many events are shown at most.
const MOST: usize = 60;

/// The lines of a whole run's trace that belong to a failure with this text, in order.
pub(super) fn excerpt(events: &[String], failure: &str) -> Vec<String> {
    let named = partitions(failure);
    let times = times(failure);
    let speaks_of = |line: &str| named.is_empty() || named.iter().any(|name| mentions(line, name));
    // Notes tell of faults and restarts; operations of disks are for replays.
    let is_note = |line: &str| line.contains(" -- ");
    let matters = |line: &&String| is_note(line) || (!is_disk(line) && speaks_of(line));
    let near =
        |line: &str| time_of(line).is_some_and(|at| times.iter().any(|time| (at - time).abs() <= AROUND));
    let all: Vec<&String> = events.iter().filter(matters).collect();
    let from = all.len().saturating_sub(LAST);
    let chosen = all.iter().enumerate().filter(|(at, line)| *at >= from || near(line));
    let chosen: Vec<String> = chosen.map(|(_, line)| (*line).clone()).collect();
    match chosen.len().checked_sub(MOST) {
        // What comes last before the failure tells most.
        Some(surplus) => chosen[surplus..].to_vec(),
        None => chosen,
    }
}

/// An operation of a disk has three blanks where others have their node.
fn is_disk(line: &str) -> bool {
    line.get(13..16).is_some_and(|gap| gap == "   ")
}

fn time_of(line: &str) -> Option<f64> {
    line.split_whitespace().next()?.strip_suffix('s')?.parse().ok()
}

fn mentions(line: &str, name: &str) -> bool {
    line.split(|character: char| character.is_whitespace() || character == ',').any(|word| word == name)
}

/// The words that look like partitions: `orders-0`.
fn partitions(text: &str) -> Vec<&str> {
    let trimmed = text.split_whitespace().map(|word| word.trim_matches([':', ',', '.', ';', '(', ')']));
    trimmed
        .filter(|word| {
            let number = word.rsplit_once('-').map(|(name, number)| (name.is_empty(), number));
            number.is_some_and(|(nameless, number)| {
                !nameless && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
        .collect()
}

/// The times: `23.067 s`.
fn times(text: &str) -> Vec<f64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[1].trim_matches([':', ',', '.', ';']) == "s");
    pairs.filter_map(|pair| pair[0].parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_of_what_the_failure_speaks_of() {
        let line = |text: &str| text.to_owned();
        let mut events = vec![
            line("    1.000000s broker-1: synced orders-0 up to 4"),
            line("    1.100000s broker-1: synced orders-1 up to 9"),
            line("    1.200000s    SyncData /data/logs/orders-0/0.log"),
            line("    1.300000s -- power cut of broker-1"),
        ];
        events.extend(
            (0..100)
                .map(|at| format!("   {:.6}s broker-1: synced orders-0 up to {at}", 30.0 + f64::from(at))),
        );
        let failure = "S14: at 1.250 s on node 0, orders-0: a client was told that offsets 3 to 3 are safe";
        let shown = excerpt(&events, failure);
        assert_eq!(shown.len(), 2 + LAST);
        assert_eq!([&shown[0], &shown[1]], [&events[0], &events[3]]);
        assert_eq!(shown.last(), events.last());
    }

    #[test]
    fn a_failure_that_names_nothing_gets_the_end() {
        let events: Vec<String> = (0..50).map(|at| format!("   {at}.000000s a: mark")).collect();
        assert_eq!(excerpt(&events, "nothing can go on"), events[50 - LAST..]);
    }
}
