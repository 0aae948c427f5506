//! Small integer identifiers as Kafka's wire format has them.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

id! {
    /// A node's number within its cluster (`node.id` of Kafka). Never negative; -1 on the wire means "none".
    BrokerId(i32)
}
id! {
    /// Counts the leaders of one partition. -1 on the wire means "not known".
    LeaderEpoch(i32)
}
id! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
id! {
    /// Identifies an idempotent producer; -1 on the wire means "not idempotent".
    ProducerId(i64)
}
id! {
    /// Counts the incarnations of one producer id; fences the older ones.
    ProducerEpoch(i16)
}

id! {
    /// Tells the incarnations of one broker apart: the index of the metadata record that registered it (KIP-320,
    /// KIP-903). -1 on the wire means "not known".
    BrokerEpoch(i64)
}

impl BrokerEpoch {
    /// "Not known" on the wire.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// "Not known" on the wire.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// "Not idempotent" on the wire.
    pub const NONE: Self = Self(-1);

    /// Whether this is a real producer id.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    /// "Not idempotent" on the wire.
    pub const NONE: Self = Self(-1);
}
