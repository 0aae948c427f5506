//! What clients do, one file for each kind of work.

mod churn;
mod configs;
mod consumer;
mod delete_records;
mod describes;
mod duplicates;
mod members;
mod moves;
mod offsets;
mod probe;
mod producer;
mod raw;
mod sends;

pub(crate) use churn::create_all;
pub(super) use members::drain;
pub(super) use probe::probe;

use super::clients::Machine;
use crate::history::Outcome;
use highwater_client::ClientError;
use highwater_env::Rng;
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use rand::RngExt;

/// Starts the work of all clients: producers first, then consumers, then members of the group, then admins.
pub(super) fn start(machines: &[Machine]) {
    let Some(first) = machines.first() else { return };
    let workload = first.shared.workload.clone();
    let (producers, consumers) = (workload.producers as usize, workload.consumers as usize);
    let readers = producers + consumers;
    let members = workload.members as usize;
    let idempotent = (f64::from(workload.producers) * workload.idempotent_share).round() as usize;
    let rate = f64::from(workload.operations_per_second) / producers.max(1) as f64;
    for (index, machine) in machines.iter().enumerate() {
        let task = machine.clone();
        if index < producers {
            machine.work("producer-work", producer::run(task.clone(), index < idempotent, rate));
            if index == 0 && idempotent > 0 {
                machine.work("duplicates-work", duplicates::run(task));
            }
        } else if index < readers {
            machine.work("consumer-work", consumer::run(task));
        } else if index < readers + members {
            if index == readers {
                machine.work("group-offsets-work", members::watch(task.clone()));
            }
            machine.work("member-work", members::run(task, index - readers));
        } else {
            machine.work("topics-work", churn::run(task.clone()));
            machine.work("configs-work", configs::run(task.clone()));
            machine.work("deletes-work", delete_records::run(task.clone()));
            let churn = &workload.churn;
            if churn.describes.is_some() {
                machine.work("describes-work", describes::run(task.clone()));
            }
            for (wanted, what) in [
                (churn.reassignments, moves::Move::Reassignment),
                (churn.elections, moves::Move::Election),
                (churn.voters, moves::Move::Voter),
            ] {
                if wanted.is_some() {
                    machine.work("moves-work", moves::run(task.clone(), what));
                }
            }
            machine.work("offsets-work", offsets::run(task));
        }
    }
}

/// A partition of a topic that the scenario names.
fn any_partition(machine: &Machine, rng: &mut Rng) -> Option<(Str, PartitionIndex)> {
    let topics = &machine.shared.topics;
    let topic = topics.get(rng.random_range(0..topics.len().max(1)))?;
    let partition = rng.random_range(0..topic.partitions.max(1));
    Some((Str::from(topic.name.as_str()), PartitionIndex(i32::try_from(partition).ok()?)))
}

/// What is known after an operation of which the client sent one request at most.
fn outcome_of<T>(result: Result<T, ClientError>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Ok(value),
        // Nobody was reached, so nothing was sent.
        Err(error @ (ClientError::Unreachable { .. } | ClientError::Invalid(_))) => {
            Outcome::Failed(error.to_string())
        }
        Err(ClientError::Refused { what, code, message }) if !code.is_retriable() => {
            Outcome::Failed(format!("{what}: {code} {}", message.unwrap_or_default()))
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}
