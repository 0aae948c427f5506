//! A test per clause, and for what is not promised.

use super::super::Terms;
use super::super::kit::Stage;
use super::Acknowledgements;
use highwater_env::Event;
use highwater_metadata::METADATA_LOG;
use highwater_types::{BrokerId, LeaderEpoch, Offset, TopicId};

fn stage() -> Stage {
    let mut stage = Stage::new(Acknowledgements::default());
    stage.write(0, 4).sync_disk().synced(5).watermark(5);
    stage
}

#[test]
fn what_is_on_disk_may_be_acknowledged() {
    let mut stage = stage();
    stage.acknowledged(0, 4).write(5, 5).write(6, 8).sync_disk().synced(9).watermark(9);
    stage.acknowledged(6, 8).acknowledged(5, 5).acknowledged(0, 4);
    stage.roll(9).write(9, 9).sync_disk().synced(10).watermark(10).acknowledged(9, 9);
    stage.crash().recovered(0, 10, 10).acknowledged(9, 9).acknowledged(0, 4).passes();
}

#[test]
fn what_lies_above_the_watermark_is_found() {
    stage().write(5, 6).sync_disk().synced(7).acknowledged(5, 6).finds("S14", "the high watermark is 5");
}

#[test]
fn what_was_not_appended_is_found() {
    stage().acknowledged(0, 3).finds("S14", "no such batch was appended");
    stage().acknowledged(1, 4).finds("S14", "no such batch was appended");
}

#[test]
fn a_sync_that_is_told_and_did_not_happen_is_found() {
    let lost = "a power loss now would lose them";
    stage().write(5, 6).synced(7).watermark(7).acknowledged(5, 6).finds("S14", lost);
    stage().acknowledged(0, 4).write(5, 6).synced(7).watermark(7).acknowledged(5, 6).finds("S14", lost);
    let mut stage = Stage::new(Acknowledgements::default());
    stage.write(0, 4).synced(5).watermark(5).acknowledged(0, 4).finds("S14", lost);
}

#[test]
fn a_new_segment_without_a_durable_name_is_found() {
    let mut stage = stage();
    stage.acknowledged(0, 4).roll(5).write(5, 6).sync_data().synced(7).watermark(7).acknowledged(5, 6);
    stage.finds("S14", "a power loss now would lose them");
}

#[test]
fn other_bytes_than_those_that_were_appended_are_found() {
    let mut stage = stage();
    stage.write_otherwise(5, 6).sync_disk().synced(7).watermark(7).acknowledged(5, 6);
    stage.finds("S14", "a power loss now would lose them");
}

/// Three replicas, the first two of which are in sync, and one batch that both have on disk.
fn replicated() -> Stage {
    let mut stage = Stage::new(Acknowledgements::default());
    stage.partition(0, 1, &[0, 1, 2], &[0, 1], &[]);
    stage.on(1).follows(1).write(0, 4).sync_disk().synced(5);
    stage.on(0).leads(1).write(0, 4).sync_disk().synced(5).in_sync(1, &[0, 1], &[2]).watermark(5);
    stage
}

#[test]
fn what_all_in_sync_replicas_have_may_be_acknowledged() {
    let mut stage = replicated();
    stage.acknowledged(0, 4).write(5, 6).sync_disk().on(1).write(5, 6).sync_disk().on(0).watermark(7);
    stage.acknowledged(5, 6).on(1).crash().on(0).acknowledged(0, 4).passes();
    // A replica whose disk was replaced is asked nothing.
    replicated().on(1).wipe().on(0).acknowledged(0, 4).passes();
}

#[test]
fn an_in_sync_replica_without_the_batch_on_disk_is_found() {
    let mut stage = replicated();
    stage.write(5, 6).sync_disk().on(1).write(5, 6).synced(7).on(0).watermark(7).acknowledged(5, 6);
    stage.finds("S14", "a power loss of broker 2, which is in sync, now would lose them");
    let mut stage = replicated();
    stage.write(5, 6).sync_disk().watermark(7).acknowledged(5, 6).finds("S14", "a power loss of broker 2");
}

#[test]
fn an_in_sync_replica_without_the_batch_in_its_page_cache_is_found() {
    let cached = || Terms { durable: false, ..Terms::default() };
    let mut stage = replicated();
    stage.terms(cached()).write(5, 6).on(1).write(5, 6).on(0).watermark(7).acknowledged(5, 6).passes();
    let mut stage = replicated();
    stage.terms(cached()).write(5, 6).watermark(7).acknowledged(5, 6);
    stage.finds("S14", "the page cache of broker 2, which is in sync, does not have them");
    let mut stage = replicated();
    stage.terms(cached()).write(5, 6).on(1).cut_power().on(0).watermark(7).acknowledged(5, 6).passes();
    // It was safe before that, and the leader tells it when the replica serves again without it.
    let back = |before: i64| {
        let mut stage = replicated();
        stage.terms(cached()).write(5, 6).on(1).write(5, 6).on(0).watermark(before);
        stage.on(1).cut_power().recovered(0, 5, 5).register(1).settle().on(0).watermark(7).acknowledged(5, 6);
        stage
    };
    back(7).passes();
    back(5).finds("S14", "the page cache of broker 2, which is in sync, does not have them");
}

