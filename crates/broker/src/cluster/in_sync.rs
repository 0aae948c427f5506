//! The controller as the leaders of partitions know it: whom they ask for changes of in-sync sets.

use super::calls::Altered;
use super::{Cluster, CommitError, Inner};
use crate::replication::Controller;
use highwater_env::Env;
use highwater_metadata::controller::IsrChange;
use highwater_metadata::{Refusal, RefusalCode};
use highwater_replication::{Assignment, Proposal, ProposalAnswer};
use highwater_types::LogId;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

/// The controller, for those that the cluster's metadata holds: they must not hold it in turn.
pub(crate) struct InSyncController<E: Env>(Weak<Inner<E>>);

impl<E: Env> Cluster<E> {
    /// The controller as the leaders of partitions know it.
    pub(crate) fn in_sync_controller(&self) -> InSyncController<E> {
        InSyncController(Arc::downgrade(&self.0))
    }
}

impl<E: Env> Controller for InSyncController<E> {
    fn alter_in_sync<'a>(
        &'a self,
        proposals: &'a [(LogId, Proposal)],
    ) -> Pin<Box<dyn Future<Output = Vec<ProposalAnswer>> + Send + 'a>> {
        Box::pin(async move {
            let Some(cluster) = self.0.upgrade().map(Cluster) else {
                return vec![ProposalAnswer::Open; proposals.len()];
            };
            let changes = proposals.iter().map(|(log, proposal)| change(*log, proposal)).collect();
            match cluster.alter_partitions(changes).await {
                Ok(answers) => answers.into_iter().map(answer).collect(),
                Err(error) => {
                    tracing::debug!(%error, "in-sync sets could not be changed");
                    let answer = match error {
                        CommitError::NotController => ProposalAnswer::Refused,
                        _ => ProposalAnswer::Open,
                    };
                    vec![answer; proposals.len()]
                }
            }
        })
    }
}

fn change(log: LogId, proposal: &Proposal) -> IsrChange {
    IsrChange {
        log,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: proposal.isr.clone(),
    }
}

fn answer(altered: Result<Altered, Refusal>) -> ProposalAnswer {
    match altered {
        Ok(altered) => ProposalAnswer::Accepted(Assignment {
            leader: altered.leader,
            leader_epoch: altered.leader_epoch,
            partition_epoch: altered.partition_epoch,
            replicas: altered.replicas,
            isr: altered.isr,
        }),
        Err(refusal) => refused(refusal.code),
    }
}

fn refused(code: RefusalCode) -> ProposalAnswer {
    match code {
        RefusalCode::FencedLeaderEpoch
        | RefusalCode::NewLeaderElected
        | RefusalCode::InvalidUpdateVersion => ProposalAnswer::Stale,
        RefusalCode::IneligibleReplica | RefusalCode::InvalidRequest | RefusalCode::RequestTimedOut => {
            ProposalAnswer::Refused
        }
        // What a controller does not know, a deposed one may not know yet: the metadata would have nothing to tell.
        _ => ProposalAnswer::Open,
    }
}
