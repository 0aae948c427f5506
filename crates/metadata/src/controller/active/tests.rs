//! Scripts, one per behaviour. Partitions are shown as `leader 1 e3 isr 1,2 elr 3`.

use super::harness::{World, cluster_id, ids, show};
use crate::configs::ConfigView;
use crate::controller::*;
use highwater_types::{BrokerEpoch, ClusterId, DiskId, LeaderEpoch, LogId, Uuid};
use std::time::Duration;

const REPLICATED: (&str, &str) = ("durability", "replicated");

fn check_refused<T: std::fmt::Debug>(result: Result<T, Refusal>, code: RefusalCode) {
    assert_eq!(result.unwrap_err().code, code);
}

#[test]
fn a_broker_is_fenced_until_it_has_caught_up() {
    let mut world = World::new(&[]);
    world.start(1, BrokerEpoch::NONE);
    let epoch = world.epoch(1);
    assert_eq!(epoch, BrokerEpoch(i64::try_from(world.index).unwrap()));
    let behind = world.heartbeat(1, |it| it.applied -= 1).unwrap();
    assert_eq!(behind, HeartbeatAnswer { caught_up: false, fenced: true, should_shut_down: false });
    let not_yet = world.heartbeat(1, |it| it.want_fence = true).unwrap();
    assert_eq!(not_yet, HeartbeatAnswer { caught_up: true, fenced: true, should_shut_down: false });
    let well = world.heartbeat(1, |_| {}).unwrap();
    assert_eq!(well, HeartbeatAnswer { caught_up: true, fenced: false, should_shut_down: false });
    assert_eq!(world.epoch(1), epoch);
    let fenced = world.heartbeat(1, |it| it.want_fence = true).unwrap();
    assert!(fenced.fenced);
    check_refused(world.heartbeat(1, |it| it.epoch = BrokerEpoch(1)), RefusalCode::StaleBrokerEpoch);
    check_refused(world.heartbeat(9, |_| {}), RefusalCode::BrokerIdNotRegistered);
}

#[test]
fn a_broker_that_was_fenced_is_unfenced_once_it_knows() {
    let mut world = World::new(&[]).with_brokers(2);
    let before = world.index;
    world.pass(20, &[1]);
    assert!(world.image.broker(BrokerId(2)).unwrap().fenced);
    // It was cut off, and leads what it led for all that it knows.
    let behind = world.heartbeat(2, |it| it.applied = before).unwrap();
    assert_eq!(behind, HeartbeatAnswer { caught_up: false, fenced: true, should_shut_down: false });
    let well = world.heartbeat(2, |_| {}).unwrap();
    assert_eq!(well, HeartbeatAnswer { caught_up: true, fenced: false, should_shut_down: false });
}

#[test]
fn registrations_that_do_not_fit_are_refused() {
    let mut world = World::new(&[("min.insync.replicas", "2")]).with_brokers(1);
    let good = world.registration(2, BrokerEpoch::NONE);
    let mut check = |alter: &dyn Fn(&mut Registration), code| {
        let mut registration = good.clone();
        alter(&mut registration);
        check_refused(world.register(&registration), code);
    };
    check(&|it| it.cluster_id = ClusterId(Uuid([1; 16])), RefusalCode::InconsistentClusterId);
    check(&|it| it.endpoints.clear(), RefusalCode::InvalidRegistration);
    check(&|it| it.settings.clear(), RefusalCode::InvalidRegistration);
    check(&|it| it.features.clear(), RefusalCode::UnsupportedVersion);
    check(&|it| it.id = BrokerId(1), RefusalCode::DuplicateBrokerRegistration);
    assert_eq!(good.cluster_id, cluster_id());
    world.register(&good).unwrap();
}

