//! Three nodes that replicate one partition, and a controller that is a lock.

use super::Controller;
use super::connection::Connection;
use crate::config::{BrokerConfig, ListenerConfig};
use crate::directory::Directory;
use crate::node::Node;
use crate::partition::Partition;
use crate::progress::{Mark, Stopped, Waiting};
use highwater_env::{Env, timeout};
use highwater_log::{LogConfig, Store};
use highwater_metadata::{
    BrokerRecord, ClusterRecord, Endpoint, Image, METADATA_VERSION, MetadataRecord, PartitionRecord,
    TopicRecord,
};
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_replication::{Assignment, Proposal, ProposalAnswer};
use highwater_sim::executor::Link;
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{
    BrokerEpoch, BrokerId, ClusterId, LeaderEpoch, LogId, Offset, PartitionIndex, Timestamp, TopicId, Uuid,
};
use highwater_wire::messages::{PartitionProduceData, ProduceRequest, TopicProduceData};
use highwater_wire::{ErrorCode, Records};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PORT: u16 = 9092;
const PATIENCE: Duration = Duration::from_secs(30);
const LOG: LogId = LogId { topic: TopicId(Uuid([9; 16])), partition: PartitionIndex(0) };

/// The controller's state, and all whom it tells.
struct State {
    partition: Assignment,
    fenced: Vec<BrokerId>,
    index: u64,
    members: BTreeMap<BrokerId, (Arc<Directory<SimEnv>>, Store<SimEnv>)>,
}

#[derive(Clone)]
struct FakeController(Arc<Mutex<State>>);

impl State {
    /// Makes a change and has everybody see it.
    fn change(&mut self, change: impl FnOnce(&mut Assignment, &mut Vec<BrokerId>)) {
        change(&mut self.partition, &mut self.fenced);
        self.partition.partition_epoch += 1;
        self.publish();
    }

    fn publish(&mut self) {
        self.index += 1;
        let image = Arc::new(self.image());
        for (directory, store) in self.members.values() {
            directory.publish(Arc::clone(&image), store);
        }
    }

    fn image(&self) -> Image {
        let mut image = Image::new();
        let cluster = ClusterRecord { cluster_id: ClusterId::default(), metadata_version: METADATA_VERSION };
        let brokers = self.partition.replicas.iter().map(|&id| {
            let endpoint = Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: host(id),
                port: PORT,
                security_protocol: 0,
            };
            MetadataRecord::Broker(BrokerRecord {
                id,
                epoch: BrokerEpoch(i64::from(id.0)),
                endpoints: vec![endpoint],
                fenced: self.fenced.contains(&id),
                ..BrokerRecord::default()
            })
        });
        let Assignment { leader, leader_epoch, partition_epoch, replicas, isr } = self.partition.clone();
        let topic = TopicRecord { id: LOG.topic, name: "t".to_owned() };
        let partition = PartitionRecord {
            topic: LOG.topic,
            partition: LOG.partition,
            replicas,
            isr,
            leader,
            leader_epoch,
            partition_epoch,
            ..PartitionRecord::default()
        };
        let first = [MetadataRecord::Cluster(cluster)].into_iter().chain(brokers);
        let records: Vec<_> =
            first.chain([MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)]).collect();
        image.apply_all(&records, 1).unwrap();
        image
    }
}

impl Controller for FakeController {
    fn alter_in_sync<'a>(
        &'a self,
        proposals: &'a [(LogId, Proposal)],
    ) -> Pin<Box<dyn Future<Output = Vec<ProposalAnswer>> + Send + 'a>> {
        Box::pin(async move {
            let mut state = self.0.lock().unwrap();
            let mut decide = |proposal: &Proposal| {
                let present = (state.partition.leader_epoch, state.partition.partition_epoch);
                if (proposal.leader_epoch, proposal.partition_epoch) != present {
                    return ProposalAnswer::Stale;
                }
                if proposal.isr.iter().any(|(id, _)| state.fenced.contains(id)) {
                    return ProposalAnswer::Refused;
                }
                let isr = proposal.isr.iter().map(|&(id, _)| id).collect();
                state.change(|partition, _| partition.isr = isr);
                ProposalAnswer::Accepted(state.partition.clone())
            };
            proposals.iter().map(|(_, proposal)| decide(proposal)).collect()
        })
    }
}

/// A controller that does not answer.
struct Unreached;

impl Controller for Unreached {
    fn alter_in_sync<'a>(
        &'a self,
        _proposals: &'a [(LogId, Proposal)],
    ) -> Pin<Box<dyn Future<Output = Vec<ProposalAnswer>> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

fn id(number: i32) -> BrokerId {
    BrokerId(number)
}

fn host(id: BrokerId) -> String {
    format!("broker-{id}")
}

/// Three running nodes.
struct World<'a> {
    sim: &'a Simulation,
    nodes: BTreeMap<BrokerId, Node<SimEnv>>,
    controller: FakeController,
}

