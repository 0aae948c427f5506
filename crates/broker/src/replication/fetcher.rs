//! Fetching from one broker all that is followed there.

use super::connection::Connection;
use super::quota::is_limited;
use super::requests;
use super::session::Session;
use super::source::{Ready, Source};
use crate::directory::Routing;
use crate::state::Shared;
use highwater_env::{Env, Event, Purpose, Rng, Task, timeout};
use highwater_types::{BrokerEpoch, BrokerId, Instant, LogId, mutant};
use highwater_wire::messages::{FetchRequest, FetchResponse, PartitionData};
use highwater_wire::{ErrorCode, Records};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long the answer to a fetch is waited for when more could be asked for.
const SOON: Duration = Duration::from_millis(20);

/// Fetches until the node stops.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>, source: &Arc<Source<E>>) -> Task {
    let fetcher = Fetcher {
        shared: Arc::clone(shared),
        source: Arc::clone(source),
        jitter: shared.env.entropy(Purpose::Jitter),
        session: Session::default(),
        met: BrokerEpoch::NONE,
    };
    shared.env.spawn("fetcher", fetcher.run())
}

struct Fetcher<E: Env> {
    shared: Arc<Shared<E>>,
    source: Arc<Source<E>>,
    jitter: Rng,
    session: Session,
    /// The broker's incarnation when the connection was made.
    met: BrokerEpoch,
}

