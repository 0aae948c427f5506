//! A fault that happens when something else does.

use crate::{Action, Role, Trigger};

/// A fault that happens at a time, or when something else does.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptedFault {
    /// What happens.
    pub what: Action,
    /// Whom it hits.
    pub target: Role,
    /// When.
    pub when: Trigger,
    /// Before what it takes effect: the node does nothing of that between the trigger and the fault.
    pub before: Option<Stage>,
}

/// What a node no longer gets to do once a trigger has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Disk operations, and so the sync that would make durable what was just written.
    Sync,
}
