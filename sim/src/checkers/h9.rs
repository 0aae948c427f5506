//! H9: operations on metadata, and reads of it, are linearizable.
//!
//! Each configuration of a topic and each topic's being there is a register of its own. A read is held against all that
//! can be said for certain: what it found was written by something that had begun, and was not overwritten by something
//! that had ended before the read began, nor does it undo what an earlier read found. Reads that any broker may answer
//! from what it has applied so far may be late: of them only the first is asked.
//!
//! Source: durability.md (H9); etcd 7331 and 20418 (reads served by a deposed leader).

use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::{Entry, Op, Outcome};
use highwater_types::Instant;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Metadata;

/// What a register may hold. None: what it held before anybody wrote, or no topic.
type Content = Option<String>;

/// One register: a topic, and one of its configurations unless its being there is meant.
type Register<'a> = (&'a str, Option<&'a str>);

/// An operation on a register.
struct Access {
    client: u32,
    began: Instant,
    /// Never, for one whose outcome is open: it may still happen.
    ended: Option<Instant>,
    content: Content,
    /// Of a read: nobody may have answered it from what was late.
    fresh: bool,
}

#[derive(Default)]
struct Accesses {
    writes: Vec<Access>,
    reads: Vec<Access>,
}

impl Checker for Metadata {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let mut registers: BTreeMap<Register<'_>, Accesses> = BTreeMap::new();
        for entry in end.history.entries() {
            take(entry, &mut registers);
        }
        for (register, accesses) in &registers {
            check_register(*register, accesses)?;
        }
        Ok(())
    }
}

fn take<'a>(entry: &'a Entry, registers: &mut BTreeMap<Register<'a>, Accesses>) {
    let mut write = |register: Register<'a>, content: Content, done: bool| {
        let ended = entry.ended.filter(|_| done);
        let access = Access { client: entry.client, began: entry.began, ended, content, fresh: true };
        registers.entry(register).or_default().writes.push(access);
    };
    match &entry.op {
        Op::CreateTopic { topic, configs, answer, .. } if answer.is_possible() => {
            let done = answer.ok().is_some();
            write((topic, None), Some("there".to_owned()), done);
            for (name, value) in configs {
                write((topic, Some(name)), Some(value.clone()), done);
            }
        }
        Op::DeleteTopic { topic, answer } if answer.is_possible() => {
            write((topic, None), None, answer.ok().is_some());
        }
        Op::AlterConfigs { topic, configs, answer } if answer.is_possible() => {
            for (name, value) in configs {
                write((topic, Some(name)), Some(value.clone()), answer.ok().is_some());
            }
        }
        Op::DescribeTopic { topic, fresh, answer: Outcome::Ok(there) } => {
            let content = there.then(|| "there".to_owned());
            read(entry, registers, (topic, None), content, *fresh);
        }
        Op::DescribeConfigs { topic, fresh, answer: Outcome::Ok(found) } => {
            for (name, value) in found {
                read(entry, registers, (topic, Some(name)), Some(value.clone()), *fresh);
            }
        }
        _ => {}
    }
}

fn read<'a>(
    entry: &'a Entry,
    registers: &mut BTreeMap<Register<'a>, Accesses>,
    register: Register<'a>,
    content: Content,
    fresh: bool,
) {
    let (client, began, ended) = (entry.client, entry.began, entry.ended);
    let access = Access { client, began, ended, content, fresh };
    registers.entry(register).or_default().reads.push(access);
}

