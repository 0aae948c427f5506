//! The consumer of partitions that its user assigns.
//!
//! [`Consumer::poll`] hands out what has arrived and sees to it that every broker in question has a fetch under way.
//! Fetches and look-ups of offsets run in tasks of their own and report over a channel, so that a poll which is
//! dropped half-way loses nothing. A partition is fetched again only when everything it brought has been handed out:
//! that bounds what a consumer holds to one answer per broker.

mod config;
mod fetch;
mod reader;

pub use config::{ConsumerConfig, OffsetReset};
pub use reader::ConsumedRecord;

use crate::{Client, ClientError, EARLIEST, FoundOffset, LATEST};
use fetch::{Answered, Report};
use highwater_env::{Elapsed, Env, timeout_at};
use highwater_types::{BrokerId, Instant, Offset, PartitionIndex, Timestamp};
use highwater_wire::{ErrorCode, Str};
use reader::Reader;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc;

/// Names a partition.
pub(crate) type Key = (Str, PartitionIndex);

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset.
    Offset(Offset),
    /// At the first offset that can be read.
    Earliest,
    /// At the end.
    Latest,
    /// At the first record of that time or later; at the end if there is none.
    Time(Timestamp),
}

/// Where a partition stands.
#[derive(Debug)]
struct Assigned {
    /// Tells answers to this position apart from those to an earlier one.
    generation: u64,
    position: Position,
    /// A fetch or a look-up is under way.
    busy: bool,
    /// What has arrived and is not handed out.
    reader: Option<Reader>,
    /// Nothing is asked for before that, after a failure.
    hold_until: Instant,
    failures: u32,
    high_watermark: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    At(Offset),
    /// To be looked up, unless reading can go on at the offset after all, if there is one.
    Find(Timestamp, Option<Offset>),
}

impl From<StartAt> for Position {
    fn from(start: StartAt) -> Self {
        match start {
            StartAt::Offset(offset) => Self::At(offset),
            StartAt::Earliest => Self::Find(EARLIEST, None),
            StartAt::Latest => Self::Find(LATEST, None),
            StartAt::Time(time) => Self::Find(time, None),
        }
    }
}

impl Assigned {
    fn new(generation: u64, position: Position) -> Self {
        Self {
            generation,
            position,
            busy: false,
            reader: None,
            hold_until: Instant(0),
            failures: 0,
            high_watermark: None,
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        !self.busy && self.reader.is_none() && self.hold_until <= now
    }
}

/// Reads partitions that its user assigns.
pub struct Consumer<E: Env> {
    client: Client<E>,
    config: ConsumerConfig,
    partitions: BTreeMap<Key, Assigned>,
    /// Brokers that have a fetch to answer.
    fetching: BTreeSet<BrokerId>,
    /// Partitions with something to hand out, in the order of arrival.
    arrived: VecDeque<Key>,
    generation: u64,
    refreshing: bool,
    reports: mpsc::UnboundedReceiver<Report>,
    reporter: mpsc::UnboundedSender<Report>,
}

impl<E: Env> fmt::Debug for Consumer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl<E: Env> Consumer<E> {
    /// A consumer of nothing yet.
    ///
    /// # Errors
    ///
    /// When the configuration contradicts itself.
    pub fn new(client: Client<E>, config: ConsumerConfig) -> Result<Self, ClientError> {
        config.check(client.config().request_timeout)?;
        // Bounded by what can be under way: one refresh, one fetch per broker, and one look-up per partition and poll,
        // as a seek does not end the look-up before it.
        let (reporter, reports) = mpsc::unbounded_channel();
        Ok(Self {
            client,
            config,
            partitions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            arrived: VecDeque::new(),
            generation: 0,
            refreshing: false,
            reports,
            reporter,
        })
    }

    /// Reads these partitions from now on, and no others.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (Str, PartitionIndex, StartAt)>) {
        self.arrived.clear();
        self.partitions.clear();
        for (topic, partition, start) in partitions {
            self.add(topic, partition, start);
        }
    }

    /// Reads one more partition from now on.
    pub fn add(&mut self, topic: Str, partition: PartitionIndex, start: StartAt) {
        self.remove(&topic, partition);
        self.generation += 1;
        self.partitions.insert((topic, partition), Assigned::new(self.generation, start.into()));
    }

    /// Reads a partition no more, whatever of it has arrived.
    pub fn remove(&mut self, topic: &str, partition: PartitionIndex) {
        let key = (Str::from(topic), partition);
        if self.partitions.remove(&key).is_some() {
            self.arrived.retain(|arrived| *arrived != key);
        }
    }

