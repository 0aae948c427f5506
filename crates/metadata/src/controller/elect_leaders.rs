//! Elections that are asked for, and giving leadership back to preferred replicas.

use super::change::Election;
use super::work::Work;
use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::image::Partition;
use crate::refusal::Refusal;
use highwater_types::{BrokerId, LogId};
use std::collections::{BTreeMap, BTreeSet};

/// Which leader is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any live replica where nobody else can lead, at the price of committed records.
    Unclean,
}

impl ElectionType {
    /// The type of this number in Kafka's protocol.
    pub const fn from_number(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Preferred),
            1 => Some(Self::Unclean),
            _ => None,
        }
    }
}

/// Elects leaders; the answers are in the order of the partitions. Without a list, all partitions that need the
/// election are looked at, and [`elections_needed`] says which those are.
pub fn elect_leaders(view: &ConfigView<'_>, election: ElectionType, logs: &[LogId]) -> Decision<()> {
    let mut work = Work::new(view);
    let answers = logs.iter().map(|&log| work.elect(election, log)).collect();
    Decision { records: work.into_records(), answers }
}

/// The partitions that do not have the leader that such an election would give them, were it possible.
pub fn elections_needed(view: &ConfigView<'_>, election: ElectionType) -> Vec<LogId> {
    Work::new(view).partitions(|partition| is_needed(partition, election))
}

fn is_needed(partition: &Partition, election: ElectionType) -> bool {
    match election {
        ElectionType::Preferred => partition.leader != partition.replicas.first().copied(),
        ElectionType::Unclean => partition.leader.is_none(),
    }
}

impl Work<'_> {
    fn elect(&mut self, election: ElectionType, log: LogId) -> Result<(), Refusal> {
        let refuse = |code, message: String| Err(Refusal::new(code, message));
        let Some(partition) = self.image.partition(log) else {
            return refuse(RefusalCode::UnknownTopicOrPartition, format!("There is no partition {log}."));
        };
        if !is_needed(partition, election) {
            let message = format!("Partition {log} has the leader that was asked for.");
            return refuse(RefusalCode::ElectionNotNeeded, message);
        }
        if self.room() == 0 {
            let message = "The request changes too much at once. Try again.".to_owned();
            return refuse(RefusalCode::RequestTimedOut, message);
        }
        let how = match election {
            ElectionType::Preferred => Election::Preferred,
            ElectionType::Unclean => Election::Unclean,
        };
        self.change(log, &BTreeSet::new(), |change| change.election = how);
        match (self.image.partition(log), election) {
            (Some(after), _) if !is_needed(after, election) => Ok(()),
            (_, ElectionType::Preferred) => refuse(
                RefusalCode::PreferredLeaderNotAvailable,
                format!("The preferred leader of partition {log} is not in sync, or not live."),
            ),
            (_, ElectionType::Unclean) => {
                refuse(RefusalCode::EligibleLeadersNotAvailable, format!("No replica of {log} is live."))
            }
        }
    }

    /// Gives leadership back to the brokers that lead too few of the partitions that prefer them: more than so many
    /// percent of those are led by others. Returns whether that is done, or goes on in the next decision.
    pub(super) fn balance(&mut self, percentage: i32) -> bool {
        let mut preferred: BTreeMap<BrokerId, (usize, Vec<LogId>)> = BTreeMap::new();
        for (log, partition) in self.image.topics().flat_map(|topic| topic.partitions_with_logs()) {
            let Some(&first) = partition.replicas.first() else { continue };
            let (all, elsewhere) = preferred.entry(first).or_default();
            *all += 1;
            if partition.leader != Some(first) {
                elsewhere.push(log);
            }
        }
        let percentage = usize::try_from(percentage).unwrap_or(0);
        for (broker, (all, elsewhere)) in preferred {
            if !self.image.is_active(broker) || elsewhere.len() * 100 <= percentage * all {
                continue;
            }
            for log in elsewhere {
                if self.room() == 0 {
                    return false;
                }
                self.change(log, &BTreeSet::new(), |change| change.election = Election::Preferred);
            }
        }
        true
    }
}
