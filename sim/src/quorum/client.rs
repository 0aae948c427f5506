//! A client of the quorum: proposes and reads while its member leads.

use super::lock;
use super::machine::command;
use super::node::Shared;
use super::record::End;
use crate::executor::SimEnv;
use highwater_env::{Env, Purpose, Rng, sleep};
use highwater_quorum::{ProposeError, Quorum};
use rand::RngExt;

/// Runs a client until its member stops.
pub async fn run(env: SimEnv, shared: Shared, quorum: Quorum<SimEnv>, number: u32) {
    let mut rng = env.entropy(Purpose::User(number));
    let own = crate::checkers::members::broker_of(env.node());
    loop {
        let think = shared.plan.think.mul_f64(rng.random_range(0.0..2.0));
        sleep(env.clock(), think).await;
        let leadership = quorum.leadership();
        // Now and then one tries that should not.
        if leadership.leader != Some(own) && !rng.random_bool(0.05) {
            continue;
        }
        let done = if rng.random_bool(0.6) {
            propose(&env, &shared, &quorum, leadership.term, &mut rng).await
        } else {
            read(&env, &shared, &quorum).await
        };
        if matches!(done, Err(ProposeError::Stopped | ProposeError::Fatal(_))) {
            return;
        }
    }
}

async fn propose(
    env: &SimEnv,
    shared: &Shared,
    quorum: &Quorum<SimEnv>,
    term: u64,
    rng: &mut Rng,
) -> Result<(), ProposeError> {
    // A controller looks at the state before it decides, as of its own term.
    let term = if rng.random_bool(0.3) { quorum.fence().await?.term } else { term };
    let padding = if rng.random_bool(0.1) { rng.random_range(0..600) } else { rng.random_range(0..50) };
    let (operation, number) = lock(&shared.record).begin(true, env.true_now());
    let answer = quorum.propose(term, command(number, padding)).await;
    let end = match &answer {
        Ok(index) => End::Done(*index),
        Err(ProposeError::NotLeader { .. } | ProposeError::Refused(_)) => End::Refused,
        Err(_) => End::Open,
    };
    if let Err(violation) = lock(&shared.record).end(operation, env.true_now(), end) {
        env.violate(violation);
    }
    answer.map(|_| ())
}

async fn read(env: &SimEnv, shared: &Shared, quorum: &Quorum<SimEnv>) -> Result<(), ProposeError> {
    let (operation, _) = lock(&shared.record).begin(false, env.true_now());
    let answer = quorum.fence().await;
    let end = match &answer {
        // Entries without a command count too: what is read is as of the last entry that was applied.
        Ok(_) => End::Done(quorum.status().applied.unwrap_or_default()),
        Err(_) => End::Open,
    };
    if let Err(violation) = lock(&shared.record).end(operation, env.true_now(), end) {
        env.violate(violation);
    }
    answer.map(|_| ())
}