#[test]
fn a_repeated_registration_keeps_its_epoch_and_another_disk_waits_for_the_session() {
    let mut world = World::new(&[]);
    let first = world.registration(1, BrokerEpoch::NONE);
    world.register(&first).unwrap();
    let epoch = world.epoch(1);
    world.beat(1);
    let moved = Registration { rack: Some("r".to_owned()), ..first.clone() };
    world.register(&moved).unwrap();
    assert_eq!(world.epoch(1), epoch);
    let broker = world.image.broker(BrokerId(1)).unwrap();
    assert!(!broker.fenced && broker.rack.as_deref() == Some("r"));
    check_refused(
        world.register(&Registration { disk: DiskId(Uuid([9; 16])), ..first }),
        RefusalCode::InvalidRegistration,
    );
    // One disk has one process, so this is the same broker, started anew.
    let restarted = world.registration(1, BrokerEpoch::NONE);
    world.register(&restarted).unwrap();
    let restarted_epoch = world.epoch(1);
    assert!(restarted_epoch > epoch);
    assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    world.beat(1);
    let replaced = Registration { disk: DiskId(Uuid([9; 16])), ..world.registration(1, BrokerEpoch::NONE) };
    check_refused(world.register(&replaced), RefusalCode::DuplicateBrokerRegistration);
    world.now = world.now.after(std::time::Duration::from_secs(9));
    world.register(&replaced).unwrap();
    assert!(world.epoch(1) > restarted_epoch);
}

#[test]
fn leadership_moves_away_from_a_broker_that_is_not_heard_of() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.check("t", "leader 1 e0 isr 1,2,3");
    world.pass(8, &[2, 3]);
    world.check("t", "leader 1 e0 isr 1,2,3");
    world.pass(1, &[2, 3]);
    assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    world.check("t", "leader 2 e1 isr 2,3");
    // Too few are left now, so that nothing is committed: who leaves stays complete.
    world.pass(9, &[3]);
    world.check("t", "leader 3 e2 isr 3 elr 2");
    world.pass(9, &[]);
    world.check("t", "leader none e3 elr 2,3 last 3");
    world.beat(2);
    world.check("t", "leader 2 e4 isr 2 elr 3");
    // The first one is not known to be complete.
    world.beat(1);
    world.check("t", "leader 2 e4 isr 2 elr 3");
    world.set_isr("t", &[2, 1]);
    world.check("t", "leader 2 e4 isr 1,2");
}

#[test]
fn brokers_that_fail_at_once_are_no_heirs_of_each_other() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.pass(9, &[3]);
    world.check("t", "leader 3 e1 isr 3 elr 1,2");
}

#[test]
fn the_partition_of_a_failed_log_is_left_to_who_lives() {
    let fail = |world: &mut World, id: i32| {
        let (log, id, epoch) = (world.log("t", 0), BrokerId(id), world.epoch(id));
        world.decide(|controller, view, _, _| controller.fail_logs(view, id, epoch, &[log])).remove(0)
    };
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    fail(&mut world, 1).unwrap();
    world.check("t", "leader 2 e1 isr 2,3");
    // It is not in sync, and changes nothing by telling it again.
    check_refused(fail(&mut world, 1), RefusalCode::EligibleLeadersNotAvailable);
    // A follower as well; what it had on its disk is complete as long as nothing more is committed.
    fail(&mut world, 3).unwrap();
    world.check("t", "leader 2 e1 isr 2 elr 3");
    // The last one in sync stays.
    check_refused(fail(&mut world, 2), RefusalCode::EligibleLeadersNotAvailable);
    world.check("t", "leader 2 e1 isr 2 elr 3");

    // Where acknowledgements wait for no disk, what was acknowledged may be gone with what failed.
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2]], &[REPLICATED]);
    fail(&mut world, 1).unwrap();
    world.check("t", "leader 2 e1 isr 2");
    // One that has fallen silent inherits nothing.
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2]], &[]);
    world.pass(9, &[1]);
    check_refused(fail(&mut world, 1), RefusalCode::EligibleLeadersNotAvailable);
    world.check("t", "leader 1 e0 isr 1");
}

