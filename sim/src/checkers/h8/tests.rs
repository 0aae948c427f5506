//! A test per clause, and per licence that must not be taken for loss.

use super::super::Regime;
use super::super::kit::{LOG, Tale, alter, delete_records, time};
use super::Retention;
use crate::executor::Violation;
use crate::history::{Op, Outcome};
use highwater_env::Event;
use highwater_types::{Offset, PartitionIndex, Timestamp};

const HOUR_MS: i64 = 3_600_000;

/// Three records of which two are removed, after what `before` does.
fn removed(before: impl FnOnce(&mut Tale) -> &mut Tale) -> Tale {
    let mut tale = Tale::of_three();
    for offset in 0..3 {
        tale.tell(Event::Appended {
            log: LOG,
            base: Offset(offset),
            last: Offset(offset),
            epoch: 0.into(),
            checksum: 0,
            producer: None,
        });
    }
    before(&mut tale);
    tale.log_start(2).starts(2);
    tale
}

#[test]
fn what_is_old_enough_may_go() {
    Tale::of_three().passes(Retention);
    removed(|tale| tale.op(alter("retention.ms", "100", Outcome::Ok(())))).passes(Retention);
    removed(|tale| tale.op(alter("retention.ms", "100", Outcome::Unknown(String::new())))).passes(Retention);
}

#[test]
fn what_is_too_young_is_found() {
    let tale = removed(|tale| tale);
    tale.finds(Retention, "H8", "\"v-0\" at orders-0 offset 0 was removed at 11.000 s, before its time");
    tale.finds(Retention, "H8", "retention.ms was never below 604800000");
    let tale = removed(|tale| tale.op(alter("retention.ms", "60000", Outcome::Ok(()))));
    tale.finds(Retention, "H8", "retention.ms was never below 60000");
    let tale = removed(|tale| tale.op(alter("retention.ms", "100", Outcome::Failed(String::new()))));
    tale.finds(Retention, "H8", "before its time");
}

#[test]
fn a_shorter_retention_counts_from_when_it_was_asked_for() {
    let mut tale = removed(|tale| tale);
    tale.op(alter("retention.ms", "100", Outcome::Ok(())));
    tale.finds(Retention, "H8", "before its time");
}

#[test]
fn what_was_asked_to_be_deleted_may_go() {
    removed(|tale| tale.op(delete_records(2, Outcome::Ok(Offset(2))))).passes(Retention);
    removed(|tale| tale.op(delete_records(-1, Outcome::Unknown(String::new())))).passes(Retention);
    let tale = removed(|tale| tale.op(delete_records(1, Outcome::Ok(Offset(1)))));
    tale.finds(Retention, "H8", "offset 1 was removed");
}

#[test]
fn size_licenses_what_has_enough_behind_it() {
    removed(|tale| tale.op(alter("retention.bytes", "200", Outcome::Ok(())))).passes(Retention);
    let tale = removed(|tale| tale.op(alter("retention.bytes", "100000", Outcome::Ok(()))));
    tale.finds(Retention, "H8", "retention.bytes was never below 100000");
}

#[test]
fn a_clock_that_was_ahead_at_the_start_excuses_as_far_as_it_was() {
    let day = alter("retention.ms", "86400000", Outcome::Ok(()));
    let tale = removed(|tale| tale.op(day.clone()).clock_ahead(25 * HOUR_MS));
    tale.passes(Retention);
    let tale = removed(|tale| tale.op(day).clock_ahead(23 * HOUR_MS));
    tale.finds(Retention, "H8", "before its time");
}

#[test]
fn a_topic_without_a_word_of_its_own_follows_the_brokers() {
    let mut tale = removed(|tale| tale);
    tale.partition().config.insert("retention.ms".into(), "100".into());
    tale.passes(Retention);
}

#[test]
fn loss_that_was_reported_is_no_removal() {
    let mut tale = removed(|tale| tale);
    tale.lie().finds(Retention, "H8", "before its time");
    tale.tell(Event::Damaged { log: LOG, from: Offset(0), to: Offset(2) }).passes(Retention);
    assert!(tale.check(Retention, Regime::WithinBudget).is_err());
}

#[test]
fn lookups_that_equal_a_scan_pass() {
    let mut tale = Tale::of_three();
    tale.partition().records[1].timestamp = time(50);
    tale.lookup(-1, Some((3, Timestamp(-1)))).lookup(-2, Some((0, Timestamp(-1))));
    tale.lookup(-3, Some((1, time(50)))).lookup(time(1).0, Some((1, time(50)))).lookup(time(51).0, None);
    tale.passes(Retention);
    Tale::new().lookup(-3, None).lookup(0, None).lookup(-1, Some((0, Timestamp(-1)))).passes(Retention);
}

#[test]
fn lookups_that_differ_from_a_scan_are_found() {
    let wrong = [
        (-1, Some((2, Timestamp(-1))), "a lookup of the end in orders-0 found offset 2; a scan"),
        (-2, Some((1, Timestamp(-1))), "a lookup of the start"),
        (-3, Some((1, time(1))), "a lookup of the largest timestamp"),
        (time(1).0, Some((2, time(2))), "a lookup of the time"),
        (time(1).0, None, "found nothing"),
        (time(9).0, Some((2, time(2))), "a scan of its records finds nothing"),
    ];
    for (query, found, part) in wrong {
        Tale::of_three().lookup(query, found).finds(Retention, "H8", part);
    }
    let mut tale = Tale::of_three();
    tale.partition().records[1].timestamp = time(2);
    // Of several largest ones it is the first.
    tale.lookup(-3, Some((1, time(2)))).passes(Retention);
    tale.lookup(-3, Some((2, time(2)))).finds(Retention, "H8", "largest timestamp");
    let mut tale = Tale::of_three();
    tale.lookup(-1, None).lie().tell(Event::Damaged { log: LOG, from: Offset(0), to: Offset(1) });
    tale.passes(Retention);
}

#[test]
fn answers_during_the_run_fit_to_the_end() {
    let answer = |query: i64, offset: i64, at: Timestamp| -> Result<(), Violation> {
        let mut tale = Tale::of_three();
        tale.op(Op::ListOffset {
            topic: "orders".into(),
            partition: PartitionIndex(0),
            query,
            answer: Outcome::Ok(Some((Offset(offset), at))),
        });
        tale.check(Retention, Regime::WithinBudget)
    };
    assert_eq!(answer(-1, 3, Timestamp(-1)), Ok(()));
    assert_eq!(answer(-2, 0, Timestamp(-1)), Ok(()));
    assert_eq!(answer(time(1).0, 1, time(1)), Ok(()));
    assert!(answer(-1, 4, Timestamp(-1)).is_err(), "the end fell");
    assert!(answer(-2, 1, Timestamp(-1)).is_err(), "the start fell");
    assert!(answer(time(2).0, 1, time(1)).is_err(), "the record is too old");
}
