//! Records that are deleted from the start of partitions.

use super::any_partition;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Admin, ClientError, EARLIEST, LATEST};
use highwater_types::Offset;
use rand::RngExt;

pub(super) async fn run(machine: Machine) {
    let workload = &machine.shared.workload;
    let Some(mean) = workload.churn.delete_records else { return };
    let admins = workload.admins.max(1);
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    while let Some(client) = machine.connect().await {
        let admin = Admin::new(client);
        machine.pause(drawn_pause(&mut rng, mean * admins)).await;
        let Some((topic, partition)) = any_partition(&machine, &mut rng) else { return };
        if machine.is_over() {
            return;
        }
        let first = admin.list_offset(&topic, partition, EARLIEST).await.ok().and_then(|found| found.offset);
        let end = admin.list_offset(&topic, partition, LATEST).await.ok().and_then(|found| found.offset);
        let (Some(first), Some(end)) = (first, end) else { continue };
        // Seldom everything, so that most of what is read and checked stays.
        let before = match rng.random_range(0..10u32) {
            0 => None,
            1 => Some(end),
            _ => Some(Offset(first.0 + (end.0 - first.0).max(0) / rng.random_range(2..10))),
        };
        let id = recorder.begin(Op::DeleteRecords {
            topic: topic.clone(),
            partition,
            before: before.unwrap_or(Offset(-1)),
            answer: Outcome::Open,
        });
        let outcome = match admin.delete_records(&topic, partition, before).await {
            Ok(start) => Outcome::Ok(start),
            Err(error @ ClientError::Invalid(_)) => Outcome::Failed(error.to_string()),
            // It is repeated by itself, and an earlier attempt may have been carried out.
            Err(error) => Outcome::Unknown(error.to_string()),
        };
        recorder.end(id, |op| {
            if let Op::DeleteRecords { answer, .. } = op {
                *answer = outcome;
            }
        });
    }
}
