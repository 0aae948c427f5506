//! Fetch.

use crate::support::*;
use highwater_env::Env;
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId, Uuid};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Records};
use std::time::Duration;

#[test]
fn a_parked_fetch_is_woken_by_a_produce() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut producer = Client::to(&env, &node).await;
        producer.create_topic("t", 2, &[]).await;
        let mut consumer = Client::to(&env, &node).await;
        let mut request = long_poll("t", 0, 0, 15_000);
        request.topics[0].partitions.push(FetchPartition {
            partition: PartitionIndex(1),
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        consumer.send(11, &request).await;
        while node.metrics().fetches_parked.get() == 0 {
            pause(&env, Duration::from_millis(1)).await;
        }
        let before = env.clock().now();
        producer.produce("t", 1, batch(&["x"])).await;
        let (_, response) = consumer.receive::<FetchRequest>(11).await;
        assert!(env.clock().now().since(before) < Duration::from_secs(10), "it waited for its deadline");
        let parts = &response.responses[0].partitions;
        assert_eq!(parts[0].records.len(), 0);
        assert_eq!(records(&parts[1]), [(0, "x".to_owned())]);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_parked_fetch_ends_at_its_deadline() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["x"])).await;
        let before = env.clock().now();
        let response = client.call(11, &long_poll("t", 0, 1, 30)).await;
        assert!(env.clock().now().since(before) >= Duration::from_millis(30));
        let part = &response.responses[0].partitions[0];
        assert_eq!(
            (part.error_code, part.high_watermark, part.records.len()),
            (ErrorCode::NONE, Offset(1), 0)
        );
        // Too little is waited with, and given then.
        let request = FetchRequest { min_bytes: 100_000, ..long_poll("t", 0, 0, 30) };
        let response = client.call(11, &request).await;
        assert_eq!(records(&response.responses[0].partitions[0]).len(), 1);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn errors_are_told_at_once_and_by_partition() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["x"])).await;
        let check =
            async |client: &mut Client<_>, change: &dyn Fn(&mut FetchRequest), expected: ErrorCode| {
                let mut request = long_poll("t", 0, 0, 15_000);
                change(&mut request);
                let response = client.call(11, &request).await;
                let part = &response.responses[0].partitions[0];
                assert_eq!(part.error_code, expected);
            };
        check(&mut client, &|_| {}, ErrorCode::NONE).await;
        check(
            &mut client,
            &|request| request.topics[0].topic = text("nowhere"),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        )
        .await;
        let part = |request: &mut FetchRequest, change: &dyn Fn(&mut FetchPartition)| {
            change(&mut request.topics[0].partitions[0]);
        };
        for (offset, expected) in [(-1, ErrorCode::OFFSET_OUT_OF_RANGE), (2, ErrorCode::OFFSET_OUT_OF_RANGE)]
        {
            check(
                &mut client,
                &|request| part(request, &|part| part.fetch_offset = Offset(offset)),
                expected,
            )
            .await;
        }
        check(
            &mut client,
            &|request| part(request, &|part| part.partition = PartitionIndex(5)),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        )
        .await;
        let future =
            |request: &mut FetchRequest| part(request, &|part| part.current_leader_epoch = LeaderEpoch(7));
        check(&mut client, &future, ErrorCode::UNKNOWN_LEADER_EPOCH).await;
        node.shutdown().await.unwrap();
    });
}

