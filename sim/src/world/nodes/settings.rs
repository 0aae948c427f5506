//! What nodes of a scenario are started with.

use super::DATA_DIR;
use crate::checkers::Terms;
use highwater_broker::{BrokerConfig, ListenerConfig, VoterConfig};
use highwater_faults::{ClusterSpec, Scenario, TopicSpec};
use highwater_log::Durability;
use highwater_types::{BrokerId, ClusterId, Uuid};
use std::net::{Ipv4Addr, SocketAddr};

/// The port of every broker; its host name is `broker-N`.
pub(crate) const PORT: u16 = 9092;
/// The port by which the nodes of a cluster reach each other.
const INTERNAL_PORT: u16 = 9093;

/// The numbers of all nodes: brokers first, from 1, and then those that are controllers alone.
pub(crate) fn ids(cluster: &ClusterSpec) -> impl Iterator<Item = BrokerId> + use<> {
    (1..=cluster.nodes()).map(|number| BrokerId(i32::try_from(number).unwrap_or(i32::MAX)))
}

/// Whether a node is a broker, and not a controller alone.
pub(super) fn is_broker(id: BrokerId, cluster: &ClusterSpec) -> bool {
    u32::try_from(id.0).is_ok_and(|number| number <= cluster.brokers)
}

/// The configuration of a node.
pub(crate) fn config(id: BrokerId, cluster: &ClusterSpec) -> Result<BrokerConfig, String> {
    let listen = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let advertised = |port| ListenerConfig {
        advertised_host: Some(host(id, cluster)),
        ..ListenerConfig::plaintext(listen(port))
    };
    let mut config = BrokerConfig::new(id, DATA_DIR, listen(PORT));
    config.listeners = vec![advertised(PORT)];
    config.durability = match cluster.durability.as_str() {
        "sync" => Durability::Sync,
        "replicated" => Durability::Replicated,
        other => return Err(format!("{other:?} is no durability: sync or replicated is expected")),
    };
    for (name, value) in &cluster.settings {
        config.settings.set(name, value.clone()).map_err(|error| error.to_string())?;
    }
    if cluster.nodes() > 1 {
        let votes = |voter: &BrokerId| cluster.controllers == 0 || !is_broker(*voter, cluster);
        let voter = |id| VoterConfig { id, host: host(id, cluster), port: INTERNAL_PORT };
        config.voters = ids(cluster).filter(votes).map(voter).collect();
        config.cluster_id = Some(ClusterId(Uuid::from_random(0x5eed)));
        config.internal = Some(ListenerConfig { name: "CONTROLLER".to_owned(), ..advertised(INTERNAL_PORT) });
        config.is_broker = is_broker(id, cluster);
        if !config.is_broker {
            config.listeners.clear();
        }
        if !cluster.racks.is_empty() {
            let place = usize::try_from(id.0 - 1).unwrap_or(0) % cluster.racks.len();
            config.rack = Some(cluster.racks[place].clone());
        }
    }
    Ok(config)
}

/// The host name of a node.
pub(crate) fn host(id: BrokerId, cluster: &ClusterSpec) -> String {
    if is_broker(id, cluster) {
        return format!("broker-{id}");
    }
    let brokers = i32::try_from(cluster.brokers).unwrap_or(i32::MAX);
    format!("controller-{}", id.0.saturating_sub(brokers))
}

/// What brokers of a scenario promise. Of a configuration that is changed, the least that it may be counts.
pub(crate) fn terms(scenario: &Scenario) -> Terms {
    const LEAST: &str = "min.insync.replicas";
    let number = |text: &String| text.trim().parse::<usize>().ok();
    let cluster = &scenario.cluster;
    let altered = scenario.workload.churn.alter.get(LEAST).into_iter().flatten().filter_map(number).min();
    let min_insync = cluster.settings.get(LEAST).and_then(number);
    let of = |topic: &TopicSpec| {
        let usual = if topic.replicas >= 3 { 2 } else { 1 };
        let set = topic.configs.get(LEAST).and_then(number).or(min_insync).unwrap_or(usual);
        (topic.name.clone(), altered.map_or(set, |altered| altered.min(set)))
    };
    Terms {
        durable: cluster.durability != "replicated",
        min_insync,
        topics: scenario.topics.iter().map(of).collect(),
        longest_send: scenario.expect.longest_send,
        longest_commit: scenario.expect.longest_commit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_kind_are_all_voters() {
        let cluster =
            ClusterSpec { brokers: 3, racks: vec!["a".into(), "b".into()], ..ClusterSpec::default() };
        let config = config(BrokerId(3), &cluster).unwrap();
        assert_eq!(config.check_cluster(), Ok(()));
        let hosts: Vec<_> = config.voters.iter().map(|voter| (voter.id.0, voter.host.as_str())).collect();
        assert_eq!(hosts, [(1, "broker-1"), (2, "broker-2"), (3, "broker-3")]);
        assert_eq!((config.rack.as_deref(), config.is_broker, config.is_voter()), (Some("a"), true, true));
    }

    #[test]
    fn nodes_of_two_kinds_are_brokers_or_voters() {
        let cluster = ClusterSpec { brokers: 2, controllers: 3, ..ClusterSpec::default() };
        let of = |id| config(BrokerId(id), &cluster).unwrap();
        assert!(ids(&cluster).all(|id| of(id.0).check_cluster().is_ok()));
        assert_eq!((of(2).is_broker, of(2).is_voter(), of(2).listeners.len()), (true, false, 1));
        assert_eq!((of(3).is_broker, of(3).is_voter(), of(3).listeners.len()), (false, true, 0));
        assert_eq!(of(1).voters[0].host, "controller-1");
    }

    #[test]
    fn a_node_by_itself_has_no_other_port() {
        let config = config(BrokerId(1), &ClusterSpec::default()).unwrap();
        assert!(config.voters.is_empty() && config.internal.is_none() && config.cluster_id.is_none());
    }

    #[test]
    fn the_smallest_number_of_replicas_that_a_topic_may_have_counts() {
        let text = "[scenario]\nkind = \"cluster\"\n[cluster]\nnodes = 3\n[[topics]]\nname = \"t\"\n";
        let mut scenario = Scenario::parse(text, "x.toml").unwrap();
        let topic = |name: &str, replicas, least: Option<&str>| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            replicas,
            configs: least
                .map(|least| ("min.insync.replicas".to_owned(), least.to_owned()))
                .into_iter()
                .collect(),
        };
        scenario.topics = vec![topic("a", 3, None), topic("b", 3, Some("3")), topic("c", 2, None)];
        let of = |scenario: &Scenario| terms(scenario).topics.into_values().collect::<Vec<_>>();
        assert_eq!(of(&scenario), [2, 3, 1]);
        let altered = ["2".to_owned(), "3".to_owned()];
        scenario.workload.churn.alter.insert("min.insync.replicas".to_owned(), altered.into());
        assert_eq!(of(&scenario), [2, 2, 1]);
        scenario.workload.churn.alter.clear();
        scenario.cluster.settings.insert("min.insync.replicas".to_owned(), "1".to_owned());
        assert_eq!(of(&scenario), [1, 3, 1]);
    }
}
