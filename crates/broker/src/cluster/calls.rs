//! What brokers ask the active controller for, and its answers: the same whether it is another node or this one.

use super::lead::Sight;
use super::{Cluster, CommitError};
use crate::internal::message::{
    AlterOutcome, AlterPartitions, Altered as WireAltered, Ask, Failed, Feature, Follow, Follows, Forwarded,
    Heartbeat, Hello, IsrChange as WireChange, LostLog, LostLogs, Member, NotController,
    ProducerIdBlock as WireBlock, ProducerIds, Register, Registered, Seen, Setting, Tell, uuid, uuid_bytes,
};
use crate::internal::{CallError, failed};
use bytes::Bytes;
use highwater_env::{Env, First, first, sleep};
use highwater_metadata::configs::ConfigView;
use highwater_metadata::controller::{self, Controller, Decision, IsrChange, ProducerIdBlock, Registration};
use highwater_metadata::{Endpoint, FeatureRange, Partition, Refusal, RefusalCode};
use highwater_quorum::Peer;
use highwater_types::{
    BrokerEpoch, BrokerId, DiskId, LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId, Uuid, mutant,
};
use highwater_wire::ErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one call to the controller may take.
const LIMIT: Duration = Duration::from_secs(5);
/// For how long a controller is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a controller is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// What the controller does about logs that a broker lost, or that failed there.
type LogsStep = fn(&Controller, &ConfigView<'_>, BrokerId, BrokerEpoch, &[LogId]) -> Decision<()>;

/// A partition after a change of its in-sync set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Altered {
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: i32,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) isr: Vec<BrokerId>,
}

/// Where a client's request is to be carried out.
pub(crate) enum Forward {
    /// On this node.
    Here,
    /// It was, on another node: the whole answer.
    Answered(Bytes),
    /// Nobody knows what became of it.
    Lost(String),
}

impl<E: Env> Cluster<E> {
    /// Sends a client's request to the active controller, if that is another node.
    pub(crate) async fn forward(&self, frame: Bytes) -> Forward {
        match self.ask(Ask::Forward(frame), PATIENCE).await {
            Ok(Tell::Forwarded(Forwarded { frame, applied })) => {
                // Who was told of a change sees it here from now on.
                self.0.wait_carried(applied).await;
                Forward::Answered(frame)
            }
            Ok(Tell::Failed(failed)) => Forward::Lost(failed.message),
            Ok(_) => Forward::Lost("the controller gave a reply to another call".to_owned()),
            // Carried out here, it is refused with the right code.
            Err(AskError::Here | AskError::NoController) => Forward::Here,
            Err(AskError::Open(problem)) => Forward::Lost(problem),
        }
    }

    /// Takes a block of producer ids for this node.
    pub(crate) async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, CommitError> {
        let tell = self.ask_or_serve(Ask::ProducerIds(ProducerIds { node: self.0.node.0 })).await?;
        match tell {
            Tell::ProducerIdBlock(block) => {
                Ok(ProducerIdBlock { first: ProducerId(block.first), end: ProducerId(block.end) })
            }
            other => Err(unexpected(other)),
        }
    }

    /// Asks the controller for changes of in-sync sets. For each, that it was made, or why not.
    pub(crate) async fn alter_partitions(
        &self,
        changes: Vec<IsrChange>,
    ) -> Result<Vec<Result<Altered, Refusal>>, CommitError> {
        let count = changes.len();
        let ask = Ask::AlterPartitions(AlterPartitions {
            node: self.0.node.0,
            epoch: self.broker_epoch().0,
            changes: changes.into_iter().map(wire_change).collect(),
        });
        match self.ask_or_serve(ask).await? {
            Tell::Altered(altered) if altered.outcomes.len() == count => {
                Ok(altered.outcomes.into_iter().map(altered_partition).collect())
            }
            other => Err(unexpected(other)),
        }
    }

    /// Tells the controller of logs that this broker has lost, so that it counts as complete in none of them.
    pub(super) async fn report_lost_logs(&self, logs: &[LogId]) -> Result<(), CommitError> {
        self.report_logs(Ask::LostLogs, logs).await
    }

