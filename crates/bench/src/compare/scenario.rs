//! What is compared.

use crate::floor::{Durability, Reading};

/// The most bytes of one fetch.
pub const FETCH_BYTES: i32 = 1 << 20;

const KIB: usize = 1 << 10;

/// A load, and what it is run against.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What is measured.
    pub kind: Kind,
    /// When the server answers.
    pub durability: Durability,
    /// How many partitions the topic has.
    pub partitions: usize,
    /// How many connections produce.
    pub connections: usize,
    /// How many requests each of them has in flight.
    pub depth: usize,
    /// The size of a record's value.
    pub record_bytes: usize,
    /// The size of a batch; 0 for one record.
    pub batch_bytes: usize,
    /// How many requests are sent.
    pub requests: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The producing.
    Produce,
    /// Reading what the server has just appended.
    ConsumeHot {
        /// How often it is all read.
        passes: usize,
    },
    /// Reading what the server has to check first.
    ConsumeCold,
}

impl Scenario {
    /// About how many bytes are written.
    pub fn bytes(&self) -> u64 {
        self.requests * self.batch_bytes.max(self.record_bytes) as u64
    }

    /// How the floor has to read.
    pub fn reading(&self) -> Reading {
        if self.kind == Kind::ConsumeCold { Reading::Cold } else { Reading::Hot }
    }
}

const fn produce(name: &'static str, durability: Durability) -> Scenario {
    Scenario {
        name,
        kind: Kind::Produce,
        durability,
        partitions: 4,
        connections: 4,
        depth: 8,
        record_bytes: KIB,
        batch_bytes: 64 * KIB,
        // 1 GiB.
        requests: 16 * KIB as u64,
    }
}

const fn small_records(scenario: Scenario) -> Scenario {
    Scenario { record_bytes: 100, ..scenario }
}

const fn unbatched(scenario: Scenario) -> Scenario {
    Scenario { record_bytes: 100, batch_bytes: 0, depth: 64, requests: 500_000, ..scenario }
}

/// Every scenario, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    produce("replicated-1k", Durability::Replicated),
    small_records(produce("replicated-100b", Durability::Replicated)),
    unbatched(produce("replicated-unbatched", Durability::Replicated)),
    produce("sync-1k", Durability::Sync),
    small_records(produce("sync-100b", Durability::Sync)),
    unbatched(produce("sync-unbatched", Durability::Sync)),
    // 256 hot partitions, one request in flight for each, of 16 KiB.
    Scenario {
        partitions: 256,
        depth: 64,
        batch_bytes: 16 * KIB,
        requests: 32 * KIB as u64,
        ..produce("sync-256-partitions", Durability::Sync)
    },
    Scenario { kind: Kind::ConsumeHot { passes: 4 }, ..produce("consume-hot", Durability::Replicated) },
    Scenario {
        kind: Kind::ConsumeCold,
        requests: 32 * KIB as u64,
        ..produce("consume-cold", Durability::Replicated)
    },
];
