//! The coordinator of consumer groups: who is a member, who has which partitions, and how far each group has read.
//!
//! A [`Coordinator`] has the groups of one partition of the offsets topic. Requests of clients and `now` come in;
//! [`Action`]s come out: answers, and records to write. What a record says counts once it is committed: then the
//! driver says so ([`Coordinator::committed`]), the record is applied, and the answers that depend on it go out. A
//! coordinator that is made from the records of the log ([`Coordinator::replay`]) therefore knows what the one before
//! it knew, but for what was under way: joins that waited, and generations that nobody was assigned anything in yet.
//!
//! The records are those of Kafka's `__consumer_offsets`, byte by byte ([`Record`]).
//!
//! Architecture invariant: nothing here is async, does I/O, reads a clock or draws a random number.

mod action;
mod classic;
mod consumer;
mod coordinator;
mod describe;
mod desk;
mod group;
mod migration;
mod offsets;
mod partition;
mod records;
mod settings;
#[cfg(test)]
mod testing;
mod timers;
mod topics;

pub use action::{Action, Answer, Client, Note, Now, Owner, Token, WriteId};
pub use consumer::ConsumerSettings;
pub use coordinator::Coordinator;
pub use highwater_assign::Racks;
pub use migration::MigrationPolicy;
pub use offsets::{Commit, CommittedOffset, NewOffset};
pub use partition::partition_of;
pub use records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupValue, ConsumerMemberValue, CurrentMemberValue,
    GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue, OwnedPartitions, Record,
    RecordError, TargetEpochValue, TargetMemberValue,
};
pub use settings::GroupSettings;
pub use topics::Topics;
