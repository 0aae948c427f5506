//! A cluster as one look at it shows it: its brokers, its partitions, and what is wrong with them.

use anyhow::Context;
use highwater_client::{Admin, Resource, TopicMetadata};
use highwater_env_tokio::TokioEnv;
use highwater_types::BrokerId;
use highwater_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use std::collections::{BTreeMap, BTreeSet};

/// A cluster as one look at it shows it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Its id.
    pub cluster_id: String,
    /// The active controller, as far as brokers tell.
    pub controller: Option<BrokerId>,
    /// The registered brokers.
    pub brokers: BTreeMap<BrokerId, BrokerView>,
    /// All partitions.
    pub partitions: Vec<PartitionView>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerView {
    /// Where clients reach it.
    pub address: String,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Whether the controller takes it for failed, or it is not ready yet.
    pub is_fenced: bool,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub index: i32,
    /// Who leads it.
    pub leader: Option<BrokerId>,
    /// Where its replicas are, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Which of them are in sync.
    pub in_sync: Vec<BrokerId>,
    /// How many must be, for producers with acks=all. Not asked for while all are.
    pub min_in_sync: Option<usize>,
}

/// What can be wrong with a partition, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Replicas are missing from the in-sync set, and more may.
    UnderReplicated,
    /// As many replicas are in sync as must be: one less, and producers are refused.
    AtMinIsr,
    /// Too few replicas are in sync: producers with acks=all are refused.
    UnderMinIsr,
    /// Nobody leads it: it can be neither read nor written.
    Offline,
}

impl Trouble {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Offline, Self::UnderMinIsr, Self::AtMinIsr, Self::UnderReplicated];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnderReplicated => "under-replicated",
            Self::AtMinIsr => "at min.insync.replicas",
            Self::UnderMinIsr => "under min.insync.replicas",
            Self::Offline => "offline",
        }
    }

    /// What it means for clients.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::UnderReplicated => "readable and writable; replicas are catching up or missing",
            Self::AtMinIsr => "readable and writable; one replica less, and acks=all is refused",
            Self::UnderMinIsr => "readable; acks=all is refused",
            Self::Offline => "no leader: neither readable nor writable",
        }
    }
}

impl PartitionView {
    /// `topic-partition`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.index)
    }

    /// The worst that is wrong with it.
    pub fn trouble(&self) -> Option<Trouble> {
        let in_sync = self.in_sync.len();
        if self.leader.is_none() {
            return Some(Trouble::Offline);
        }
        if in_sync >= self.replicas.len() {
            return None;
        }
        Some(match self.min_in_sync {
            Some(min) if in_sync < min => Trouble::UnderMinIsr,
            Some(min) if in_sync == min => Trouble::AtMinIsr,
            _ => Trouble::UnderReplicated,
        })
    }

    /// Whether another replica than the preferred one leads it.
    pub fn is_displaced(&self) -> bool {
        self.leader.is_some() && self.leader != self.replicas.first().copied()
    }
}

/// What a broker has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Partitions that it leads.
    pub leads: usize,
    /// Partitions that it would lead if every preferred leader did.
    pub preferred: usize,
    /// Partitions that it has a replica of.
    pub replicas: usize,
    /// Those of them that are not in sync.
    pub lagging: usize,
}

impl View {
    /// Looks.
    pub async fn of(admin: &Admin<TokioEnv>) -> anyhow::Result<Self> {
        let described = describe(admin).await?;
        let metadata = admin.client().refresh_all().await?;
        let brokers = described.brokers.iter().map(|broker| {
            let view = BrokerView {
                address: format!("{}:{}", broker.host, broker.port),
                rack: broker.rack.as_ref().map(ToString::to_string),
                is_fenced: broker.is_fenced,
            };
            (broker.broker_id, view)
        });
        let mut view = Self {
            cluster_id: described.cluster_id.to_string(),
            controller: Some(described.controller_id).filter(|id| id.0 >= 0),
            brokers: brokers.collect(),
            partitions: metadata.topics.iter().flat_map(|(name, topic)| partitions(name, topic)).collect(),
        };
        view.ask_for_minimums(admin).await?;
        Ok(view)
    }

    /// Asks the topics that miss replicas how many they need.
    async fn ask_for_minimums(&mut self, admin: &Admin<TokioEnv>) -> anyhow::Result<()> {
        let missing: BTreeSet<String> = self
            .partitions
            .iter()
            .filter(|partition| partition.in_sync.len() < partition.replicas.len())
            .map(|partition| partition.topic.clone())
            .collect();
        for topic in missing {
            let configs = admin.describe_configs(&Resource::Topic(topic.clone())).await;
            // It may be deleted meanwhile.
            let Ok(configs) = configs else { continue };
            let found = configs.iter().find(|config| &*config.name == "min.insync.replicas");
            let min = found.and_then(|config| config.value.as_deref()?.parse().ok());
            for partition in self.partitions.iter_mut().filter(|partition| partition.topic == topic) {
                partition.min_in_sync = min;
            }
        }
        Ok(())
    }

