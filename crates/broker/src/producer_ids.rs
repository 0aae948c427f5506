//! Producer ids: given out one by one from blocks that the cluster's metadata has given to this node.

use highwater_metadata::controller::ProducerIdBlock;
use highwater_types::ProducerId;
use std::future::Future;
use tokio::sync::Mutex;

/// The block that ids are given out from. What is left of it when the node stops is lost: an id is never given out
/// twice.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds(Mutex<Option<ProducerIdBlock>>);

impl ProducerIds {
    /// The next id. `allocate` gives a new block, durably taken; it is not polled unless the last one is used up.
    pub(crate) async fn next<Err>(
        &self,
        allocate: impl Future<Output = Result<ProducerIdBlock, Err>> + Send,
    ) -> Result<ProducerId, Err> {
        // Held while a block is taken, so that many producers starting at once take one.
        let mut block = self.0.lock().await;
        let mut left = match *block {
            Some(left) if left.first < left.end => left,
            _ => allocate.await?,
        };
        let id = left.first;
        left.first = ProducerId(id.0 + 1);
        *block = Some(left);
        Ok(id)
    }
}
