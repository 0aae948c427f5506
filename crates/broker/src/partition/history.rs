//! A partition's log as replication looks at it.

use highwater_env::Env;
use highwater_log::Log;
use highwater_replication::History;
use highwater_types::{LeaderEpoch, Offset};

/// A log as replication looks at it.
pub(super) struct LogHistory<'a, E: Env>(pub(super) &'a Log<E>);

impl<E: Env> History for LogHistory<'_, E> {
    fn start(&self) -> Offset {
        self.0.start_offset()
    }

    fn end(&self) -> Offset {
        self.0.end_offset()
    }

    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.0.epoch_at(offset)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let (found, end) = self.0.epoch_end_offset(epoch);
        (found != LeaderEpoch::NONE).then_some((found, end))
    }
}