fn check_register(register: Register<'_>, accesses: &Accesses) -> Result<(), Violation> {
    let Accesses { writes, reads } = accesses;
    // What a configuration is without anybody having set it is not known here: it may be anything.
    let may_be_initial = |read: &Access| register.1.is_some() || read.content.is_none();
    let mut latest: Vec<(&Access, Instant)> = Vec::new();
    for read in reads {
        let Some(ended) = read.ended else { continue };
        let initial = may_be_initial(read);
        let sources: Vec<&Access> =
            writes.iter().filter(|write| write.content == read.content && write.began < ended).collect();
        let told = |why: String| {
            let what = match register.1 {
                Some(name) => format!("{name} of {}", register.0),
                None => format!("whether there is a topic {}", register.0),
            };
            let found = read.content.as_deref().unwrap_or("nothing");
            let (client, at) = (read.client, clock(read.began));
            Violation::new(
                "H9",
                format!("client {client} asked at {at} for {what} and found {found:?}; {why}"),
            )
        };
        if sources.is_empty() && !initial {
            return Err(told("nobody had set that yet".to_owned()));
        }
        if !read.fresh {
            continue;
        }
        // What must have been in force when the read began, or later.
        let over = |from: Option<Instant>, by: &Access| {
            by.content != read.content
                && by.ended.is_some_and(|ended| ended < read.began)
                && from.is_none_or(|from| from < by.began)
        };
        let stands = |write: &&Access| {
            let done = write.ended;
            // One whose end is open may have happened just now.
            done.is_none() || !writes.iter().any(|by| over(done, by))
        };
        let beginning_stands = initial && !writes.iter().any(|by| over(None, by));
        if !beginning_stands && !sources.iter().any(stands) {
            let by = writes.iter().rfind(|by| over(None, by));
            let by = by.map_or(String::new(), |by| {
                let text = by.content.as_deref().unwrap_or("nothing");
                format!(
                    "client {} had set it to {text:?} since, by {}",
                    by.client,
                    clock(by.ended.unwrap_or_default())
                )
            });
            return Err(told(by));
        }
        // A later read does not find what an earlier one had found to be over.
        for (earlier, since) in &latest {
            let before =
                earlier.ended.is_some_and(|ended| ended < read.began) && earlier.content != read.content;
            let gone = sources.iter().all(|write| write.ended.is_some_and(|ended| ended < *since));
            if before && gone {
                let found = earlier.content.as_deref().unwrap_or("nothing");
                return Err(told(format!(
                    "client {} had found {found:?} before, which was set later",
                    earlier.client
                )));
            }
        }
        let since =
            writes.iter().filter(|write| write.content == read.content).map(|write| write.began).min();
        if let Some(since) = since.filter(|_| !beginning_stands) {
            latest.push((read, since));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kit::{Tale, alter};
    use super::Metadata;
    use crate::history::{Op, Outcome};
    use highwater_types::TopicId;

    fn found(value: &str) -> Op {
        described(value, true)
    }

    fn described(value: &str, fresh: bool) -> Op {
        let answer = Outcome::Ok(vec![("retention.ms".to_owned(), value.to_owned())]);
        Op::DescribeConfigs { topic: "orders".into(), fresh, answer }
    }

    fn topic(there: bool) -> Op {
        Op::DescribeTopic { topic: "other".into(), fresh: true, answer: Outcome::Ok(there) }
    }

    fn create() -> Op {
        let answer = Outcome::Ok(TopicId::default());
        Op::CreateTopic { topic: "other".into(), partitions: 1, configs: Vec::new(), answer }
    }

    fn set(value: &str) -> Op {
        alter("retention.ms", value, Outcome::Ok(()))
    }

    fn maybe(value: &str) -> Op {
        alter("retention.ms", value, Outcome::Unknown("timeout".into()))
    }

    #[test]
    fn reads_of_what_was_set_last_pass() {
        let mut tale = Tale::new();
        tale.op(found("9"))
            .op(set("1"))
            .op(found("1"))
            .op(set("2"))
            .op(found("2"))
            .op(set("1"))
            .op(found("1"));
        tale.op(topic(false)).op(create()).op(topic(true));
        tale.op(Op::DeleteTopic { topic: "other".into(), answer: Outcome::Ok(()) }).op(topic(false));
        tale.passes(Metadata);
    }

    #[test]
    fn what_may_have_been_set_may_be_found_at_any_time() {
        let mut tale = Tale::new();
        tale.op(maybe("3")).op(set("1")).op(found("1")).op(found("3")).passes(Metadata);
        tale.op(alter("retention.ms", "7", Outcome::Failed("no".into()))).op(found("3")).passes(Metadata);
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_found() {
        let mut tale = Tale::new();
        tale.op(set("1")).op(set("2")).op(found("1"));
        tale.finds(Metadata, "H9", "found \"1\"; client 3 had set it to \"2\" since");
        let mut tale = Tale::new();
        tale.op(create()).op(topic(false)).finds(
            Metadata,
            "H9",
            "whether there is a topic other and found \"nothing\"",
        );
    }

    #[test]
    fn a_read_of_what_nobody_set_is_found() {
        let mut tale = Tale::new();
        tale.op(topic(true)).finds(Metadata, "H9", "nobody had set that yet");
        let mut tale = Tale::new();
        tale.op(set("1")).op(found("2")).op(set("2")).finds(
            Metadata,
            "H9",
            "client 3 had set it to \"1\" since",
        );
    }

    #[test]
    fn a_read_that_undoes_an_earlier_one_is_found() {
        let mut tale = Tale::new();
        tale.op(set("1")).op(maybe("3")).op(found("3")).op(found("1"));
        tale.finds(Metadata, "H9", "client 3 had found \"3\" before, which was set later");
    }

    #[test]
    fn a_read_that_may_be_late_is_asked_less() {
        let mut tale = Tale::new();
        tale.op(set("1")).op(set("2")).op(described("1", false)).passes(Metadata);
        tale.op(described("2", false)).op(described("1", false)).passes(Metadata);
    }
}