#[test]
fn who_leads_no_more_tells_what_was_safe_while_it_led() {
    let deposed = || {
        let mut stage = replicated();
        stage.write(5, 6).sync_disk().partition(1, 2, &[0, 1, 2], &[0, 1], &[]).follows(2);
        stage
    };
    deposed().acknowledged(0, 4).passes();
    deposed().acknowledged(5, 6).finds("S14", "the high watermark is 5");
    deposed().truncated(5).acknowledged(0, 4).passes();
    deposed().truncated(0).write(0, 4).sync_disk().acknowledged(0, 4).finds("S14", "the high watermark is 0");
}

#[test]
fn who_gave_its_log_up_tells_what_others_have() {
    // The partition was moved to node 1, and then back to node 0, whose log is a new one.
    let moved = || {
        let mut stage = replicated();
        stage.write(5, 6).sync_disk().partition(1, 2, &[1, 2], &[1], &[]).deleting().made().follows(2);
        stage
    };
    moved().acknowledged(0, 4).passes();
    moved().crash().recovered(0, 0, 0).acknowledged(0, 4).finds("S14", "the high watermark is 0");
    moved().acknowledged(5, 6).finds("S14", "the high watermark is 0");
    moved().acknowledged(0, 3).finds("S14", "no such batch was appended");
    // As it leads again, its own log counts.
    moved().leads(3).acknowledged(0, 4).finds("S14", "the high watermark is 0");
}

#[test]
fn what_only_a_log_held_that_was_given_up_is_found() {
    let mut stage = Stage::new(Acknowledgements::default());
    stage.partition(0, 1, &[0, 1], &[0], &[]);
    stage.leads(1).write(0, 4).sync_disk().synced(5).in_sync(1, &[0], &[1]).watermark(5);
    stage.partition(1, 2, &[1], &[1], &[]).deleting().made().follows(2).acknowledged(0, 4);
    stage.finds("S14", "by a node that gave the log up meanwhile, and nobody else has them");
}

#[test]
fn too_few_in_sync_replicas_are_found() {
    replicated()
        .in_sync(1, &[0], &[1])
        .acknowledged(0, 4)
        .finds("S14", "with 1 in-sync replicas, and 2 are needed");
}

#[test]
fn a_change_that_no_majority_of_voters_has_is_found() {
    let told = |holders: &[usize]| {
        let mut stage = Stage::new(Acknowledgements::default());
        let voters = vec![vec![BrokerId(1), BrokerId(2), BrokerId(3)]];
        stage.tell(Event::QuorumVoters { index: 0, voters });
        for node in 0..3 {
            stage.on(node).entry(0, true).entry(1, holders.contains(&node));
        }
        stage.on(0).tell(Event::QuorumApplied { index: 0, term: 1, checksum: 1 });
        stage.tell(Event::TopicCreated { topic: TopicId::default(), name: "new".to_owned() });
        stage.tell(Event::QuorumApplied { index: 1, term: 1, checksum: 1 });
        stage
    };
    told(&[1, 2]).passes();
    told(&[1]).finds("S14", "by entry 1 of the metadata, which is on the disks of no majority");
}

#[test]
fn a_sync_of_a_failed_log_is_found() {
    stage().write(5, 6).poisoned().sync_disk().synced(7).finds("S14", "a log that had failed");
    stage().write(5, 6).poisoned().crash().recovered(0, 5, 5).write(5, 6).sync_disk().synced(7).passes();
}

#[test]
fn what_is_not_promised_is_not_asked_for() {
    stage().write(5, 6).lie().synced(7).watermark(7).acknowledged(5, 6).passes();
    stage().topic_deleted().acknowledged(5, 6).passes();
    stage().write(5, 6).acknowledged_by_one(5, 6).passes();
    stage().log_start(5).acknowledged(0, 4).passes();
    let mut cached = Stage::new(Acknowledgements::default());
    cached.terms(Terms { durable: false, ..Terms::default() });
    cached.write(0, 4).watermark(5).acknowledged(0, 4).passes();
}

#[test]
fn a_topic_that_is_there_before_the_record_that_says_so_is_found() {
    let mut stage = stage();
    stage.tell(Event::Appended {
        log: METADATA_LOG,
        base: Offset(0),
        last: Offset(0),
        epoch: LeaderEpoch(0),
        checksum: 1,
        producer: None,
    });
    stage.tell(Event::TopicCreated { topic: TopicId::default(), name: "late".to_owned() });
    stage.finds("S14", "a topic came or went");
}