impl<E: Env> Fetcher<E> {
    async fn run(mut self) {
        let mut connection = None;
        while !self.shared.stop.is_raised() {
            let (mut ready, mut next) = self.source.ready(self.now());
            self.hold_back(&mut ready, &mut next);
            if ready.is_empty() {
                if next.is_none() {
                    // Nobody is kept connected that nothing is followed at.
                    connection = None;
                }
                self.rest(next).await;
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let fetched = until_stop(&shared, self.fetch(&mut connection, &ready)).await;
            match fetched {
                // Carried out to the end even if the node stops: no log may be left half cut.
                Some(Ok(Some(answer))) if !mutant!("trunc-cancelled") => self.take(ready, answer).await,
                Some(Ok(Some(answer))) => drop(until_stop(&shared, self.take(ready, answer)).await),
                Some(Ok(None)) | None => {}
                Some(Err(error)) => {
                    connection = None;
                    self.session.begin_anew();
                    tracing::debug!(broker = %self.source.broker(), %error, "a fetch from the broker failed");
                    let pause = self.pause();
                    self.rest(Some(self.now().after(pause))).await;
                }
            }
        }
    }

    /// Leaves out what is throttled, while the quota is used up.
    fn hold_back(&self, ready: &mut Vec<Ready<E>>, next: &mut Option<Instant>) {
        let routing = self.shared.directory.load();
        let rate = routing.settings.follower_replication_throttled_rate;
        let (quota, now) = (&self.shared.directory.replication().quotas().follower, self.now());
        if !is_limited(rate) || quota.left(rate, now) > 0 {
            return;
        }
        let node = self.shared.config.node_id;
        let count = ready.len();
        ready.retain(|ready| {
            let log = ready.partition.id();
            // Who is in sync is waited for by every produce request.
            !is_throttled(&routing, log, node)
                || routing.image.partition(log).is_some_and(|state| state.isr.contains(&node))
        });
        if ready.len() < count {
            let free = quota.free_at(rate, now);
            *next = Some(next.map_or(free, |next| next.min(free)));
        }
    }

    /// Counts what was fetched for throttled replicas.
    fn count(&self, answer: &FetchResponse) {
        let routing = self.shared.directory.load();
        let rate = routing.settings.follower_replication_throttled_rate;
        if is_limited(rate) {
            let node = self.shared.config.node_id;
            let throttled = partitions(answer).filter(|(log, _)| is_throttled(&routing, *log, node));
            let bytes = throttled.map(|(_, data)| length(data)).sum();
            self.shared.directory.replication().quotas().follower.record(bytes, rate, self.now());
        }
    }

    /// The incarnation of the broker, as the metadata has it.
    fn incarnation(&self) -> BrokerEpoch {
        let image = &self.shared.directory.load().image;
        image.broker(self.source.broker()).map_or(BrokerEpoch::NONE, |broker| broker.epoch)
    }

    /// Waits for the answer to a call, unless the broker has been started anew since: it knows nothing of the call, and
    /// after a power loss the connection would be silent for as long as anybody waits. None: there is more to ask for,
    /// and the broker keeps the call until something is written to what was asked for. When that broker has just begun
    /// to lead, what is written to the rest may wait for this one.
    async fn unless_outdated<T>(
        &self,
        call: impl Future<Output = io::Result<T>>,
        asked: &[Ready<E>],
    ) -> io::Result<Option<T>> {
        let clock = self.shared.env.clock();
        let mut call = pin!(call);
        loop {
            let (more, next) = self.source.has_more(asked, self.now());
            if more && !is_limited(self.shared.directory.load().settings.follower_replication_throttled_rate)
            {
                let answer = timeout(clock, SOON, call.as_mut()).await;
                if answer.is_err() {
                    self.shared.env.observe(&Event::Reached("replication: a fetch is given up for more"));
                }
                return answer.ok().transpose();
            }
            let mut sleep = next.filter(|_| !more).map(|next| clock.sleep_until(next));
            let mut changed = pin!(self.source.changed());
            let answer = poll_fn(|cx| {
                if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                let slept = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
                if slept { Poll::Ready(None) } else { changed.as_mut().poll(cx).map(|()| None) }
            });
            match answer.await {
                Some(answer) => return answer.map(Some),
                None if self.incarnation() == self.met => {}
                None => {
                    self.shared.env.observe(&Event::Reached("replication: a leader was started anew"));
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        "the broker was started anew",
                    ));
                }
            }
        }
    }

    /// One request; its answer, if there is anything to be done.
    async fn fetch(
        &mut self,
        connection: &mut Option<Connection<E>>,
        ready: &[Ready<E>],
    ) -> io::Result<Option<FetchResponse>> {
        let settings = &self.shared.settings;
        let patience = Duration::from_millis(settings.replica_socket_timeout_ms.unsigned_abs().into());
        let incarnation = self.incarnation();
        if self.met != incarnation {
            *connection = None;
            self.session.begin_anew();
            self.met = incarnation;
        }
        let link = match connection {
            Some(link) => link,
            None => connection.insert(Connection::open(&self.shared, self.source.broker(), patience).await?),
        };
        let mut request = FetchRequest {
            max_wait_ms: settings.replica_fetch_wait_max_ms,
            min_bytes: settings.replica_fetch_min_bytes,
            max_bytes: settings.replica_fetch_response_max_bytes,
            ..requests::empty(&self.shared)
        };
        let wanted = ready.iter().map(|ready| (ready.partition.id(), ready.followed));
        self.session.fill(&mut request, wanted, settings.replica_fetch_max_bytes);
        let wait = Duration::from_millis(settings.replica_fetch_wait_max_ms.unsigned_abs().into());
        let call = link.call(&request, requests::VERSION, patience + wait);
        let Some(answer) = self.unless_outdated(call, ready).await? else {
            *connection = None;
            self.session.begin_anew();
            return Ok(None);
        };
        if is_of_session(answer.error_code) {
            self.session.begin_anew();
            return Ok(None);
        }
        if answer.error_code != ErrorCode::NONE {
            return Err(io::Error::other(answer.error_code.name()));
        }
        self.session.answered(answer.session_id);
        Ok(Some(answer))
    }

    async fn take(&self, ready: Vec<Ready<E>>, answer: FetchResponse) {
        let bytes: usize = partitions(&answer).map(|(_, data)| length(data)).sum();
        // What is fetched counts against the memory that clients share, so that they are held back before it is gone.
        let charge = self.shared.budget.overdraw(bytes);
        self.count(&answer);
        if answer.responses.is_empty() {
            return;
        }
        let mut asked: BTreeMap<LogId, Ready<E>> =
            ready.into_iter().map(|ready| (ready.partition.id(), ready)).collect();
        let limit =
            Duration::from_millis(self.shared.settings.replica_fetch_backoff_ms.unsigned_abs().into());
        for topic in answer.responses {
            for data in topic.partitions {
                let log = LogId { topic: topic.topic_id, partition: data.partition_index };
                // An answer that was not asked for is none.
                let Some(Ready { partition, followed }) = asked.remove(&log) else { continue };
                let done = match requests::read(followed.position, &data) {
                    Ok(answer) => {
                        let records = match data.records {
                            Records::Bytes(records) => records,
                            _ => bytes::Bytes::new(),
                        };
                        partition.carry_out(&answer, records).await.map_err(|error| error.to_string())
                    }
                    Err(code) => Err(code.name().to_string()),
                };
                match done {
                    Ok(()) => self.source.succeeded(log),
                    Err(error) => {
                        tracing::debug!(%log, broker = %self.source.broker(), %error, "a partition was not fetched");
                        self.source.failed(log, self.now(), limit);
                    }
                }
            }
        }
        drop(charge);
    }

    fn now(&self) -> Instant {
        self.shared.env.clock().now()
    }

    /// Between half and all of `replica.fetch.backoff.ms`.
    fn pause(&mut self) -> Duration {
        let most = u64::from(self.shared.settings.replica_fetch_backoff_ms.unsigned_abs());
        Duration::from_millis(self.jitter.random_range(most / 2..=most))
    }

    /// Waits until something changes, the instant given or the node's stop.
    async fn rest(&self, until: Option<Instant>) {
        let clock = self.shared.env.clock();
        let mut sleep = until.map(|until| clock.sleep_until(until));
        let mut changed = pin!(self.source.changed());
        let waiting = poll_fn(|cx| {
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        });
        until_stop(&self.shared, waiting).await;
    }
}

/// Whether the other side does not know the session, or another state of it.
fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}

/// Works until it is done, or the node stops.
pub(crate) async fn until_stop<E: Env, T>(shared: &Shared<E>, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut stopped) = (pin!(work), pin!(shared.stop.raised()));
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Whether this node's replica fetches within the quota.
fn is_throttled<E: Env>(routing: &Routing<E>, log: LogId, node: BrokerId) -> bool {
    routing
        .topic_by_id(log.topic)
        .is_some_and(|topic| topic.rules.follower_throttled.contains(log.partition, node))
}

fn partitions(answer: &FetchResponse) -> impl Iterator<Item = (LogId, &PartitionData)> {
    answer.responses.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|data| (LogId { topic: topic.topic_id, partition: data.partition_index }, data))
    })
}

fn length(data: &PartitionData) -> usize {
    match &data.records {
        Records::Bytes(records) => records.len(),
        _ => 0,
    }
}
