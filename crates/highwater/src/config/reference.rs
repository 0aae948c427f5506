//! The keys of the configuration file as documentation tells them.

use super::cluster::DEFAULT_INTERNAL_PORT;
use std::fmt::Write as _;

/// A key: where it stands, its default as TOML (None: it must be given, or nothing stands for it), and what it is.
struct Key {
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
}

const KEYS: &[Key] = &[
    Key { name: "node_id", default: "`1`", meaning: "The node's number, its own within the cluster." },
    Key { name: "data_dir", default: "must be given", meaning: "Where the data lies; made if missing." },
    Key {
        name: "cluster_id",
        default: "the data directory's, else a new one",
        meaning: "The cluster that the node belongs to; `highwater cluster new-id` draws one. Needed with several \
                  voters, the same on all nodes: a disk of another cluster is refused.",
    },
    Key {
        name: "roles",
        default: "`[\"broker\"]`, with `\"controller\"` for a voter",
        meaning: "`broker` keeps partitions and serves clients, `controller` votes on the cluster's metadata.",
    },
    Key {
        name: "voters",
        default: "none: the node is alone",
        meaning: "The voters of the metadata quorum, as `\"ID@HOST:PORT\"` of their internal ports; the same list on \
                  all nodes.",
    },
    Key {
        name: "rack",
        default: "none",
        meaning: "The rack or zone of the node. The replicas of a partition are spread over racks, and consumers that \
                  name theirs read from it.",
    },
    Key {
        name: "durability",
        default: "`\"sync\"`",
        meaning: "What an acknowledgement of acks=all stands for: `sync`, on the disks of all in-sync replicas; \
                  `replicated`, in their memories, as Kafka does it.",
    },
    Key {
        name: "listener.listen",
        default: "`\"127.0.0.1:9092\"`",
        meaning: "Where Kafka clients and the other brokers connect. Not for a controller alone.",
    },
    Key {
        name: "listener.advertised",
        default: "`listener.listen`",
        meaning: "The address that they are told to connect to. Needed if `listen` stands for every address.",
    },
    Key {
        name: "internal.listen",
        default: "every address, at the port in `voters`, else 9093",
        meaning: "Where the other nodes connect for the cluster's metadata. Only with `voters`.",
    },
    Key {
        name: "internal.advertised",
        default: "the address in `voters`, else `internal.listen`",
        meaning: "The address that the other nodes are told to connect to.",
    },
    Key {
        name: "admin.listen",
        default: "`\"127.0.0.1:9644\"`",
        meaning: "Where `/metrics` and `/healthz` are served; empty for nowhere.",
    },
    Key {
        name: "log.level",
        default: "`\"info\"`",
        meaning: "What is logged on standard error: a level, or directives such as `info,highwater_broker=debug`.",
    },
    Key { name: "log.format", default: "`\"text\"`", meaning: "`text` for people, `json` for machines." },
    Key {
        name: "kafka.*",
        default: "[CONFIGURATION.md](CONFIGURATION.md)",
        meaning: "Kafka's broker configurations under Kafka's names.",
    },
];

/// The keys of the configuration file, as a table in Markdown.
pub fn reference() -> String {
    debug_assert_eq!(DEFAULT_INTERNAL_PORT, 9093, "the table says so");
    let mut out = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for Key { name, default, meaning } in KEYS {
        let _ = writeln!(out, "| `{name}` | {default} | {meaning} |");
    }
    out
}

/// The table as a page holds it: what stands between the two comments that frame it.
pub fn in_page(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("--example operations -->\n")?;
    Some(rest.split_once("<!-- The end of the table. -->")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FileConfig;
    use std::collections::BTreeSet;

    /// The keys that the parser knows, as it says when it meets another.
    fn known(section: &str) -> BTreeSet<String> {
        let text = match section {
            "" => "there_is_no_such_key = 1".to_owned(),
            section => format!("data_dir = 'd'\n[{section}]\nthere_is_no_such_key = 1"),
        };
        let error = FileConfig::parse(&text).expect_err("refused").to_string();
        let line = error.lines().find(|line| line.starts_with("unknown field")).expect("the keys are told");
        let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
        line.split('`').skip(3).step_by(2).map(|key| format!("{prefix}{key}")).collect()
    }

    #[test]
    fn every_key_is_told() {
        const SECTIONS: [&str; 4] = ["listener", "internal", "admin", "log"];
        let mut all: BTreeSet<String> = SECTIONS.into_iter().chain([""]).flat_map(known).collect();
        for section in SECTIONS {
            assert!(all.remove(section), "{section}");
        }
        assert!(all.remove("kafka"));
        all.insert("kafka.*".to_owned());
        assert_eq!(KEYS.iter().map(|key| key.name.to_owned()).collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn the_page_in_the_documentation_has_this_table() {
        let page = include_str!("../../../../docs/OPERATIONS.md");
        assert!(
            in_page(page) == Some(reference().as_str()),
            "docs/OPERATIONS.md is out of date; write its table anew with `cargo run -p highwater --example operations`"
        );
    }
}
