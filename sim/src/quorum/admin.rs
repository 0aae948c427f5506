//! Whoever changes the members: works on the member that leads.

use super::lock;
use super::node::{Lost, Shared, Stage};
use super::plan::Kind;
use crate::checkers::members::broker_of;
use crate::executor::{NodeId, SimEnv};
use highwater_env::{Env, Purpose, Rng, sleep};
use highwater_quorum::{ProposeError, Quorum};
use highwater_types::BrokerId;
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// Works until its member stops.
pub async fn run(env: SimEnv, shared: Shared, quorum: Quorum<SimEnv>) {
    let mut rng = env.entropy(Purpose::User(20));
    let own = broker_of(env.node());
    let changes = shared.plan.faults.iter().find(|(kind, _)| *kind == Kind::Members);
    let pause = changes.map(|&(_, mean)| mean);
    loop {
        let lost = *lock(&shared.lost);
        let wait = match lost {
            Some(_) => Duration::from_millis(200),
            None => pause.unwrap_or(Duration::from_secs(1)).mul_f64(rng.random_range(0.0..2.0)),
        };
        sleep(env.clock(), wait).await;
        if quorum.leadership().leader != Some(own) {
            continue;
        }
        let done = match *lock(&shared.lost) {
            Some(lost) => Work::Replace(lost),
            None if pause.is_some() && !*lock(&shared.healed) => Work::Change,
            None => continue,
        };
        let done = match done {
            Work::Replace(lost) => replace(&shared, &quorum, lost).await,
            Work::Change => change(&shared, &quorum, &mut rng).await,
        };
        if matches!(done, Err(ProposeError::Stopped | ProposeError::Fatal(_))) {
            return;
        }
    }
}

/// How long a new disk has to catch up before something else is tried.
const PATIENCE: Duration = Duration::from_secs(3);

enum Work {
    Replace(Lost),
    Change,
}

/// Goes one step towards putting a new disk in the place of a lost one.
async fn replace(shared: &Shared, quorum: &Quorum<SimEnv>, lost: Lost) -> Result<(), ProposeError> {
    let id = broker_of(lost.node);
    let voters = voters(quorum);
    let next = match lost.stage {
        Stage::Rotten => return Ok(()),
        Stage::Replaced => {
            if voters.iter().all(|voter| *voter == id) {
                return Ok(());
            }
            // One that a change under way takes out counts until that is done.
            if quorum.status().voters.iter().flatten().any(|voter| *voter == id)
                && let Some(peer) = quorum.peer(id)
            {
                quorum.remove_voter(id, peer.disk).await?;
            }
            Some(Stage::Excluded)
        }
        Stage::Excluded => {
            let Some(peer) = shared.peer(lost.node) else { return Ok(()) };
            quorum.add_learner(id, peer).await?;
            Some(Stage::Learner)
        }
        Stage::Learner => {
            let Some(peer) = shared.peer(lost.node) else { return Ok(()) };
            quorum.add_voter(id, peer.disk, PATIENCE).await?;
            None
        }
    };
    let mut now = lock(&shared.lost);
    // It may have been lost again, or another leader's admin may have come further.
    if *now == Some(lost) {
        *now = next.map(|stage| Lost { stage, ..lost });
        shared.count("step towards a new disk");
    }
    Ok(())
}

/// Changes something, so that at least three voters stay.
async fn change(shared: &Shared, quorum: &Quorum<SimEnv>, rng: &mut Rng) -> Result<(), ProposeError> {
    let node = NodeId(rng.random_range(0..shared.plan.nodes()));
    let id = broker_of(node);
    let status = quorum.status();
    let mut voters = voters(quorum);
    if voters.contains(&id) {
        if voters.len() <= 3 {
            return Ok(());
        }
        let Some(peer) = quorum.peer(id) else { return Ok(()) };
        quorum.remove_voter(id, peer.disk).await?;
        shared.count("voter taken out");
    } else if status.learners.contains(&id) {
        if rng.random_bool(0.3) {
            quorum.remove_learner(id).await?;
            shared.count("learner forgotten");
        } else {
            voters.insert(id);
            if voters.len() > 3 && rng.random_bool(0.5) {
                let taken = voters.iter().copied().filter(|other| *other != id).nth(rng.random_range(0..3));
                taken.map(|taken| voters.remove(&taken));
            }
            quorum.change_voters(voters).await?;
            shared.count("voter added");
        }
    } else if let Some(peer) = shared.peer(node) {
        quorum.add_learner(id, peer).await?;
        shared.count("learner added");
    }
    Ok(())
}

/// The voters, or those that a change under way leads to.
fn voters(quorum: &Quorum<SimEnv>) -> BTreeSet<BrokerId> {
    quorum.status().voters.pop().unwrap_or_default().into_iter().collect()
}
