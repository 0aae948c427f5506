//! Configurations of topics that change while everything runs; each change is followed by a look at what they are then.

use super::{describes, outcome_of};
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Admin, ConfigChange, Resource};
use highwater_wire::Str;
use rand::RngExt;

pub(super) async fn run(machine: Machine) {
    let churn = &machine.shared.workload.churn;
    let Some(mean) = churn.configs.filter(|_| !churn.alter.is_empty()) else { return };
    let admins = machine.shared.workload.admins.max(1);
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    let choices: Vec<_> = churn.alter.iter().collect();
    while let Some(client) = machine.connect().await {
        let admin = Admin::new(client);
        machine.pause(drawn_pause(&mut rng, mean * admins)).await;
        if machine.is_over() {
            return;
        }
        let topics = &machine.shared.topics;
        let topic = topics[rng.random_range(0..topics.len())].name.clone();
        let (name, values) = choices[rng.random_range(0..choices.len())];
        if values.is_empty() {
            continue;
        }
        let value = &values[rng.random_range(0..values.len())];
        let configs = vec![(name.clone(), value.clone())];
        let id = recorder.begin(Op::AlterConfigs {
            topic: Str::from(topic.as_str()),
            configs,
            answer: Outcome::Open,
        });
        let of = Resource::Topic(topic.clone());
        let result = admin.alter_configs(&of, &[ConfigChange::Set(name.clone(), value.clone())], false).await;
        let outcome = outcome_of(result);
        recorder.end(id, |op| {
            if let Op::AlterConfigs { answer, .. } = op {
                *answer = outcome;
            }
        });
        machine.count_operation();
        describes::configs(&machine, &recorder, &admin, &topic).await;
    }
}
