//! The metadata as the quorum has committed it: what this node knows, ahead of what it has carried out.

use super::command::Command;
use crate::signal::Signal;
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_metadata::{Change, Image, decode};
use highwater_quorum::{Encode, Machine};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many refused commands are remembered, for those that proposed them.
const REFUSALS_KEPT: usize = 64;

/// The largest piece of a snapshot.
const PIECE_BYTES: usize = 512 << 10;

/// The metadata as the quorum has committed it.
pub(super) struct Committed {
    state: Mutex<State>,
    /// The index of the last entry that was applied.
    pub(super) applied: Signal,
}

#[derive(Default)]
struct State {
    image: Arc<Image>,
    index: u64,
    /// What changed since it was last asked for.
    changes: Vec<Change>,
    /// The image was replaced by a snapshot since then: the changes are not all there is.
    replaced: bool,
    /// Commands that came to nothing, and why.
    refused: BTreeMap<u64, String>,
    /// Why no further entry can be applied.
    failure: Option<String>,
}

/// What is to be carried out.
pub(super) struct News {
    pub(super) image: Arc<Image>,
    pub(super) index: u64,
    pub(super) changes: Vec<Change>,
    /// The changes are not all there is.
    pub(super) replaced: bool,
}

impl Committed {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), applied: Signal::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image.
    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.lock().image)
    }

    /// The image, and the index up to which it holds what was committed.
    pub(super) fn image_and_index(&self) -> (Arc<Image>, u64) {
        let state = self.lock();
        (Arc::clone(&state.image), state.index)
    }

    /// What was committed since this was last called.
    pub(super) fn take_news(&self) -> News {
        let mut state = self.lock();
        News {
            image: Arc::clone(&state.image),
            index: state.index,
            changes: std::mem::take(&mut state.changes),
            replaced: std::mem::take(&mut state.replaced),
        }
    }

    /// Why the command at an index came to nothing, if it did.
    pub(super) fn refusal(&self, index: u64) -> Option<String> {
        self.lock().refused.get(&index).cloned()
    }

    /// Why this node cannot follow the metadata any further, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }
}

/// Applies the quorum's entries.
pub(super) struct MetadataMachine<E: Env> {
    env: E,
    committed: Arc<Committed>,
}

impl<E: Env> MetadataMachine<E> {
    pub(super) fn new(env: E, committed: Arc<Committed>) -> Self {
        Self { env, committed }
    }

    /// Applies a command whole or not at all, the same on every node.
    fn take(&self, state: &mut State, index: u64, command: &Bytes) -> Result<(), String> {
        let command = Command::decode(command)?;
        let records = command.records().map_err(|error| error.to_string())?;
        let mut next = Image::clone(&state.image);
        match next.apply_all(&records, index) {
            Ok(changes) => {
                state.image = Arc::new(next);
                for change in &changes {
                    self.tell(&state.image, index, change);
                }
                state.changes.extend(changes);
            }
            Err(error) => {
                self.env.observe(&Event::Reached("metadata: command that contradicts the state ignored"));
                tracing::error!(index, %error, "a change of the metadata contradicts its state and is ignored");
                refuse(state, index, error.to_string());
            }
        }
        Ok(())
    }

    fn tell(&self, image: &Image, index: u64, change: &Change) {
        match change {
            Change::PartitionCreated(log) | Change::PartitionChanged(log) => {
                if let Some(partition) = image.partition(*log) {
                    self.env.observe(&Event::PartitionState {
                        index,
                        log: *log,
                        leader: partition.leader,
                        epoch: partition.leader_epoch,
                        partition_epoch: partition.partition_epoch,
                        replicas: partition.replicas.to_vec(),
                        isr: partition.isr.to_vec(),
                        elr: partition.elr.to_vec(),
                    });
                }
            }
            // From here on the topic is gone, though its logs go later.
            Change::TopicDeleted(topic) => self.env.observe(&Event::TopicDeleted { topic: topic.id() }),
            Change::Broker(id) => {
                if let Some(broker) = image.broker(*id) {
                    let (broker, epoch, fenced) = (broker.id, broker.epoch, broker.fenced);
                    self.env.observe(&Event::BrokerState { index, broker, epoch, fenced });
                }
            }
            _ => {}
        }
    }
}

fn refuse(state: &mut State, index: u64, why: String) {
    state.refused.insert(index, why);
    while state.refused.len() > REFUSALS_KEPT {
        state.refused.pop_first();
    }
}

impl<E: Env> Machine for MetadataMachine<E> {
    fn apply(&mut self, index: u64, _term: u64, command: &Bytes) {
        let mut state = self.committed.lock();
        if state.failure.is_none() {
            if let Err(problem) = self.take(&mut state, index, command) {
                // What cannot be understood must not be skipped: every later state would be a wrong one.
                tracing::error!(index, %problem, "the metadata log cannot be followed any further on this node");
                state.failure = Some(problem);
            }
            state.index = index;
        }
        drop(state);
        self.committed.applied.raise_to(index);
    }