#[test]
fn a_new_controller_gives_everybody_a_full_session() {
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2]], &[]);
    world.pass(8, &[]);
    world.controller = Controller::new(&world.image, world.now);
    world.pass(8, &[2]);
    world.check("t", "leader 1 e0 isr 1,2");
    world.pass(1, &[2]);
    world.check("t", "leader 2 e1 isr 2");
}

#[test]
fn the_next_broker_to_be_fenced_is_known() {
    let mut world = World::new(&[]).with_brokers(2);
    world.pass(8, &[2]);
    // A session of 9 s, of which broker 1 has used 8.
    assert_eq!(world.next_expiry(), Some(world.now.after(Duration::from_secs(1))));
    world.pass(1, &[2]);
    assert_eq!(world.next_expiry(), Some(world.now.after(Duration::from_secs(9))));
}

#[test]
fn a_stop_in_good_order_moves_everything_away_first() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    let leaving = |world: &mut World, id| world.heartbeat(id, |it| it.want_shut_down = true).unwrap();
    assert!(!leaving(&mut world, 1).should_shut_down);
    world.check("t", "leader 2 e1 isr 2,3");
    // The others do not know yet.
    assert!(!leaving(&mut world, 1).should_shut_down);
    check_refused(world.alter(2, world.isr_change("t", 0, &[1, 2, 3])), RefusalCode::IneligibleReplica);
    world.beat(2);
    assert!(!leaving(&mut world, 1).should_shut_down);
    world.beat(3);
    let done = leaving(&mut world, 1);
    assert!(done.should_shut_down && done.fenced);
    // Repeated: the answer may have been lost.
    assert!(leaving(&mut world, 1).should_shut_down);
    let epoch = world.epoch(1);
    world.start(1, epoch);
    world.beat(1);
    assert!(world.image.is_active(BrokerId(1)));
    // Alone it stops at once, and is eligible afterwards.
    world.topic("alone", &[&[3]], &[]);
    assert!(!leaving(&mut world, 3).should_shut_down);
    world.check("alone", "leader none e1 elr 3 last 3");
}

#[test]
fn where_acknowledged_means_synced_an_unclean_stop_takes_nothing() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.pass(9, &[1]);
    world.check("t", "leader 1 e0 isr 1 elr 2,3");
    world.start(2, BrokerEpoch::NONE);
    world.check("t", "leader 1 e0 isr 1 elr 2,3");
    world.pass(9, &[]);
    world.check("t", "leader none e1 elr 1,2,3 last 1");
    world.beat(2);
    world.check("t", "leader 2 e2 isr 2 elr 1,3");
}

#[test]
fn where_acknowledged_means_in_memory_an_unclean_stop_takes_eligibility() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[REPLICATED]);
    world.pass(9, &[1]);
    world.check("t", "leader 1 e0 isr 1 elr 2,3");
    let epoch = world.epoch(3);
    world.start(2, BrokerEpoch::NONE);
    world.start(3, epoch);
    world.check("t", "leader 1 e0 isr 1 elr 3");
    world.pass(9, &[2]);
    world.check("t", "leader none e1 elr 1,3 last 1");
    world.start(1, BrokerEpoch::NONE);
    world.check("t", "leader none e1 elr 3 last 1");
    // Not the last leader as long as there is a complete one.
    world.beat(1);
    world.check("t", "leader none e1 elr 3 last 1");
    world.beat(3);
    world.check("t", "leader 3 e2 isr 3");
}

#[test]
fn the_last_leader_is_the_last_resort_where_nothing_was_promised_to_be_on_disk() {
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2]], &[REPLICATED]);
    world.pass(9, &[1]);
    world.pass(9, &[2]);
    world.check("t", "leader none e1 elr 1 last 1");
    // A mark from before the last registration says nothing of the last stop.
    world.start(1, BrokerEpoch(1));
    world.check("t", "leader none e1 last 1");
    world.beat(2);
    world.check("t", "leader none e1 last 1");
    assert_eq!(world.partition("t", 0).unclean_epoch, None);
    world.beat(1);
    world.check("t", "leader 1 e2 isr 1");
    assert_eq!(world.partition("t", 0).unclean_epoch, Some(LeaderEpoch(2)));
}

