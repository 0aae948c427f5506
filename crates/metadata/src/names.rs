//! The rules for topic names and the names that are taken.

use crate::refusal::{Refusal, RefusalCode};
use highwater_types::{LogId, PartitionIndex, TopicId, Uuid};

/// The log that the metadata itself lives in. Its topic id is reserved and belongs to no topic of the image.
pub const METADATA_LOG: LogId = LogId {
    topic: TopicId(Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
    partition: PartitionIndex(0),
};

/// The longest topic name, so that a name, a partition number and a suffix fit a file name.
const MAX_NAME_BYTES: usize = 249;

/// Ids up to this one are kept for the program's own logs.
const LAST_RESERVED_ID: u128 = 0xff;

/// Checks the form of a topic's name. That it is free is checked elsewhere.
pub fn check_topic_name(name: &str) -> Result<(), Refusal> {
    let problem = if name.is_empty() {
        "a topic name must not be empty".to_owned()
    } else if name == "." || name == ".." {
        format!("a topic cannot be named {name:?}")
    } else if name.len() > MAX_NAME_BYTES {
        format!("a topic name of {} bytes is longer than the {MAX_NAME_BYTES} allowed", name.len())
    } else if let Some(wrong) =
        name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        format!("topic name {name:?} holds {wrong:?}: letters, digits, '.', '_' and '-' are allowed")
    } else if name == "__cluster_metadata" {
        "\"__cluster_metadata\" is the name of the cluster's own log".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::new(RefusalCode::InvalidTopic, problem))
}

/// Whether the topic belongs to the brokers and not to users.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// Whether the id is one that no topic may have.
pub fn is_reserved_topic_id(id: TopicId) -> bool {
    u128::from_be_bytes(id.0.0) <= LAST_RESERVED_ID
}

/// Whether the names differ in nothing but '.' and '_': two such topics would be one in metric names.
pub(crate) fn collide(left: &str, right: &str) -> bool {
    let alike = |byte: u8| if byte == b'.' { b'_' } else { byte };
    left.len() == right.len() && left.bytes().map(alike).eq(right.bytes().map(alike)) && left != right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, allowed: bool) {
        let result = check_topic_name(name);
        assert_eq!(result.is_ok(), allowed, "{name:?}: {result:?}");
        if let Err(refusal) = result {
            assert_eq!(refusal.code, RefusalCode::InvalidTopic);
        }
    }

    #[test]
    fn names_follow_kafkas_rules() {
        check("a", true);
        check("A-b_c.9", true);
        check("...", true);
        check(&"x".repeat(249), true);
        check("__consumer_offsets", true);
        check("", false);
        check(".", false);
        check("..", false);
        check(&"x".repeat(250), false);
        check("a b", false);
        check("a/b", false);
        check("ä", false);
        check("a\0", false);
        check("__cluster_metadata", false);
    }

    #[test]
    fn the_metadata_log_is_reserved() {
        assert!(is_reserved_topic_id(METADATA_LOG.topic));
        assert!(is_reserved_topic_id(TopicId::default()));
        assert!(!is_reserved_topic_id(TopicId(Uuid::from_random(0x100))));
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b_c", "a_b.c"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a.b"));
        assert!(!collide("a.b", "a_bc"));
    }
}
