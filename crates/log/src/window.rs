//! The verified window: where exactly the batches stand that this process appended a short while ago.
//!
//! Batches in the window may be sent from the page cache without another check. What bounds it: a number of batches,
//! a number of bytes per log, and the number of bytes that all logs together have written since.

use highwater_types::Offset;
use std::collections::VecDeque;

/// How many batches of one log are remembered.
const MOST_BATCHES: usize = 2048;

/// The last batches of a log's active segment. Invariant: they follow each other without a gap.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    batches: VecDeque<Place>,
    end: Offset,
    end_position: u32,
    limit_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    base: Offset,
    position: u32,
    /// What the store's count of written bytes was behind the batch.
    stamp: u64,
}

/// What a fetch asks of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowQuery {
    pub from: Offset,
    pub up_to: Offset,
    pub max_bytes: usize,
    pub at_least_one: bool,
    /// Batches with an older stamp may have left the page cache.
    pub oldest_stamp: u64,
}

impl Window {
    pub(crate) fn new(end: Offset, end_position: u32, limit_bytes: u32) -> Self {
        Self { batches: VecDeque::new(), end, end_position, limit_bytes }
    }

    /// Takes in the batch at the end, which has `length` bytes and goes up to `end`.
    pub(crate) fn push(&mut self, length: u32, end: Offset, stamp: u64) {
        self.batches.push_back(Place { base: self.end, position: self.end_position, stamp });
        self.end = end;
        self.end_position += length;
        while self.batches.len() > MOST_BATCHES
            || self.batches.front().is_some_and(|first| self.end_position - first.position > self.limit_bytes)
        {
            self.batches.pop_front();
        }
    }

    /// Position and length of the whole batches that answer the query; None if the window does not reach so far
    /// back.
    pub(crate) fn find(&self, query: &WindowQuery) -> Option<(u32, u32)> {
        let after = self.batches.partition_point(|place| place.base <= query.from);
        let first = after.checked_sub(1)?;
        let Place { position, stamp, .. } = self.batches[first];
        if stamp < query.oldest_stamp || query.from >= self.end {
            return None;
        }
        let max_bytes = u32::try_from(query.max_bytes).unwrap_or(u32::MAX);
        let fits = |offset: Offset, at: u32| offset <= query.up_to && at - position <= max_bytes;
        if fits(self.end, self.end_position) {
            return Some((position, self.end_position - position));
        }
        // The batches behind the first are where a whole number of batches may end.
        let ends = self
            .batches
            .partition_point(|place| place.base <= query.from || fits(place.base, place.position));
        if ends > after {
            return Some((position, self.batches[ends - 1].position - position));
        }
        let (offset, at) = match self.batches.get(after) {
            Some(next) => (next.base, next.position),
            None => (self.end, self.end_position),
        };
        let length = if query.at_least_one && offset <= query.up_to { at - position } else { 0 };
        Some((position, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of 10 offsets and 100 bytes, the first at position 64; stamps count by 100.
    fn window(batches: usize, limit_bytes: u32) -> Window {
        let mut window = Window::new(Offset(0), 64, limit_bytes);
        for number in 1..=batches {
            window.push(100, Offset(10 * number as i64), 100 * number as u64);
        }
        window
    }

    fn check(query: (i64, i64, usize, bool), expected: Option<(u32, u32)>) {
        let (from, up_to, max_bytes, at_least_one) = query;
        let query = WindowQuery {
            from: Offset(from),
            up_to: Offset(up_to),
            max_bytes,
            at_least_one,
            oldest_stamp: 0,
        };
        assert_eq!(window(5, 1000).find(&query), expected, "{query:?}");
    }

    #[test]
    fn whole_batches_within_the_bounds() {
        check((0, 50, 1000, false), Some((64, 500)));
        check((0, 50, 499, false), Some((64, 400)));
        check((0, 50, 250, false), Some((64, 200)));
        check((0, 30, 1000, false), Some((64, 300)));
        check((0, 29, 1000, false), Some((64, 200)));
        check((15, 50, 200, false), Some((164, 200)));
        check((49, 50, 200, false), Some((464, 100)));
    }

    #[test]
    fn a_first_batch_that_is_too_large_comes_only_when_asked_for() {
        check((0, 50, 99, false), Some((64, 0)));
        check((0, 50, 99, true), Some((64, 100)));
        check((41, 50, 0, true), Some((464, 100)));
        check((41, 45, 0, true), Some((464, 0)));
    }

    #[test]
    fn the_window_is_bounded() {
        let query = |from, oldest_stamp| WindowQuery {
            from: Offset(from),
            up_to: Offset(i64::MAX),
            max_bytes: 100,
            at_least_one: true,
            oldest_stamp,
        };
        let by_bytes = window(5, 200);
        assert_eq!(by_bytes.find(&query(29, 0)), None);
        assert_eq!(by_bytes.find(&query(30, 0)), Some((364, 100)));
        assert_eq!(by_bytes.find(&query(30, 401)), None);
        assert_eq!(by_bytes.find(&query(50, 0)), None);
        let by_count = window(MOST_BATCHES + 1, u32::MAX);
        assert_eq!(by_count.find(&query(9, 0)), None);
        assert_eq!(by_count.find(&query(10, 0)), Some((164, 100)));
    }
}
