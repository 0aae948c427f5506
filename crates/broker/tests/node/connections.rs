//! Connections: order, bounds, and peers that misbehave.

use crate::support::*;
use highwater_broker::{Limits, Node};
use highwater_env::{Env, Purpose};
use highwater_types::BrokerId;
use highwater_wire::messages::*;
use highwater_wire::{ApiKey, ErrorCode, Message, decode_response_header};
use rand::Rng as _;
use std::time::Duration;

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let mut bytes = Vec::new();
        for round in 0..50 {
            let id = round * 4;
            bytes.extend(request_bytes(id, 9, &produce("t", 0, batch(&["x"]), -1)));
            bytes.extend(request_bytes(
                id + 1,
                3,
                &ApiVersionsRequest { client_software_name: text("c"), client_software_version: text("1") },
            ));
            bytes.extend(request_bytes(id + 2, 11, &long_poll("t", 0, i64::from(round), 1)));
            bytes.extend(request_bytes(id + 3, 9, &produce("t", 0, batch(&["y"]), 0)));
        }
        client.send_bytes(&bytes).await;
        for round in 0..50 {
            let (id, response) = client.receive::<ProduceRequest>(9).await;
            let part = &response.responses[0].partition_responses[0];
            assert_eq!((id, part.base_offset.0), (round * 4, i64::from(round) * 2));
            assert_eq!(client.receive::<ApiVersionsRequest>(3).await.0, round * 4 + 1);
            assert_eq!(client.receive::<FetchRequest>(11).await.0, round * 4 + 2);
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn what_cannot_be_understood_closes_its_connection_alone() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[("socket.request.max.bytes", "100000")]).await;
        let mut good = Client::to(&env, &node).await;
        good.create_topic("t", 1, &[]).await;
        let valid = request_bytes(0, 9, &produce("t", 0, batch(&["x"]), -1));
        let mut cut = valid.clone();
        let length = u32::try_from(valid.len() - 4 - 20).unwrap();
        cut.truncate(valid.len() - 20);
        cut[..4].copy_from_slice(&length.to_be_bytes());
        let cases: Vec<Vec<u8>> = vec![
            u32::MAX.to_be_bytes().into(),
            100_001u32.to_be_bytes().into(),
            vec![0, 0, 0, 0],
            vec![0, 0, 0, 3, 0, 18, 0],
            [&14u32.to_be_bytes()[..], &[0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]].concat(),
            cut,
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            request_bytes(1, 3, &MetadataRequest::default()).iter().map(|byte| byte ^ 0x80).collect(),
        ];
        for (index, case) in cases.iter().enumerate() {
            let mut bad = Client::to(&env, &node).await;
            bad.send_bytes(case).await;
            assert!(bad.is_closed().await, "case {index}");
        }
        assert_eq!(node.metrics().protocol_errors.get(), cases.len() as u64);
        assert_eq!(good.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::NONE);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn random_bytes_do_no_harm() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut good = Client::to(&env, &node).await;
        good.create_topic("t", 1, &[]).await;
        let mut draw = env.entropy(Purpose::User(1));
        let valid = request_bytes(0, 9, &produce("t", 0, batch(&["some", "records"]), -1));
        for _ in 0..200 {
            let mut bytes = valid.clone();
            for _ in 0..draw.next_u32() % 4 + 1 {
                let at = 4 + draw.next_u32() as usize % (bytes.len() - 4);
                bytes[at] = draw.next_u32() as u8;
            }
            let mut bad = Client::to(&env, &node).await;
            bad.send_bytes(&bytes).await;
            // Answered or closed, as the bytes have it; a request that wants no answer is followed by one that does.
            bad.send_bytes(&request_bytes(1, 1, &MetadataRequest::default())).await;
            bad.receive_frame().await;
        }
        assert_eq!(good.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::NONE);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn versions_that_are_not_served_are_told_as_kafka_tells_them() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        // ApiVersions of the future: a body of version 0, with the versions that there are.
        let mut client = Client::to(&env, &node).await;
        client.send_bytes(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]).await;
        let mut frame = client.receive_frame().await.unwrap();
        assert_eq!(decode_response_header(&mut frame, ApiKey::API_VERSIONS, 0).unwrap(), 7);
        let response = ApiVersionsResponse::decode_body(frame, 0).unwrap();
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(
            response.api_keys.iter().map(|api| (api.api_key, api.max_version)).collect::<Vec<_>>(),
            [(18, 4)]
        );
        // The connection goes on, as clients expect that try a lower version.
        let response = client.call(0, &ApiVersionsRequest::default()).await;
        assert_eq!(response.error_code, ErrorCode::NONE);

        // Produce before version 3 is advertised and refused, partition by partition.
        for version in 0..=2u8 {
            let mut body = vec![0, 0, 0, version, 0, 0, 0, 5, 0xff, 0xff];
            body.extend([
                0xff, 0xff, 0, 0, 0x27, 0x10, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, 9,
                9,
            ]);
            let bytes = [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat();
            client.send_bytes(&bytes).await;
            let frame = client.receive_frame().await.unwrap();
            let mut expected = vec![0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 3, 0, 35];
            expected.extend((-1i64).to_be_bytes());
            if version >= 2 {
                expected.extend((-1i64).to_be_bytes());
            }
            if version >= 1 {
                expected.extend([0, 0, 0, 0]);
            }
            assert_eq!(&frame[..], &expected[..], "version {version}");
        }

        // All else is closed.
        for bytes in [
            [0u8, 0, 0, 10, 0, 1, 0, 3, 0, 0, 0, 1, 0xff, 0xff],
            [0, 0, 0, 10, 0, 17, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ] {
            let mut client = Client::to(&env, &node).await;
            client.send_bytes(&bytes).await;
            assert!(client.is_closed().await);
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_peer_that_takes_no_answers_holds_up_itself_alone() {
    on_tokio(|env, dir| async move {
        let mut config = config(&dir, &[]);
        config.limits.stall = Duration::from_millis(300);
        let node = Node::start(env.clone(), config).await.unwrap();
        let mut good = Client::to(&env, &node).await;
        good.create_topic("t", 1, &[]).await;
        for _ in 0..8 {
            good.produce("t", 0, large_batch(1_000_000)).await;
        }
        let mut lazy = Client::to(&env, &node).await;
        let request = FetchRequest { max_bytes: 10 << 20, ..fetch("t", 0, 0) };
        let many: Vec<u8> = (0..200).flat_map(|id| request_bytes(id, 11, &request)).collect();
        lazy.send_bytes(&many).await;
        // The others are served, and the lazy one is cut off.
        while node.metrics().connections_stalled.get() == 0 {
            assert_eq!(good.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::NONE);
            pause(&env, Duration::from_millis(5)).await;
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn memory_for_requests_is_bounded_over_all_connections() {
    on_tokio(|env, dir| async move {
        let mut config = config(&dir, &[]);
        config.limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
        let node = Node::start(env.clone(), config).await.unwrap();
        let mut good = Client::to(&env, &node).await;
        good.create_topic("t", 1, &[]).await;
        // Each of them is in the middle of a large request.
        let whole = request_bytes(0, 9, &produce("t", 0, large_batch(600_000), -1));
        let mut halves = Vec::new();
        for _ in 0..10 {
            let mut client = Client::to(&env, &node).await;
            client.send_bytes(&whole[..50_000]).await;
            halves.push(client);
        }
        // A small request always gets through.
        assert_eq!(good.produce("t", 0, batch(&["x"])).await.error_code, ErrorCode::NONE);
        let used = |node: &Node<_>| metric(node, "highwater_request_memory_bytes");
        assert!(used(&node) <= 1 << 20, "{}", used(&node));
        // Whoever has its memory can finish, and then the others can.
        for client in &mut halves {
            client.send_bytes(&whole[50_000..]).await;
        }
        for client in &mut halves {
            let (_, response) = client.receive::<ProduceRequest>(9).await;
            assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
            assert!(used(&node) <= 1 << 20);
        }
        assert!(metric(&node, "highwater_memory_waits_total") > 0);
        drop(halves);
        node.shutdown().await.unwrap();
    });
}

fn metric<E: Env>(node: &Node<E>, name: &str) -> u64 {
    let text = node.render_metrics();
    let line =
        text.lines().find(|line| line.split(' ').next() == Some(name)).expect("the metric is rendered");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[("connections.max.idle.ms", "100")]).await;
        let mut admin = Client::to(&env, &node).await;
        admin.create_topic("t", 1, &[]).await;
        let mut idle = Client::to(&env, &node).await;
        let mut half = Client::to(&env, &node).await;
        half.send_bytes(&[0, 0, 0, 50, 0]).await;
        let mut waiting = Client::to(&env, &node).await;
        waiting.send(11, &long_poll("t", 0, 0, 400)).await;
        assert!(idle.is_closed().await && half.is_closed().await);
        let (_, response) = waiting.receive::<FetchRequest>(11).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        assert!(node.metrics().connections_idle.get() >= 2);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[("max.connections", "2")]).await;
        let mut first = Client::to(&env, &node).await;
        let mut second = Client::to(&env, &node).await;
        first.call(1, &MetadataRequest::default()).await;
        second.call(1, &MetadataRequest::default()).await;
        let mut third = Client::to(&env, &node).await;
        assert!(third.is_closed().await);
        drop(first);
        while node.metrics().connections_open.get() > 1 {
            pause(&env, Duration::from_millis(1)).await;
        }
        let mut fourth = Client::to(&env, &node).await;
        fourth.call(1, &MetadataRequest::default()).await;
        node.shutdown().await.unwrap();
    });
}

#[test]
fn what_a_client_began_is_finished_when_it_goes_away() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[("compression.type", "gzip")]).await;
        let mut gone = Client::to(&env, &node).await;
        gone.send(9, &produce("t", 0, large_batch(900_000), -1)).await;
        drop(gone);
        while node.metrics().produced_batches.get() == 0 {
            pause(&env, Duration::from_millis(1)).await;
        }
        assert_eq!(client.produce("t", 0, batch(&["x"])).await.base_offset.0, 1);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_shutdown_answers_what_was_begun_and_does_not_wait_for_parked_fetches() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let mut parked = Client::to(&env, &node).await;
        parked.send(11, &long_poll("t", 0, 0, 60_000)).await;
        while node.metrics().fetches_parked.get() == 0 {
            pause(&env, Duration::from_millis(1)).await;
        }
        let before = env.clock().now();
        let address = node.local_addrs()[0];
        node.shutdown().await.unwrap();
        assert!(env.clock().now().since(before) < Duration::from_secs(5));
        assert!(parked.is_closed().await && client.is_closed().await);
        // The next one finds everything in place, and nobody in its way.
        let mut config = config(&dir, &[]);
        config.listeners[0].listen = address;
        let node = Node::start(env.clone(), config).await.unwrap();
        assert!(node.recovery().iter().all(|report| report.clean));
        Client::to(&env, &node).await.produce("t", 0, batch(&["x"])).await;
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_node_that_cannot_be_reached_does_not_start() {
    on_tokio(|env, dir| async move {
        let mut unspecified = config(&dir, &[]);
        unspecified.listeners[0].listen = ([0, 0, 0, 0], 0).into();
        let error = Node::start(env.clone(), unspecified.clone()).await.err().unwrap().to_string();
        assert!(error.contains("advertised"), "{error}");
        unspecified.listeners[0].advertised_host = Some("kafka.example".to_owned());
        let node = Node::start(env.clone(), unspecified).await.unwrap();
        let second = Node::start(env.clone(), config(&dir, &[])).await.err().unwrap().to_string();
        assert!(second.contains("in use by another process"), "{second}");
        node.shutdown().await.unwrap();
        let mut other = config(&dir, &[]);
        other.node_id = BrokerId(2);
        let error = Node::start(env.clone(), other).await.err().unwrap().to_string();
        assert!(error.contains("node.id"), "{error}");
    });
}