#[test]
fn another_disk_holds_nothing() {
    for configs in [&[][..], &[REPLICATED]] {
        let mut world = World::new(&[]).with_brokers(2);
        world.topic("t", &[&[1, 2]], configs);
        world.pass(9, &[1]);
        world.pass(9, &[]);
        world.check("t", "leader none e1 elr 1 last 1");
        let mut registration = world.registration(1, world.epoch(1));
        registration.disk = DiskId(Uuid([0xdd; 16]));
        world.register(&registration).unwrap();
        world.beat(1);
        world.beat(2);
        world.check("t", "leader none e1");
        let log = world.log("t", 0);
        let mut elect =
            |election| world.decide(|_, view, _, _| elect_leaders(view, election, &[log])).remove(0);
        check_refused(elect(ElectionType::Preferred), RefusalCode::PreferredLeaderNotAvailable);
        elect(ElectionType::Unclean).unwrap();
        check_refused(elect(ElectionType::Unclean), RefusalCode::ElectionNotNeeded);
        world.check("t", "leader 1 e2 isr 1");
    }
}

#[test]
fn a_topic_may_ask_for_any_leader_rather_than_none() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.set_isr("t", &[1]);
    world.check("t", "leader 1 e0 isr 1 elr 2,3");
    world.set_config("t", "min.insync.replicas", Some("1"));
    world.check("t", "leader 1 e0 isr 1");
    world.pass(9, &[2, 3]);
    world.check("t", "leader none e1 elr 1 last 1");
    world.set_config("t", "unclean.leader.election.enable", Some("true"));
    world.tick();
    world.check("t", "leader 2 e2 isr 2");
    assert_eq!(world.partition("t", 0).unclean_epoch, Some(LeaderEpoch(2)));
}

#[test]
fn nobody_stays_eligible_by_a_minimum_that_is_no_longer_in_force() {
    let mut world = World::new(&[]).with_brokers(3);
    world.topic("t", &[&[1, 2, 3], &[1, 2, 3]], &[("min.insync.replicas", "3")]);
    world.set_isr("t", &[1, 2]);
    world.check("t", "leader 1 e0 isr 1,2 elr 3");
    world.set_config("t", "min.insync.replicas", None);
    world.check("t", "leader 1 e0 isr 1,2");
    // With the third replica goes the default of 2, for all partitions.
    let change = world.isr_change("t", 1, &[1]);
    world.alter(1, change).unwrap();
    assert_eq!(show(world.partition("t", 1)), "leader 1 e0 isr 1 elr 2,3");
    world.reassign("t", Some(&[1, 2])).unwrap();
    world.check("t", "leader 1 e1 isr 1,2");
    assert_eq!(show(world.partition("t", 1)), "leader 1 e0 isr 1");
    // One broker has no say of its own in it.
    let set = ConfigChange {
        name: "min.insync.replicas".to_owned(),
        operation: AlterOperation::Set,
        value: Some("1".to_owned()),
    };
    let resource = (Resource::Broker(Some(BrokerId(1))), vec![set]);
    let answers = world.decide(|_, view, _, _| incremental_alter_configs(view, &[resource], false));
    check_refused(answers.into_iter().next().unwrap(), RefusalCode::InvalidRequest);
}