    /// Has the controller leave the partitions of logs that failed to the other replicas in sync.
    pub(super) async fn report_failed_logs(&self, logs: &[LogId]) -> Result<(), CommitError> {
        self.report_logs(Ask::FailedLogs, logs).await
    }

    async fn report_logs(&self, ask: fn(LostLogs) -> Ask, logs: &[LogId]) -> Result<(), CommitError> {
        let log =
            |log: &LogId| LostLog { topic: uuid_bytes(Uuid(log.topic.0.0)), partition: log.partition.0 };
        let logs = logs.iter().map(log).collect();
        let report = LostLogs { node: self.0.node.0, epoch: self.broker_epoch().0, logs };
        match self.ask_or_serve(ask(report)).await? {
            Tell::Altered(_) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Registers this broker; its incarnation's epoch.
    pub(super) async fn register(&self, register: Register) -> Result<BrokerEpoch, CommitError> {
        match self.ask_or_serve(Ask::Register(register)).await? {
            Tell::Registered(registered) => Ok(BrokerEpoch(registered.epoch)),
            other => Err(unexpected(other)),
        }
    }

    /// Has the controller tell this node of the metadata from now on.
    pub(super) async fn follow(&self, follow: Follow) -> Result<(), CommitError> {
        match self.ask_or_serve(Ask::Follow(follow)).await? {
            Tell::Follows(_) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Tells the controller that this broker is alive.
    pub(super) async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Seen, CommitError> {
        match self.ask_or_serve(Ask::Heartbeat(heartbeat)).await? {
            Tell::Seen(seen) => Ok(seen),
            other => Err(unexpected(other)),
        }
    }

    /// Asks the active controller, be it this node or another. When there is another one, it is asked instead: who was
    /// asked before may be cut off, and all that is asked for here may be asked for twice.
    async fn ask_or_serve(&self, ask: Ask) -> Result<Tell, CommitError> {
        let quorum = &self.0.quorum;
        // Of an attempt that was given up nobody knows what came of it.
        let mut open = false;
        loop {
            let leadership = quorum.leadership();
            let told = async {
                match self.ask(ask.clone(), LIMIT).await {
                    Ok(tell) => Ok(tell),
                    Err(AskError::Here) => Ok(self.serve(ask.clone()).await),
                    Err(AskError::NoController) if open => Err(CommitError::Open),
                    Err(AskError::NoController) => Err(CommitError::NotController),
                    Err(AskError::Open(_)) => Err(CommitError::Open),
                }
            };
            let changed = async {
                if mutant!("ask-no-other-controller") {
                    std::future::pending::<()>().await;
                }
                quorum.leadership_changed(&leadership).await;
            };
            if let First::One(told) = first(told, changed).await {
                return told;
            }
            open = true;
        }
    }

    /// Asks the active controller on another node; looks for it for a while.
    async fn ask(&self, ask: Ask, patience: Duration) -> Result<Tell, AskError> {
        let inner = &self.0;
        let clock = inner.env.clock();
        let until = clock.now().after(patience);
        let mut hint = None;
        let mut asked = 0;
        loop {
            let leader = self.controller();
            if leader == Some(inner.node) {
                return Err(AskError::Here);
            }
            // Who is no member of the quorum yet asks one voter after another.
            let to = hint.take().or(leader).or_else(|| self.some_voter(asked));
            asked += 1;
            if let Some((id, (host, port))) = to.and_then(|id| Some((id, self.internal_address(id)?))) {
                let told = inner.peers.call(id, (&host, port), ask.clone(), LIMIT).await;
                match told {
                    Ok(Tell::NotController(NotController { leader: Some(leader) })) => {
                        hint = Some(BrokerId(leader)).filter(|leader| *leader != inner.node && *leader != id);
                    }
                    Ok(Tell::NotController(_)) | Err(CallError::NotSent(_)) => {}
                    Ok(tell) => return Ok(tell),
                    Err(CallError::Open(problem)) => return Err(AskError::Open(problem)),
                }
            }
            if clock.now() >= until || inner.stop.is_raised() || inner.quorum.status().failure.is_some() {
                return Err(AskError::NoController);
            }
            if hint.is_none() {
                sleep(clock, PAUSE).await;
            }
        }
    }

    fn some_voter(&self, number: usize) -> Option<BrokerId> {
        let voters = &self.0.config.voters;
        let others: Vec<BrokerId> =
            voters.iter().map(|voter| voter.id).filter(|id| *id != self.0.node).collect();
        if others.is_empty() { None } else { Some(others[number % others.len()]) }
    }

    /// Where a node's internal port is.
    pub(crate) fn internal_address(&self, id: BrokerId) -> Option<(String, u16)> {
        let configured = self.0.config.voters.iter().find(|voter| voter.id == id);
        let configured = configured.map(|voter| (voter.host.clone(), voter.port));
        configured.or_else(|| self.0.quorum.peer(id).map(|peer| (peer.host, peer.port)))
    }

    /// Carries out a call as the active controller.
    pub(crate) async fn serve(&self, ask: Ask) -> Tell {
        let told = match ask {
            Ask::Register(register) => self.serve_register(register).await,
            Ask::Follow(follow) => self.serve_follow(follow).await,
            Ask::Heartbeat(heartbeat) => self.serve_heartbeat(heartbeat).await,
            Ask::AlterPartitions(alter) => self.serve_alter_partitions(alter).await,
            Ask::LostLogs(lost) => self.serve_lost_logs(lost, Controller::lose_logs).await,
            Ask::FailedLogs(failed) => self.serve_lost_logs(failed, Controller::fail_logs).await,
            Ask::ProducerIds(ids) => self.serve_producer_ids(BrokerId(ids.node)).await,
            Ask::Raft(_) | Ask::Forward(_) => Err(CommitError::Failed("a call for another place".to_owned())),
        };
        match told {
            Ok(tell) => tell,
            Err(CommitError::NotController) => self.not_controller(),
            Err(CommitError::Refused(refusal)) => {
                Tell::Failed(Failed { code: refusal.code.number().into(), message: refusal.message })
            }
            Err(error) => failed(crate::errors::of_commit(&error), error.to_string()),
        }
    }

    /// Names the active controller to one who took this node for it.
    pub(crate) fn not_controller(&self) -> Tell {
        Tell::NotController(NotController { leader: self.controller().map(|leader| leader.0) })
    }

    async fn serve_register(&self, register: Register) -> Result<Tell, CommitError> {
        let id = |bytes: &Bytes| uuid(bytes).ok_or_else(|| malformed("an identifier is not 16 bytes long"));
        let node = BrokerId(register.node);
        let disk = DiskId(id(&register.disk)?);
        let registration = Registration {
            id: node,
            // Nobody of another cluster comes past the greeting.
            cluster_id: self.0.cluster_id(),
            incarnation: id(&register.incarnation)?,
            disk,
            clean_epoch: BrokerEpoch(register.clean_epoch),
            endpoints: register.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
            rack: register.rack,
            is_controller: register.controller,
            features: register.features.into_iter().map(feature).collect::<Result<_, _>>()?,
            settings: settings(register.settings),
        };
        let internal =
            u16::try_from(register.internal_port).map_err(|_| malformed("a port is out of range"))?;
        let (mut answers, _) = self
            .decide(|Sight { view, controller, now, .. }| controller.register(view, &registration, now))
            .await?;
        answers.pop().expect("one answer").map_err(CommitError::Refused)?;
        let image = self.0.committed.image();
        let registered = image.broker(node).filter(|broker| broker.incarnation == registration.incarnation);
        let epoch = registered.ok_or(CommitError::Open)?.epoch;
        let peer = Peer { host: register.internal_host, port: internal, disk };
        if node != self.0.node {
            // It follows the metadata from now on, if it did not before.
            self.0.quorum.add_learner(node, peer).await?;
        }
        Ok(Tell::Registered(Registered { epoch: epoch.0 }))
    }

    async fn serve_follow(&self, follow: Follow) -> Result<Tell, CommitError> {
        let disk = uuid(&follow.disk).ok_or_else(|| malformed("an identifier is not 16 bytes long"))?;
        let port = u16::try_from(follow.port).map_err(|_| malformed("a port is out of range"))?;
        let (node, settings) = (BrokerId(follow.node), settings(follow.settings));
        let agrees = |Sight { view, .. }: Sight<'_>| Decision {
            records: Vec::new(),
            answers: vec![controller::check_settings(view, node, &settings)],
        };
        let (mut answers, _) = self.decide(agrees).await?;
        answers.pop().expect("one answer").map_err(CommitError::Refused)?;
        let peer = Peer { host: follow.host, port, disk: DiskId(disk) };
        if self.0.quorum.peer(node).is_none_or(|known| known.disk != peer.disk) {
            self.0.quorum.add_learner(node, peer).await?;
        }
        Ok(Tell::Follows(Follows {}))
    }

    async fn serve_heartbeat(&self, heartbeat: Heartbeat) -> Result<Tell, CommitError> {
        let heartbeat = controller::Heartbeat {
            id: BrokerId(heartbeat.node),
            epoch: BrokerEpoch(heartbeat.epoch),
            applied: heartbeat.applied,
            want_fence: heartbeat.want_fence,
            want_shut_down: heartbeat.want_shutdown,
        };
        let (mut answers, _) = self
            .decide(|Sight { view, controller, index, now }| {
                controller.heartbeat(view, index, &heartbeat, now)
            })
            .await?;
        let seen = answers.pop().expect("one answer").map_err(CommitError::Refused)?;
        // A broker takes it for the word of the only controller that there is.
        if !mutant!("lease-unconfirmed") {
            self.0.quorum.fence().await?;
        }
        let (caught_up, fenced, should_shut_down) = (seen.caught_up, seen.fenced, seen.should_shut_down);
        Ok(Tell::Seen(Seen { caught_up, fenced, should_shut_down }))
    }

    async fn serve_alter_partitions(&self, alter: AlterPartitions) -> Result<Tell, CommitError> {
        let from = (BrokerId(alter.node), BrokerEpoch(alter.epoch));
        let changes: Vec<IsrChange> = alter.changes.into_iter().map(change).collect::<Result<_, _>>()?;
        let (answers, _) = self
            .decide(|Sight { view, controller, .. }| {
                controller.alter_partitions(view, from.0, from.1, &changes)
            })
            .await?;
        Ok(Tell::Altered(WireAltered { outcomes: answers.into_iter().map(outcome).collect() }))
    }

    async fn serve_lost_logs(&self, lost: LostLogs, step: LogsStep) -> Result<Tell, CommitError> {
        let from = (BrokerId(lost.node), BrokerEpoch(lost.epoch));
        let log = |lost: &LostLog| {
            let topic =
                uuid(&lost.topic).map(TopicId).ok_or_else(|| malformed("a topic id is not 16 bytes long"))?;
            Ok::<_, CommitError>(LogId { topic, partition: PartitionIndex(lost.partition) })
        };
        let logs: Vec<LogId> = lost.logs.iter().map(log).collect::<Result<_, _>>()?;
        let decide =
            |Sight { view, controller, .. }: Sight<'_>| step(controller, view, from.0, from.1, &logs);
        let (answers, _) = self.decide(decide).await?;
        // A controller that does not know this registration, or is one no more, was told in vain. That a last replica
        // stays where it is was decided.
        let is_unknown = |refusal: &Refusal| {
            matches!(refusal.code, RefusalCode::StaleBrokerEpoch | RefusalCode::BrokerIdNotRegistered)
        };
        if let Some(refusal) = answers.into_iter().filter_map(Result::err).find(is_unknown) {
            return Err(CommitError::Refused(refusal));
        }
        self.0.quorum.fence().await?;
        Ok(Tell::Altered(WireAltered::default()))
    }

    async fn serve_producer_ids(&self, node: BrokerId) -> Result<Tell, CommitError> {
        let (mut answers, _) =
            self.decide(|sight| controller::allocate_producer_ids(sight.view.image, node)).await?;
        let block = answers.pop().expect("one answer").map_err(CommitError::Refused)?;
        Ok(Tell::ProducerIdBlock(WireBlock { first: block.first.0, end: block.end.0 }))
    }

    /// Why a node that greets so is turned away, if it is.
    pub(crate) fn turn_away(&self, peer: &Hello) -> Option<String> {
        let own = self.0.cluster_id();
        if peer.cluster() != Some(own) {
            return Some(format!(
                "node {} belongs to cluster {}, and node {} to cluster {own}: correct cluster_id, or the address",
                peer.node,
                peer.cluster().map_or_else(|| "?".to_owned(), |id| id.to_string()),
                self.0.node,
            ));
        }
        if peer.node == self.0.node.0 && peer.disk() != Some(self.0.store.disk_id()) {
            return Some(format!("two nodes are configured with node_id {}: give each its own", peer.node));
        }
        None
    }
}

/// Why a call to the controller gave no reply.
enum AskError {
    /// This node is the active controller.
    Here,
    /// None was found.
    NoController,
    /// Nobody knows what became of the call.
    Open(String),
}

fn unexpected(tell: Tell) -> CommitError {
    match tell {
        Tell::NotController(_) => CommitError::NotController,
        Tell::Failed(failed) if failed.code == i32::from(ErrorCode::NOT_CONTROLLER.0) => {
            CommitError::NotController
        }
        Tell::Failed(failed) => CommitError::Refused(refusal(failed.code, failed.message)),
        _ => CommitError::Failed("the controller gave a reply to another call".to_owned()),
    }
}

fn refusal(code: i32, message: String) -> Refusal {
    let code = i16::try_from(code).ok().and_then(RefusalCode::of_number).unwrap_or(RefusalCode::Unknown);
    Refusal::new(code, message)
}

fn malformed(problem: &str) -> CommitError {
    CommitError::Refused(Refusal::new(RefusalCode::InvalidRequest, problem))
}

fn settings(settings: Vec<Setting>) -> BTreeMap<String, String> {
    settings.into_iter().map(|setting| (setting.name, setting.value)).collect()
}

fn feature(feature: Feature) -> Result<FeatureRange, CommitError> {
    let level = |level| u16::try_from(level).map_err(|_| malformed("a feature's level is out of range"));
    Ok(FeatureRange { name: feature.name, min: level(feature.min)?, max: level(feature.max)? })
}

fn endpoint(endpoint: &crate::internal::message::Endpoint) -> Result<Endpoint, CommitError> {
    Ok(Endpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: u16::try_from(endpoint.port).map_err(|_| malformed("a port is out of range"))?,
        security_protocol: i16::try_from(endpoint.security_protocol)
            .map_err(|_| malformed("a security protocol is out of range"))?,
    })
}

fn outcome(answer: Result<Partition, Refusal>) -> AlterOutcome {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    match answer {
        Ok(partition) => AlterOutcome {
            code: 0,
            message: String::new(),
            leader: partition.leader.map(|leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            partition_epoch: partition.partition_epoch,
            replicas: numbers(&partition.replicas),
            isr: numbers(&partition.isr),
        },
        Err(refusal) => AlterOutcome {
            code: refusal.code.number().into(),
            message: refusal.message,
            ..AlterOutcome::default()
        },
    }
}

fn altered_partition(outcome: AlterOutcome) -> Result<Altered, Refusal> {
    let ids = |numbers: Vec<i32>| numbers.into_iter().map(BrokerId).collect();
    if outcome.code != 0 {
        return Err(refusal(outcome.code, outcome.message));
    }
    Ok(Altered {
        leader: outcome.leader.map(BrokerId),
        leader_epoch: LeaderEpoch(outcome.leader_epoch),
        partition_epoch: outcome.partition_epoch,
        replicas: ids(outcome.replicas),
        isr: ids(outcome.isr),
    })
}

fn change(change: WireChange) -> Result<IsrChange, CommitError> {
    let topic =
        uuid(&change.topic).map(TopicId).ok_or_else(|| malformed("a topic id is not 16 bytes long"))?;
    Ok(IsrChange {
        log: LogId { topic, partition: PartitionIndex(change.partition) },
        leader_epoch: change.leader_epoch.into(),
        partition_epoch: change.partition_epoch,
        isr: change
            .isr
            .into_iter()
            .map(|member| (BrokerId(member.node), BrokerEpoch(member.epoch)))
            .collect(),
    })
}

fn wire_change(change: IsrChange) -> WireChange {
    WireChange {
        topic: uuid_bytes(Uuid(change.log.topic.0.0)),
        partition: change.log.partition.0,
        leader_epoch: change.leader_epoch.0,
        partition_epoch: change.partition_epoch,
        isr: change.isr.into_iter().map(|(node, epoch)| Member { node: node.0, epoch: epoch.0 }).collect(),
    }
}
