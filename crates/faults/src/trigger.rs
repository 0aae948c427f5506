//! When a scripted fault happens.

use crate::PartitionName;
use crate::text;
use std::fmt;
use std::time::Duration;

/// When a scripted fault happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At this time of the run.
    At(Duration),
    /// When something has happened for the `count`-th time. If the fault hits one broker, what that broker does is
    /// counted; otherwise what all do.
    Event {
        /// What happens.
        kind: EventKind,
        /// In which partition; in any if none.
        of: Option<PartitionName>,
        /// How often, from 1.
        count: u32,
    },
}

/// What a trigger waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A batch was appended.
    Append,
    /// A log was synced.
    Sync,
    /// A producer was told that its records are durable as it asked.
    Acknowledge,
    /// A high watermark moved.
    HighWatermark,
    /// The first offset that can be read moved.
    LogStart,
    /// A log was opened.
    Recovery,
    /// A log's end was moved back.
    Truncation,
    /// A write or sync failed and its log takes nothing more.
    Poisoning,
    /// Damage was found.
    Damage,
    /// A node began to lead a partition.
    Leading,
    /// A leader's view of who is in sync changed.
    InSync,
    /// A node became the active controller.
    ControllerElected,
    /// A topic was made.
    TopicCreated,
    /// A topic was deleted.
    TopicDeleted,
}

impl EventKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::Append,
        Self::Sync,
        Self::Acknowledge,
        Self::HighWatermark,
        Self::LogStart,
        Self::Recovery,
        Self::Truncation,
        Self::Poisoning,
        Self::Damage,
        Self::Leading,
        Self::InSync,
        Self::ControllerElected,
        Self::TopicCreated,
        Self::TopicDeleted,
    ];

    /// Its word in a scenario file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Sync => "sync",
            Self::Acknowledge => "acknowledge",
            Self::HighWatermark => "high-watermark",
            Self::LogStart => "log-start",
            Self::Recovery => "recovery",
            Self::Truncation => "truncation",
            Self::Poisoning => "poisoning",
            Self::Damage => "damage",
            Self::Leading => "leading",
            Self::InSync => "in-sync",
            Self::ControllerElected => "controller-elected",
            Self::TopicCreated => "topic-created",
            Self::TopicDeleted => "topic-deleted",
        }
    }

    /// Whether it happens to a partition.
    pub fn has_partition(self) -> bool {
        !matches!(self, Self::TopicCreated | Self::TopicDeleted | Self::ControllerElected)
    }

    /// Whether it leaves something behind that a sync must still cover.
    pub fn precedes_sync(self) -> bool {
        matches!(self, Self::Append | Self::LogStart | Self::Truncation)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => f.write_str(&text::duration_text(*at)),
            Self::Event { kind, of: Some(of), count } => write!(f, "{} {count} of {of}", kind.name()),
            Self::Event { kind, of: None, count } => write!(f, "{} {count}", kind.name()),
        }
    }
}
