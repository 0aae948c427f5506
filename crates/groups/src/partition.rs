//! Which partition of the offsets topic a group belongs to.

/// The partition of the offsets topic that keeps a group: Java's hash of the text, made positive as Kafka does it, so
/// that logs and tools of Kafka's find the group at the same place.
///
/// # Panics
///
/// If there are no partitions.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The least number has no positive one.
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_has_them() {
        // Java: "group".hashCode() = 98629247, "console-consumer-1".hashCode() = -545866410.
        for (group, hash) in [("", 0), ("a", 97), ("group", 98_629_247), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(group, 50), hash % 50, "{group}");
        }
        // A negative hash is made positive before the rest is taken.
        assert_eq!(partition_of("\u{20ac}\u{10348}zzzzzz", i32::MAX), {
            let units = [0x20ac_i32, 0xd800, 0xdf48, 122, 122, 122, 122, 122, 122];
            units.iter().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(*unit)).abs()
        });
    }
}
