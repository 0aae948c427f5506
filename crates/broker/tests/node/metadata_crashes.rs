//! The cluster's metadata on a simulated disk: what was acknowledged survives a crash or a power loss at any operation
//! of the disk, and a failing disk is told and never hidden.

use crate::support::{Client, batch, start};
use highwater_broker::Node;
use highwater_env::Rng;
use highwater_metadata::METADATA_LOG;
use highwater_sim::disk::{Fault, Op, PowerRates, SyncFailure};
use highwater_sim::{NodeId, SimEnv, Simulation};
use highwater_types::{ProducerId, TopicId};
use highwater_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Str};
use rand::RngExt;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const DIR: &str = "/data";

/// What a client may know of a topic.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    id: TopicId,
    partitions: usize,
    retention_ms: String,
}

type State = BTreeMap<String, Known>;

/// A change that a client asks for.
#[derive(Clone, Debug)]
enum Change {
    Create { name: String, partitions: i32 },
    Delete { name: String },
    Grow { name: String, partitions: i32 },
    Retain { name: String, retention_ms: String },
    TakeProducerId,
}

/// What the client was told, and what it asked for and was not told of.
#[derive(Default)]
struct Ghost {
    acknowledged: State,
    in_doubt: Option<Change>,
    last_producer_id: Option<ProducerId>,
}

impl Ghost {
    /// Takes over what the node says after a restart, if it can be.
    fn reconcile(&mut self, found: State) {
        let mut possible = vec![self.acknowledged.clone()];
        if let Some(change) = self.in_doubt.take() {
            let mut changed = self.acknowledged.clone();
            apply(&mut changed, &change, |name| {
                found.get(name).map_or_else(TopicId::default, |topic| topic.id)
            });
            possible.push(changed);
        }
        assert!(possible.contains(&found), "found {found:#?}\nand not one of {possible:#?}");
        self.acknowledged = found;
    }
}

fn apply(state: &mut State, change: &Change, id: impl Fn(&str) -> TopicId) {
    match change {
        Change::Create { name, partitions } => {
            let partitions = usize::try_from(*partitions).unwrap();
            let topic = Known { id: id(name), partitions, retention_ms: "604800000".to_owned() };
            state.insert(name.clone(), topic);
        }
        Change::Delete { name } => drop(state.remove(name)),
        Change::Grow { name, partitions } => {
            state.get_mut(name).unwrap().partitions = usize::try_from(*partitions).unwrap();
        }
        Change::Retain { name, retention_ms } => {
            state.get_mut(name).unwrap().retention_ms = retention_ms.clone();
        }
        Change::TakeProducerId => {}
    }
}

fn draw(rng: &mut Rng, state: &State) -> Change {
    let name = format!("topic-{}", rng.random_range(0..6u32));
    match (state.get(&name), rng.random_range(0..10u32)) {
        (_, 0) => Change::TakeProducerId,
        (None, _) => Change::Create { name, partitions: rng.random_range(1..4i32) },
        (Some(_), 1..=4) => Change::Delete { name },
        (Some(topic), 5..=6) => Change::Grow {
            name,
            partitions: i32::try_from(topic.partitions).unwrap() + rng.random_range(1..3i32),
        },
        (Some(_), _) => Change::Retain { name, retention_ms: rng.random_range(1..1000u32).to_string() },
    }
}

/// Asks for a change; the id of a topic that it made.
async fn ask(
    client: &mut Client<SimEnv>,
    ghost: &mut Ghost,
    change: &Change,
) -> Result<Option<TopicId>, ErrorCode> {
    let code = match change {
        Change::Create { name, partitions } => {
            let topic = CreatableTopic {
                name: name.as_str().into(),
                num_partitions: *partitions,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
            let answer = client.call(7, &request).await.topics.remove(0);
            if answer.error_code == ErrorCode::NONE {
                return Ok(Some(answer.topic_id));
            }
            answer.error_code
        }
        Change::Delete { name } => {
            let request =
                DeleteTopicsRequest { topic_names: vec![name.as_str().into()], ..Default::default() };
            client.call(5, &request).await.responses[0].error_code
        }
        Change::Grow { name, partitions } => {
            let topic =
                CreatePartitionsTopic { name: name.as_str().into(), count: *partitions, assignments: None };
            let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
            client.call(3, &request).await.results[0].error_code
        }
        Change::Retain { name, retention_ms } => {
            let value = Some(retention_ms.as_str().into());
            let configs = vec![AlterableConfig { name: "retention.ms".into(), config_operation: 0, value }];
            let resource =
                AlterConfigsResource { resource_type: 2, resource_name: name.as_str().into(), configs };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            client.call(1, &request).await.responses[0].error_code
        }
        Change::TakeProducerId => {
            let answer = client.call(4, &InitProducerIdRequest::default()).await;
            if answer.error_code == ErrorCode::NONE {
                let last = ghost.last_producer_id.replace(answer.producer_id);
                assert!(
                    last.is_none_or(|last| last < answer.producer_id),
                    "{last:?}, then {}",
                    answer.producer_id
                );
            }
            answer.error_code
        }
    };
    if code == ErrorCode::NONE { Ok(None) } else { Err(code) }
}

/// Changes the metadata again and again.
async fn work(env: &SimEnv, node: &Node<SimEnv>, rng: &mut Rng, ghost: &mut Ghost) {
    let mut client = Client::to(env, node).await;
    for _ in 0..25 {
        let change = draw(rng, &ghost.acknowledged);
        ghost.in_doubt = Some(change.clone());
        let made = ask(&mut client, ghost, &change).await.expect("a faultless disk");
        ghost.in_doubt = None;
        apply(&mut ghost.acknowledged, &change, |_| made.unwrap_or_default());
    }
}

/// What the node says.
async fn look(env: &SimEnv, node: &Node<SimEnv>) -> State {
    let mut client = Client::to(env, node).await;
    let described = client.call(0, &DescribeTopicPartitionsRequest::default()).await;
    let mut state = State::new();
    for topic in described.topics {
        let name = topic.name.unwrap().to_string();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: name.as_str().into(),
                configuration_keys: Some(vec!["retention.ms".into()]),
            }],
            ..Default::default()
        };
        let configs = client.call(4, &request).await.results.remove(0).configs;
        let retention_ms = configs[0].value.as_ref().map(Str::to_string).unwrap();
        // Every partition is there, and takes records.
        for partition in 0..topic.partitions.len() {
            let produced = client.produce(&name, i32::try_from(partition).unwrap(), batch(&["x"])).await;
            assert_eq!(produced.error_code, ErrorCode::NONE, "{name} {partition}");
        }
        state.insert(name, Known { id: topic.topic_id, partitions: topic.partitions.len(), retention_ms });
    }
    state
}