impl<'a> World<'a> {
    async fn start(sim: &'a Simulation, settings: &[(&str, &str)]) -> Self {
        let ids = [1, 2, 3].map(BrokerId);
        let partition = Assignment {
            leader: Some(ids[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: ids.to_vec(),
            isr: ids.to_vec(),
        };
        let state = State { partition, fenced: Vec::new(), index: 0, members: BTreeMap::new() };
        let controller = FakeController(Arc::new(Mutex::new(state)));
        let mut nodes = BTreeMap::new();
        for id in ids {
            let env = sim.node(&host(id));
            let mut config =
                BrokerConfig::new(id, "/data", SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT));
            config.listeners =
                vec![ListenerConfig { advertised_host: Some(host(id)), ..config.listeners.remove(0) }];
            for &(name, value) in [("replica.lag.time.max.ms", "2000")].iter().chain(settings) {
                config.settings.set(name, value.to_owned()).unwrap();
            }
            let node = Node::start(env, config).await.unwrap();
            let shared = node.shared();
            shared.store.create_log(LOG, LogConfig::default()).await.unwrap();
            shared.directory.replication().proposals().set_controller(Arc::new(controller.clone()));
            let member = (Arc::clone(&shared.directory), shared.store.clone());
            controller.0.lock().unwrap().members.insert(id, member);
            nodes.insert(id, node);
        }
        controller.0.lock().unwrap().publish();
        Self { sim, nodes, controller }
    }

    fn change(&self, change: impl FnOnce(&mut Assignment, &mut Vec<BrokerId>)) {
        self.controller.0.lock().unwrap().change(change);
    }

    fn isr(&self) -> Vec<BrokerId> {
        self.controller.0.lock().unwrap().partition.isr.clone()
    }

    fn partition(&self, at: i32) -> Arc<Partition<SimEnv>> {
        Arc::clone(self.nodes[&id(at)].shared().directory.load().partition(LOG).unwrap())
    }

    fn env(&self, at: i32) -> &SimEnv {
        &self.nodes[&id(at)].shared().env
    }

    fn set_cut_off(&self, at: i32, blocked: bool) {
        let node = |number| self.env(number).node();
        for other in [1, 2, 3].into_iter().filter(|&other| other != at) {
            self.sim.set_link(node(at), node(other), Link { blocked, ..Link::default() });
        }
    }

    /// Appends at a node; what is to be waited for.
    async fn append(&self, at: i32, value: &str) -> Waiting<SimEnv> {
        let partition = self.partition(at);
        let epoch = partition.leading().expect("a leader");
        let mut ticket = partition.enqueue(batch(value));
        let appended = poll_fn(|cx| Partition::poll_appended(&mut ticket, cx)).await.unwrap();
        Waiting::new(Arc::clone(partition.progress()), Mark::HighWatermark, appended.end_offset, epoch)
    }

    async fn committed(&self, mut waiting: Waiting<SimEnv>) -> Result<(), Stopped> {
        timeout(self.env(1).clock(), PATIENCE, poll_fn(|cx| waiting.poll(cx))).await.expect("in time")
    }

    /// Waits until something holds.
    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            self.sim.sleep(Duration::from_millis(10)).await;
        }
        panic!("not in time: {what}");
    }

    async fn are_alike(&self, end: i64) {
        let all = || [1, 2, 3].map(|at| self.partition(at));
        self.until("all have all", || {
            all().iter().all(|partition| {
                partition.log().end_offset() == Offset(end) && partition.high_watermark() == Offset(end)
            })
        })
        .await;
        let mut contents = Vec::new();
        for partition in all() {
            let (start, end) = (partition.log().start_offset(), partition.log().end_offset());
            let slice = partition.log().read(start, end, 1 << 20, true).await.unwrap();
            let epochs: Vec<_> =
                (start.0..end.0).map(|offset| partition.log().epoch_at(Offset(offset))).collect();
            contents.push((slice.len(), epochs));
        }
        assert!(contents.windows(2).all(|pair| pair[0] == pair[1]), "{contents:?}");
    }

    async fn stop(self) {
        self.controller.0.lock().unwrap().members.clear();
        for node in self.nodes.into_values() {
            node.shutdown().await.unwrap();
        }
    }
}

fn batch(value: &str) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    assert!(builder.try_push(Timestamp(1), None, Some(value.as_bytes()), &[]));
    Batch::check(builder.build()).unwrap()
}

