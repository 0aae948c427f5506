//! Topics that come and go, each under a name that no other ever has.

use super::outcome_of;
use super::sends::{Sends, Spring};
use crate::executor::SimEnv;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use crate::world::workload::producer::DELIVERY_TIMEOUT;
use highwater_client::{Acks, Admin, Client, NewTopic, Producer, ProducerConfig};
use highwater_env::Rng;
use highwater_faults::TopicSpec;
use highwater_wire::{ErrorCode, Str};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a topic stays, on average, that does not stay for good.
const LIFE: Duration = Duration::from_secs(8);
/// How many records a topic gets, at most.
const MOST_RECORDS: u32 = 30;

pub(super) async fn run(machine: Machine) {
    let Some(mean) = machine.shared.workload.churn.topics else { return };
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    for number in 0u32.. {
        machine.pause(drawn_pause(&mut rng, mean * machine.shared.workload.admins.max(1))).await;
        if machine.is_over() {
            return;
        }
        let name = format!("churn-{}-{number}", recorder.client());
        machine.work("topic-life", life(machine.clone(), machine.rng(), recorder.clone(), name));
    }
}

/// Makes a topic, uses it, and deletes it.
async fn life(machine: Machine, mut rng: Rng, recorder: Recorder, name: String) {
    let Some(client) = machine.connect().await else { return };
    let admin = Admin::new(client.clone());
    let partitions = rng.random_range(1..=3);
    let configs =
        vec![("segment.bytes".to_owned(), ["1024", "4096"][rng.random_range(0..2usize)].to_owned())];
    let replicas = machine.shared.replicas();
    if !create(&admin, &recorder, &name, (partitions, replicas), configs).await {
        return;
    }
    let spec = TopicSpec {
        name: name.clone(),
        partitions: partitions.unsigned_abs(),
        replicas: machine.shared.replicas(),
        configs: BTreeMap::new(),
    };
    fill(&machine, &mut rng, client, spec).await;
    if rng.random_bool(0.25) {
        return;
    }
    machine.pause(drawn_pause(&mut rng, LIFE)).await;
    if !machine.is_over() {
        delete(&admin, &recorder, &name).await;
    }
}

async fn create(
    admin: &Admin<SimEnv>,
    recorder: &Recorder,
    name: &str,
    (partitions, replicas): (i32, u32),
    configs: Vec<(String, String)>,
) -> bool {
    let id = recorder.begin(Op::CreateTopic {
        topic: Str::from(name),
        partitions,
        configs: configs.clone(),
        answer: Outcome::Open,
    });
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: Some(i16::try_from(replicas).unwrap_or(1)),
        configs,
    };
    let result = admin.create_topic(&topic, false).await;
    let created = result.is_ok();
    recorder.end(id, |op| {
        if let Op::CreateTopic { answer, .. } = op {
            *answer = outcome_of(result);
        }
    });
    created
}

async fn delete(admin: &Admin<SimEnv>, recorder: &Recorder, name: &str) {
    let id = recorder.begin(Op::DeleteTopic { topic: Str::from(name), answer: Outcome::Open });
    let result = admin.delete_topic(name).await;
    recorder.end(id, |op| {
        if let Op::DeleteTopic { answer, .. } = op {
            *answer = outcome_of(result);
        }
    });
}

async fn fill(machine: &Machine, rng: &mut Rng, client: Client<SimEnv>, spec: TopicSpec) {
    let config = ProducerConfig { delivery_timeout: DELIVERY_TIMEOUT, ..ProducerConfig::default() };
    let Ok(producer) = Producer::new(client, config) else { return };
    let sends = Sends::new(machine, Acks::All, true);
    let mut spring = Spring::of(machine, spec);
    for _ in 0..rng.random_range(0..MOST_RECORDS) {
        if machine.is_over() || sends.is_broken() {
            break;
        }
        let record = spring.record(rng, sends.client());
        sends.send(&producer, record).await;
    }
    producer.close().await;
}

/// Makes the topics of the scenario, before anything else happens: again and again until each is there.
pub(crate) async fn create_all(machine: Machine) {
    let recorder = machine.recorder();
    let Some(client) = machine.connect().await else { return };
    let admin = Admin::new(client);
    for spec in &machine.shared.topics {
        let partitions = i32::try_from(spec.partitions).unwrap_or(1);
        let configs: Vec<_> =
            spec.configs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let topic = NewTopic {
            name: spec.name.clone(),
            partitions: Some(partitions),
            replication_factor: Some(i16::try_from(spec.replicas.max(1)).unwrap_or(1)),
            configs: configs.clone(),
        };
        let id = recorder.begin(Op::CreateTopic {
            topic: Str::from(spec.name.as_str()),
            partitions,
            configs,
            answer: Outcome::Open,
        });
        let result = loop {
            match admin.create_topic(&topic, false).await {
                Err(error) if error.is_retriable() && !machine.is_over() => {
                    machine.pause(Duration::from_millis(300)).await;
                }
                Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                    // An attempt before this one made it.
                    break admin.describe_topic(&spec.name).await.map(|found| found.id);
                }
                done => break done,
            }
        };
        if let Err(error) = &result {
            machine.env.note(&format!("topic {} was not made: {error}", spec.name));
        }
        recorder.end(id, |op| {
            if let Op::CreateTopic { answer, .. } = op {
                *answer = outcome_of(result);
            }
        });
    }
}
