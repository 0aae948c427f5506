use super::*;
use crate::{Action, EventKind, FaultKind, PartitionName, Role, Stage, Trigger, Unsynced};
use std::fmt::Write as _;

const WHOLE: &str = r#"
[scenario]
kind = "cluster"
description = "All that can be said."
duration = "90s"
regime = "unlimited"

[cluster]
brokers = 3
durability = "replicated"
[cluster.settings]
"log.retention.check.interval.ms" = 500

[[topics]]
name = "orders"
partitions = 2
replicas = 3
[topics.configs]
"segment.bytes" = 2048
preallocate = true

[workload]
producers = 4
idempotent_share = 0.25
request_timeout = "30s"
consumers = 1
admins = 1
operations_per_second = 200
keys = 5
keyless_share = 1
value_bytes = [20, 40]
acks = ["all", "all", "leader"]
bursts = "5s"
burst_records = 9
seeks = "2.5s"
[workload.churn]
topics = "10s"
configs = "3s"
delete_records = "4s"
list_offsets = "1s"
[workload.churn.alter]
"retention.ms" = [1000, -1]

[faults]
swarm = false
usual = true
crash = "never"
bit_rot = "usual"
reset = "1m"
link_delays = true

[[script]]
do = "power-cut"
node = "leader of orders-1"
when = "append 3 of orders-1"
before = "sync"
unsynced = "mixed"

[[script]]
do = "jump-clock"
node = "client 6"
when = "at 10s"
by = "-2s"

[expect]
verdict = "violates S14"
reach = ["log: unproven tail rewritten"]
longest_send = "15s"
longest_commit = "9s"
"#;

#[test]
fn all_that_can_be_said_is_understood() {
    let scenario = Scenario::parse(WHOLE, "scenarios/slow/whole.toml").unwrap();
    assert_eq!((scenario.name.as_str(), scenario.regime), ("whole", Regime::Unlimited));
    assert_eq!(scenario.duration, Duration::from_secs(90));
    assert_eq!(scenario.cluster.settings["log.retention.check.interval.ms"], "500");
    assert_eq!(scenario.topics[0].configs["preallocate"], "true");
    assert_eq!(scenario.workload.request_timeout, Duration::from_secs(30));
    assert_eq!(scenario.workload.seeks, Some(Duration::from_millis(2_500)));
    assert_eq!(scenario.workload.churn.alter["retention.ms"], ["1000", "-1"]);
    let intervals = &scenario.random.intervals;
    assert_eq!(intervals.len(), FaultKind::ALL.len() - 1);
    assert_eq!(intervals[&FaultKind::BitRot], FaultKind::BitRot.usual());
    assert_eq!(intervals[&FaultKind::Reset], Duration::from_secs(60));
    assert!(!intervals.contains_key(&FaultKind::Crash));
    let orders = PartitionName { topic: "orders".to_owned(), partition: 1 };
    let first = &scenario.script[0];
    assert_eq!(first.target, Role::Leader(orders.clone()));
    assert_eq!(first.when, Trigger::Event { kind: EventKind::Append, of: Some(orders), count: 3 });
    assert_eq!(first.before, Some(Stage::Sync));
    let cut = Action::PowerCut { down: Duration::from_secs(1), unsynced: Unsynced::Mixed };
    assert_eq!(first.what, cut);
    assert_eq!(scenario.script[1].what, Action::JumpClock { by_ms: -2_000 });
    assert_eq!(scenario.expect.verdict, crate::Verdict::Violates("S14".to_owned()));
    assert_eq!(scenario.expect.longest_send, Some(Duration::from_secs(15)));
    assert_eq!(scenario.expect.longest_commit, Some(Duration::from_secs(9)));
}

