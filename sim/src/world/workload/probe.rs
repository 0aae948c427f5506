//! One new record for every partition, when faults are over: it must be taken.

use super::sends::{Sends, Spring};
use crate::world::clients::Machine;
use crate::world::workload::producer::DELIVERY_TIMEOUT;
use bytes::Bytes;
use highwater_client::{Acks, Producer, ProducerConfig, ProducerRecord};
use highwater_env::{Env, sleep};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::time::Duration;

/// How often it is looked whether all outcomes are written down.
const GLANCE: Duration = Duration::from_millis(10);

/// Sends the records; returns what was not taken, and why.
pub(crate) async fn probe(machine: &Machine, topics: &[(Str, u32)]) -> Vec<String> {
    let client = match machine.try_connect().await {
        Ok(client) => client,
        Err(error) => return vec![format!("the cluster cannot be reached: {error}")],
    };
    let config = ProducerConfig { delivery_timeout: DELIVERY_TIMEOUT, ..ProducerConfig::default() };
    let producer = match Producer::new(client, config) {
        Ok(producer) => producer,
        Err(error) => return vec![format!("no producer can be made: {error}")],
    };
    let sends = Sends::new(machine, Acks::All, true);
    let mut rng = machine.rng();
    let mut spring = Spring::new(machine);
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            let mut record = ProducerRecord::new(topic.clone(), spring.value(&mut rng, sends.client()));
            record.partition = i32::try_from(partition).ok().map(PartitionIndex);
            record.timestamp = Some(spring.timestamp(&mut rng));
            // Compacted topics want one.
            record.key = Some(Bytes::from_static(b"probe"));
            sends.send(&producer, record).await;
        }
    }
    producer.close().await;
    while sends.open() > 0 {
        sleep(machine.env.clock(), GLANCE).await;
    }
    sends.failures()
}