fn check(test: impl AsyncFn(&World<'_>)) {
    check_with(&[], test);
}

fn check_with(settings: &[(&str, &str)], test: impl AsyncFn(&World<'_>)) {
    for seed in 1..=6 {
        let sim = Simulation::new(seed);
        sim.block_on(async {
            let world = World::start(&sim, settings).await;
            test(&world).await;
            world.stop().await;
        });
    }
}

#[test]
fn records_are_committed_when_all_have_them_on_disk() {
    check(async |world| {
        for round in 0..20 {
            let waiting = world.append(1, &format!("r{round}")).await;
            world.committed(waiting).await.unwrap();
            for at in [1, 2, 3] {
                assert!(world.partition(at).log().synced_end() > Offset(round), "{at} has it on disk");
            }
        }
        world.are_alike(20).await;
        assert_eq!(world.isr(), [1, 2, 3].map(BrokerId));
    });
}

#[test]
fn what_was_not_committed_gives_way_to_the_next_leader() {
    check(async |world| {
        let waiting = world.append(1, "a").await;
        world.committed(waiting).await.unwrap();
        world.set_cut_off(1, true);
        let lost = world.append(1, "lost").await;
        world.change(|partition, _| {
            (partition.leader, partition.leader_epoch) = (Some(id(2)), LeaderEpoch(1));
        });
        assert_eq!(world.committed(lost).await, Err(Stopped::Deposed));
        assert_eq!(world.partition(1).leading(), None);
        world.append(2, "b").await;
        world.append(2, "c").await;
        world.set_cut_off(1, false);
        let waiting = world.append(2, "d").await;
        world.committed(waiting).await.unwrap();
        world.are_alike(4).await;
        assert_eq!(world.partition(1).log().epoch_at(Offset(1)), Some(LeaderEpoch(1)));
    });
}

#[test]
fn a_leader_that_is_cut_off_gives_back_what_waits() {
    // A controller's word is good for 200 ms, and comes every 2 s.
    check_with(&[("broker.session.timeout.ms", "400")], async |world| {
        let before = world.append(1, "a").await;
        world.committed(before).await.unwrap();
        world.set_cut_off(1, true);
        // Its controller would make the in-sync set smaller, could it be asked.
        let proposals = Arc::clone(world.nodes[&id(1)].shared().directory.replication().proposals());
        proposals.set_controller(Arc::new(Unreached));
        world.append(1, "lost").await;
        let partition = world.partition(1);
        let (end, epoch) = (partition.log().end_offset(), partition.leading().unwrap());
        let asks = Waiting::for_commit(Arc::clone(partition.progress()), end, epoch);
        assert_eq!(world.committed(asks).await, Err(Stopped::CutOff));
        assert!(partition.progress().is_cut_off() && partition.leading() == Some(epoch));
        world.set_cut_off(1, false);
        world.until("it is committed after all", || partition.high_watermark() == end).await;
        assert!(!partition.progress().is_cut_off());
    });
}

#[test]
fn the_connection_of_a_producer_that_is_sent_away_ends() {
    check(async |world| {
        let mut link = Connection::open(world.nodes[&id(2)].shared(), id(1), PATIENCE).await.unwrap();
        let request = || {
            let records = Records::Bytes(batch("a").bytes().clone());
            let data = PartitionProduceData { index: LOG.partition, records };
            let topic =
                TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
            ProduceRequest { acks: -1, timeout_ms: 9_000, topic_data: vec![topic], ..Default::default() }
        };
        let served = link.call(&request(), 9, PATIENCE).await.unwrap();
        assert_eq!(served.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
        world.partition(1).progress().cut_off();
        let refused = link.call(&request(), 10, PATIENCE).await.unwrap();
        let refused = &refused.responses[0].partition_responses[0];
        assert_eq!(refused.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(refused.current_leader.leader_id, id(-1), "it does not know whom to ask");
        let ended = link.call(&request(), 9, PATIENCE).await.expect_err("the connection is closed");
        assert_ne!(ended.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_replica_that_lags_leaves_and_comes_back() {
    check(async |world| {
        world.set_cut_off(3, true);
        let waiting = world.append(1, "a").await;
        world.committed(waiting).await.unwrap();
        assert_eq!(world.isr(), [1, 2].map(BrokerId));
        world.set_cut_off(3, false);
        world.until("3 is in sync", || world.isr().len() == 3).await;
        world.are_alike(1).await;
    });
}

#[test]
fn with_too_few_in_sync_nothing_is_committed() {
    check(async |world| {
        world.change(|partition, fenced| {
            fenced.extend([id(2), id(3)]);
            partition.isr = vec![id(1)];
        });
        let waiting = world.append(1, "a").await;
        world.sim.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.partition(1).high_watermark(), Offset(0));
        assert!(!world.partition(1).has_enough_in_sync());
        world.change(|_, fenced| fenced.clear());
        world.committed(waiting).await.unwrap();
        world.until("all are in sync", || world.isr().len() == 3).await;
        world.are_alike(1).await;
    });
}

#[test]
fn a_replica_below_the_log_start_begins_anew() {
    check(async |world| {
        world.set_cut_off(3, true);
        for round in 0..5 {
            let waiting = world.append(1, &format!("r{round}")).await;
            world.committed(waiting).await.unwrap();
        }
        world.partition(1).log().delete_records(Offset(3)).await.unwrap();
        world.set_cut_off(3, false);
        world.until("3 is in sync", || world.isr().len() == 3).await;
        world.are_alike(5).await;
        world
            .until("all begin there", || {
                [1, 2, 3].iter().all(|&at| world.partition(at).log().start_offset() == Offset(3))
            })
            .await;
    });
}
