//! Who of a consumer group's members is to have which partitions; and what members of the classic protocol write to
//! each other about it.
//!
//! The coordinator shares partitions out for groups of the new protocol, a member that leads for those of the classic
//! one: by the same rules, over topics' ids or over their names.

mod demand;
pub mod protocol;
mod range;
mod sticky;
#[cfg(test)]
mod testing;

pub use demand::{Demand, Member, Racks};

use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions, each with its topic.
pub type Share<T> = BTreeSet<(T, PartitionIndex)>;

/// What each member is to have.
pub type Shares<T> = BTreeMap<Str, Share<T>>;
