//! What a node tells of itself.

use highwater_types::{
    BrokerEpoch, BrokerId, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
};

/// Something that happened inside a node. Checkers, traces and reach marks hang on these; production ignores them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A batch stands in a log's page cache.
    Appended {
        /// Which log.
        log: LogId,
        /// The batch's first offset.
        base: Offset,
        /// The batch's last offset.
        last: Offset,
        /// The leader epoch it carries.
        epoch: LeaderEpoch,
        /// Its checksum (CRC-32C of the batch from its attributes on).
        checksum: u32,
        /// Who produced it, if idempotent, with the first sequence number.
        producer: Option<(ProducerId, ProducerEpoch, i32)>,
    },
    /// A log is durable up to an end offset.
    Synced {
        /// Which log.
        log: LogId,
        /// Everything before it is on disk.
        end: Offset,
    },
    /// The high watermark moved.
    HighWatermark {
        /// Which log.
        log: LogId,
        /// Its new value.
        end: Offset,
    },
    /// The first offset that can be read moved: retention or deletion of records.
    LogStart {
        /// Which log.
        log: LogId,
        /// Its new value.
        start: Offset,
    },
    /// A log's end is about to be moved back: from here on the disk may hold either.
    Truncating {
        /// Which log.
        log: LogId,
        /// The new end, or an offset within the batch that goes with what follows it.
        end: Offset,
    },
    /// A log was made where there was none.
    Made {
        /// Which log.
        log: LogId,
        /// Its first offset, and its end.
        start: Offset,
    },
    /// A log that a node had made is not there or cannot be opened, and the controller is to be told.
    Lost {
        /// Which log.
        log: LogId,
    },
    /// A log is about to be deleted. A crash may leave all of it, or nothing.
    Deleting {
        /// Which log.
        log: LogId,
    },
    /// A node begins to compact its copy of a log: below `up_to`, records may go that others of the same key follow.
    Compacting {
        /// The log.
        log: LogId,
        /// Nothing from here on is touched.
        up_to: Offset,
    },
    /// A log dropped all that it had, its epochs included, and goes on elsewhere. [`Event::Truncating`] came before.
    Restarted {
        /// Which log.
        log: LogId,
        /// Its first offset, and its end.
        start: Offset,
    },
    /// A log's end was moved back.
    Truncated {
        /// Which log.
        log: LogId,
        /// The new end.
        end: Offset,
    },
    /// A log was opened.
    Recovered {
        /// Which log.
        log: LogId,
        /// Its first offset.
        start: Offset,
        /// Its end, all of it durable.
        end: Offset,
        /// The durable mark that recovery started from: everything before it was proven synced.
        proven: Offset,
        /// Bytes of an unproven tail that were cut off.
        cut_bytes: u64,
    },
    /// The marks that say how far the logs of a disk were synced cannot be read: what is proven is guessed.
    MarksLost,
    /// Bytes that were proven durable are no longer what was written. They are never served.
    Damaged {
        /// Which log.
        log: LogId,
        /// First offset that is affected.
        from: Offset,
        /// End of the affected offsets.
        to: Offset,
    },
    /// Offsets that were damaged hold again what was written, from another replica.
    Repaired {
        /// Which log.
        log: LogId,
        /// First offset that was restored.
        from: Offset,
        /// End of the restored offsets.
        to: Offset,
    },
    /// A write or sync of a log failed; nothing more is acknowledged from it.
    Poisoned {
        /// Which log.
        log: LogId,
    },
    /// A client was told that its records are durable as it asked.
    Acknowledged {
        /// Which log.
        log: LogId,
        /// The first offset.
        base: Offset,
        /// The last offset.
        last: Offset,
        /// What the client asked for: -1 (all), 1 or 0.
        acks: i16,
    },
    /// A topic was made.
    TopicCreated {
        /// Its id.
        topic: TopicId,
        /// Its name.
        name: String,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// Its id.
        topic: TopicId,
    },
    /// This node leads a partition from now on: it appends with this epoch.
    Leading {
        /// Which log.
        log: LogId,
        /// The epoch.
        epoch: LeaderEpoch,
        /// The end of the log at that moment: the first offset of the epoch.
        start: Offset,
    },
    /// This node follows another one, or, without a leader, nobody. It appends nothing of its own any more.
    Following {
        /// Which log.
        log: LogId,
        /// The epoch.
        epoch: LeaderEpoch,
        /// The leader, if there is one.
        leader: Option<BrokerId>,
    },
    /// A leader's view of who is in sync changed: the sets that its high watermark waits for.
    InSync {
        /// Which log.
        log: LogId,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The in-sync replicas as the controller last committed them.
        committed: Vec<BrokerId>,
        /// Those beside them that the leader has asked the controller for, and may have got by now.
        pending: Vec<BrokerId>,
    },
    /// A node applied a metadata record: the state of a partition.
    PartitionState {
        /// The index of the record's entry in the metadata log.
        index: u64,
        /// Which log.
        log: LogId,
        /// The leader, if there is one.
        leader: Option<BrokerId>,
        /// Its epoch.
        epoch: LeaderEpoch,
        /// Counts the changes of the partition.
        partition_epoch: i32,
        /// All replicas.
        replicas: Vec<BrokerId>,
        /// The in-sync ones.
        isr: Vec<BrokerId>,
        /// The eligible leaders outside the in-sync ones (KIP-966).
        elr: Vec<BrokerId>,
    },
    /// A node applied a metadata record: a broker's registration.
    BrokerState {
        /// The index of the record's entry in the metadata log.
        index: u64,
        /// The broker.
        broker: BrokerId,
        /// Its incarnation.
        epoch: BrokerEpoch,
        /// Whether it is fenced.
        fenced: bool,
    },
    /// A member of the quorum made its vote durable.
    QuorumVote {
        /// The term.
        term: u64,
        /// Whom it votes for.
        candidate: BrokerId,
    },
    /// A member of the quorum became its leader.
    QuorumLeader {
        /// The term.
        term: u64,
    },
    /// An entry stands in a member's log.
    QuorumAppended {
        /// Its index.
        index: u64,
        /// The term that it was made in.
        term: u64,
        /// The checksum of its content.
        checksum: u32,
    },
    /// A member's log is durable up to an end.
    QuorumSynced {
        /// Every entry before it is on disk.
        end: u64,
    },
    /// A member begins to remove entries from the end of its log.
    QuorumTruncated {
        /// The first index that goes.
        from: u64,
    },
    /// A member applied an entry, which is committed.
    QuorumApplied {
        /// Its index.
        index: u64,
        /// The term that it was made in.
        term: u64,
        /// The checksum of its content.
        checksum: u32,
    },
    /// A member's state stands at a snapshot, its own or one it was sent.
    QuorumSnapshot {
        /// The last index that it covers.
        index: u64,
        /// The term of that entry.
        term: u64,
        /// Whether it replaced the member's state.
        installed: bool,
    },
    /// The voters that count for a member: one set, or two while they change.
    QuorumVoters {
        /// The index of the entry that says so.
        index: u64,
        /// The sets.
        voters: Vec<Vec<BrokerId>>,
    },
    /// The members of a group have these assignments from now on, or had them when its coordinator read its log.
    GroupGeneration {
        /// The group.
        group: String,
        /// The leader's epoch in which its coordinator is that.
        coordinator: LeaderEpoch,
        /// The generation; -1: the group is gone.
        generation: i32,
        /// The protocol that its members chose.
        protocol: String,
        /// The members, and the bytes of what they had to say in that protocol and of their assignments.
        members: Vec<(String, Vec<u8>, Vec<u8>)>,
    },
    /// Members of a group of the consumer protocol have these partitions, by the coordinator's log.
    GroupOwners {
        /// The group.
        group: String,
        /// The leader's epoch in which its coordinator is that.
        coordinator: LeaderEpoch,
        /// Whether these are all of its members: the coordinator has read its log.
        all: bool,
        /// The members in the order of the log, each with its epoch and what it may read or has to give up; None: it is
        /// gone.
        members: Vec<(String, Option<GroupOwner>)>,
        /// What those of the classic protocol among them had to say, who said it anew: their subscriptions as bytes.
        said: Vec<(String, Vec<u8>)>,
    },
    /// A commit of offsets was accepted, and is in the log.
    OffsetsCommitted {
        /// The group.
        group: String,
        /// The leader's epoch in which its coordinator is that.
        coordinator: LeaderEpoch,
        /// The generation or member epoch that the client named; -1 from one that is no member.
        generation: i32,
        /// The member.
        member: String,
    },
    /// A rare branch was taken. Counted over all seeds; one that is never reached is reported.
    Reached(&'static str),
}

/// What a member of a group has: its epoch, and the partitions.
pub type GroupOwner = (i32, Vec<(TopicId, PartitionIndex)>);
