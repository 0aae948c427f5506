//! Administration of the cluster itself while everything runs: partitions get other replicas, preferred replicas lead
//! again, voters come and go. Whether any of it is carried out does not matter here.

use super::any_partition;
use crate::world::clients::{Machine, drawn_pause};
use highwater_client::{Admin, ClientError};
use highwater_env::Rng;
use highwater_types::BrokerId;
use rand::RngExt;
use std::time::Duration;

/// For how long a voter stays out of the quorum, on average.
const AWAY: Duration = Duration::from_secs(3);
/// A quorum keeps so many voters at least.
const FEWEST_VOTERS: usize = 2;

/// What is done now and then.
#[derive(Clone, Copy)]
pub(super) enum Move {
    Reassignment,
    Election,
    Voter,
}

pub(super) async fn run(machine: Machine, what: Move) {
    let workload = &machine.shared.workload;
    let mean = match what {
        Move::Reassignment => workload.churn.reassignments,
        Move::Election => workload.churn.elections,
        Move::Voter => workload.churn.voters,
    };
    let Some(mean) = mean else { return };
    let mut rng = machine.rng();
    while let Some(client) = machine.connect().await {
        let admin = Admin::new(client);
        machine.pause(drawn_pause(&mut rng, mean * workload.admins.max(1))).await;
        if machine.is_over() {
            return;
        }
        let done = match what {
            Move::Reassignment => reassign(&machine, &mut rng, &admin).await,
            Move::Election => elect(&machine, &mut rng, &admin).await,
            Move::Voter => change_voter(&machine, &mut rng, &admin).await,
        };
        machine.count_operation();
        if let Err(error) = done {
            machine.env.note(&format!("administration of the cluster: {error}"));
        }
    }
}

type ClusterAdmin = Admin<crate::executor::SimEnv>;

/// As many replicas as before, drawn from all brokers.
async fn reassign(machine: &Machine, rng: &mut Rng, admin: &ClusterAdmin) -> Result<(), ClientError> {
    let Some((topic, partition)) = any_partition(machine, rng) else { return Ok(()) };
    let metadata = admin.describe_topic(&topic).await?;
    let Some(known) = metadata.partitions.iter().find(|known| known.index == partition) else {
        return Ok(());
    };
    let mut brokers: Vec<BrokerId> = admin.client().metadata().brokers.keys().copied().collect();
    let mut replicas = Vec::new();
    while replicas.len() < known.replicas.len() && !brokers.is_empty() {
        replicas.push(brokers.swap_remove(rng.random_range(0..brokers.len())));
    }
    if replicas.len() < known.replicas.len() {
        return Ok(());
    }
    admin.reassign(&topic, partition, Some(&replicas)).await?;
    // Some are given up in the middle.
    if rng.random_bool(0.2) {
        machine.pause(drawn_pause(rng, Duration::from_millis(300))).await;
        admin.reassign(&topic, partition, None).await?;
    }
    Ok(())
}

async fn elect(machine: &Machine, rng: &mut Rng, admin: &ClusterAdmin) -> Result<(), ClientError> {
    let Some((topic, partition)) = any_partition(machine, rng) else { return Ok(()) };
    admin.elect_preferred(&topic, partition).await
}

/// Takes a voter out, and lets it in again.
async fn change_voter(machine: &Machine, rng: &mut Rng, admin: &ClusterAdmin) -> Result<(), ClientError> {
    let quorum = admin.describe_quorum().await?;
    let voters = quorum.current_voters;
    if voters.len() <= FEWEST_VOTERS {
        // One that stayed out because nobody heard what became of its return.
        let out = quorum.observers.iter().find(|observer| observer.log_end_offset >= quorum.high_watermark);
        return match out {
            Some(out) => admin.add_voter(out.replica_id, out.replica_directory_id).await,
            None => Ok(()),
        };
    }
    let chosen = &voters[rng.random_range(0..voters.len())];
    admin.remove_voter(chosen.replica_id, chosen.replica_directory_id).await?;
    machine.pause(drawn_pause(rng, AWAY)).await;
    admin.add_voter(chosen.replica_id, chosen.replica_directory_id).await
}
