//! Scripts: what three replicas say to each other in the situations that replication is known to go wrong in. The
//! transcripts are under `snapshots/`.

use crate::model::{MAX_LAG, Model, id};

const ALL: [i32; 3] = [1, 2, 3];

/// Three replicas that have seen the first state.
fn begin(sync: bool) -> Model {
    let mut model = Model::new(sync, 2);
    for broker in ALL {
        model.see(id(broker), 1);
    }
    model
}

/// A follower fetches, and gets its answer.
fn fetch(model: &mut Model, follower: i32) {
    model.fetch(id(follower));
    model.deliver_all();
}

#[test]
fn a_record_is_committed_when_all_have_it_on_disk() {
    let mut model = begin(true);
    model.produce(id(1));
    fetch(&mut model, 2);
    fetch(&mut model, 3);
    for broker in ALL {
        model.sync(id(broker));
    }
    fetch(&mut model, 2);
    fetch(&mut model, 3);
    fetch(&mut model, 2);
    insta::assert_snapshot!(model.transcript);
}

/// KIP-101: a follower that has a committed record without knowing so is restarted, and elected at once.
#[test]
fn a_follower_does_not_cut_to_its_own_high_watermark() {
    let mut model = begin(true);
    model.produce(id(1));
    for follower in [2, 3, 2, 3] {
        fetch(&mut model, follower);
        for broker in ALL {
            model.sync(id(broker));
        }
    }
    model.crash(id(2));
    model.start(id(2), false);
    model.see(id(2), 9);
    fetch(&mut model, 2);
    model.crash(id(1));
    model.set_fenced(id(1), true);
    model.see(id(2), 9);
    model.see(id(3), 9);
    fetch(&mut model, 3);
    model.heal();
    insta::assert_snapshot!(model.transcript);
}

/// KIP-279: two leaders, one after the other, each with records that nobody else has.
#[test]
fn logs_that_parted_twice_are_brought_together_in_steps() {
    let mut model = begin(true);
    model.produce(id(1));
    for follower in [2, 3, 2, 3] {
        fetch(&mut model, follower);
        for broker in ALL {
            model.sync(id(broker));
        }
    }
    // 1 writes two more, which nobody gets.
    model.produce(id(1));
    model.produce(id(1));
    model.sync(id(1));
    model.move_leader(id(2));
    model.see(id(2), 9);
    model.produce(id(2));
    model.produce(id(2));
    model.produce(id(2));
    model.sync(id(2));
    // 1 leads again without having heard of 2, and writes in its new epoch.
    model.move_leader(id(1));
    model.see(id(1), 9);
    model.produce(id(1));
    model.sync(id(1));
    model.move_leader(id(2));
    model.see(id(2), 9);
    model.see(id(1), 9);
    for _ in 0..4 {
        fetch(&mut model, 1);
    }
    model.heal();
    insta::assert_snapshot!(model.transcript);
}

/// KAFKA-7128: a new leader whose high watermark lags behind what was committed.
#[test]
fn a_replica_below_the_start_of_the_epoch_does_not_join() {
    let mut model = begin(true);
    model.set_fenced(id(3), true);
    model.see(id(1), 9);
    model.produce(id(1));
    fetch(&mut model, 2);
    model.sync(id(1));
    model.sync(id(2));
    model.fetch(id(2));
    // The record is committed at 1; 2, which leads next, has not heard of that.
    model.deliver(0);
    model.drop_message(0);
    model.move_leader(id(2));
    model.set_fenced(id(3), false);
    model.see(id(2), 9);
    model.see(id(3), 9);
    model.fetch(id(3));
    model.deliver(0);
    model.poll(id(2));
    model.heal();
    insta::assert_snapshot!(model.transcript);
}

/// KIP-497: the answer to a change of the in-sync set is lost, and the new member is elected.
#[test]
fn members_that_may_have_been_admitted_are_waited_for() {
    let mut model = begin(true);
    model.set_fenced(id(3), true);
    model.set_fenced(id(3), false);
    for broker in ALL {
        model.see(id(broker), 9);
    }
    fetch(&mut model, 3);
    model.poll(id(1));
    // The controller makes it so; its answer does not arrive, nor does the metadata.
    model.deliver(0);
    model.drop_message(0);
    model.produce(id(1));
    model.sync(id(1));
    fetch(&mut model, 2);
    model.sync(id(2));
    fetch(&mut model, 2);
    fetch(&mut model, 3);
    model.sync(id(3));
    fetch(&mut model, 3);
    model.move_leader(id(3));
    model.heal();
    insta::assert_snapshot!(model.transcript);
}

#[test]
fn a_replica_that_stands_still_leaves() {
    let mut model = begin(true);
    model.produce(id(1));
    fetch(&mut model, 2);
    model.sync(id(1));
    model.sync(id(2));
    fetch(&mut model, 2);
    model.pass(MAX_LAG * 2);
    fetch(&mut model, 2);
    model.poll(id(1));
    model.deliver_all();
    // The smaller set counts once the metadata has it.
    model.see(id(1), 9);
    insta::assert_snapshot!(model.transcript);
}

/// Whoever has left may come back soon, and is waited for; not if it is fenced.
#[test]
fn who_left_for_good_does_not_hold_the_high_watermark() {
    let mut model = Model::new(true, 1);
    for broker in ALL {
        model.see(id(broker), 1);
    }
    fetch(&mut model, 2);
    fetch(&mut model, 3);
    model.produce(id(1));
    model.sync(id(1));
    for broker in [2, 3] {
        model.crash(id(broker));
        model.set_fenced(id(broker), true);
    }
    model.see(id(1), 9);
    model.poll(id(1));
    assert!(model.transcript.ends_with("1: high watermark 1\n"), "{}", model.transcript);
    insta::assert_snapshot!(model.transcript);
}

#[test]
fn a_replica_below_the_log_start_begins_anew() {
    let mut model = begin(false);
    model.set_fenced(id(3), true);
    model.see(id(1), 9);
    model.produce(id(1));
    model.produce(id(1));
    fetch(&mut model, 2);
    fetch(&mut model, 2);
    model.trim(id(1), 1);
    model.set_fenced(id(3), false);
    for broker in ALL {
        model.see(id(broker), 9);
    }
    fetch(&mut model, 3);
    fetch(&mut model, 3);
    fetch(&mut model, 2);
    insta::assert_snapshot!(model.transcript);
}
