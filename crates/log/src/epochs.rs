//! The leader epochs of a log (KIP-101): at which offset each one began.

use crate::frame::FrameKind;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_records::BatchHeader;
use highwater_types::{LeaderEpoch, Offset};

pub(crate) const LEADER_EPOCHS: &str = "leader-epochs";

const KIND: FrameKind = FrameKind { magic: b"HWEPOCH\0", version: 1, limit_bytes: 64 << 20 };
const ENTRY_BYTES: usize = 12;

/// The epochs and their start offsets, oldest first. Invariant: both rise strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<(LeaderEpoch, Offset)>);

impl Epochs {
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|&(epoch, _)| epoch)
    }

    /// Notes that `epoch` begins at `start`; returns whether that changed anything. Entries that begin there or later
    /// had no record, and go.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        self.truncate(start);
        self.0.push((epoch, start));
        true
    }

    /// Drops the epochs that begin at `end` or later; returns whether there were any.
    pub(crate) fn truncate(&mut self, end: Offset) -> bool {
        let kept = self.0.partition_point(|&(_, start)| start < end);
        let changed = kept < self.0.len();
        self.0.truncate(kept);
        changed
    }

    /// Drops the epochs that ended before the log's first offset. That of the record right before it stays, so that it
    /// is known what may follow even where there is no record any more.
    pub(crate) fn advance_start(&mut self, log_start: Offset) -> bool {
        let before = self.0.partition_point(|&(_, start)| start < log_start);
        let Some(first) = before.checked_sub(1) else { return false };
        self.0.drain(..first);
        let start = Offset(log_start.0 - 1);
        let changed = first > 0 || self.0[0].1 < start;
        self.0[0].1 = start;
        changed
    }

    /// The part that tells the epochs of offsets from `from` to `up_to`.
    pub(crate) fn within(&self, from: Offset, up_to: Offset) -> Self {
        let first = self.0.partition_point(|&(_, start)| start <= from).saturating_sub(1);
        let last = self.0.partition_point(|&(_, start)| start < up_to);
        Self(self.0[first.min(last)..last].to_vec())
    }

    /// The epoch of the record at an offset.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.0.partition_point(|&(_, start)| start <= offset);
        self.0.get(after.checked_sub(1)?).map(|&(epoch, _)| epoch)
    }

    /// Whether a batch can be of the epoch that it says, which no checksum covers. Judged by its last offset: what came
    /// before the record right before the log's start is not known any more, and a batch may begin there. One that ends
    /// there is of no later epoch than the first that is known.
    pub(crate) fn admits(&self, header: &BatchHeader) -> bool {
        match self.at(header.last_offset()) {
            Some(noted) => noted == header.leader_epoch,
            None => self.0.first().is_none_or(|&(first, _)| header.leader_epoch <= first),
        }
    }

    /// The largest known epoch that is not above `epoch`, and where it ended; (NONE, -1) if there is none. `end` is
    /// the log's end, where the latest epoch ends.
    pub(crate) fn end_offset(&self, epoch: LeaderEpoch, end: Offset) -> (LeaderEpoch, Offset) {
        let after = self.0.partition_point(|&(known, _)| known <= epoch);
        match after.checked_sub(1) {
            Some(found) => (self.0[found].0, self.0.get(after).map_or(end, |&(_, start)| start)),
            None => (LeaderEpoch::NONE, Offset(-1)),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(self.0.len() * ENTRY_BYTES);
        for &(epoch, start) in &self.0 {
            payload.put_i32(epoch.0);
            payload.put_i64(start.0);
        }
        KIND.encode(&payload)
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (_, payload) = KIND.decode(bytes).ok()?;
        if payload.len() % ENTRY_BYTES != 0 {
            return None;
        }
        let mut rest = &payload[..];
        let mut entries: Vec<(LeaderEpoch, Offset)> = Vec::with_capacity(payload.len() / ENTRY_BYTES);
        while !rest.is_empty() {
            let entry = (LeaderEpoch(rest.get_i32()), Offset(rest.get_i64()));
            if entry.0.0 < 0
                || entry.1.0 < 0
                || entries.last().is_some_and(|last| last.0 >= entry.0 || last.1 >= entry.1)
            {
                return None;
            }
            entries.push(entry);
        }
        Some(Self(entries))
    }

    /// The largest file that is read.
    pub(crate) const FILE_LIMIT_BYTES: u64 = KIND.limit_bytes;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs(entries.iter().map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start))).collect())
    }

    #[test]
    fn ends_of_epochs() {
        let known = epochs(&[(1, 0), (2, 10), (5, 30)]);
        let check = |epoch, expected: (i32, i64)| {
            let (found, end) = known.end_offset(LeaderEpoch(epoch), Offset(44));
            assert_eq!((found.0, end.0), expected, "epoch {epoch}");
        };
        check(0, (-1, -1));
        check(1, (1, 10));
        check(2, (2, 30));
        check(4, (2, 30));
        check(5, (5, 44));
        check(9, (5, 44));
    }

    #[test]
    fn epochs_begin_and_are_truncated() {
        let mut known = Epochs::default();
        assert!(known.begin(LeaderEpoch(1), Offset(0)));
        assert!(!known.begin(LeaderEpoch(1), Offset(5)));
        assert!(known.begin(LeaderEpoch(2), Offset(10)));
        assert!(known.begin(LeaderEpoch(4), Offset(10)));
        assert!(!known.begin(LeaderEpoch(3), Offset(12)));
        assert_eq!(known, epochs(&[(1, 0), (4, 10)]));
        assert!(!known.truncate(Offset(11)));
        assert!(known.truncate(Offset(10)));
        assert_eq!(known, epochs(&[(1, 0)]));
    }

    #[test]
    fn the_start_moves_up() {
        let check = |start, expected: &[(i32, i64)], changed| {
            let mut known = epochs(&[(1, 0), (2, 10), (5, 30)]);
            assert_eq!(known.advance_start(Offset(start)), changed);
            assert_eq!(known, epochs(expected), "{start}");
        };
        check(0, &[(1, 0), (2, 10), (5, 30)], false);
        check(1, &[(1, 0), (2, 10), (5, 30)], false);
        check(4, &[(1, 3), (2, 10), (5, 30)], true);
        check(10, &[(1, 9), (2, 10), (5, 30)], true);
        check(11, &[(2, 10), (5, 30)], true);
        check(99, &[(5, 98)], true);
        assert!(!Epochs::default().advance_start(Offset(3)));
    }

    #[test]
    fn epochs_of_offsets() {
        let known = epochs(&[(1, 5), (2, 10)]);
        let check = |offset, expected: Option<i32>| {
            assert_eq!(known.at(Offset(offset)).map(|epoch| epoch.0), expected)
        };
        check(4, None);
        check(5, Some(1));
        check(9, Some(1));
        check(10, Some(2));
        check(i64::MAX, Some(2));
    }

    #[test]
    fn files_out_of_order_are_refused() {
        for entries in [&[(1, 5), (1, 6)][..], &[(1, 5), (2, 5)], &[(-1, 5)], &[(1, -5)]] {
            assert_eq!(Epochs::decode(&epochs(entries).encode()), None, "{entries:?}");
        }
        let good = epochs(&[(1, 5), (2, 6)]);
        assert_eq!(Epochs::decode(&good.encode()), Some(good));
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Epochs::decode(&KIND.encode(&payload));
            let _ = Epochs::decode(&payload.into());
        }
    }
}
