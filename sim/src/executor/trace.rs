//! Events as lines of text, which is what failures show, and as words of the hash, which is what every event costs.

use super::NodeId;
use crate::disk::Op;
use crate::hash::EventHash;
use highwater_env::Event;
use highwater_types::{LogId, ProducerEpoch, ProducerId, TopicId};
use std::collections::BTreeMap;
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
    /// It as a line; `name` gives a node's name, `topics` those of topics.
    pub(super) fn line(&self, name: impl Fn(NodeId) -> String, topics: &BTreeMap<TopicId, String>) -> String {
        let seconds = |now: u64| now as f64 / 1e9;
        match self {
            Self::Event(now, node, event) => {
                format!("{:>12.6}s {}: {}", seconds(*now), name(*node), told(event, topics))
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
        other => hash.feed(told(other, &BTreeMap::new()).as_bytes()),
    }
}

/// An event in a few words, in which topics go by their names where those are known.
fn told(event: &Event, topics: &BTreeMap<TopicId, String>) -> String {
    let log = |log: &LogId| match topics.get(&log.topic) {
        Some(name) => format!("{name}-{}", log.partition),
        None => log.to_string(),
    };
    let producer = |by: &Option<(ProducerId, ProducerEpoch, i32)>| {
        by.map(|(id, epoch, sequence)| {
            format!(" of producer {id} (epoch {epoch}) from sequence {sequence} on")
        })
    };
    match event {
        Event::Appended { log: of, base, last, epoch, checksum, producer: by } => {
            let by = producer(by).unwrap_or_default();
            format!(
                "appended {} {base} to {last}{by}, leader epoch {epoch}, checksum {checksum:08x}",
                log(of)
            )
        }
        Event::Synced { log: of, end } => format!("synced {} up to {end}", log(of)),
        Event::HighWatermark { log: of, end } => format!("high watermark of {} is {end}", log(of)),
        Event::LogStart { log: of, start } => format!("{} starts at {start}", log(of)),
        Event::Truncated { log: of, end } => format!("truncated {} to {end}", log(of)),
        Event::Recovered { log: of, start, end, proven, cut_bytes } => {
            let cut = if *cut_bytes > 0 { format!(", {cut_bytes} bytes cut off") } else { String::new() };
            format!("recovered {} from {start} to {end}, proven up to {proven}{cut}", log(of))
        }
        Event::MarksLost => "found no marks of what is proven".to_owned(),
        Event::Damaged { log: of, from, to } => format!("found damage in {} from {from} to {to}", log(of)),
        Event::Poisoned { log: of } => format!("{} FAILED and takes nothing more", log(of)),
        Event::Acknowledged { log: of, base, last, acks } => {
            format!("acknowledged {} {base} to {last}, acks={acks}", log(of))
        }
        Event::TopicCreated { name, .. } => format!("topic {name} is there"),
        Event::TopicDeleted { topic } => {
            let name = topics.get(topic).cloned().unwrap_or_else(|| topic.to_string());
            format!("topic {name} is deleted")
        }
        Event::Reached(mark) => format!("mark {mark:?}"),
        other => format!("{other:?}"),
    }
}