    fn snapshot(&self) -> Encode {
        let image = self.committed.image();
        Box::new(move || encode_image(&image))
    }

    fn restore(&mut self, index: u64, _term: u64, pieces: Vec<Bytes>) -> Result<(), String> {
        let mut image = Image::new();
        for mut piece in pieces {
            while !piece.is_empty() {
                let frame = take_frame(&mut piece).ok_or("a piece of the snapshot is cut off")?;
                let record = decode(&frame).map_err(|error| error.to_string())?;
                image.apply(&record, index).map_err(|error| error.to_string())?;
            }
        }
        let mut state = self.committed.lock();
        state.image = Arc::new(image);
        state.index = index;
        state.replaced = true;
        state.failure = None;
        drop(state);
        self.committed.applied.raise_to(index);
        Ok(())
    }
}

/// An image as pieces of record frames, each after its length.
fn encode_image(image: &Image) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for record in image.to_records() {
        let frame = highwater_metadata::encode(&record).expect("a record that was applied can be encoded");
        if !piece.is_empty() && piece.len() + frame.len() > PIECE_BYTES {
            pieces.push(std::mem::take(&mut piece).into());
        }
        piece.extend(u32::try_from(frame.len()).expect("records are small").to_be_bytes());
        piece.extend_from_slice(&frame);
    }
    pieces.push(piece.into());
    pieces
}

fn take_frame(piece: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(*piece.first_chunk()?) as usize;
    if piece.len() - 4 < length {
        return None;
    }
    let mut frame = piece.split_to(4 + length);
    Some(frame.split_off(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_metadata::{
        ClusterRecord, METADATA_VERSION, MetadataRecord, RemoveTopicRecord, TopicRecord,
    };
    use highwater_sim::{SimEnv, Simulation};
    use highwater_types::{ClusterId, TopicId, Uuid};
    use prost::Message;

    fn machine() -> (MetadataMachine<SimEnv>, Arc<Committed>) {
        let committed = Committed::new();
        (MetadataMachine::new(Simulation::new(1).node("n"), Arc::clone(&committed)), committed)
    }

    fn command(records: &[MetadataRecord]) -> Bytes {
        Command::encode(records).ok().expect("small")
    }

    fn topic(number: u128, name: &str) -> MetadataRecord {
        MetadataRecord::Topic(TopicRecord {
            id: TopicId(Uuid::from_random(number << 90)),
            name: name.to_owned(),
        })
    }

    fn first() -> MetadataRecord {
        let cluster_id = ClusterId(Uuid::from_random(5));
        MetadataRecord::Cluster(ClusterRecord { cluster_id, metadata_version: METADATA_VERSION })
    }

    #[test]
    fn a_command_that_contradicts_the_state_changes_nothing_of_it() {
        let (mut machine, committed) = machine();
        machine.apply(3, 1, &command(&[first(), topic(1, "a")]));
        let before = committed.image();
        let gone = MetadataRecord::RemoveTopic(RemoveTopicRecord { id: TopicId(Uuid::from_random(9 << 90)) });
        machine.apply(4, 1, &command(&[topic(2, "b"), gone]));
        assert_eq!(committed.image(), before);
        assert!(committed.refusal(4).is_some() && committed.refusal(3).is_none());
        machine.apply(5, 1, &command(&[topic(2, "b")]));
        assert_eq!((committed.image().topic_count(), committed.take_news().index), (2, 5));
        assert_eq!(committed.failure(), None);
    }

    #[test]
    fn what_cannot_be_understood_ends_it() {
        let mut newer = highwater_metadata::encode(&topic(1, "a")).expect("small").to_vec();
        newer[0] = 99;
        let newer = Command { frames: vec![newer.into()] }.encode_to_vec();
        for (bytes, word) in [(newer.into(), "version 99"), (Bytes::from_static(b"rubbish"), "decode")] {
            let (mut machine, committed) = machine();
            machine.apply(3, 1, &command(&[first()]));
            let before = committed.image();
            machine.apply(4, 1, &bytes);
            machine.apply(5, 1, &command(&[topic(2, "b")]));
            let failure = committed.failure().expect("it failed");
            assert!(failure.contains(word), "{failure}");
            assert_eq!(committed.image(), before);
        }
    }

    #[test]
    fn a_snapshot_gives_the_same_state() {
        let (mut machine, committed) = machine();
        let topics: Vec<MetadataRecord> = (1..500).map(|n| topic(n, &format!("topic-{n}"))).collect();
        machine.apply(3, 1, &command(&[first()]));
        machine.apply(4, 1, &command(&topics));
        let pieces = machine.snapshot()();
        let (mut other, restored) = self::machine();
        other.restore(4, 1, pieces.clone()).expect("restored");
        assert_eq!(restored.image(), committed.image());
        assert!(restored.take_news().replaced);
        let mut cut = pieces;
        let last = cut.pop().expect("a piece");
        cut.push(last.slice(..last.len() - 1));
        assert!(other.restore(4, 1, cut).is_err());
    }
}
