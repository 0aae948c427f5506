//! How a producer behaves.

use crate::ClientError;
use highwater_records::Codec;
use std::time::Duration;

/// The most batches of one partition that an idempotent producer may have on their way: brokers remember that many.
const MOST_IN_FLIGHT: usize = 5;

/// Who must have a batch before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// All in-sync replicas, as durably as the topic promises.
    #[default]
    All,
    /// The leader alone.
    Leader,
    /// Nobody: batches are sent and forgotten.
    None,
}

impl Acks {
    /// The number on the wire.
    pub(crate) fn wire(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// How a producer behaves. Names and defaults are those of Kafka's producer where it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Who must have a batch before it counts as written.
    pub acks: Acks,
    /// How batches are compressed.
    pub codec: Codec,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// The size at which a batch is sent at once, in bytes before compression.
    pub batch_bytes: usize,
    /// The most that one request carries; a larger record is refused.
    pub max_request_bytes: usize,
    /// The most that unsent and unanswered records take; sending waits beyond that.
    pub buffer_bytes: usize,
    /// How long sending may wait for metadata and room.
    pub max_block: Duration,
    /// Whether a batch is written once however often it is sent, and the order of a partition is kept over failures.
    pub idempotence: bool,
    /// The most requests that one broker has to answer. Of one partition as many batches are on their way with
    /// idempotence, and one without, so that its order is kept in either case.
    pub max_in_flight: usize,
    /// How long a record may take from being sent to its outcome.
    pub delivery_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes: 16 << 10,
            max_request_bytes: 1 << 20,
            buffer_bytes: 32 << 20,
            max_block: Duration::from_secs(60),
            idempotence: true,
            max_in_flight: MOST_IN_FLIGHT,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

impl ProducerConfig {
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let invalid = |text: &str| Err(ClientError::Invalid(text.to_owned()));
        if self.idempotence && self.acks != Acks::All {
            return invalid("idempotence needs acks=all; switch one of them off");
        }
        if self.max_in_flight == 0 || (self.idempotence && self.max_in_flight > MOST_IN_FLIGHT) {
            return invalid("max_in_flight must be 1 to 5 (idempotence) or at least 1 (without)");
        }
        if self.batch_bytes == 0 || self.max_request_bytes == 0 || self.buffer_bytes < self.max_request_bytes
        {
            return invalid("batch_bytes must not be 0, and buffer_bytes not smaller than max_request_bytes");
        }
        if u32::try_from(self.buffer_bytes).is_err() {
            return invalid("buffer_bytes must be below 4 GiB");
        }
        if self.delivery_timeout <= self.linger {
            return invalid("delivery_timeout must be longer than linger");
        }
        Ok(())
    }

    /// How many batches of one partition may be on their way.
    pub(crate) fn partition_in_flight(&self) -> usize {
        if self.idempotence { self.max_in_flight } else { 1 }
    }
}
