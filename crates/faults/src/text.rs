//! Durations and near misses, as text.

use std::time::Duration;

/// Words for lengths of time, with their nanoseconds.
const UNITS: &[(&str, f64)] = &[("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads "20s", "1.5s", "300ms", "2m". None if it is no such thing, or negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let nanoseconds = parse_signed(text)?;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// Reads a length of time that may be negative, in nanoseconds.
pub fn parse_signed(text: &str) -> Option<i64> {
    let text = text.trim();
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.trim().parse().ok()?;
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let nanoseconds = (number * scale).round();
    (nanoseconds.abs() < 1e18).then_some(nanoseconds as i64)
}

/// Writes what [`parse_duration`] reads, without loss.
pub fn duration_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds.is_multiple_of(1_000_000_000) {
        format!("{}s", nanoseconds / 1_000_000_000)
    } else if nanoseconds.is_multiple_of(1_000_000) {
        format!("{}ms", nanoseconds / 1_000_000)
    } else {
        format!("{}us", nanoseconds.div_ceil(1_000))
    }
}

/// The known name nearest to what was given, if one is near.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(given.len()).div_ceil(3))
        .map(|(_, name)| name)
}
