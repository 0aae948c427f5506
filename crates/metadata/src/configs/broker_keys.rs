//! The configurations of brokers that are not merely a topic configuration's default under the same rules.
//!
//! Only what a broker acts on is here; a name of Kafka's that is missing is refused, with the nearest known name.

use super::key::{Key, Rule, ValueType};

const OTHER_BOUNDS: &str = "requests are bounded per connection, and by the memory of all of them.";

/// The names, in order.
pub(super) const BROKER_KEYS: &[Key] = &[
    Key::new("advertised.listeners", ValueType::List, "")
        .unset()
        .elsewhere("advertised")
        .doc("The addresses that clients are told to connect to. Without a setting: those that are listened on."),
    Key::new("auto.create.topics.enable", ValueType::Boolean, "true")
        .doc("Whether a topic comes into being when a client asks for its metadata and allows that."),
    Key::new("auto.leader.rebalance.enable", ValueType::Boolean, "true")
        .doc("Whether leadership is given back to preferred replicas once they are in sync again."),
    Key::new("broker.heartbeat.interval.ms", ValueType::Int, "2000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How often a broker tells the controller that it is there."),
    Key::new("broker.session.timeout.ms", ValueType::Int, "9000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("After how long without a word from a broker the controller takes it for failed."),
    Key::new("connections.max.idle.ms", ValueType::Long, "600000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("After how long without a request a connection is closed."),
    Key::new("controller.quorum.election.timeout.ms", ValueType::Int, "1000")
        .rule(Rule::at_least(20))
        .read_only()
        .doc("For how long a voter hears of no controller before it stands for election."),
    Key::new("default.replication.factor", ValueType::Int, "3")
        .unset()
        .rule(Rule::Within(1, 32_767))
        .doc(
            "The replication factor of topics that are created without one. Without a setting: 3, or the number of \
             live brokers if that is less.",
        ),
    Key::new("delete.topic.enable", ValueType::Boolean, "true").doc("Whether topics can be deleted."),
    Key::new("fetch.max.bytes", ValueType::Int, "57671680")
        .rule(Rule::at_least(1024))
        .read_only()
        .doc("The most bytes that are returned for one fetch request, but for a first batch that is larger."),
    Key::new("follower.replication.throttled.rate", ValueType::Long, "9223372036854775807")
        .rule(Rule::at_least(0))
        .doc(
            "How many bytes per second the broker fetches for the replicas in follower.replication.throttled.replicas \
             of their topics.",
        ),
    Key::new("group.consumer.heartbeat.interval.ms", ValueType::Int, "5000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How often a member of a group of the new protocol is told to send a heartbeat."),
    Key::new("group.consumer.max.size", ValueType::Int, "2147483647")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The most members that a group of the new protocol may have."),
    Key::new("group.consumer.migration.policy", ValueType::String, "bidirectional")
        .rule(Rule::Words(&["disabled", "upgrade", "downgrade", "bidirectional"]))
        .read_only()
        .doc(
            "Which groups change their protocol while they have members: classic ones that a member of the new protocol \
             joins (upgrade), those of the new protocol in which members of the classic one are left (downgrade), both, \
             or none.",
        ),
    Key::new("group.consumer.session.timeout.ms", ValueType::Int, "45000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("After how long without a heartbeat a member of a group of the new protocol is taken for dead."),
    Key::new("group.initial.rebalance.delay.ms", ValueType::Int, "3000")
        .rule(Rule::at_least(0))
        .read_only()
        .doc("For how long none must have come before a group that had no members shares its partitions, at most for a rebalance timeout."),
    Key::new("group.max.session.timeout.ms", ValueType::Int, "1800000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The longest session timeout that a member of a group may ask for."),
    Key::new("group.max.size", ValueType::Int, "2147483647")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The most members that a group may have."),
    Key::new("group.min.session.timeout.ms", ValueType::Int, "6000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The shortest session timeout that a member of a group may ask for."),
    Key::new("initial.broker.registration.timeout.ms", ValueType::Int, "60000")
        .rule(Rule::at_least(0))
        .read_only()
        .doc("How long a starting broker goes on while its registration is refused, before it ends."),
    Key::new("leader.imbalance.check.interval.seconds", ValueType::Long, "300")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How often the controller looks for leadership to give back."),
    Key::new("leader.imbalance.per.broker.percentage", ValueType::Int, "10")
        .rule(Rule::Within(0, 100))
        .read_only()
        .doc(
            "How many of the partitions that prefer a broker may be led by others, in percent, before leadership is \
             given back to it.",
        ),
    Key::new("leader.replication.throttled.rate", ValueType::Long, "9223372036854775807")
        .rule(Rule::at_least(0))
        .doc(
            "How many bytes per second the broker serves to followers for the replicas in \
             leader.replication.throttled.replicas of their topics.",
        ),
    Key::new("listeners", ValueType::List, "").unset().elsewhere("listener").doc("The addresses that are listened on."),
    Key::new("log.cleaner.backoff.ms", ValueType::Long, "15000")
        .rule(Rule::at_least(0))
        .read_only()
        .doc("How long compaction rests when no log is due."),
    Key::new("log.cleaner.dedupe.buffer.size", ValueType::Long, "134217728")
        .rule(Rule::at_least(1_048_576))
        .read_only()
        .doc(
            "How many bytes of memory the keys of a log may take while it is compacted. One that has more keys is \
             compacted part by part.",
        ),
    Key::new("log.dirs", ValueType::List, "").unset().elsewhere("data_dir").doc("The directory that holds the data."),
    Key::new("log.flush.interval.ms", ValueType::Long, "0")
        .unset()
        .rule(Rule::at_least(0))
        .doc("The default of flush.ms.")
        .inert("durability decides when a log is synced."),
    Key::new("log.flush.scheduler.interval.ms", ValueType::Long, "9223372036854775807")
        .rule(Rule::at_least(0))
        .doc("The default of flush.ms where log.flush.interval.ms is not set.")
        .inert("durability decides when a log is synced."),
    Key::new("log.retention.check.interval.ms", ValueType::Long, "300000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How often retention looks for segments to drop."),
    Key::new("log.retention.hours", ValueType::Int, "168")
        .rule(Rule::at_least(-1))
        .doc("The default of retention.ms, in hours, where log.retention.ms and log.retention.minutes are not set."),
    Key::new("log.retention.minutes", ValueType::Int, "0")
        .unset()
        .rule(Rule::at_least(-1))
        .doc("The default of retention.ms, in minutes, where log.retention.ms is not set."),
    Key::new("log.retention.ms", ValueType::Long, "0")
        .unset()
        .rule(Rule::at_least(-1))
        .doc("The default of retention.ms."),
    Key::new("log.roll.hours", ValueType::Int, "168")
        .rule(Rule::at_least(1))
        .doc("The default of segment.ms, in hours, where log.roll.ms is not set."),
    Key::new("log.roll.jitter.hours", ValueType::Int, "0")
        .rule(Rule::at_least(0))
        .doc("The default of segment.jitter.ms, in hours, where log.roll.jitter.ms is not set.")
        .inert("segments end by size and age alone."),
    Key::new("log.roll.jitter.ms", ValueType::Long, "0")
        .unset()
        .rule(Rule::at_least(0))
        .doc("The default of segment.jitter.ms.")
        .inert("segments end by size and age alone."),
    Key::new("log.roll.ms", ValueType::Long, "0")
        .unset()
        .rule(Rule::at_least(1))
        .doc("The default of segment.ms."),
    Key::new("log.scrub.interval.ms", ValueType::Long, "604800000")
        .rule(Rule::at_least(-1))
        .read_only()
        .doc("How often all logs of a node are looked through for damage; -1: never. Highwater's own."),
    Key::new("log.scrub.io.max.bytes.per.second", ValueType::Long, "10485760")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How many bytes a second a node reads at most to look for damage. Highwater's own."),
    Key::new("max.connections", ValueType::Int, "2147483647")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The most connections that are held open; one more is closed at once."),
    Key::new("node.id", ValueType::Int, "0")
        .unset()
        .rule(Rule::at_least(0))
        .elsewhere("node_id")
        .doc("This broker's number within its cluster."),
    Key::new("num.partitions", ValueType::Int, "1")
        .rule(Rule::at_least(1))
        .doc("How many partitions a topic gets that is created without a number."),
    Key::new("offset.metadata.max.bytes", ValueType::Int, "4096")
        .rule(Rule::Within(0, 32_767))
        .read_only()
        .doc("The longest text that a client may keep with an offset that it commits."),
    Key::new("offsets.commit.timeout.ms", ValueType::Int, "5000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how long a commit of offsets waits for the replicas before the client is told to try again."),
    Key::new("offsets.retention.check.interval.ms", ValueType::Long, "600000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How often offsets are looked through for those that have expired."),
    Key::new("offsets.retention.minutes", ValueType::Int, "10080")
        .rule(Rule::at_least(1))
        .read_only()
        .doc(
            "For how long the offsets of a group are kept after its last member has left, and those of topics that a \
             group no longer reads.",
        ),
    Key::new("offsets.topic.num.partitions", ValueType::Int, "50")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How many partitions the topic __consumer_offsets gets. Cannot be changed once there are groups."),
    Key::new("offsets.topic.replication.factor", ValueType::Int, "3")
        .rule(Rule::Within(1, 32_767))
        .read_only()
        .doc(
            "How many replicas the topic __consumer_offsets gets, or the number of brokers in the cluster if that is \
             less.",
        ),
    Key::new("offsets.topic.segment.bytes", ValueType::Int, "104857600")
        .rule(Rule::at_least(1024))
        .read_only()
        .doc("The size of the segments of the topic __consumer_offsets."),
    Key::new("producer.id.expiration.ms", ValueType::Int, "86400000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how long an idempotent producer that writes nothing is remembered."),
    Key::new("queued.max.requests", ValueType::Int, "500")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("How many requests may be in work before no more are read from connections.")
        .inert(OTHER_BOUNDS),
    Key::new("queued.max.request.bytes", ValueType::Long, "-1")
        .rule(Rule::at_least(-1))
        .read_only()
        .doc("How many bytes of requests may be in work before no more are read from connections.")
        .inert(OTHER_BOUNDS),
    Key::new("replica.fetch.backoff.ms", ValueType::Int, "1000")
        .rule(Rule::at_least(0))
        .read_only()
        .doc("For how long a follower leaves a partition or a broker alone after a fetch from it failed."),
    Key::new("replica.fetch.max.bytes", ValueType::Int, "1048576")
        .rule(Rule::at_least(1024))
        .read_only()
        .doc("How many bytes a follower asks for of each partition; a first batch that is larger comes all the same."),
    Key::new("replica.fetch.min.bytes", ValueType::Int, "1")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how many bytes a follower's fetch waits at most replica.fetch.wait.max.ms."),
    Key::new("replica.fetch.response.max.bytes", ValueType::Int, "10485760")
        .rule(Rule::at_least(1024))
        .read_only()
        .doc("How many bytes a follower asks for at once, of all partitions that it follows at one broker."),
    Key::new("replica.fetch.wait.max.ms", ValueType::Int, "500")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how long a follower's fetch waits for data; should be less than replica.lag.time.max.ms."),
    Key::new("replica.lag.time.max.ms", ValueType::Long, "30000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how long a replica may lag behind its leader before it is taken out of the in-sync replicas."),
    Key::new("replica.selector.class", ValueType::String, "")
        .unset()
        .read_only()
        .doc(
            "Which replica consumers are sent to. With org.apache.kafka.common.replica.RackAwareReplicaSelector, or \
             \"rack\", one in the consumer's own rack, if there is any; else the leader.",
        ),
    Key::new("replica.socket.timeout.ms", ValueType::Int, "30000")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("For how long a follower waits for an answer, beside replica.fetch.wait.max.ms."),
    Key::new("socket.request.max.bytes", ValueType::Int, "104857600")
        .rule(Rule::at_least(1))
        .read_only()
        .doc("The largest request that is read; a connection that sends a larger one is closed."),
];
