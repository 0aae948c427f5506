//! What a stock client must be able to do, step by step.

use crate::broker::{AUTOMATIC_PARTITIONS, Broker, BrokerSetup, free_address};
use crate::clients::{self, Client, NoOffset, Profile, READER, Sending, Spec};
use crate::compare::{self, Timestamps};
use crate::groups::GroupTrial;
use crate::proxy::{CUT_PREFIX, Proxy};
use crate::record::Record;
use crate::stored::{self, Share};
use crate::workload::{self, PARTITIONS};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One record in so many is sent over connections that are cut.
const CUT_SHARE: usize = 10;
/// The records are expected to need several requests, so that there is something to cut.
const FEWEST_CUTS: u32 = 3;
/// How long a change of the topics may take to show.
const SHOWING: Duration = Duration::from_secs(20);

/// What a client is tried against.
pub enum Target {
    /// A broker of our own, started afresh for each client.
    Binary(PathBuf),
    /// A broker that runs already, and the address that it tells clients to connect to, which the proxy takes.
    Running {
        /// Where it listens.
        broker: SocketAddr,
        /// What it advertises.
        advertised: SocketAddr,
    },
}

/// A run of the suite.
pub struct Suite<'a> {
    /// The text.
    pub lines: &'a [String],
    /// Where the clients are installed.
    pub cache: &'a Path,
    /// What draws the cuts.
    pub seed: u64,
}

impl Suite<'_> {
    /// Tries one client. On failure the broker's log is part of the error.
    pub fn run(&self, profile: &'static Profile, target: &Target, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        let (setup, address, advertised) = match target {
            Target::Running { broker, advertised } => (None, *broker, *advertised),
            Target::Binary(binary) => {
                let advertised = free_address()?;
                let setup = BrokerSetup { advertised: Some(advertised), ..BrokerSetup::fresh(binary, dir)? };
                let listen = setup.listen;
                (Some(setup), listen, advertised)
            }
        };
        let log = setup.as_ref().map(BrokerSetup::log);
        let outcome = (|| {
            let broker = setup.map(Broker::start).transpose()?;
            let proxy = Proxy::start(advertised, address, self.seed)?;
            Trial::start(self, profile, dir, proxy, broker)?.all()
        })();
        match log {
            Some(log) => outcome.with_context(|| crate::process::tail("the broker", &log)),
            None => outcome,
        }
    }
}

/// One client against one broker.
struct Trial<'a> {
    suite: &'a Suite<'a>,
    profile: &'static Profile,
    dir: &'a Path,
    client: Box<dyn Client>,
    /// Who reads for a client that cannot.
    reader: Option<Box<dyn Client>>,
    proxy: Proxy,
    broker: Option<Broker>,
    started_ms: i64,
    topic: String,
    /// How the records of the topic were sent.
    shares: Vec<Share>,
}

impl<'a> Trial<'a> {
    fn start(
        suite: &'a Suite<'a>,
        profile: &'static Profile,
        dir: &'a Path,
        proxy: Proxy,
        broker: Option<Broker>,
    ) -> Result<Self> {
        let start = |name| clients::start(clients::profile(name)?, suite.cache, dir, proxy.address());
        let client = start(profile.name)?;
        let reader = if profile.consumes { None } else { Some(start(READER)?) };
        let started_ms = now_ms()?;
        let topic = format!("text-{}-{started_ms}", profile.name);
        Ok(Self { suite, profile, dir, client, reader, proxy, broker, started_ms, topic, shares: Vec::new() })
    }

    fn all(&mut self) -> Result<()> {
        println!("{}: {}", self.profile.name, self.client.version()?);
        if self.profile.only_groups {
            return self.share_in_groups();
        }
        let sent = self.produce_and_read()?;
        self.list_offsets(&sent)?;
        if self.profile.administers {
            self.delete_records(&sent)?;
            self.delete_topic()?;
        }
        self.produce_over_cuts()?;
        self.share_in_groups()?;
        self.restart(&sent)
    }

    fn share_in_groups(&mut self) -> Result<()> {
        self.profile.groups.iter().try_for_each(|protocol| self.share_as_a_group(protocol))?;
        let migrates =
            ["cooperative", "consumer"].iter().all(|protocol| self.profile.groups.contains(protocol));
        if migrates { self.migrate_a_group() } else { Ok(()) }
    }

    fn step(&self, what: &str, started: Instant) {
        println!("{}: {what}: {:.2} s", self.profile.name, started.elapsed().as_secs_f64());
    }