    /// Goes on elsewhere in a partition that is assigned.
    ///
    /// # Errors
    ///
    /// When it is not assigned.
    pub fn seek(&mut self, topic: &str, partition: PartitionIndex, to: StartAt) -> Result<(), ClientError> {
        let key = (Str::from(topic), partition);
        let Some(assigned) = self.partitions.get_mut(&key) else {
            return Err(ClientError::Invalid(format!("{topic}-{partition} is not assigned")));
        };
        self.generation += 1;
        *assigned = Assigned::new(self.generation, to.into());
        self.arrived.retain(|arrived| *arrived != key);
        Ok(())
    }

    /// The offset of the next record that is handed out; None if it is still being looked up, or the partition is not
    /// assigned.
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        match self.partitions.get(&(Str::from(topic), partition))?.position {
            Position::At(offset) => Some(offset),
            Position::Find(..) => None,
        }
    }

    /// The high watermark of the partition as of the last fetch.
    pub fn high_watermark(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.partitions.get(&(Str::from(topic), partition))?.high_watermark
    }

    /// The first offset of a partition that can be read.
    pub async fn beginning_offset(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<Offset, ClientError> {
        let found = self.offset_for_time(topic, partition, EARLIEST).await?;
        Ok(found.offset.unwrap_or(Offset::ZERO))
    }

    /// The end of what the consumer's isolation lets it read of a partition.
    pub async fn end_offset(&self, topic: &str, partition: PartitionIndex) -> Result<Offset, ClientError> {
        let found = self.offset_for_time(topic, partition, LATEST).await?;
        Ok(found.offset.unwrap_or(Offset::ZERO))
    }

    /// The first record of a time or later.
    pub async fn offset_for_time(
        &self,
        topic: &str,
        partition: PartitionIndex,
        time: Timestamp,
    ) -> Result<FoundOffset, ClientError> {
        self.client.list_offset(topic, partition, time, self.config.isolation).await
    }

    /// Records of the assigned partitions, in offset order within each: at least one, unless none came in time.
    ///
    /// # Errors
    ///
    /// When a partition cannot be read for a reason that does not pass by itself. The others go on with the next
    /// poll, and so does this one, from where it stood.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        let deadline = self.client.env().clock().now().after(wait);
        loop {
            while let Ok(report) = self.reports.try_recv() {
                self.take_in(report)?;
            }
            let records = self.hand_out()?;
            let wake = self.ask();
            if !records.is_empty() {
                return Ok(records);
            }
            let now = self.client.env().clock().now();
            if now >= deadline {
                return Ok(records);
            }
            let until = wake.map_or(deadline, |wake| wake.min(deadline));
            match timeout_at(self.client.env().clock(), until, self.reports.recv()).await {
                Ok(Some(report)) => self.take_in(report)?,
                Ok(None) => return Err(ClientError::Closed),
                Err(Elapsed) => {}
            }
        }
    }

    /// Up to `max_poll_records` of what has arrived. What comes before an error is returned before it.
    fn hand_out(&mut self) -> Result<Vec<ConsumedRecord>, ClientError> {
        let mut records = Vec::new();
        while let Some(key) = self.arrived.front() {
            let Some(assigned) = self.partitions.get_mut(key) else {
                self.arrived.pop_front();
                continue;
            };
            let Some(reader) = &mut assigned.reader else {
                self.arrived.pop_front();
                continue;
            };
            while records.len() < self.config.max_poll_records {
                match reader.next() {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => {
                        assigned.position = Position::At(reader.position());
                        assigned.reader = None;
                        self.arrived.pop_front();
                        break;
                    }
                    Err(_) if !records.is_empty() => {
                        // The batch is read again with the next poll, which reports the error.
                        assigned.position = Position::At(reader.position());
                        assigned.reader = None;
                        self.arrived.pop_front();
                        return Ok(records);
                    }
                    Err(error) => {
                        assigned.reader = None;
                        self.arrived.pop_front();
                        return Err(error);
                    }
                }
            }
            if records.len() >= self.config.max_poll_records {
                self.note_positions();
                return Ok(records);
            }
        }
        Ok(records)
    }

    /// Positions follow what was handed out.
    fn note_positions(&mut self) {
        for assigned in self.partitions.values_mut() {
            if let Some(reader) = &assigned.reader {
                assigned.position = Position::At(reader.position());
            }
        }
    }

    /// Starts whatever can be started; returns when a partition that waits after a failure is due again.
    fn ask(&mut self) -> Option<Instant> {
        let now = self.client.env().clock().now();
        let metadata = self.client.metadata();
        let mut fetches: BTreeMap<BrokerId, Vec<fetch::Wanted>> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        let mut wake: Option<Instant> = None;
        for (key, assigned) in &mut self.partitions {
            if !assigned.is_idle(now) {
                if assigned.hold_until > now {
                    wake = Some(wake.map_or(assigned.hold_until, |wake| wake.min(assigned.hold_until)));
                }
                continue;
            }
            let offset = match assigned.position {
                Position::At(offset) => offset,
                Position::Find(time, from) => {
                    assigned.busy = true;
                    let sought =
                        fetch::Sought { key: key.clone(), generation: assigned.generation, time, from };
                    let (client, isolation) = (self.client.clone(), self.config.isolation);
                    let task = fetch::find(client, sought, isolation, self.reporter.clone());
                    self.client.env().spawn("consumer-offset", task).detach();
                    continue;
                }
            };
            let topic = metadata.topics.get(&key.0);
            if topic.is_none_or(|topic| now.since(topic.learnt) >= self.client.config().metadata_max_age) {
                unknown.insert(key.0.clone());
            }
            let leader = topic.and_then(|topic| {
                let partition = topic.partitions.iter().find(|known| known.index == key.1)?;
                Some((partition.leader?, partition.leader_epoch, topic.id))
            });
            match leader {
                None => {
                    unknown.insert(key.0.clone());
                }
                Some((broker, leader_epoch, topic_id)) if !self.fetching.contains(&broker) => {
                    let wanted = fetch::Wanted {
                        key: key.clone(),
                        topic_id,
                        generation: assigned.generation,
                        leader_epoch,
                        offset,
                    };
                    assigned.busy = true;
                    fetches.entry(broker).or_default().push(wanted);
                }
                Some(_) => {}
            }
        }
        for (broker, wanted) in fetches {
            self.fetching.insert(broker);
            let task =
                fetch::run(self.client.clone(), self.config.clone(), broker, wanted, self.reporter.clone());
            self.client.env().spawn("consumer-fetch", task).detach();
        }
        if !unknown.is_empty() && !self.refreshing {
            self.refreshing = true;
            let task = fetch::refresh(self.client.clone(), unknown, self.reporter.clone());
            self.client.env().spawn("consumer-metadata", task).detach();
        }
        wake
    }

    fn take_in(&mut self, report: Report) -> Result<(), ClientError> {
        match report {
            Report::Refreshed(result) => {
                self.refreshing = false;
                result
            }
            Report::Found { key, generation, result } => self.take_in_offset(&key, generation, result),
            Report::Fetched { broker, partitions } => {
                self.fetching.remove(&broker);
                let mut first = Ok(());
                for answered in partitions {
                    let taken = self.take_in_fetched(answered);
                    first = first.and(taken);
                }
                first
            }
        }
    }

    fn take_in_offset(
        &mut self,
        key: &Key,
        generation: u64,
        result: Result<Offset, ClientError>,
    ) -> Result<(), ClientError> {
        let now = self.client.env().clock().now();
        let Some(assigned) = self.partitions.get_mut(key).filter(|known| known.generation == generation)
        else {
            return Ok(());
        };
        assigned.busy = false;
        match result {
            Ok(offset) => {
                assigned.position = Position::At(offset);
                assigned.failures = 0;
                Ok(())
            }
            Err(error) => hold(&self.client, assigned, now, error),
        }
    }

    fn take_in_fetched(&mut self, answered: Answered) -> Result<(), ClientError> {
        let now = self.client.env().clock().now();
        let Answered { wanted, result } = answered;
        let Some(assigned) =
            self.partitions.get_mut(&wanted.key).filter(|known| known.generation == wanted.generation)
        else {
            return Ok(());
        };
        assigned.busy = false;
        match result {
            Ok(fetched) => {
                assigned.failures = 0;
                assigned.high_watermark = Some(fetched.high_watermark);
                if !fetched.is_empty() {
                    assigned.reader = Some(fetched.into_reader(&wanted, &self.config));
                    self.arrived.push_back(wanted.key);
                }
                Ok(())
            }
            Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                let time = match self.config.offset_reset {
                    OffsetReset::Earliest => EARLIEST,
                    OffsetReset::Latest => LATEST,
                    OffsetReset::Error => return hold(&self.client, assigned, now, error),
                };
                assigned.position = Position::Find(time, Some(wanted.offset));
                assigned.hold_until = now.after(self.client.backoff(assigned.failures));
                assigned.failures = assigned.failures.saturating_add(1);
                Ok(())
            }
            Err(error) => {
                if error.is_retriable() {
                    self.client.forget(&wanted.key.0);
                }
                hold(&self.client, assigned, now, error)
            }
        }
    }
}

/// Lets a partition wait after a failure; gives back the error if it does not pass by itself.
fn hold<E: Env>(
    client: &Client<E>,
    assigned: &mut Assigned,
    now: Instant,
    error: ClientError,
) -> Result<(), ClientError> {
    assigned.hold_until = now.after(client.backoff(assigned.failures));
    assigned.failures = assigned.failures.saturating_add(1);
    if error.is_retriable() {
        tracing::debug!(%error, "reading goes on later");
        return Ok(());
    }
    Err(error)
}

#[cfg(test)]
mod tests;