#[test]
fn in_sync_changes_are_for_the_leader_and_the_present_state_alone() {
    let mut world = World::new(&[]).with_brokers(4);
    world.topic("t", &[&[1, 2, 3]], &[]);
    let good = world.isr_change("t", 0, &[1, 2]);
    let mut check = |from, alter: &dyn Fn(&mut IsrChange), code| {
        let mut change = good.clone();
        alter(&mut change);
        check_refused(world.alter(from, change), code);
    };
    check(2, &|_| {}, RefusalCode::InvalidRequest);
    check(1, &|it| it.leader_epoch.0 += 1, RefusalCode::NotController);
    check(1, &|it| it.partition_epoch += 1, RefusalCode::NotController);
    check(1, &|it| it.log.partition.0 = 7, RefusalCode::UnknownTopicOrPartition);
    check(1, &|it| it.log.topic = TopicId(Uuid([1; 16])), RefusalCode::UnknownTopicId);
    check(1, &|it| it.isr.clear(), RefusalCode::InvalidRequest);
    check(1, &|it| it.isr.push(it.isr[0]), RefusalCode::InvalidRequest);
    check(1, &|it| it.isr.push((BrokerId(4), BrokerEpoch(5))), RefusalCode::InvalidRequest);
    check(1, &|it| it.isr[1].1.0 -= 1, RefusalCode::IneligibleReplica);
    world.alter(1, good.clone()).unwrap();
    world.check("t", "leader 1 e0 isr 1,2");
    check_refused(world.alter(1, good.clone()), RefusalCode::InvalidUpdateVersion);
    world.pass(9, &[2, 3, 4]);
    world.check("t", "leader 2 e1 isr 2 elr 1");
    check_refused(world.alter(1, good), RefusalCode::FencedLeaderEpoch);
    check_refused(world.alter(2, world.isr_change("t", 0, &[1, 2])), RefusalCode::IneligibleReplica);
    let stale = world.isr_change("t", 0, &[2, 3]);
    world.pass(9, &[1, 2, 4]);
    world.start(3, BrokerEpoch::NONE);
    world.beat(3);
    // It is the same state of the partition, and another 3.
    check_refused(world.alter(2, stale), RefusalCode::IneligibleReplica);
    let answers = world
        .decide(|controller, view, _, _| controller.alter_partitions(view, BrokerId(2), BrokerEpoch(1), &[]));
    assert!(answers.is_empty());
}

#[test]
fn a_reassignment_ends_when_the_new_replicas_are_in_sync() {
    let mut world = World::new(&[]).with_brokers(6);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.reassign("t", Some(&[4, 5, 1])).unwrap();
    world.check("t", "leader 1 e0 isr 1,2,3 adding 4,5 removing 2,3");
    assert_eq!(world.partition("t", 0).replicas, ids(&[4, 5, 1, 2, 3]));
    assert_eq!(list_reassignments(&world.image, None).len(), 1);
    assert_eq!(world.image.topic("t").unwrap().replication_factor(), 3);
    world.set_isr("t", &[1, 2, 3, 4]);
    world.check("t", "leader 1 e0 isr 4,1,2,3 adding 4,5 removing 2,3");
    world.set_isr("t", &[1, 2, 3, 4, 5]);
    world.check("t", "leader 1 e1 isr 4,5,1");
    assert!(list_reassignments(&world.image, None).is_empty());
    // The leader itself goes: it is told that there is another one.
    world.reassign("t", Some(&[4, 5, 6])).unwrap();
    let change = world.isr_change("t", 0, &[1, 4, 5, 6]);
    check_refused(world.alter(1, change), RefusalCode::NewLeaderElected);
    world.check("t", "leader 4 e2 isr 4,5,6");
}

#[test]
fn a_reassignment_is_changed_and_cancelled() {
    let mut world = World::new(&[]).with_brokers(5);
    world.topic("t", &[&[1, 2, 3]], &[]);
    check_refused(world.reassign("t", None), RefusalCode::NoReassignmentInProgress);
    for bad in [&[][..], &[1, 1], &[9]] {
        check_refused(world.reassign("t", Some(bad)), RefusalCode::InvalidReplicaAssignment);
    }
    world.reassign("t", Some(&[4, 2, 3])).unwrap();
    world.set_isr("t", &[2, 3, 1]);
    world.reassign("t", Some(&[5, 2, 3])).unwrap();
    world.check("t", "leader 1 e1 isr 1,2,3 adding 5 removing 1");
    assert_eq!(world.partition("t", 0).replicas, ids(&[5, 2, 3, 1]));
    world.reassign("t", None).unwrap();
    world.check("t", "leader 1 e2 isr 1,2,3");
    assert_eq!(world.partition("t", 0).replicas, ids(&[2, 3, 1]));
    let wanted =
        Reassignment { topic: "t".to_owned(), partition: PartitionIndex(0), replicas: Some(ids(&[1, 2])) };
    let answers = world.decide(|_, view, _, _| alter_reassignments(view, &[wanted], false));
    check_refused(answers.into_iter().next().unwrap(), RefusalCode::InvalidReplicationFactor);
}

