//! Members without faults, in the simulator.

use bytes::Bytes;
use highwater_env::{Env, sleep};
use highwater_log::{LogConfig, Store, StoreOptions};
use highwater_quorum::{
    BoxFuture, Encode, Leadership, Machine, Peer, ProposeError, Quorum, QuorumError, QuorumOptions, Transport,
};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, DiskId, LogId, PartitionIndex, TopicId, Uuid};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

/// The members that can be reached, and the environment where calls are on their way for a while.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<BTreeMap<BrokerId, Quorum<SimEnv>>>>, Option<SimEnv>);

impl Cluster {
    /// So many voters, of which the first leads, and its term.
    async fn begin(&self, env: &SimEnv, count: i32) -> (Vec<Member>, u64) {
        let mut members = Vec::new();
        for id in 1..=count {
            members.push(Member::open(env, self, id).await.expect("nothing fails here"));
        }
        let voters = (1..=count).map(|id| (BrokerId(id), peer(id))).collect();
        members[0].quorum.bootstrap(voters).await.expect("nothing fails here");
        let term = members[0].lead(1).await.term;
        (members, term)
    }
}

/// Hands calls to the other members.
impl Transport for Cluster {
    fn call(&self, to: BrokerId, _peer: &Peer, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let Self(members, slow) = self.clone();
        Box::pin(async move {
            if let Some(env) = slow {
                sleep(env.clock(), Duration::from_millis(1)).await;
            }
            let member = members.lock().expect("no test panics with it").get(&to).cloned();
            let member = member.ok_or(io::ErrorKind::NotConnected)?;
            Ok(member.handle(request).await)
        })
    }
}

/// Keeps all commands.
#[derive(Clone, Default)]
struct Commands(Arc<Mutex<Vec<Bytes>>>);

impl Machine for Commands {
    fn apply(&mut self, _index: u64, _term: u64, command: &Bytes) {
        self.0.lock().expect("no test panics with it").push(command.clone());
    }

    fn snapshot(&self) -> Encode {
        let commands = self.0.lock().expect("no test panics with it").clone();
        Box::new(move || commands)
    }

    fn restore(&mut self, _index: u64, _term: u64, pieces: Vec<Bytes>) -> Result<(), String> {
        *self.0.lock().expect("no test panics with it") = pieces;
        Ok(())
    }
}

fn peer(id: i32) -> Peer {
    let disk = DiskId(Uuid([u8::try_from(id).expect("nothing fails here"); 16]));
    Peer { host: format!("n{id}"), port: 9093, disk }
}

struct Member {
    store: Store<SimEnv>,
    quorum: Quorum<SimEnv>,
    commands: Commands,
}

impl Member {
    async fn open(env: &SimEnv, cluster: &Cluster, id: i32) -> Result<Self, QuorumError> {
        let dir = PathBuf::from(format!("/data{id}"));
        let (store, _) = Store::open(env.clone(), StoreOptions::new(&dir, BrokerId(id)))
            .await
            .expect("nothing fails here");
        let log = match store.log(LOG) {
            Some(log) => log,
            None => store.create_log(LOG, LogConfig::default()).await.expect("nothing fails here"),
        };
        let options = QuorumOptions {
            snapshot_every: 10,
            keep_entries: 3,
            ..QuorumOptions::new(BrokerId(id), peer(id).disk, dir.join("quorum"))
        };
        let commands = Commands::default();
        let transport = Arc::new(cluster.clone());
        let quorum = Quorum::open(env.clone(), log, options, transport, Box::new(commands.clone())).await?;
        cluster.0.lock().expect("no test panics with it").insert(BrokerId(id), quorum.clone());
        Ok(Self { store, quorum, commands })
    }

    async fn lead(&self, id: i32) -> Leadership {
        loop {
            let now = self.quorum.leadership();
            if now.leader == Some(BrokerId(id)) {
                return now;
            }
            self.quorum.leadership_changed(&now).await;
        }
    }

    async fn close(self) {
        self.quorum.shutdown().await;
        self.store.close().await.expect("nothing fails here");
    }
}

