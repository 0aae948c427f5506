//! A fault that happens when something else does.

use crate::{Action, Role, Timed, Trigger};
use std::fmt;

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

impl From<Timed> for ScriptedFault {
    /// A fault that was drawn, as one that can be written down.
    fn from(timed: Timed) -> Self {
        Self { what: timed.what, target: timed.target, when: Trigger::At(timed.at), before: None }
    }
}

impl fmt::Display for ScriptedFault {
    /// The fault as a scenario file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[script]]")?;
        writeln!(f, "do = {:?}", self.what.name())?;
        writeln!(f, "node = {:?}", self.target.to_string())?;
        writeln!(f, "when = {:?}", self.when.to_string())?;
        if self.before == Some(Stage::Sync) {
            writeln!(f, "before = \"sync\"")?;
        }
        self.what.parameters().iter().try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}
