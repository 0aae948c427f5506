//! Random histories of three replicas: whatever is lost, repeated, reordered or restarted, nothing that was committed
//! is, and when the faults end the replicas come together.

use crate::model::{MAX_LAG, Model, id};
use proptest::prelude::*;

fn act(model: &mut Model, (what, who, how): (u8, i32, usize)) {
    let who = id(who);
    let which = how % model.in_flight().max(1);
    match what {
        0..=11 => model.produce(who),
        12..=21 => model.sync(who),
        22..=39 => model.fetch(who),
        40..=65 => model.deliver(which),
        66..=69 => model.drop_message(which),
        70..=73 => model.duplicate(which),
        74..=82 => model.see(who, how % 3 + 1),
        83..=87 => model.poll(who),
        88 => model.trim(who, 1 + i64::try_from(how % 3).expect("a small number")),
        89..=90 => model.crash(who),
        91..=93 => model.start(who, how.is_multiple_of(8)),
        94 => model.set_fenced(who, true),
        95..=96 => model.set_fenced(who, false),
        97 => model.move_leader(who),
        98 => model.elect_again(),
        99 => model.reassign(who),
        _ => model.pass(MAX_LAG * 2 / 3),
    }
}

fn actions() -> impl Strategy<Value = Vec<(u8, i32, usize)>> {
    prop::collection::vec((0..102u8, 1..=3i32, 0..1_000usize), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_committed_is_lost(sync: bool, min_insync_replicas in 1..=2usize, actions in actions()) {
        #[cfg(highwater_mutants)]
        if let Ok(planted) = std::env::var("HIGHWATER_MUTANT") {
            highwater_types::activate(&planted);
        }
        let mut model = Model::new(sync, min_insync_replicas);
        for action in actions {
            act(&mut model, action);
        }
        model.heal();
    }
}
