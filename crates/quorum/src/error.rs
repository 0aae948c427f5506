//! What can go wrong in a quorum.

use highwater_types::BrokerId;
use std::io;
use std::path::PathBuf;

/// Why a member could not be opened or made the first of its quorum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// The operating system failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A file, or entries of the log, are not what was written.
    #[error(
        "{what} is damaged: {problem}. A member that forgot what it voted or stored must not vote: empty this data \
         directory and add the node to the quorum again, under the new disk id that it gets"
    )]
    Damaged {
        /// What is damaged.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The quorum exists already.
    #[error("the quorum has been bootstrapped already")]
    Bootstrapped,
    /// The node is not among the first voters.
    #[error("node {0} is not among the first voters")]
    NotAVoter(BrokerId),
    /// The member stopped.
    #[error("the quorum's member stopped: {0}")]
    Stopped(String),
}

/// Why a command was not done, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead, or not in the term that was named. Nothing was done.
    #[error("this node does not lead the quorum{}", leader_text(*.leader))]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<BrokerId>,
    },
    /// No answer in time: it may have been done, or be done later.
    #[error("the quorum did not answer in time")]
    Timeout,
    /// What was asked for is not allowed. Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The member was shut down.
    #[error("the quorum's member is shut down")]
    Stopped,
    /// The member failed; only opening it anew heals that.
    #[error("the quorum's member failed: {0}")]
    Fatal(String),
}

fn leader_text(leader: Option<BrokerId>) -> String {
    leader.map_or_else(|| ", and no leader is known".to_owned(), |id| format!("; node {id} does"))
}
