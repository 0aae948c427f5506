//! What a coordinator must know of topics.

use highwater_assign::Racks;
use highwater_types::TopicId;
use highwater_wire::Str;

/// The topics of the cluster, as of one version of its metadata.
pub trait Topics {
    /// Which version it is: another number, if anything may be different.
    fn version(&self) -> u64;

    /// A topic's id, and how many partitions it has.
    fn topic(&self, name: &str) -> Option<(TopicId, i32)>;

    /// A topic's name, and how many partitions it has.
    fn by_id(&self, id: TopicId) -> Option<(Str, i32)>;

    /// The racks of the brokers that each of a topic's partitions has replicas at, whether they run or not.
    fn racks(&self, id: TopicId) -> Racks;

    /// The names of topics that users made.
    fn names(&self) -> Vec<Str>;
}

/// No topics at all.
impl Topics for () {
    fn version(&self) -> u64 {
        0
    }

    fn topic(&self, _name: &str) -> Option<(TopicId, i32)> {
        None
    }

    fn by_id(&self, _id: TopicId) -> Option<(Str, i32)> {
        None
    }

    fn racks(&self, _id: TopicId) -> Racks {
        Racks::new()
    }

    fn names(&self) -> Vec<Str> {
        Vec::new()
    }
}
