//! Configurations of topics that change while everything runs, and must then be what they were changed to.

use super::outcome_of;
use crate::executor::Violation;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Admin, ConfigChange, Resource};
use highwater_wire::Str;
use rand::RngExt;
use std::collections::BTreeMap;

pub(super) async fn run(machine: Machine) {
    let churn = &machine.shared.workload.churn;
    let Some(mean) = churn.configs.filter(|_| !churn.alter.is_empty()) else { return };
    let admins = machine.shared.workload.admins.max(1);
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    let choices: Vec<_> = churn.alter.iter().collect();
    // What is in force for certain. A change of unknown outcome may still come, so what it touches is never certain
    // again; with several admins nothing is.
    let mut certain: BTreeMap<(String, String), Option<String>> = BTreeMap::new();
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
        let key = (topic.clone(), name.clone());
        match &outcome {
            Outcome::Ok(()) => {
                let known = certain.entry(key).or_insert_with(|| Some(value.clone()));
                *known = known.is_some().then(|| value.clone());
            }
            Outcome::Failed(_) => {}
            Outcome::Open | Outcome::Unknown(_) => {
                certain.insert(key, None);
            }
        }
        recorder.end(id, |op| {
            if let Op::AlterConfigs { answer, .. } = op {
                *answer = outcome;
            }
        });
        machine.count_operation();
        if let Ok(described) = admin.describe_configs(&of).await
            && admins == 1
        {
            let expected = certain.iter().filter(|((of, _), _)| *of == topic);
            for ((_, name), value) in expected.filter_map(|(key, value)| Some((key, value.as_ref()?))) {
                let found = described.iter().find(|config| config.name == name.as_str());
                let found = found.and_then(|config| config.value.as_deref());
                if found != Some(value.as_str()) {
                    let message = format!("{name} of {topic} was set to {value}, and is {found:?}");
                    machine.env.violate(Violation::new("H9", message));
                }
            }
        }
    }
}
