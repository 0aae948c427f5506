//! The cluster itself: its first records, its brokers and its producer ids.

use super::Decision;
use crate::image::Image;
use crate::records::{BrokerRecord, ClusterRecord, METADATA_VERSION, MetadataRecord, ProducerIdsRecord};
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::{BrokerId, ClusterId, ProducerId};

/// How many producer ids a broker gets at once. Those of a block that are not used when a broker stops are lost.
const PRODUCER_IDS_PER_BLOCK: i64 = 1_000;

/// Producer ids for one broker to give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: ProducerId,
    /// The end, exclusive.
    pub end: ProducerId,
}

/// The first record of a new cluster's metadata; nothing if the image has a cluster.
pub fn bootstrap(image: &Image, cluster_id: ClusterId) -> Vec<MetadataRecord> {
    match image.cluster_id() {
        Some(_) => Vec::new(),
        None => {
            vec![MetadataRecord::Cluster(ClusterRecord { cluster_id, metadata_version: METADATA_VERSION })]
        }
    }
}

/// Registers the one broker of a cluster without sessions; nothing if it is registered just so.
pub fn register_broker(image: &Image, mut broker: BrokerRecord) -> Vec<MetadataRecord> {
    if let Some(existing) = image.broker(broker.id) {
        broker.epoch = existing.epoch;
        if *existing == broker {
            return Vec::new();
        }
    }
    vec![MetadataRecord::Broker(broker)]
}

/// Gives a broker a block of producer ids. The one answer is the block.
pub fn allocate_producer_ids(image: &Image, broker: BrokerId) -> Decision<ProducerIdBlock> {
    let first = image.next_producer_id();
    let Some(end) = first.0.checked_add(PRODUCER_IDS_PER_BLOCK).map(ProducerId) else {
        let refusal = Refusal::new(RefusalCode::Unknown, "No producer ids are left.");
        return Decision { records: Vec::new(), answers: vec![Err(refusal)] };
    };
    let record = MetadataRecord::ProducerIds(ProducerIdsRecord { broker, next: end });
    Decision { records: vec![record], answers: vec![Ok(ProducerIdBlock { first, end })] }
}