fn command(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

fn commands(range: std::ops::Range<u8>) -> Vec<Bytes> {
    range.map(command).collect()
}

#[test]
fn a_sole_voter_elects_itself_at_once_and_keeps_what_it_was_told() {
    let simulation = Simulation::new(1);
    let env = simulation.node("a");
    simulation.block_on(async {
        let cluster = Cluster::default();
        let member = Member::open(&env, &cluster, 1).await.unwrap();
        assert!(!member.quorum.is_bootstrapped());
        member.quorum.bootstrap([(BrokerId(1), peer(1))].into()).await.unwrap();
        let first = member.lead(1).await;
        for number in 0..25 {
            member.quorum.propose(first.term, command(number)).await.unwrap();
        }
        let other_term = member.quorum.propose(first.term + 1, command(99)).await;
        assert_eq!(other_term, Err(ProposeError::NotLeader { leader: Some(BrokerId(1)) }));
        assert!(matches!(
            member.quorum.bootstrap([(BrokerId(1), peer(1))].into()).await,
            Err(QuorumError::Bootstrapped)
        ));
        member.close().await;

        let began = env.clock().now();
        let member = Member::open(&env, &cluster, 1).await.unwrap();
        let second = member.lead(1).await;
        assert!(env.clock().now().since(began) < Duration::from_millis(200), "it waits for nobody");
        assert!(second.term > first.term, "{first:?} {second:?}");
        let fence = member.quorum.fence().await.unwrap();
        assert_eq!(fence.term, second.term);
        assert_eq!(*member.commands.0.lock().unwrap(), commands(0..25));
        assert!(member.quorum.status().snapshot.is_some());
    });
}

#[test]
fn three_voters_agree_and_a_late_one_gets_a_snapshot() {
    let simulation = Simulation::new(2);
    let env = simulation.node("a");
    simulation.block_on(async {
        let cluster = Cluster::default();
        let first = Member::open(&env, &cluster, 1).await.unwrap();
        let second = Member::open(&env, &cluster, 2).await.unwrap();
        let third = Member::open(&env, &cluster, 3).await.unwrap();
        let voters = [1, 2].map(|id| (BrokerId(id), peer(id)));
        first.quorum.bootstrap(voters.into()).await.unwrap();
        let term = first.lead(1).await.term;
        for number in 0..40 {
            first.quorum.propose(term, command(number)).await.unwrap();
        }
        first.quorum.add_learner(BrokerId(3), peer(3)).await.unwrap();
        first.quorum.change_voters([1, 2, 3].map(BrokerId).into()).await.unwrap();
        let index = first.quorum.propose(term, command(40)).await.unwrap();
        for member in [&second, &third] {
            member.quorum.applied(index).await;
            assert_eq!(*member.commands.0.lock().unwrap(), commands(0..41));
        }
        let refused = second.quorum.propose(term, command(99)).await;
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(BrokerId(1)) }));
        // Voters with another disk are others.
        let moved = first.quorum.add_learner(BrokerId(2), Peer { disk: peer(9).disk, ..peer(2) }).await;
        assert!(matches!(moved, Err(ProposeError::Refused(_))), "{moved:?}");
        first
            .quorum
            .add_learner(BrokerId(2), Peer { host: "elsewhere".to_owned(), ..peer(2) })
            .await
            .unwrap();

        first.close().await;
        cluster.0.lock().unwrap().remove(&BrokerId(1));
        let leader = loop {
            let leader = second.quorum.leadership();
            if leader.term > term && leader.leader.is_some() {
                break leader;
            }
            sleep(env.clock(), Duration::from_millis(50)).await;
        };
        assert_ne!(leader.leader, Some(BrokerId(1)));
    });
}

#[test]
fn who_does_not_follow_or_is_behind_is_not_made_a_voter() {
    let simulation = Simulation::new(4);
    let env = simulation.node("a");
    simulation.block_on(async {
        let patience = Duration::from_secs(2);
        let cluster = Cluster::default();
        let first = Member::open(&env, &cluster, 1).await.unwrap();
        first.quorum.bootstrap([(BrokerId(1), peer(1))].into()).await.unwrap();
        let term = first.lead(1).await.term;
        first.quorum.propose(term, command(0)).await.unwrap();
        let unknown = first.quorum.add_voter(BrokerId(2), peer(2).disk, patience).await;
        assert!(matches!(unknown, Err(ProposeError::Refused(_))), "{unknown:?}");

        first.quorum.add_learner(BrokerId(2), peer(2)).await.unwrap();
        let other_disk = first.quorum.add_voter(BrokerId(2), peer(9).disk, patience).await;
        assert!(matches!(other_disk, Err(ProposeError::Refused(_))), "{other_disk:?}");
        let began = env.clock().now();
        let down = first.quorum.add_voter(BrokerId(2), peer(2).disk, patience).await;
        assert!(matches!(down, Err(ProposeError::Refused(_))), "{down:?}");
        assert!(env.clock().now().since(began) >= patience);
        assert_eq!(first.quorum.status().voters, [[BrokerId(1)]]);
        // It can still decide by itself.
        first.quorum.propose(term, command(1)).await.unwrap();

        let second = Member::open(&env, &cluster, 2).await.unwrap();
        first.quorum.add_voter(BrokerId(2), peer(2).disk, Duration::from_secs(10)).await.unwrap();
        assert_eq!(first.quorum.status().voters, [[BrokerId(1), BrokerId(2)]]);
        // Each try has the members confirm an empty command, which the machine is not told of.
        assert_eq!(*second.commands.0.lock().unwrap(), commands(0..2));

        // What comes while voters are changed waits for that, and is not lost.
        let other = first.quorum.clone();
        let removal = env.spawn("removal", async move {
            other.remove_voter(BrokerId(2), peer(2).disk).await.unwrap();
        });
        first.quorum.propose(term, command(2)).await.unwrap();
        removal.await;
        assert_eq!(*first.commands.0.lock().unwrap(), commands(0..3));
        assert_eq!(first.quorum.status().voters, [[BrokerId(1)]]);
        let refusals = [
            first.quorum.remove_voter(BrokerId(2), peer(2).disk).await,
            first.quorum.remove_voter(BrokerId(1), peer(9).disk).await,
            first.quorum.remove_voter(BrokerId(1), peer(1).disk).await,
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
        }
    });
}

