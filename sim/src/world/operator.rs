//! Whoever looks after the quorum: a voter whose disk was replaced is another one, which somebody has to take out
//! of the voters under its old disk, and to let in again under the new one once it follows the metadata (KIP-853).

use super::clients::Machine;
use super::nodes::Nodes;
use crate::executor::SimEnv;
use highwater_client::{Admin, ClientError};
use highwater_env::{Env, sleep};
use highwater_types::{BrokerId, Uuid};
use std::collections::BTreeMap;
use std::time::Duration;

type Before = BTreeMap<(BrokerId, u32), Uuid>;

/// How often the operator looks.
const ROUND: Duration = Duration::from_millis(700);

/// Looks after voters whose disks were replaced. Never ends.
pub(crate) async fn look_after(machine: Machine, nodes: Nodes) {
    // The disk that each had before it was replaced so many times, as the quorum knows it.
    let mut before = Before::new();
    let mut admin = None;
    loop {
        sleep(machine.env.clock(), ROUND).await;
        let replaced = nodes.replaced_voters();
        before.retain(|voter, _| replaced.contains(voter));
        if replaced.is_empty() {
            continue;
        }
        if admin.is_none() {
            admin = machine.try_connect().await.ok().map(Admin::new);
        }
        let Some(admin) = &admin else { continue };
        for voter in replaced {
            match step(admin, voter, &mut before).await {
                Ok(true) => {
                    let text = format!("the operator made node {} a voter again, with its new disk", voter.0);
                    machine.env.note(&text);
                    nodes.voter_is_back(voter);
                }
                Ok(false) => {}
                Err(error) => {
                    machine.env.note(&format!("the operator waits with voter {}: {error}", voter.0))
                }
            }
        }
    }
}

/// The next step for one voter; true if it was the last.
async fn step(
    admin: &Admin<SimEnv>,
    replaced: (BrokerId, u32),
    before: &mut Before,
) -> Result<bool, ClientError> {
    let voter = replaced.0;
    let quorum = admin.describe_quorum().await?;
    let disk_in = |members: &[highwater_wire::messages::QuorumReplica]| {
        members.iter().find(|member| member.replica_id == voter).map(|member| member.replica_directory_id)
    };
    if let Some(disk) = disk_in(&quorum.current_voters) {
        if *before.entry(replaced).or_insert(disk) != disk {
            return Ok(true);
        }
        admin.remove_voter(voter, disk).await?;
    }
    // Until the node has come back, it is known by its old disk.
    let gone = before.get(&replaced).copied();
    if let Some(disk) = disk_in(&quorum.observers).filter(|disk| Some(*disk) != gone) {
        admin.add_voter(voter, disk).await?;
    }
    Ok(false)
}