    /// The text through every codec, read back. Returns the records as they must lie in the log.
    fn produce_and_read(&mut self) -> Result<Vec<Record>> {
        let topic = self.topic.clone();
        self.make_topic(&topic)?;
        let codecs = self.profile.codecs;
        let all = self.suite.lines.len() - self.suite.lines.len() / CUT_SHARE;
        let mut sent = Vec::new();
        for (index, codec) in codecs.iter().enumerate() {
            let started = Instant::now();
            let lines = &self.suite.lines[all * index / codecs.len()..all * (index + 1) / codecs.len()];
            let records =
                workload::records(lines, sent.len(), self.started_ms - workload::AGE_MS, self.profile);
            let client_id = format!("stock-{}", self.profile.name);
            let sending = Sending { codec, client_id, idempotent: index % 2 == 1 };
            self.client.produce(&topic, &sending, &records)?;
            let mode = if sending.idempotent { "idempotent" } else { "plain" };
            self.step(&format!("sent {} records, codec {codec}, {mode}", records.len()), started);
            let before = ends(&sent);
            sent.extend(records);
            let offsets = ends(&sent).into_iter().map(|(partition, end)| {
                let start = before.get(&partition).copied().unwrap_or(0);
                (partition, start..end)
            });
            self.shares.push(Share { codec, idempotent: sending.idempotent, offsets: offsets.collect() });
        }
        let started = Instant::now();
        let read = self.read(&topic)?;
        compare::same(&sent, &read, &BTreeMap::new(), &self.timestamps()?)
            .map_err(|difference| anyhow!("what was read is not what was sent: {difference}"))?;
        self.step(&format!("read {} records, all as sent", read.len()), started);
        // With a client that makes its own timestamps, those are the ones that count from here on.
        Ok(if self.profile.timestamps { workload::placed(sent) } else { read })
    }

    fn make_topic(&mut self, topic: &str) -> Result<()> {
        let started = Instant::now();
        if !self.profile.administers {
            let partitions = AUTOMATIC_PARTITIONS;
            println!("{}: {topic} is made by using it, with {partitions} partitions", self.profile.name);
            return Ok(());
        }
        self.client.create_topic(topic, PARTITIONS)?;
        self.await_topic(topic, true)?;
        self.step("made a topic", started);
        Ok(())
    }

