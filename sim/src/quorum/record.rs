//! What the clients of the quorum did and saw, and what must be true of it.

use super::machine::Applied;
use crate::checkers::rules::check;
use crate::executor::Violation;
use highwater_types::Instant;
use std::collections::BTreeMap;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet, or nobody knows.
    Open,
    /// It was done, as this entry; or it saw everything up to it.
    Done(u64),
    /// For certain not done.
    Refused,
}

/// A command that was proposed, or a read.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The command's number; None for a read.
    pub command: Option<u64>,
    /// When it began, in true time.
    pub began: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
    /// How.
    pub end: End,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Record {
    operations: Vec<Operation>,
    commands: u64,
    /// The largest index that an operation which has ended had or saw, and when it ended.
    seen: Option<(u64, Instant)>,
    /// The same at the beginning of each operation.
    floors: Vec<Option<u64>>,
}

impl Record {
    /// Begins to propose a command, whose number this gives, or to read.
    pub fn begin(&mut self, proposes: bool, now: Instant) -> (usize, u64) {
        self.commands += u64::from(proposes);
        let command = proposes.then_some(self.commands);
        self.operations.push(Operation { command, began: now, ended: None, end: End::Open });
        self.floors.push(self.seen.map(|(index, _)| index));
        (self.operations.len() - 1, self.commands)
    }

    /// Ends an operation. A read gives what it saw.
    ///
    /// # Errors
    /// H9, if it saw less than what had ended before it began.
    pub fn end(&mut self, operation: usize, now: Instant, end: End) -> Result<(), Violation> {
        let entry = &mut self.operations[operation];
        (entry.ended, entry.end) = (Some(now), end);
        let End::Done(index) = end else { return Ok(()) };
        let floor = self.floors[operation];
        let is_read = entry.command.is_none();
        check(if is_read { Some(index) >= floor } else { Some(index) > floor }, "H9", || {
            format!(
                "{} that began at {:.3} s has index {index}, and something that had ended by then had {floor:?}",
                entry.command.map_or("a read".to_owned(), |number| format!("command {number}")),
                entry.began.0 as f64 / 1e9
            )
        })?;
        if self.seen.is_none_or(|(seen, _)| index > seen) {
            self.seen = Some((index, now));
        }
        Ok(())
    }

    /// How many commands were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let acknowledged =
            |operation: &&Operation| operation.command.is_some() && matches!(operation.end, End::Done(_));
        self.operations.iter().filter(acknowledged).count() as u64
    }

    /// How many reads were answered.
    pub fn reads(&self) -> u64 {
        let answered =
            |operation: &&Operation| operation.command.is_none() && matches!(operation.end, End::Done(_));
        self.operations.iter().filter(answered).count() as u64
    }

    /// Checks what a member has in the end.
    ///
    /// # Errors
    /// H1: an acknowledged command is not at its index. H3: one is there that was refused or never proposed. H5: one
    /// is there twice.
    pub fn check(&self, applied: &Applied) -> Result<(), Violation> {
        let mut places = BTreeMap::new();
        for &(index, number) in &applied.commands {
            check(places.insert(number, index).is_none(), "H5", || {
                format!("command {number} was applied twice, the second time as entry {index}")
            })?;
            check(number <= self.commands, "H3", || format!("command {number} was never proposed"))?;
        }
        for operation in &self.operations {
            let Some(number) = operation.command else { continue };
            let place = places.get(&number).copied();
            match operation.end {
                End::Done(index) => check(place == Some(index), "H1", || {
                    format!("command {number} was acknowledged as entry {index}, and is at {place:?}")
                })?,
                End::Refused => check(place.is_none(), "H3", || {
                    format!("command {number} was refused for certain, and is entry {place:?}")
                })?,
                End::Open => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proposes or reads, one operation after another, each ending as told.
    fn record(operations: &[(bool, End)]) -> (Record, Result<(), Violation>) {
        let mut record = Record::default();
        for (number, &(proposes, end)) in operations.iter().enumerate() {
            let now = Instant(number as u64);
            let (operation, _) = record.begin(proposes, now);
            if let Err(violation) = record.end(operation, now, end) {
                return (record, Err(violation));
            }
        }
        (record, Ok(()))
    }

    fn check_order(operations: &[(bool, End)], expected: bool) {
        assert_eq!(record(operations).1.is_ok(), expected, "{operations:?}");
    }

    fn check_end(operations: &[(bool, End)], commands: &[(u64, u64)], expected: Option<&str>) {
        let (record, _) = record(operations);
        let found = record.check(&Applied { commands: commands.to_vec() });
        assert_eq!(found.err().map(|violation| violation.property), expected, "{operations:?} {commands:?}");
    }

    #[test]
    fn what_has_ended_is_seen() {
        check_order(&[(true, End::Done(3)), (false, End::Done(3)), (true, End::Done(4))], true);
        check_order(&[(true, End::Done(3)), (false, End::Done(2))], false);
        check_order(&[(false, End::Done(3)), (true, End::Done(3))], false);
    }

    #[test]
    fn what_was_acknowledged_is_there_once() {
        let operations = [(true, End::Done(3)), (true, End::Refused), (true, End::Open)];
        check_end(&operations, &[(3, 1)], None);
        check_end(&operations, &[(3, 1), (5, 3)], None);
        check_end(&operations, &[], Some("H1"));
        check_end(&operations, &[(3, 1), (4, 2)], Some("H3"));
        check_end(&operations, &[(3, 1), (4, 9)], Some("H3"));
        check_end(&operations, &[(3, 1), (4, 1)], Some("H5"));
    }
}
