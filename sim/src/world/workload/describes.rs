//! Looks at what topics and configurations there are.

use crate::executor::SimEnv;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use highwater_client::{Admin, Resource};
use highwater_wire::{ErrorCode, Str};
use rand::RngExt;

/// Of how many of the newest topics one is looked for.
const NEWEST: usize = 6;

pub(super) async fn run(machine: Machine) {
    let Some(mean) = machine.shared.workload.churn.describes else { return };
    let admins = machine.shared.workload.admins.max(1);
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    while let Some(client) = machine.connect().await {
        let admin = Admin::new(client);
        machine.pause(drawn_pause(&mut rng, mean * admins)).await;
        if machine.is_over() {
            return;
        }
        let newest = newest(&machine);
        if !newest.is_empty() && rng.random_bool(0.5) {
            topic(&machine, &recorder, &admin, &newest[rng.random_range(0..newest.len())]).await;
        } else {
            let topics = &machine.shared.topics;
            configs(&machine, &recorder, &admin, &topics[rng.random_range(0..topics.len())].name).await;
        }
    }
}

/// The names of the topics that somebody wanted last.
fn newest(machine: &Machine) -> Vec<Str> {
    let history = machine.shared.history();
    let made = history.entries().iter().rev().filter_map(|entry| match &entry.op {
        Op::CreateTopic { topic, .. } => Some(topic.clone()),
        _ => None,
    });
    made.take(NEWEST).collect()
}

/// Looks whether a topic is there.
async fn topic(machine: &Machine, recorder: &Recorder, admin: &Admin<SimEnv>, name: &Str) {
    let fresh = machine.shared.alone;
    let id = recorder.begin(Op::DescribeTopic { topic: name.clone(), fresh, answer: Outcome::Open });
    let found = match admin.describe_topic(name).await {
        Ok(_) => Outcome::Ok(true),
        Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Outcome::Ok(false),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    recorder.end(id, |op| {
        if let Op::DescribeTopic { answer, .. } = op {
            *answer = found;
        }
    });
}

/// Looks at those configurations of a topic that are changed while everything runs.
pub(super) async fn configs(machine: &Machine, recorder: &Recorder, admin: &Admin<SimEnv>, topic: &str) {
    let fresh = machine.shared.alone;
    let id = recorder.begin(Op::DescribeConfigs { topic: Str::from(topic), fresh, answer: Outcome::Open });
    let alter = &machine.shared.workload.churn.alter;
    let found = match admin.describe_configs(&Resource::Topic(topic.to_owned())).await {
        Ok(described) => {
            let changed = described.into_iter().filter(|config| alter.contains_key(&*config.name));
            let pairs =
                changed.filter_map(|config| Some((config.name.to_string(), config.value?.to_string())));
            Outcome::Ok(pairs.collect())
        }
        Err(error) => Outcome::Failed(error.to_string()),
    };
    recorder.end(id, |op| {
        if let Op::DescribeConfigs { answer, .. } = op {
            *answer = found;
        }
    });
}
