//! What can be typed while a cluster in one process runs.

use crate::config::nearest;
use std::ops::RangeInclusive;

/// A line that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A node crashes.
    Kill(usize),
    /// A node stops as it should.
    Stop(usize),
    /// A node starts again.
    Start(usize),
    /// What runs is told.
    Status,
    /// What can be typed is told.
    Help,
    /// All nodes stop.
    Quit,
    /// Nothing.
    Nothing,
}

/// What can be typed.
pub const HELP: &str = "\
kill N    node N crashes: it is dropped where it stands, as kill -9 would
stop N    node N stops as it should: its leaderships move to others first
start N   node N starts again on its data
status    the nodes, and what they do
quit      stop all nodes, as Ctrl-C does";

const WORDS: [&str; 6] = ["kill", "stop", "start", "status", "help", "quit"];

/// Understands a line, for nodes of these numbers.
pub fn parse(line: &str, nodes: RangeInclusive<usize>) -> Result<Typed, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| match word.parse() {
        Ok(node) if nodes.contains(&node) => Ok(node),
        _ => Err(format!("there is no node {word:?}; there are {} to {}", nodes.start(), nodes.end())),
    };
    match words[..] {
        [] => Ok(Typed::Nothing),
        ["kill", node] => number(node).map(Typed::Kill),
        ["stop", node] => number(node).map(Typed::Stop),
        ["start", node] => number(node).map(Typed::Start),
        ["status"] => Ok(Typed::Status),
        ["help" | "?"] => Ok(Typed::Help),
        ["quit" | "exit"] => Ok(Typed::Quit),
        [word @ ("kill" | "stop" | "start"), ..] => Err(format!("{word} takes the number of one node")),
        [word @ ("status" | "help" | "quit"), ..] => Err(format!("{word} takes nothing")),
        [word, ..] => Err(match nearest(word, WORDS.into_iter()) {
            Some(meant) => format!("there is no command {word:?}; did you mean {meant}?"),
            None => format!("there is no command {word:?}; there are {}", WORDS.join(", ")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_answered() {
        let parse = |line| super::parse(line, 1..=3);
        assert_eq!(parse(" kill  2 "), Ok(Typed::Kill(2)));
        assert_eq!(parse("start 3"), Ok(Typed::Start(3)));
        assert_eq!(parse(""), Ok(Typed::Nothing));
        for (line, part) in [
            ("kill 4", "there are 1 to 3"),
            ("kill all", "there is no node \"all\""),
            ("kill", "takes the number of one node"),
            ("status now", "takes nothing"),
            ("stat", "did you mean start?"),
            ("list", "there are kill, stop"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
