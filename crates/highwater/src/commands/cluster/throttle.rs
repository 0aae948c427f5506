//! A bound on what moves of replicas may take (KIP-73), by Kafka's configurations: a rate for every broker that takes
//! part, and lists of the replicas that it is for.

use super::plan::Plan;
use super::view::View;
use highwater_client::{Admin, ClientError, ConfigChange, Resource};
use highwater_env_tokio::TokioEnv;
use highwater_types::BrokerId;
use std::collections::{BTreeMap, BTreeSet};

const RATES: [&str; 2] = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";

/// What is to be bounded while a plan is carried out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The brokers that records are moved from or to.
    brokers: BTreeSet<BrokerId>,
    /// By topic, the replicas that may serve others and those that are new, as `partition:broker`.
    replicas: BTreeMap<String, [Vec<String>; 2]>,
}

impl Throttle {
    /// What is bounded for a plan: nothing of partitions that get no new replica.
    pub fn of(plan: &Plan, view: &View) -> Self {
        let mut throttle = Self::default();
        for partition in &view.partitions {
            let Some(wanted) = plan.get(&(partition.topic.clone(), partition.index)) else { continue };
            let new: Vec<BrokerId> =
                wanted.iter().filter(|id| !partition.replicas.contains(id)).copied().collect();
            if new.is_empty() {
                continue;
            }
            let [leaders, followers] = throttle.replicas.entry(partition.topic.clone()).or_default();
            let named = |id: &BrokerId| format!("{}:{id}", partition.index);
            // Any of them may become the leader meanwhile.
            leaders.extend(partition.replicas.iter().map(named));
            followers.extend(new.iter().map(named));
            throttle.brokers.extend(partition.replicas.iter().chain(&new));
        }
        throttle
    }

    /// Sets it, before anything moves: no more than `rate` bytes per second from any broker and to any broker.
    pub async fn set(&self, admin: &Admin<TokioEnv>, rate: i64) -> Result<(), ClientError> {
        for (topic, [leaders, followers]) in &self.replicas {
            let changes = [(LEADERS, leaders), (FOLLOWERS, followers)]
                .map(|(name, replicas)| ConfigChange::Append(name.to_owned(), replicas.join(",")));
            admin.alter_configs(&Resource::Topic(topic.clone()), &changes, false).await?;
        }
        for &broker in &self.brokers {
            let changes = RATES.map(|name| ConfigChange::Set(name.to_owned(), rate.to_string()));
            admin.alter_configs(&Resource::Broker(broker), &changes, false).await?;
        }
        Ok(())
    }
}

/// Lifts what was set for moves, on all brokers and topics that have it; says whether any had. To be called when
/// nothing moves any more.
pub async fn lift(admin: &Admin<TokioEnv>, view: &View) -> Result<bool, ClientError> {
    let topics: BTreeSet<&str> = view.partitions.iter().map(|partition| partition.topic.as_str()).collect();
    let topics = topics.into_iter().map(|topic| (Resource::Topic(topic.to_owned()), [LEADERS, FOLLOWERS]));
    let live = view.brokers.iter().filter(|(_, broker)| !broker.is_fenced);
    let brokers = live.map(|(&id, _)| (Resource::Broker(id), RATES));
    let mut lifted = false;
    for (resource, names) in topics.chain(brokers) {
        let source = if matches!(resource, Resource::Topic(_)) { OF_TOPIC } else { OF_BROKER };
        let configs = admin.describe_configs(&resource).await?;
        let set: Vec<ConfigChange> = configs
            .iter()
            .filter(|config| config.config_source == source && names.contains(&&*config.name))
            .map(|config| ConfigChange::Delete(config.name.to_string()))
            .collect();
        if !set.is_empty() {
            admin.alter_configs(&resource, &set, false).await?;
            lifted = true;
        }
    }
    Ok(lifted)
}

/// Where a configuration can come from: from the topic itself, and from the broker itself while it runs.
const OF_TOPIC: i8 = 1;
const OF_BROKER: i8 = 2;

#[cfg(test)]
mod tests {
    use super::super::plan::parse_move;
    use super::super::view::tests::{cluster, partition};
    use super::*;

    #[test]
    fn what_is_new_is_throttled_and_whoever_may_serve_it() {
        let view = cluster(
            &[(1, ""), (2, ""), (3, ""), (4, "")],
            vec![
                partition(0, 1, &[1, 2], &[1, 2]),
                partition(1, 2, &[2, 1], &[2, 1]),
                partition(2, 2, &[2], &[2]),
            ],
        );
        let moves = ["t-0=3,1", "t-1=1,2", "t-2=2"].map(|text| parse_move(text).unwrap());
        let throttle = Throttle::of(&Plan::from(moves), &view);
        assert_eq!(throttle.brokers, BTreeSet::from([1, 2, 3].map(BrokerId)));
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let replicas = [strings(&["0:1", "0:2"]), strings(&["0:3"])];
        assert_eq!(throttle.replicas, BTreeMap::from([("t".to_owned(), replicas)]));
        assert_eq!(Throttle::of(&Plan::from([parse_move("t-1=1,2").unwrap()]), &view), Throttle::default());
    }
}
