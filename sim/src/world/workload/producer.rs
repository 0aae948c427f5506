//! Applications that produce: keyed and not, in bursts and silences, retrying, idempotent or not.
//!
//! An application lives for a while and then ends, cleanly or not; the next one is another client to the checkers,
//! since nothing orders what the two have under way.

use super::sends::{Sends, Spring};
use crate::executor::SimEnv;
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Acks, Producer, ProducerConfig};
use highwater_env::{Env, Rng, sleep};
use highwater_faults::Acks as AcksSpec;
use highwater_records::Codec;
use rand::RngExt;
use std::time::Duration;

/// How long an application lives, on average.
const LIFE: Duration = Duration::from_secs(25);
/// How long a record may take to its outcome.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// How many records of one application may wait for their outcome.
const MOST_OPEN: usize = 1_500;
/// The longest pause between two turns of an application.
const TURN_MAX: Duration = Duration::from_millis(60);
/// What an application that was held up makes up for, at most.
const MOST_DUE: f64 = 400.0;

pub(super) async fn run(machine: Machine, idempotent: bool, rate: f64) {
    let mut rng = machine.rng();
    let mut spring = Spring::new(&machine);
    let mut pace = Pace::new(&machine, &mut rng, rate);
    while let Some(client) = machine.connect().await {
        let acks = acks_of(&machine, &mut rng, idempotent);
        let config = config(&machine, &mut rng, idempotent, acks);
        let producer = match Producer::new(client, config) {
            Ok(producer) => producer,
            Err(error) => return machine.env.note(&format!("a producer was not made: {error}")),
        };
        let sends = Sends::new(&machine, acks, idempotent);
        let ends = machine.env.true_now().after(drawn_pause(&mut rng, LIFE));
        while !machine.is_over() && machine.env.true_now() < ends && !sends.is_broken() {
            pace.turn(&machine, &mut rng).await;
            while pace.take() && !machine.is_over() {
                let record = spring.record(&mut rng, sends.client());
                sends.send(&producer, record).await;
            }
            while sends.open() >= MOST_OPEN && !sends.is_broken() {
                sleep(machine.env.clock(), TURN_MAX).await;
            }
        }
        finish(&machine, &mut rng, producer);
    }
}

/// One application in three just goes away, with whatever it had under way.
fn finish(machine: &Machine, rng: &mut Rng, producer: Producer<SimEnv>) {
    if rng.random_bool(0.67) || machine.is_over() {
        machine.work("producer-close", producer.close());
    }
}

fn acks_of(machine: &Machine, rng: &mut Rng, idempotent: bool) -> Acks {
    let from = &machine.shared.workload.acks;
    if idempotent || from.is_empty() {
        return Acks::All;
    }
    match from[rng.random_range(0..from.len())] {
        AcksSpec::All => Acks::All,
        AcksSpec::Leader => Acks::Leader,
        AcksSpec::None => Acks::None,
    }
}

fn config(machine: &Machine, rng: &mut Rng, idempotent: bool, acks: Acks) -> ProducerConfig {
    let codecs = [Codec::None, Codec::None, Codec::Lz4, Codec::Snappy, Codec::Gzip, Codec::Zstd];
    ProducerConfig {
        acks,
        codec: codecs[rng.random_range(0..codecs.len())],
        linger: Duration::from_millis(rng.random_range(0..20)),
        batch_bytes: [700, 2_000, 16 << 10][rng.random_range(0..3usize)],
        idempotence: idempotent,
        max_in_flight: rng.random_range(1..=5),
        max_block: Duration::from_secs(5),
        delivery_timeout: DELIVERY_TIMEOUT.max(machine.shared.workload.request_timeout * 2),
        ..ProducerConfig::default()
    }
}

/// How much is due when: a mean rate, with silences that are made up for and bursts on top.
struct Pace {
    rate: f64,
    due: f64,
    last: highwater_types::Instant,
    next_burst: Option<highwater_types::Instant>,
}

impl Pace {
    fn new(machine: &Machine, rng: &mut Rng, rate: f64) -> Self {
        let now = machine.env.true_now();
        let bursts = machine.shared.workload.bursts;
        let next_burst = bursts.map(|mean| now.after(drawn_pause(rng, mean)));
        Self { rate, due: 0.0, last: now, next_burst }
    }

    /// Waits for the next turn. Few turns with several records each, as applications have that do more than send.
    async fn turn(&mut self, machine: &Machine, rng: &mut Rng) {
        let workload = &machine.shared.workload;
        let mut pause = rng.random_range(Duration::from_millis(1)..TURN_MAX);
        if rng.random_bool(0.01) {
            pause += drawn_pause(rng, Duration::from_secs(1));
        }
        machine.pause(pause).await;
        let now = machine.env.true_now();
        self.due = (self.due + self.rate * now.since(self.last).as_secs_f64()).min(MOST_DUE);
        self.last = now;
        if let (Some(at), Some(mean)) = (self.next_burst, workload.bursts)
            && at <= now
        {
            self.due += f64::from(workload.burst_records);
            self.next_burst = Some(now.after(drawn_pause(rng, mean)));
        }
    }

    fn take(&mut self) -> bool {
        let due = self.due >= 1.0;
        if due {
            self.due -= 1.0;
        }
        due
    }
}
