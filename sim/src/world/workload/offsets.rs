//! Offsets that are looked up: the first, the last, that of the largest timestamp, that of a time.

use super::any_partition;
use crate::history::{Op, Outcome};
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Admin, EARLIEST, LATEST, MAX_TIMESTAMP};
use highwater_env::Env;
use highwater_types::Timestamp;
use rand::RngExt;

/// How far back times are looked up, at most.
const BACK_MS: i64 = 30_000;

pub(super) async fn run(machine: Machine) {
    let workload = &machine.shared.workload;
    let Some(mean) = workload.churn.list_offsets else { return };
    let admins = workload.admins.max(1);
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    let Some(client) = machine.connect().await else { return };
    let admin = Admin::new(client);
    loop {
        machine.pause(drawn_pause(&mut rng, mean * admins)).await;
        let Some((topic, partition)) = any_partition(&machine, &mut rng) else { return };
        if machine.is_over() {
            return;
        }
        let query = match rng.random_range(0..6u32) {
            0 => EARLIEST,
            1 => LATEST,
            2 => MAX_TIMESTAMP,
            _ => Timestamp((machine.env.clock().wall().0 - rng.random_range(0..BACK_MS)).max(0)),
        };
        let id = recorder.begin(Op::ListOffset {
            topic: topic.clone(),
            partition,
            query: query.0,
            answer: Outcome::Open,
        });
        let outcome = match admin.list_offset(&topic, partition, query).await {
            Ok(found) => Outcome::Ok(found.offset.map(|offset| (offset, found.timestamp))),
            // It changes nothing, so that what failed was not done.
            Err(error) => Outcome::Failed(error.to_string()),
        };
        recorder.end(id, |op| {
            if let Op::ListOffset { answer, .. } = op {
                *answer = outcome;
            }
        });
    }
}