#[test]
fn a_replica_in_sync_is_not_given_up_where_too_few_would_be_left() {
    let mut world = World::new(&[]).with_brokers(4);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.set_isr("t", &[1, 3]);
    world.reassign("t", Some(&[1, 2])).unwrap();
    // Were it done at once, what 1 and 3 have would be on one disk alone.
    world.set_config("t", "min.insync.replicas", Some("2"));
    world.check("t", "leader 1 e0 isr 1,3 removing 3");
    world.set_isr("t", &[1, 2, 3]);
    world.check("t", "leader 1 e1 isr 1,2");
}

/// Whoever comes back finds that it is no replica any more, and removes its log.
#[test]
fn the_last_complete_replica_is_not_given_up_though_it_is_not_there() {
    let mut world = World::new(&[("min.insync.replicas", "1")]).with_brokers(5);
    world.topic("t", &[&[1, 2]], &[]);
    world.reassign("t", Some(&[3, 4])).unwrap();
    world.set_isr("t", &[1, 2, 3]);
    world.pass(20, &[3, 4, 5]);
    world.check("t", "leader 3 e1 isr 3 adding 3,4 removing 1,2");
    world.pass(20, &[4, 5]);
    assert_eq!((world.partition("t", 0).isr.len(), &world.partition("t", 0).elr), (0, &ids(&[3])));
    check_refused(world.reassign("t", None), RefusalCode::InvalidReplicaAssignment);
    check_refused(world.reassign("t", Some(&[4, 5])), RefusalCode::InvalidReplicaAssignment);
    world.beat(3);
    world.check("t", "leader 3 e3 isr 3 adding 3,4 removing 1,2");
}

#[test]
fn leadership_returns_to_preferred_replicas() {
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2], &[2, 1]], &[]);
    world.pass(9, &[2]);
    world.check("t", "leader 2 e1 isr 2");
    world.beat(1);
    world.set_isr("t", &[1, 2]);
    let log = world.log("t", 0);
    world.pass(281, &[1, 2]);
    world.check("t", "leader 2 e1 isr 1,2");
    world.pass(20, &[1, 2]);
    world.check("t", "leader 1 e2 isr 1,2");
    let answers = world.decide(|_, view, _, _| elect_leaders(view, ElectionType::Preferred, &[log]));
    check_refused(answers.into_iter().next().unwrap(), RefusalCode::ElectionNotNeeded);
}

fn world_with_partitions(count: usize) -> World {
    let mut world = World::new(&[]).with_brokers(3);
    let replicas: Vec<&[i32]> = vec![&[1, 2, 3]; 5_000.min(count)];
    for number in 0..count.div_ceil(5_000) {
        world.topic(&format!("t{number}"), &replicas, &[]);
    }
    world
}

#[test]
fn all_that_a_broker_leads_moves_in_one_entry_or_in_as_few_as_can_be() {
    let led = |world: &World, id| {
        let partitions = world.image.topics().flat_map(|topic| topic.partitions());
        partitions.filter(|partition| partition.leader == Some(BrokerId(id))).count()
    };
    for (count, entries) in [(1_500, 1), (25_000, 3)] {
        let mut world = world_with_partitions(count);
        assert_eq!(led(&world, 1), count);
        world.now = world.now.after(std::time::Duration::from_secs(8));
        [2, 3].iter().for_each(|&id| world.beat(id));
        world.now = world.now.after(std::time::Duration::from_secs(1));
        assert_eq!(world.tick(), entries);
        assert_eq!(led(&world, 2), count);
        assert!(world.image.broker(BrokerId(1)).unwrap().fenced);
    }
    // A stop in good order, too.
    let mut world = world_with_partitions(25_000);
    let mut beats = 0;
    while !world.heartbeat(1, |it| it.want_shut_down = true).unwrap().should_shut_down {
        beats += 1;
        [2, 3].iter().for_each(|&id| world.beat(id));
    }
    assert_eq!((led(&world, 1), beats), (0, 3));
}