#[test]
fn the_offsets_topic_is_there_with_members() {
    let parse = |members, partition| {
        let text = format!(
            "[scenario]\nkind = \"cluster\"\n[cluster.settings]\n\"offsets.topic.num.partitions\" = 2\n[[topics]]\nname = \"t\"\n\
             [workload]\nmembers = {members}\n[[script]]\ndo = \"crash\"\nwhen = \"1s\"\n\
             node = \"leader of __consumer_offsets-{partition}\"\n"
        );
        Scenario::parse(&text, "x.toml").map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(parse(1, 1), Ok(()));
    assert!(parse(1, 2).unwrap_err().contains("partitions 0 to 1"), "{:?}", parse(1, 2));
    assert!(parse(0, 1).unwrap_err().contains("no topic"), "{:?}", parse(0, 1));
}

#[test]
fn both_kinds_are_read() {
    let text = "[scenario]\nkind = \"disk\"\ndisk = \"lying\"";
    let ScenarioFile::Disk(disk) = ScenarioFile::parse(text, "a/disk-lying.toml").unwrap() else { panic!() };
    assert_eq!((disk.name.as_str(), disk.regime), ("disk-lying", Regime::Unlimited));
    let error = Scenario::parse(text, "a/disk-lying.toml").unwrap_err();
    assert_eq!((error.line, error.suggestion), (2, None));
    let least = "[scenario]\nkind = \"cluster\"\n[[topics]]\nname = \"a\"";
    let ScenarioFile::Cluster(least) = ScenarioFile::parse(least, "least.toml").unwrap() else { panic!() };
    assert_eq!((least.cluster.brokers, least.topics[0].replicas), (1, 1));
}

#[test]
fn clusters_have_nodes_of_one_kind_or_of_two() {
    let parse = |cluster: &str| {
        let text =
            format!("[scenario]\nkind = \"cluster\"\n[cluster]\n{cluster}\n[[topics]]\nname = \"orders\"");
        Scenario::parse(&text, "x.toml").unwrap()
    };
    let combined = parse("nodes = 5\nracks = [\"a\", \"b\"]");
    assert_eq!((combined.cluster.nodes(), combined.cluster.voters(), combined.cluster.brokers), (5, 5, 5));
    assert_eq!((combined.topics[0].replicas, combined.cluster.racks.len()), (3, 2));
    let separate = parse("brokers = 4\ncontrollers = 3");
    assert_eq!((separate.cluster.nodes(), separate.cluster.voters(), separate.cluster.brokers), (7, 3, 4));
    assert_eq!(parse("brokers = 3").cluster, parse("nodes = 3").cluster);
}

#[test]
fn roles_are_read_as_they_are_written() {
    for text in
        ["leader of a-b-0", "follower of a-0", "controller", "every node", "every broker", "any broker"]
    {
        let role = Role::parse(text).unwrap();
        assert_eq!((role.to_string(), Role::parse(&format!("the {text}"))), (text.to_owned(), Some(role)));
    }
    assert_eq!(Role::parse("a follower of a-0"), Role::parse("follower of a-0"));
    assert_eq!(Role::parse("all"), Some(Role::EveryNode));
    assert_eq!(Role::parse("nodes 1 3"), Some(Role::Nodes(0b101)));
    assert_eq!(Role::Nodes(0b101).to_string(), "nodes 1 3");
    assert_eq!(Role::parse("controller 2"), Some(Role::Controller(2)));
}

#[test]
fn scripted_faults_are_written_as_they_are_read() {
    let scenario = Scenario::parse(WHOLE, "whole.toml").unwrap();
    let mut text = WHOLE[..WHOLE.find("[[script]]").unwrap()].to_owned();
    scenario.script.iter().for_each(|fault| write!(text, "{fault}").unwrap());
    assert_eq!(Scenario::parse(&text, "whole.toml").unwrap().script, scenario.script);
}

/// The head of every scenario below: six lines.
const HEAD: &str = "[scenario]\nkind = \"cluster\"\n[[topics]]\nname = \"orders\"\npartitions = 2\n\n";

fn told(text: &str) -> String {
    match ScenarioFile::parse(text, "x.toml") {
        Ok(_) => panic!("{text}\nis taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let scripted = |text: &str| format!("[[script]]\n{}", text.replace("; ", "\n"));
    let scripts = [
        r#"do = "power-cutt"; node = "broker 1"; when = "1s""#,
        r#"dos = "crash"; node = "broker 1"; when = "1s""#,
        r#"do = "crash"; when = "1s""#,
        r#"do = "crash"; node = "broker 1"; when = "1s"; ppm = 3"#,
        r#"do = "crash"; node = "broker 1"; when = "1s"; downs = "2s""#,
        r#"do = "crash"; node = "leader of order-0"; when = "1s""#,
        r#"do = "crash"; node = "leader of orders-2"; when = "1s""#,
        r#"do = "crash"; node = "broker 2"; when = "1s""#,
        r#"do = "crash"; node = "every brokr"; when = "1s""#,
        r#"do = "crash"; node = "follower of orders-7"; when = "1s""#,
        r#"do = "crash"; node = "controller 1"; when = "1s""#,
        r#"do = "crash"; node = "nodes 1 2"; when = "1s""#,
        r#"do = "isolate"; node = "broker 1"; when = "1s"; for = "1s"; from = "clients""#,
        r#"do = "reset"; node = "client 7"; when = "1s""#,
        r#"do = "fail-sync"; node = "client 1"; when = "1s""#,
        r#"do = "evict-cache"; node = "broker 1 and client 1"; when = "1s""#,
        r#"do = "reset"; node = "client 1 and client 1"; when = "1s""#,
        r#"do = "crash"; node = "broker 1"; when = "61s""#,
        r#"do = "crash"; node = "broker 1"; when = "apend 1 of orders-0""#,
        r#"do = "crash"; node = "broker 1"; when = "append 0 of orders-0""#,
        r#"do = "crash"; node = "broker 1"; when = "append 1 of payments-0""#,
        r#"do = "crash"; node = "broker 1"; when = "append 1 of orders""#,
        r#"do = "crash"; node = "broker 1"; when = "append 1 on orders-0""#,
        r#"do = "crash"; node = "broker 1"; when = "topic-created 1 of orders-0""#,
        r#"do = "crash"; node = "broker 1"; when = "acknowledge 1"; before = "sync""#,
        r#"do = "crash"; node = "broker 1"; when = "10s"; before = "sync""#,
        r#"do = "reset"; node = "broker 1"; when = "append 1"; before = "sync""#,
        r#"do = "crash"; node = "broker 1"; when = "append 1"; before = "snyc""#,
        r#"do = "flip-bit"; node = "broker 1"; when = "1s""#,
        r#"do = "pause"; node = "broker 1"; when = "1s"; for = "-2s""#,
        r#"do = "pause"; node = "broker 1"; when = "1s""#,
        r#"do = "fail-sync"; node = "broker 1"; when = "1s"; how = "clear""#,
        r#"do = "drift-clock"; node = "broker 1"; when = "1s"; ppm = 600000; for = "1s""#,
    ];
    let sections = [
        "[faults]\ncrsh = \"20s\"",
        "[faults]\ncrash = \"20\"",
        "[faults]\ncrash = 20",
        "[faults]\ncrash = \"1ms\"",
        "[faults]\ncrash = \"-20s\"",
        "[faults]\nbit_rot = \"20s\"",
        "[faults]\npower_cut_of_all = \"usual\"",
        "[cluster]\nnodes = 2\n[faults]\nreplaced_disk = \"usual\"",
        "[cluster]\nnodes = 3\ndurability = \"replicated\"\n[faults]\npower_cut_of_all = \"usual\"",
        "[cluster]\nnodes = 3\nbrokers = 3",
        "[cluster]\nnodes = 3\ncontrollers = 3",
        "[cluster]\ncontrollers = 8",
        "[cluster]\nracks = [1]",
        "[workload.churn]\nreassignments = \"5s\"",
        "[faults]\nswarm = 1",
        "[cluster]\nbrokers = 0",
        "[cluster]\ndurability = \"synced\"",
        "[[topics]]\nname = \"orders\"",
        "[[topics]]\nname = \"a b\"",
        "[[topics]]\nname = \"b\"\nreplicas = 3",
        "[[topics]]\nname = \"b\"\npartitions = 1000",
        "[[topics]]\npartitions = 1",
        "[workload]\nproducer = 1",
        "[workload]\nidempotent_share = 1.5",
        "[workload]\nvalue_bytes = [200, 20]",
        "[workload]\nacks = [\"al\"]",
        "[workload]\nadmins = 0\n[workload.churn]\ntopics = \"5s\"",
        "[workload.churn]\nconfigs = \"5s\"",
        "[expect]\nverdict = \"fail\"",
        "[expects]\nverdict = \"pass\"",
    ];
    let whole = [
        "",
        "[scenari]\nkind = \"disk\"",
        "[scenario]\nkind = \"disc\"",
        "[scenario]\nkind = \"disk\"",
        "[scenario]\nkind = \"disk\"\ndisk = \"honest\"\nspeed = 1",
        "[scenario]\nkind = \"disk\"\ndisk = \"honest\"\n[faults]",
        "[scenario]\nkind = \"cluster\"",
        "[scenario]\nkind = \"cluster\"\nduration = \"1ms\"",
        "[scenario]\nkind = \"cluster\"\nregime = \"limited\"",
        "[scenario\nkind = 1",
        "[scenario]\nkind = \"disk\"\nkind = \"disk\"",
    ];
    let mut out = String::new();
    let scripts = scripts.map(scripted);
    let sections = scripts.iter().map(String::as_str).chain(sections);
    let texts = sections.map(|section| (section.to_owned(), format!("{HEAD}{section}")));
    for (shown, text) in texts.chain(whole.map(|text| (text.to_owned(), text.to_owned()))) {
        writeln!(out, "{}\n    {}", shown.replace('\n', "; "), told(&text)).unwrap();
    }
    insta::assert_snapshot!(out);
}