/// The call that began it waits no longer; the same leader ends it when it can.
#[test]
fn a_change_of_voters_is_not_left_in_the_middle() {
    let simulation = Simulation::new(7);
    let env = simulation.node("a");
    simulation.block_on(async {
        let cluster = Cluster::default();
        let (mut members, term) = cluster.begin(&env, 3).await;
        members[0].quorum.propose(term, command(0)).await.unwrap();
        cluster.0.lock().unwrap().remove(&BrokerId(2));
        members.remove(1).close().await;
        let stuck = members[0].quorum.remove_voter(BrokerId(3), peer(3).disk).await;
        assert_eq!(
            stuck,
            Err(ProposeError::Timeout),
            "both sets have to agree, and of the new one half is gone"
        );
        assert_eq!(members[0].quorum.status().voters.len(), 2);

        members.push(Member::open(&env, &cluster, 2).await.unwrap());
        let began = env.clock().now();
        while members[0].quorum.status().voters != [[1, 2].map(BrokerId)] {
            let all: Vec<_> = members.iter().map(|member| member.quorum.status()).collect();
            assert!(env.clock().now().since(began) < Duration::from_secs(30), "never ended: {all:?}");
            sleep(env.clock(), Duration::from_millis(50)).await;
        }
        assert_eq!(members[0].quorum.leadership().term, term, "nobody else had to lead for it");
        members[0].quorum.propose(term, command(1)).await.unwrap();
    });
}

/// A leader that takes itself out, is cut off before anybody has that entry, and cannot stand: the others need its vote
/// where one of them is lost, and it has nothing before that entry that they do not have.
#[test]
fn the_vote_of_a_leader_on_its_way_out_is_not_lost() {
    let simulation = Simulation::new(6);
    let env = simulation.node("a");
    simulation.block_on(async {
        let cluster = Cluster(Arc::default(), Some(env.clone()));
        let (mut members, term) = cluster.begin(&env, 4).await;
        for number in 0..3 {
            let quorum = members[0].quorum.clone();
            let work = async move { while quorum.propose(term, command(number)).await.is_ok() {} };
            env.spawn("proposals", work).detach();
        }
        sleep(env.clock(), Duration::from_millis(20)).await;
        let leader = members[0].quorum.clone();
        let removal = async move {
            let _ = leader.remove_voter(BrokerId(1), peer(1).disk).await;
        };
        env.spawn("removal", removal).detach();
        while members[0].quorum.status().voters != [[2, 3, 4].map(BrokerId)] {
            sleep(env.clock(), Duration::from_micros(100)).await;
        }
        let mut reached = std::mem::take(&mut *cluster.0.lock().unwrap());
        for member in &members[1..] {
            assert_eq!(
                member.quorum.status().voters.len(),
                2,
                "the entry that takes it out is the leader's alone"
            );
        }
        sleep(env.clock(), Duration::from_millis(10)).await;
        reached.remove(&BrokerId(4));
        members.pop().unwrap().close().await;
        members.remove(0).close().await;
        *cluster.0.lock().unwrap() = reached;
        members.insert(0, Member::open(&env, &cluster, 1).await.unwrap());

        let began = env.clock().now();
        while !members[1..].iter().any(|member| {
            let now = member.quorum.leadership();
            now.term > term && now.leader.is_some()
        }) {
            let waited = env.clock().now().since(began);
            let all: Vec<_> = members.iter().map(|member| member.quorum.status()).collect();
            assert!(waited < Duration::from_secs(60), "nobody is elected: {all:?}");
            sleep(env.clock(), Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn a_member_that_lost_its_vote_is_not_opened() {
    let simulation = Simulation::new(3);
    let env = simulation.node("a");
    simulation.block_on(async {
        let cluster = Cluster::default();
        let member = Member::open(&env, &cluster, 1).await.unwrap();
        member.quorum.bootstrap([(BrokerId(1), peer(1))].into()).await.unwrap();
        member.lead(1).await;
        member.close().await;
        assert!(simulation.disk(env.node()).flip_bit(&PathBuf::from("/data1/quorum/vote"), 6, 3));
        let damaged = Member::open(&env, &cluster, 1).await.map(|_| ());
        assert!(matches!(damaged, Err(QuorumError::Damaged { .. })), "{damaged:?}");
    });
}

#[test]
fn garbage_gets_an_answer() {
    let simulation = Simulation::new(4);
    let env = simulation.node("a");
    simulation.block_on(async {
        let member = Member::open(&env, &Cluster::default(), 1).await.unwrap();
        assert!(!member.quorum.handle(Bytes::from_static(b"hello")).await.is_empty());
    });
}
