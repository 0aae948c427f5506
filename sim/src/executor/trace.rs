//! Events as lines of text, which is what failures show, and as words of the hash, which is what every event costs.

use super::NodeId;
use crate::disk::Op;
use crate::hash::EventHash;
use highwater_env::Event;
use highwater_types::LogId;
use std::path::PathBuf;

/// Something that happened lately. It becomes text only when it is asked for.
pub(super) enum Recent {
    /// An event of a node, at virtual nanoseconds.
    Event(u64, NodeId, Event),
    /// A note.
    Note(u64, String),
    /// An operation of a disk.
    Disk(u64, Op, PathBuf),
}

impl Recent {
    /// It as a line; `name` gives a node's name.
    pub(super) fn line(&self, name: impl Fn(NodeId) -> String) -> String {
        let seconds = |now: u64| now as f64 / 1e9;
        match self {
            Self::Event(now, node, event) => {
                format!("{:>12.6}s {} {}", seconds(*now), name(*node), told(event))
            }
            Self::Note(now, text) => format!("{:>12.6}s -- {text}", seconds(*now)),
            Self::Disk(now, op, path) => format!("{:>12.6}s    {op:?} {}", seconds(*now), path.display()),
        }
    }
}

/// Feeds an event to a hash.
pub(super) fn feed(hash: &mut EventHash, event: &Event) {
    let mut about = |kind: u64, log: &LogId, words: &[i64]| {
        hash.word(kind);
        hash.feed(&log.topic.0.0);
        hash.word(log.partition.0 as u64);
        words.iter().for_each(|word| hash.word(*word as u64));
    };
    match event {
        Event::Appended { log, base, last, epoch, checksum, producer } => {
            let (id, of, sequence) = producer
                .map_or((-1, -1, -1), |(id, epoch, sequence)| (id.0, epoch.0.into(), sequence.into()));
            let words = [base.0, last.0, epoch.0.into(), (*checksum).into(), id, of, sequence];
            about(1, log, &words);
        }
        Event::Synced { log, end } => about(2, log, &[end.0]),
        Event::HighWatermark { log, end } => about(3, log, &[end.0]),
        Event::LogStart { log, start } => about(4, log, &[start.0]),
        Event::Truncated { log, end } => about(5, log, &[end.0]),
        Event::Acknowledged { log, base, last, acks } => about(6, log, &[base.0, last.0, (*acks).into()]),
        Event::Reached(mark) => hash.feed(mark.as_bytes()),
        // These are rare, and events to come are not known here.
        other => hash.feed(told(other).as_bytes()),
    }
}

/// An event in a few words.
pub(super) fn told(event: &Event) -> String {
    match event {
        Event::Appended { log, base, last, epoch, checksum, producer } => {
            let by = producer
                .map(|(id, epoch, sequence)| format!(" of producer {id}/{epoch} from sequence {sequence}"));
            format!(
                "{log} appended {base}..={last} in epoch {epoch}, {checksum:08x}{}",
                by.unwrap_or_default()
            )
        }
        Event::Synced { log, end } => format!("{log} synced up to {end}"),
        Event::HighWatermark { log, end } => format!("{log} high watermark {end}"),
        Event::LogStart { log, start } => format!("{log} starts at {start}"),
        Event::Truncated { log, end } => format!("{log} truncated to {end}"),
        Event::Recovered { log, start, end, proven, cut_bytes } => {
            format!("{log} recovered {start}..{end}, proven {proven}, {cut_bytes} bytes cut")
        }
        Event::Damaged { log, from, to } => format!("{log} damaged {from}..{to}"),
        Event::Poisoned { log } => format!("{log} FAILED"),
        Event::Acknowledged { log, base, last, acks } => {
            format!("{log} acknowledged {base}..={last}, acks={acks}")
        }
        Event::Reached(mark) => format!("mark {mark:?}"),
        other => format!("{other:?}"),
    }
}
