use crate::testing::{FakeCluster, Fault};
use crate::{Client, ClientConfig, ClientError};
use bytes::Bytes;
use highwater_env::{Env, Listener, Network, timeout};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, PartitionIndex};
use highwater_wire::messages::{
    DescribeClusterRequest, FetchPartition, FetchRequest, FetchTopic, MetadataRequest,
};
use highwater_wire::{ApiKey, Str};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BROKER: BrokerId = BrokerId(0);

fn config(bootstrap: &[&str]) -> ClientConfig {
    ClientConfig {
        request_timeout: Duration::from_secs(2),
        max_response_bytes: 1 << 20,
        ..ClientConfig::new(bootstrap.iter().copied())
    }
}

fn fetch() -> FetchRequest {
    let partitions = vec![FetchPartition { partition: PartitionIndex(0), ..FetchPartition::default() }];
    let topic = FetchTopic { topic: Str::from("t"), partitions, ..FetchTopic::default() };
    FetchRequest { topics: vec![topic], ..FetchRequest::default() }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(FakeCluster, SimEnv) -> F) {
    let simulation = Simulation::new(11);
    let cluster = FakeCluster::start(&simulation, 1);
    cluster.add_topic("t", 1);
    simulation.block_on(test(cluster, simulation.node("client")));
}

/// What becomes of a client whose broker answers the first request with these bytes.
fn check_answer(answer: &'static [u8], expected: &str) {
    let simulation = Simulation::new(12);
    let env = simulation.node("broker");
    let broker = env.clone();
    env.spawn("broker", async move {
        let address = broker.network().resolve("localhost", 9092).await.expect("it is this node")[0];
        let listener = broker.network().listen(address).await.expect("the port is free");
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 20];
            let _ = stream.read_exact(&mut request).await;
            let _ = stream.write_all(answer).await;
            std::mem::forget(stream);
        }
    })
    .detach();
    let client = simulation.node("client");
    let error = simulation
        .block_on(async { Client::connect(client, config(&["broker:9092"])).await.map(drop) })
        .expect_err("the broker answers badly");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn answers_that_are_no_answers_end_the_connection() {
    check_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", "frame of 1213486160 bytes, 1048576 allowed");
    check_answer(&[0xff, 0xff, 0xff, 0xff], "frame of length -1");
    check_answer(&[0, 0, 0, 6, 0, 0, 0, 9, 0, 0], "answer Some(9) where 0 was due");
    check_answer(&[0, 0, 0, 6, 0, 0, 0, 0, 0, 0], "ApiVersionsResponse.api_keys");
    check_answer(&[0, 0, 0, 6, 0, 0], "took longer than 2000 ms");
}

#[test]
fn an_overdue_answer_ends_its_connection_and_the_next_call_opens_another() {
    run(|cluster, env| async move {
        let client = Client::connect(env.clone(), config(&["broker-0:9092"])).await.expect("it is there");
        client.call(BROKER, &MetadataRequest::default(), i16::MAX).await.expect("it is answered");
        let connections = cluster.state().connections;
        cluster.state().fetch.push_back(Fault::Silence);
        let start = env.clock().now();
        // Whatever waits behind the overdue answer fails with it.
        let (overdue, behind) = join(
            client.call(BROKER, &fetch(), 12),
            timeout(env.clock(), Duration::from_secs(9), client.call(BROKER, &fetch(), 12)),
        )
        .await;
        assert!(matches!(overdue, Err(ClientError::TimedOut { limit_ms: 2_000, .. })), "{overdue:?}");
        assert!(matches!(behind, Ok(Err(ClientError::TimedOut { .. }))), "{behind:?}");
        assert_eq!(env.clock().now().since(start).as_secs(), 2);
        client.call(BROKER, &fetch(), 12).await.expect("another connection is opened");
        assert_eq!(cluster.state().connections, connections + 1);
    });
}

/// Both outcomes; the first is begun first.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let std::task::Poll::Ready(value) = a.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let std::task::Poll::Ready(value) = b.as_mut().poll(cx)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => std::task::Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                std::task::Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn requests_are_pipelined_on_one_connection() {
    run(|cluster, env| async move {
        let client = Client::connect(env.clone(), config(&["broker-0:9092"])).await.expect("it is there");
        client.call(BROKER, &MetadataRequest::default(), i16::MAX).await.expect("it is answered");
        let connections = cluster.state().connections;
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let client = client.clone();
                env.spawn("call", async move {
                    if number % 2 == 0 {
                        let answer = client.call(BROKER, &fetch(), 12).await.expect("it is answered");
                        assert_eq!(answer.responses[0].topic, "t");
                    } else {
                        let request = MetadataRequest::default();
                        let answer = client.call(BROKER, &request, i16::MAX).await.expect("it is answered");
                        assert_eq!(answer.topics.len(), 1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(cluster.state().connections, connections);
        assert_eq!(cluster.state().fetch_requests, 25);
    });
}

#[test]
fn bootstrap_goes_on_to_the_next_broker() {
    run(|_, env| async move {
        let all = config(&["nowhere:9092", "client:1", "broker-0:9092"]);
        let client = Client::connect(env.clone(), all).await.expect("the last one is there");
        assert_eq!(client.metadata().brokers.len(), 1);
        for (bootstrap, part) in
            [("nowhere:9092", "nowhere"), ("broker-0", "host:port"), ("b:x", "host:port")]
        {
            let error = Client::connect(env.clone(), config(&[bootstrap])).await.map(drop);
            let text = error.expect_err("nobody is there").to_string();
            assert!(text.contains(part), "{text}");
        }
    });
}

#[test]
fn a_call_that_the_broker_does_not_serve_is_not_sent() {
    run(|cluster, env| async move {
        cluster.state().newest.insert(ApiKey::DESCRIBE_CLUSTER, -1);
        cluster.state().newest.insert(ApiKey::FETCH, 3);
        let client = Client::connect(env, config(&["broker-0:9092"])).await.expect("it is there");
        let none = client.call(BROKER, &DescribeClusterRequest::default(), i16::MAX).await;
        assert!(matches!(none, Err(ClientError::Unsupported { api: ApiKey::DESCRIBE_CLUSTER, .. })));
        let old = client.call(BROKER, &fetch(), i16::MAX).await;
        assert!(matches!(old, Err(ClientError::Unsupported { api: ApiKey::FETCH, .. })), "{old:?}");
        assert_eq!(cluster.state().fetch_requests, 0);
    });
}

#[test]
fn an_answer_larger_than_allowed_is_refused() {
    run(|cluster, env| async move {
        let client = Client::connect(env, config(&["broker-0:9092"])).await.expect("it is there");
        {
            let mut state = cluster.state();
            let partition = &mut state.topics.get_mut("t").expect("it is there").partitions[0];
            let mut builder =
                highwater_records::BatchBuilder::new(highwater_records::Codec::None, usize::MAX);
            let value = Bytes::from(vec![7; 2 << 20]);
            assert!(builder.try_push(highwater_types::Timestamp(1), None, Some(&value), &[]));
            let batch = highwater_records::Batch::check(builder.build()).expect("it is whole");
            partition.apply(&batch).expect("it is no producer's");
        }
        let error = client.call(BROKER, &fetch(), 12).await.expect_err("it is too large");
        assert!(error.to_string().contains("1048576 allowed"), "{error}");
    });
}