    /// Partitions with something wrong, the worst first.
    pub fn troubled(&self) -> Vec<(Trouble, &PartitionView)> {
        let mut troubled: Vec<_> =
            self.partitions.iter().filter_map(|partition| Some((partition.trouble()?, partition))).collect();
        troubled.sort_by_key(|(trouble, _)| std::cmp::Reverse(*trouble));
        troubled
    }

    /// What each broker has to do; also those that are registered no more and still hold replicas.
    pub fn loads(&self) -> BTreeMap<BrokerId, Load> {
        let mut loads: BTreeMap<BrokerId, Load> =
            self.brokers.keys().map(|id| (*id, Load::default())).collect();
        for partition in &self.partitions {
            for id in &partition.replicas {
                let load = loads.entry(*id).or_default();
                load.replicas += 1;
                load.lagging += usize::from(!partition.in_sync.contains(id));
            }
            if let Some(leader) = partition.leader {
                loads.entry(leader).or_default().leads += 1;
            }
            if let Some(preferred) = partition.replicas.first() {
                loads.entry(*preferred).or_default().preferred += 1;
            }
        }
        loads
    }
}

/// The brokers, fenced ones too where the broker can tell.
async fn describe(admin: &Admin<TokioEnv>) -> anyhow::Result<DescribeClusterResponse> {
    let request =
        DescribeClusterRequest { include_fenced_brokers: true, ..DescribeClusterRequest::default() };
    let answer = admin.client().call_any(&request).await?;
    let message = answer.error_message.as_deref().unwrap_or_default();
    if !answer.error_code.is_ok() {
        anyhow::bail!("the cluster cannot be described: {}: {message}", answer.error_code);
    }
    Ok(answer)
}

fn partitions(name: &str, topic: &TopicMetadata) -> Vec<PartitionView> {
    let view = |partition: &highwater_client::PartitionMetadata| PartitionView {
        topic: name.to_owned(),
        index: partition.index.0,
        leader: partition.leader,
        replicas: partition.replicas.clone(),
        in_sync: partition.in_sync.clone(),
        min_in_sync: None,
    };
    topic.partitions.iter().map(view).collect()
}

/// Understands `topic-partition`; topics may have dashes in their names.
pub fn parse_partition(text: &str) -> anyhow::Result<(String, i32)> {
    let parsed =
        text.rsplit_once(['-', '/', ':']).and_then(|(topic, index)| Some((topic, index.parse().ok()?)));
    let (topic, index) =
        parsed.with_context(|| format!("{text:?}: expected a partition, such as orders-0"))?;
    Ok((topic.to_owned(), index))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A partition whose replicas are these, of which these are in sync.
    pub fn partition(index: i32, leader: i32, replicas: &[i32], in_sync: &[i32]) -> PartitionView {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        PartitionView {
            topic: "t".to_owned(),
            index,
            leader: Some(BrokerId(leader)).filter(|id| id.0 >= 0),
            replicas: ids(replicas),
            in_sync: ids(in_sync),
            min_in_sync: Some(2),
        }
    }

    /// A cluster of these brokers, each in the rack that is given.
    pub fn cluster(racks: &[(i32, &str)], partitions: Vec<PartitionView>) -> View {
        let broker = |(id, rack): &(i32, &str)| {
            let rack = Some((*rack).to_owned()).filter(|rack| !rack.is_empty());
            (BrokerId(*id), BrokerView { rack, ..BrokerView::default() })
        };
        View { brokers: racks.iter().map(broker).collect(), partitions, ..View::default() }
    }

    #[test]
    fn the_worst_is_told_first() {
        let view = cluster(
            &[(1, ""), (2, ""), (3, "")],
            vec![
                partition(0, 1, &[1, 2, 3], &[1, 2, 3]),
                partition(1, 1, &[1, 2, 3], &[1, 2]),
                partition(2, 3, &[1, 2, 3], &[3]),
                partition(3, -1, &[1, 2, 3], &[3]),
                PartitionView { min_in_sync: Some(1), ..partition(4, 1, &[1, 2, 3], &[1, 2]) },
            ],
        );
        let troubled: Vec<_> =
            view.troubled().iter().map(|(trouble, found)| (*trouble, found.index)).collect();
        assert_eq!(
            troubled,
            [
                (Trouble::Offline, 3),
                (Trouble::UnderMinIsr, 2),
                (Trouble::AtMinIsr, 1),
                (Trouble::UnderReplicated, 4)
            ]
        );
        let load = view.loads()[&BrokerId(1)];
        assert_eq!(load, Load { leads: 3, preferred: 5, replicas: 5, lagging: 2 });
        assert!(view.partitions[2].is_displaced());
    }

    #[test]
    fn partitions_are_named_in_several_ways() {
        for text in ["a-b-3", "a-b/3", "a-b:3"] {
            assert_eq!(parse_partition(text).unwrap(), ("a-b".to_owned(), 3));
        }
        parse_partition("orders").unwrap_err();
    }
}
