//! A group of stock clients whose members come, go and are killed while records arrive, and whose broker is killed,
//! too: every record is processed, and the group goes on from where it was.

use crate::broker::Broker;
use crate::clients::{Client, READER, Sending, Spec};
use crate::install;
use crate::ledger::Ledger;
use crate::program::Program;
use crate::record::Record;
use crate::streams::{Stream, stop};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How many partitions the members share.
const PARTITIONS: i32 = 4;
/// How long the group may take to go on after something happened: sessions of six seconds, and the rebalance that
/// follows, on a machine that others use, too.
const PATIENCE: Duration = Duration::from_secs(90);
/// How much each partition must get ahead for the group to have gone on.
const PROGRESS: usize = 20;

/// What is tried.
pub struct GroupTrial<'a> {
    /// The client.
    pub client: &'static str,
    /// The protocol of its group.
    pub protocol: &'static str,
    /// Where the clients are installed.
    pub cache: &'a Path,
    /// Where its files go.
    pub dir: &'a Path,
    /// What clients connect to.
    pub bootstrap: SocketAddr,
    /// The topic, which is made here.
    pub topic: String,
}

/// What was seen.
#[derive(Debug)]
pub struct GroupSeen {
    /// Records that were sent.
    pub sent: usize,
    /// How often a record was processed again.
    pub repeated: usize,
}

/// A member in a process of its own.
struct Member {
    program: Program,
    processed: PathBuf,
}

/// A processed record: partition and offset.
type Place = (i32, i64);