#[test]
fn a_broker_leaves_for_good_once_others_have_what_it_has() {
    let mut world = World::new(&[]).with_brokers(4);
    world.topic("t", &[&[1, 2, 3]], &[]);
    world.topic("alone", &[&[1]], &[]);
    let unregister = |world: &mut World, id| {
        world.decide(|controller, view, _, _| unregister_broker(view, controller, BrokerId(id))).remove(0)
    };
    check_refused(unregister(&mut world, 9), RefusalCode::BrokerIdNotRegistered);
    let running = unregister(&mut world, 2).unwrap_err();
    assert!(running.message.contains("is running"), "{running:?}");
    check_refused(unregister(&mut world, 1), RefusalCode::InvalidRequest);
    let empty =
        |world: &mut World| world.decide(|_, view, _, _| decommission(view, BrokerId(1))).remove(0).unwrap();
    assert_eq!(empty(&mut world), 2);
    world.check("t", "leader 1 e0 isr 1,2,3 adding 4 removing 1");
    // Asking again changes nothing.
    let index = world.index;
    assert_eq!((empty(&mut world), world.index), (2, index));
    check_refused(world.alter(1, world.isr_change("t", 0, &[1, 2, 3, 4])), RefusalCode::NewLeaderElected);
    let heir = world.partition("alone", 0).adding[0].0;
    check_refused(world.alter(1, world.isr_change("alone", 0, &[1, heir])), RefusalCode::NewLeaderElected);
    assert_eq!(empty(&mut world), 0);
    check_refused(unregister(&mut world, 1), RefusalCode::InvalidRequest);
    world.pass(20, &[2, 3, 4]);
    unregister(&mut world, 1).unwrap();
    assert!(world.image.broker(BrokerId(1)).is_none());
    world.check("t", "leader 4 e1 isr 4,2,3");
    world.pass(20, &[2, 3, 4]);
}

#[test]
fn features_move_within_what_all_brokers_know() {
    let mut world = World::new(&[]).with_brokers(1);
    let mut check = |name: &str, level, upgrade, code: Option<RefusalCode>| {
        let update = FeatureUpdate { name: name.to_owned(), level, upgrade };
        let answer = world.decide(|_, view, _, _| update_features(view, &[update], false)).remove(0);
        assert_eq!(answer.err().map(|refusal| refusal.code), code);
    };
    check("metadata.version", 1, UpgradeType::Upgrade, None);
    check("metadata.version", 99, UpgradeType::Upgrade, Some(RefusalCode::InvalidUpdateVersion));
    check("metadata.version", 0, UpgradeType::Downgrade, Some(RefusalCode::InvalidUpdateVersion));
    check("nonsense", 1, UpgradeType::Upgrade, Some(RefusalCode::InvalidUpdateVersion));
}

#[test]
fn elections_that_are_needed_are_found() {
    let mut world = World::new(&[]).with_brokers(2);
    world.topic("t", &[&[1, 2], &[2, 1]], &[]);
    world.topic("u", &[&[1]], &[]);
    world.pass(9, &[2]);
    let view = ConfigView { image: &world.image, statics: &world.statics, broker: BrokerId(2) };
    let partitions = |logs: Vec<LogId>| logs.iter().map(|log| log.partition.0).collect::<Vec<_>>();
    assert_eq!(partitions(elections_needed(&view, ElectionType::Preferred)), [0, 0]);
    assert_eq!(partitions(elections_needed(&view, ElectionType::Unclean)), [0]);
}