#[test]
fn topics_are_found_by_id_in_every_version_that_has_ids() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let id = client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["x"])).await;
        for version in 4..=18 {
            let mut request = fetch("t", 0, 0);
            request.topics[0].topic_id = id;
            let response = client.call(version, &request).await;
            assert_eq!((response.error_code, response.session_id), (ErrorCode::NONE, 0), "{version}");
            assert_eq!(records(&response.responses[0].partitions[0]), [(0, "x".to_owned())], "{version}");
        }
        let mut request = fetch("", 0, 0);
        request.topics[0].topic_id = TopicId(Uuid::from_random(9));
        let response = client.call(16, &request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_session_is_told_what_changes() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 2, &[]).await;
        let request = |session_id, session_epoch, partitions: &[(i32, i64)]| {
            let mut request = FetchRequest { session_id, session_epoch, ..fetch("t", 0, 0) };
            let part = |&(index, offset)| FetchPartition {
                partition: PartitionIndex(index),
                fetch_offset: Offset(offset),
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            };
            request.topics[0].partitions = partitions.iter().map(part).collect();
            if partitions.is_empty() {
                request.topics.clear();
            }
            request
        };
        let told = |response: &FetchResponse| -> Vec<(i32, usize)> {
            let parts = response.responses.iter().flat_map(|topic| &topic.partitions);
            parts.map(|part| (part.partition_index.0, records(part).len())).collect()
        };
        let begun = client.call(11, &request(0, 0, &[(0, 0), (1, 0)])).await;
        let id = begun.session_id;
        assert!(id != 0 && told(&begun) == [(0, 0), (1, 0)], "{begun:?}");
        assert_eq!(told(&client.call(11, &request(id, 1, &[])).await), []);
        client.produce("t", 1, batch(&["a"])).await;
        assert!(matches!(told(&client.call(11, &request(id, 2, &[])).await)[..], [(1, 1..)]));
        // The position has moved, and nothing else.
        assert_eq!(told(&client.call(11, &request(id, 3, &[(1, 1)])).await), []);
        let mut forgetting = request(id, 4, &[]);
        let partitions = vec![PartitionIndex(1)];
        forgetting.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions, ..ForgottenTopic::default() }];
        assert_eq!(told(&client.call(11, &forgetting).await), []);
        client.produce("t", 1, batch(&["b"])).await;
        assert_eq!(told(&client.call(11, &request(id, 5, &[])).await), []);
        for (session, epoch, expected) in [
            (id, 5, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            (id ^ 1, 1, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            (0, 1, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            // Ends it.
            (id, -1, ErrorCode::NONE),
            (id, 6, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
        ] {
            let response = client.call(11, &request(session, epoch, &[])).await;
            assert_eq!((response.error_code, response.session_id), (expected, 0), "{session} {epoch}");
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn sizes_are_bounded_but_for_the_first_batch() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 3, &[]).await;
        for partition in 0..3 {
            client.produce("t", partition, large_batch(10_000)).await;
            client.produce("t", partition, large_batch(10_000)).await;
        }
        let check =
            async |client: &mut Client<_>, max_bytes: i32, partition_max_bytes: i32, expected: [usize; 3]| {
                let mut request = FetchRequest { max_bytes, ..fetch("t", 0, 0) };
                request.topics[0].partitions = (0..3)
                    .map(|index| FetchPartition {
                        partition: PartitionIndex(index),
                        partition_max_bytes,
                        ..Default::default()
                    })
                    .collect();
                let response = client.call(11, &request).await;
                let found = response.responses[0].partitions.iter().map(|part| records(part).len());
                assert_eq!(found.collect::<Vec<_>>(), expected, "{max_bytes} {partition_max_bytes}");
            };
        check(&mut client, 1 << 20, 1 << 20, [2, 2, 2]).await;
        check(&mut client, 1 << 20, 15_000, [1, 1, 1]).await;
        check(&mut client, 35_000, 1 << 20, [2, 1, 0]).await;
        check(&mut client, 100, 1 << 20, [1, 0, 0]).await;
        check(&mut client, 0, 0, [1, 0, 0]).await;
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_fetch_in_the_middle_of_a_batch_gives_the_whole_batch() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["a", "b", "c"])).await;
        client.produce("t", 0, batch(&["d"])).await;
        let found = records(&client.fetch("t", 0, 2).await);
        assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_committed_read_says_that_nothing_was_aborted() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["a"])).await;
        for (isolation_level, expected) in [(0, None), (1, Some(0))] {
            let response = client.call(11, &FetchRequest { isolation_level, ..fetch("t", 0, 0) }).await;
            let part = &response.responses[0].partitions[0];
            assert_eq!(part.aborted_transactions.as_ref().map(Vec::len), expected);
            assert_eq!((part.last_stable_offset, part.preferred_read_replica.0), (Offset(1), -1));
            assert!(matches!(&part.records, Records::Bytes(bytes) if !bytes.is_empty()));
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_parked_fetch_learns_that_its_topic_is_deleted() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut admin = Client::to(&env, &node).await;
        admin.create_topic("t", 1, &[]).await;
        let mut consumer = Client::to(&env, &node).await;
        consumer.send(11, &long_poll("t", 0, 0, 15_000)).await;
        while node.metrics().fetches_parked.get() == 0 {
            pause(&env, Duration::from_millis(1)).await;
        }
        let request = DeleteTopicsRequest { topic_names: vec![text("t")], ..Default::default() };
        assert_eq!(admin.call(4, &request).await.responses[0].error_code, ErrorCode::NONE);
        let (_, response) = consumer.receive::<FetchRequest>(11).await;
        assert_ne!(response.responses[0].partitions[0].error_code, ErrorCode::NONE);
        node.shutdown().await.unwrap();
    });
}