impl GroupTrial<'_> {
    /// Tries it. The broker is killed and started again on the way.
    pub fn run(&self, broker: Broker) -> Result<(Broker, GroupSeen)> {
        let (mut reader, mut streams) = self.begin()?;
        let first = self.join("first")?;
        self.goes_on(&[&first], "after the first member joined")?;
        let second = self.join("second")?;
        self.goes_on(&[&first, &second], "after the second member joined")?;
        let mut third = self.join("third")?;
        self.goes_on(&[&first, &second, &third], "after the third member joined")?;

        let mut dead = second;
        dead.program.kill()?;
        self.goes_on(&[&first, &third], "after a member was killed")?;

        let broker = Broker::start(broker.kill()?)?;
        self.goes_on(&[&first, &third], "after the broker was killed")?;

        let mut first = first;
        first.leave()?;
        self.goes_on(&[&third], "after a member left")?;

        let ledger = stop(&mut streams)?.pop().context("there is one stream")?;
        self.finishes(&[&first, &dead, &third], &ledger)?;
        third.leave()?;
        let seen = self.judge(&[&first, &dead, &third], &ledger)?;
        self.resumes(&mut reader)?;
        Ok((broker, seen))
    }

    /// Tries a group whose members come with another protocol than those that are there, until none of these is left.
    pub fn migrate(&self) -> Result<GroupSeen> {
        let (_reader, mut streams) = self.begin()?;
        let mut first = self.join_as("first", "cooperative")?;
        self.goes_on(&[&first], "after the first member joined")?;
        let mut second = self.join_as("second", "consumer")?;
        self.goes_on(&[&first, &second], "after one joined with the new protocol")?;
        let mut third = self.join_as("third", "consumer")?;
        self.goes_on(&[&first, &second, &third], "after another joined with the new protocol")?;
        first.leave()?;
        self.goes_on(&[&second, &third], "after the one with the classic protocol left")?;
        let mut fourth = self.join_as("fourth", "cooperative")?;
        self.goes_on(&[&second, &third, &fourth], "after one with the classic protocol came back")?;
        second.leave()?;
        third.leave()?;
        self.goes_on(&[&fourth], "after those with the new protocol left")?;
        let ledger = stop(&mut streams)?.pop().context("there is one stream")?;
        let members = [&first, &second, &third, &fourth];
        self.finishes(&members, &ledger)?;
        let seen = self.judge(&members, &ledger)?;
        fourth.leave()?;
        Ok(seen)
    }

    /// Makes the topic, and has records arrive.
    fn begin(&self) -> Result<(Program, Vec<Stream>)> {
        install::install(READER, self.cache)?;
        let mut reader = self.program(READER, "reader")?;
        reader.create_topic(&self.topic, PARTITIONS)?;
        let dir = self.dir.join(format!("group-{}-stream", self.protocol));
        fs::create_dir_all(&dir)?;
        let topic = (self.topic.as_str(), PARTITIONS);
        let stream = Stream::start(READER, true, topic, self.cache, &dir, self.bootstrap)?;
        Ok((reader, vec![stream]))
    }

    fn program(&self, client: &str, name: &str) -> Result<Program> {
        let dir = self.dir.join(format!("group-{}-{name}", self.protocol));
        fs::create_dir_all(&dir)?;
        Program::start(client, self.cache, &dir, self.bootstrap)
    }

    fn join(&self, name: &str) -> Result<Member> {
        self.join_as(name, self.protocol)
    }

    fn join_as(&self, name: &str, protocol: &str) -> Result<Member> {
        let mut program = self.program(self.client, name)?;
        let processed = program.join_group(&self.group(), &self.topic, protocol)?;
        Ok(Member { program, processed })
    }

    fn group(&self) -> String {
        format!("group-{}", self.topic)
    }

    /// Waits until members have got on in every partition.
    fn goes_on(&self, members: &[&Member], when: &str) -> Result<()> {
        let before = counts(members)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = counts(members)?;
            let count =
                |counts: &BTreeMap<i32, usize>, partition| counts.get(&partition).copied().unwrap_or(0);
            let stuck: Vec<i32> = (0..PARTITIONS)
                .filter(|partition| count(&now, *partition) < count(&before, *partition) + PROGRESS)
                .collect();
            if stuck.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let logs: Vec<_> = members.iter().map(|member| member.program.log_tail()).collect();
                bail!("{when}, nobody processed partitions {stuck:?} for {PATIENCE:?}\n{}", logs.join("\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all that was acknowledged is processed.
    fn finishes(&self, members: &[&Member], ledger: &Ledger) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let processed: BTreeSet<String> = values(members)?;
            let missing: Vec<String> = ledger
                .acknowledged
                .iter()
                .map(|ack| format!("{}:{}:{}", ledger.stream, ack.partition, ack.sequence))
                .filter(|value| !processed.contains(value))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} of {} acknowledged records were not processed, the first: {:?}",
                    missing.len(),
                    ledger.acknowledged.len(),
                    missing.first()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What was processed, against what was sent. A member processes each partition in its order, but for steps back
    /// to what was committed.
    fn judge(&self, members: &[&Member], ledger: &Ledger) -> Result<GroupSeen> {
        let mut seen: BTreeMap<Place, String> = BTreeMap::new();
        let mut repeated = 0;
        for member in members {
            for (partition, offset, value) in member.lines()? {
                if !value.starts_with(&format!("{}:{partition}:", ledger.stream)) {
                    bail!("partition {partition} gave {value:?}, which was never sent there");
                }
                match seen.insert((partition, offset), value.clone()) {
                    Some(before) if before != value => {
                        bail!("offset {offset} of partition {partition} was {before:?}, and then {value:?}");
                    }
                    Some(_) => repeated += 1,
                    None => {}
                }
            }
        }
        Ok(GroupSeen { sent: ledger.acknowledged.len(), repeated })
    }

    /// A member that comes after all is processed finds nothing to do, and then what is new alone.
    fn resumes(&self, reader: &mut Program) -> Result<()> {
        let mut program = self.program(self.client, "last")?;
        let committed = program.committed(&self.group(), &self.topic, PARTITIONS)?;
        for (partition, committed) in (0..).zip(committed) {
            let end = reader.offset(&self.topic, partition, Spec::Latest)?;
            if committed != end {
                bail!("offset {committed} is committed for partition {partition}, which ends at {end}");
            }
        }
        let processed = program.join_group(&self.group(), &self.topic, self.protocol)?;
        let mut member = Member { program, processed };
        let new = Record {
            partition: 0,
            offset: -1,
            timestamp: 1,
            key: None,
            value: Some(b"new".to_vec()),
            headers: Vec::new(),
        };
        let sending = Sending { codec: "none", client_id: "after".to_owned(), idempotent: false };
        reader.produce(&self.topic, &sending, &[new])?;
        let deadline = Instant::now() + PATIENCE;
        while member.lines()?.is_empty() {
            if Instant::now() > deadline {
                bail!("the group did not go on with what is new\n{}", member.program.log_tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
        member.leave()?;
        match member.lines()?.as_slice() {
            [(_, _, value)] if value == "new" => Ok(()),
            lines => bail!("{} records were processed again, the first: {:?}", lines.len(), lines.first()),
        }
    }
}

impl Member {
    /// What it has processed so far: partition, offset, value.
    fn lines(&self) -> Result<Vec<(i32, i64, String)>> {
        let text = fs::read_to_string(&self.processed)?;
        // The last line may be on its way, or lost with its writer.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(line).collect()
    }

    fn leave(&mut self) -> Result<()> {
        self.program.leave_group().map(drop)
    }
}

fn line(line: &str) -> Result<(i32, i64, String)> {
    let mut words = line.splitn(3, ' ');
    let mut next = || words.next().with_context(|| format!("a line of three words: {line:?}"));
    Ok((next()?.parse()?, next()?.parse()?, next()?.to_owned()))
}

/// How many records of each partition were processed.
fn counts(members: &[&Member]) -> Result<BTreeMap<i32, usize>> {
    let mut counts = BTreeMap::new();
    for member in members {
        for (partition, ..) in member.lines()? {
            *counts.entry(partition).or_default() += 1;
        }
    }
    Ok(counts)
}

fn values(members: &[&Member]) -> Result<BTreeSet<String>> {
    let mut values = BTreeSet::new();
    for member in members {
        values.extend(member.lines()?.into_iter().map(|(_, _, value)| value));
    }
    Ok(values)
}
