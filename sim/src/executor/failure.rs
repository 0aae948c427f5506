//! How a run fails.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics are told as failures of their runs, with where they were, and not by the thread that they happen on.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| PLACE.set(info.location().map(ToString::to_string))));
}

/// A broken promise, found by a checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's short name: "S9", "H1".
    pub property: &'static str,
    /// What was found, in a sentence.
    pub message: String,
}

impl Violation {
    /// A violation of a property.
    pub fn new(property: &'static str, message: impl Into<String>) -> Self {
        Self { property, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.message)
    }
}

impl std::error::Error for Violation {}

/// Why a run ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A checker found a broken promise.
    Violation(Violation),
    /// A task panicked.
    Panic {
        /// Its node.
        node: String,
        /// The task.
        task: String,
        /// What it said.
        message: String,
    },
    /// Nothing can go on, and the run is not done.
    Deadlock {
        /// The tasks that wait.
        parked: Vec<String>,
    },
    /// The run took more steps than it may.
    TooLong {
        /// How many.
        steps: u64,
    },
}

impl Failure {
    /// The broken property's short name, or what else it is.
    pub fn property(&self) -> &'static str {
        match self {
            Self::Violation(violation) => violation.property,
            Self::Panic { .. } => "panic",
            Self::Deadlock { .. } => "deadlock",
            Self::TooLong { .. } => "livelock",
        }
    }

    pub(super) fn panic(node: String, task: &str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        let message = PLACE.take().map_or(message.clone(), |place| format!("{message}, at {place}"));
        Self::Panic { node, task: task.to_owned(), message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Panic { node, task, message } => write!(f, "task {task} of {node} panicked: {message}"),
            Self::Deadlock { parked } => write!(f, "nothing can go on; waiting: {}", parked.join(", ")),
            Self::TooLong { steps } => write!(f, "not done after {steps} steps"),
        }
    }
}

impl std::error::Error for Failure {}