/// Runs `work` until it is done or the disk stands still; whether it was done.
async fn until_blown(work: impl Future<Output = ()>, fuse: impl Future<Output = ()>) -> bool {
    let (mut work, mut fuse) = (pin!(work), pin!(fuse));
    poll_fn(|cx| {
        if work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        fuse.as_mut().poll(cx).map(|()| false)
    })
    .await
}

fn stop(sim: &Simulation, node: NodeId, rng: &mut Rng) {
    if rng.random_bool(0.3) {
        sim.crash(node);
    } else {
        sim.power_loss(node, PowerRates::random(rng));
    }
}

#[test]
fn acknowledged_changes_survive_a_stop_at_any_operation_of_the_disk() {
    for seed in 0..60 {
        let sim = Simulation::new(seed);
        let id = sim.node("n").node();
        let mut rng = sim.rng(1);
        sim.block_on(async {
            let mut ghost = Ghost::default();
            for _ in 0..5 {
                let env = sim.env(id);
                // The stop may come while the node is still starting.
                let fuse = sim.fuse(id, rng.random_range(0..400));
                until_blown(
                    async {
                        let node = start(&env, Path::new(DIR), &[]).await;
                        work(&env, &node, &mut rng, &mut ghost).await;
                    },
                    fuse,
                )
                .await;
                stop(&sim, id, &mut rng);
                let env = sim.env(id);
                let node = start(&env, Path::new(DIR), &[]).await;
                ghost.reconcile(look(&env, &node).await);
                if rng.random_bool(0.5) {
                    node.shutdown().await.unwrap();
                }
                stop(&sim, id, &mut rng);
            }
        });
    }
}

#[test]
fn a_change_whose_sync_failed_is_not_acknowledged_and_nothing_after_it_is() {
    for failure in [SyncFailure::Clean, SyncFailure::Reverted, SyncFailure::KeptDirty] {
        let sim = Simulation::new(7);
        let id = sim.node("n").node();
        sim.block_on(async {
            let env = sim.env(id);
            let node = start(&env, Path::new(DIR), &[]).await;
            let mut client = Client::to(&env, &node).await;
            let old = client.create_topic("old", 1, &[]).await;
            sim.disk(id).fail_next_sync(&format!("{METADATA_LOG}"), failure);
            let mut ghost = Ghost::default();
            let create = |name: &str| Change::Create { name: name.to_owned(), partitions: 2 };
            let first = ask(&mut client, &mut ghost, &create("first")).await;
            assert_eq!(first, Err(ErrorCode::KAFKA_STORAGE_ERROR), "{failure:?}");
            let second = ask(&mut client, &mut ghost, &create("second")).await;
            assert_eq!(second, Err(ErrorCode::KAFKA_STORAGE_ERROR), "{failure:?}");
            // What there was goes on, and nothing else is seen.
            let names: Vec<_> = look(&env, &node).await.into_keys().collect();
            assert_eq!(names, ["old"]);
            sim.power_loss(id, PowerRates::DROP_ALL);
            let env = sim.env(id);
            let node = start(&env, Path::new(DIR), &[]).await;
            let found = look(&env, &node).await;
            assert_eq!(found["old"].id, old);
            assert!(!found.contains_key("second"), "{found:?}");
            let mut client = Client::to(&env, &node).await;
            assert!(ask(&mut client, &mut ghost, &create("second")).await.is_ok());
        });
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    // Where the disk is full: at the metadata, or at a log of the new topic.
    for (op, path) in [(Op::Write, METADATA_LOG.to_string()), (Op::CreateDir, "-1".to_owned())] {
        let sim = Simulation::new(8);
        let id = sim.node("n").node();
        sim.block_on(async {
            let env = sim.env(id);
            let node = start(&env, Path::new(DIR), &[]).await;
            let mut client = Client::to(&env, &node).await;
            client.create_topic("old", 1, &[]).await;
            sim.disk(id).fail_next(op, &path, Fault::Full);
            let create = Change::Create { name: "new".to_owned(), partitions: 3 };
            let mut ghost = Ghost::default();
            assert!(ask(&mut client, &mut ghost, &create).await.is_ok(), "{path}");
            // The making of logs is tried again after a while.
            sim.sleep(Duration::from_secs(6)).await;
            assert_eq!(look(&env, &node).await.len(), 2, "{path}");
            node.shutdown().await.unwrap();
        });
    }
}