    fn await_topic(&mut self, topic: &str, expected: bool) -> Result<()> {
        let deadline = Instant::now() + SHOWING;
        while self.client.list_topics()?.iter().any(|listed| listed == topic) != expected {
            if Instant::now() > deadline {
                bail!(
                    "topic {topic} is {} after {SHOWING:?}",
                    if expected { "not listed" } else { "still listed" }
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn read(&mut self, topic: &str) -> Result<Vec<Record>> {
        match &mut self.reader {
            Some(reader) => reader.consume(topic, PARTITIONS),
            None => self.client.consume(topic, PARTITIONS),
        }
    }

    fn timestamps(&self) -> Result<Timestamps> {
        Ok(if self.profile.timestamps {
            Timestamps::Sent
        } else {
            Timestamps::Within(self.started_ms..=now_ms()?)
        })
    }

    fn list_offsets(&mut self, sent: &[Record]) -> Result<()> {
        let started = Instant::now();
        let mut asked = 0;
        for partition in 0..PARTITIONS {
            let end = sent.iter().filter(|record| record.partition == partition).count() as i64;
            let mut specs = vec![(Spec::Earliest, 0), (Spec::Latest, end)];
            if self.profile.max_timestamp {
                specs.push((Spec::MaxTimestamp, compare::offset_of_highest_time(sent, partition)));
            }
            for time in times(sent, partition) {
                let none = if self.profile.no_offset == NoOffset::End { end } else { -1 };
                let offset = match compare::offset_for_time(sent, partition, time) {
                    -1 => none,
                    offset => offset,
                };
                specs.push((Spec::Time(time), offset));
            }
            asked += specs.len();
            for (spec, expected) in specs {
                self.expect_offset(partition, spec, expected)?;
            }
        }
        self.step(&format!("asked for {asked} offsets"), started);
        Ok(())
    }

    fn expect_offset(&mut self, partition: i32, spec: Spec, expected: i64) -> Result<()> {
        let topic = self.topic.clone();
        let offset = self.client.offset(&topic, partition, spec)?;
        if offset != expected {
            bail!("ListOffsets {spec} of {topic}-{partition} says {offset}; it is {expected}");
        }
        Ok(())
    }

    fn delete_records(&mut self, sent: &[Record]) -> Result<()> {
        let started = Instant::now();
        let topic = self.topic.clone();
        let end = sent.iter().filter(|record| record.partition == 1).count() as i64;
        let starts = BTreeMap::from([(1, end / 2 + 3), (2, 1)]);
        for (partition, before) in &starts {
            let start = self.client.delete_records(&topic, *partition, *before)?;
            if start != *before {
                bail!(
                    "DeleteRecords before {before} of {topic}-{partition} says that it starts at {start} now"
                );
            }
        }
        for partition in 0..PARTITIONS {
            let start = starts.get(&partition).copied().unwrap_or(0);
            self.expect_offset(partition, Spec::Earliest, start)?;
        }
        self.expect_offset(1, Spec::Latest, end)?;
        let read = self.read(&topic)?;
        compare::same(sent, &read, &starts, &self.timestamps()?)
            .map_err(|difference| anyhow!("after DeleteRecords: {difference}"))?;
        self.step("deleted records, read the rest", started);
        Ok(())
    }

    fn delete_topic(&mut self) -> Result<()> {
        let started = Instant::now();
        let topic = format!("{}-short-lived", self.topic);
        self.client.create_topic(&topic, 1)?;
        self.await_topic(&topic, true)?;
        self.client.delete_topic(&topic)?;
        self.await_topic(&topic, false)?;
        self.step("made a topic and removed it", started);
        Ok(())
    }

    /// Idempotent producing while connections are cut: each record exactly once, in order.
    fn produce_over_cuts(&mut self) -> Result<()> {
        let started = Instant::now();
        let topic = format!("cut-{}", self.topic);
        self.make_topic(&topic)?;
        self.proxy.take_cuts();
        let lines = &self.suite.lines[self.suite.lines.len() - self.suite.lines.len() / CUT_SHARE..];
        let sent = workload::records(lines, 0, self.started_ms - workload::AGE_MS, self.profile);
        let client_id = format!("{CUT_PREFIX}{}", self.profile.name);
        let sending = Sending { codec: self.profile.codecs[1], client_id, idempotent: true };
        self.client.produce(&topic, &sending, &sent)?;
        let cuts = self.proxy.take_cuts();
        if cuts.total() < FEWEST_CUTS {
            bail!("only {cuts:?}: this proves nothing; are there enough records?");
        }
        let read = self.read(&topic)?;
        compare::same(&sent, &read, &BTreeMap::new(), &self.timestamps()?)
            .map_err(|difference| anyhow!("after {cuts:?}: {difference}"))?;
        let cuts = format!(
            "{} answers lost, {} requests lost, {} torn",
            cuts.answers_lost, cuts.requests_lost, cuts.requests_torn
        );
        self.step(
            &format!("sent {} records over cut connections ({cuts}), each is there once", sent.len()),
            started,
        );
        Ok(())
    }

    /// Members of a group come, go and are killed, as is their broker.
    fn share_as_a_group(&mut self, protocol: &'static str) -> Result<()> {
        let Some(broker) = self.broker.take() else { return Ok(()) };
        let started = Instant::now();
        let (broker, seen) = self
            .group_trial(protocol)
            .run(broker)
            .with_context(|| format!("as a group of the {protocol} protocol"))?;
        self.broker = Some(broker);
        self.step(
            &format!(
                "shared {} records as a group ({protocol} protocol), {} of them processed again",
                seen.sent, seen.repeated
            ),
            started,
        );
        Ok(())
    }

    /// A group moves from one protocol to the other, and back.
    fn migrate_a_group(&mut self) -> Result<()> {
        let started = Instant::now();
        let trial = self.group_trial("migrate");
        let seen = trial.migrate().context("as a group that moves between protocols")?;
        let (sent, repeated) = (seen.sent, seen.repeated);
        self.step(
            &format!("shared {sent} records as a group that moves between protocols, {repeated} of them processed again"),
            started,
        );
        Ok(())
    }

    fn group_trial(&self, protocol: &'static str) -> GroupTrial<'_> {
        GroupTrial {
            client: self.profile.name,
            protocol,
            cache: self.suite.cache,
            dir: self.dir,
            bootstrap: self.proxy.address(),
            topic: format!("{protocol}-{}", self.topic),
        }
    }

    /// The broker is asked to end, and started again: all that there was is there. In between, what lies on its disk
    /// tells how it was sent.
    fn restart(&mut self, sent: &[Record]) -> Result<()> {
        let Some(broker) = self.broker.take() else { return Ok(()) };
        let started = Instant::now();
        let topic_id = stored::topic_id(broker.setup(), &self.topic)?;
        let setup = broker.stop()?;
        stored::check(&stored::batches(&setup, &topic_id)?, &self.shares).context("on the broker's disk")?;
        self.broker = Some(Broker::start(setup)?);
        // librdkafka forgets the brokers once all are gone, and finds them again when it asks for the topics.
        let topic = self.topic.clone();
        self.await_topic(&topic, true)?;
        let starts = (0..PARTITIONS)
            .map(|partition| Ok((partition, self.client.offset(&self.topic, partition, Spec::Earliest)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        if self.profile.administers && starts[&1] == 0 {
            bail!("deleted records are back after a restart");
        }
        let read = self.read(&topic)?;
        compare::same(sent, &read, &starts, &self.timestamps()?)
            .map_err(|difference| anyhow!("after a restart: {difference}"))?;
        self.step("all was sent as it should be; restarted the broker, all is there", started);
        Ok(())
    }
}

/// Where partitions end that hold these records.
fn ends(records: &[Record]) -> BTreeMap<i32, i64> {
    let mut ends = BTreeMap::new();
    for record in records {
        *ends.entry(record.partition).or_insert(0) += 1;
    }
    ends
}

/// Times worth asking for: the first, the last, before, after, and some between, also such as no record has.
fn times(sent: &[Record], partition: i32) -> Vec<i64> {
    let here: Vec<i64> =
        sent.iter().filter(|record| record.partition == partition).map(|record| record.timestamp).collect();
    let (Some(first), Some(highest)) = (here.first(), here.iter().max()) else { return Vec::new() };
    let between = [1, 2, 3, 4].map(|part| here[here.len() * part / 5] + (part as i64 % 2));
    [*first, first - 1_000_000, *highest, highest + 1].into_iter().chain(between).collect()
}

fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
