//! The fold of a group's records.

use super::{Consumers, Member, MemberState, Partitions, each, gathered};
use crate::records::{ClassicMemberMetadata, ClassicProtocol, ConsumerMemberValue, CurrentMemberValue};
use crate::{Owner, Record};
use bytes::Bytes;
use highwater_types::mutant;
use highwater_wire::Str;
use std::collections::BTreeMap;

impl MemberState {
    pub(super) fn number(self) -> i8 {
        match self {
            Self::Stable => 1,
            Self::Unrevoked => 2,
            Self::Unreleased => 3,
        }
    }

    fn from_number(number: i8) -> Self {
        match number {
            2 => Self::Unrevoked,
            3 => Self::Unreleased,
            _ => Self::Stable,
        }
    }
}

impl Consumers {
    /// Applies a record of the group. Texts are copied: they do not keep the batch in memory that they were read from.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::ConsumerGroup(_, Some(value)) => {
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            Record::ConsumerMember(_, id, Some(value)) => self.set_member(id, value),
            Record::ConsumerMember(_, id, None) => self.remove_member(id),
            Record::TargetEpoch(_, Some(value)) => self.target_epoch = value.assignment_epoch,
            Record::TargetMember(_, id, Some(value)) => {
                self.targets.insert(Str::from(&**id), gathered(&value.topic_partitions));
            }
            Record::TargetMember(_, id, None) => {
                self.targets.remove(id);
            }
            Record::CurrentMember(_, id, Some(value)) => {
                // Of a log that was compacted, what a member says of itself may come after what it has.
                if !mutant!("group-current-dropped") {
                    known(&mut self.members, id);
                }
                self.set_current(id, value);
            }
            Record::CurrentMember(_, id, None) => {
                self.set_current(id, &CurrentMemberValue { state: 1, ..CurrentMemberValue::default() });
            }
            Record::ConsumerGroup(_, None) | Record::TargetEpoch(_, None) => {}
            Record::Offset(..) | Record::Group(..) => {}
        }
    }

    fn set_member(&mut self, id: &Str, value: &ConsumerMemberValue) {
        let member = known(&mut self.members, id);
        let copied = |text: &Option<Str>| text.as_deref().map(Str::from);
        member.instance = copied(&value.instance_id);
        member.rack = copied(&value.rack_id);
        member.client_id = Str::from(&*value.client_id);
        member.client_host = Str::from(&*value.client_host);
        member.topics = value.subscribed_topic_names.iter().map(|topic| Str::from(&**topic)).collect();
        member.regex = copied(&value.subscribed_topic_regex);
        member.rebalance_timeout_ms = value.rebalance_timeout_ms;
        member.assignor = copied(&value.server_assignor);
        member.classic = value.classic_member_metadata.as_ref().map(copied_metadata);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
    }

    fn remove_member(&mut self, id: &Str) {
        let Some(member) = self.members.remove(id) else { return };
        self.release(id, &member.assigned);
        self.release(id, &member.revoking);
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
    }

    fn set_current(&mut self, id: &Str, value: &CurrentMemberValue) {
        let Some(member) = self.members.get_mut(id) else { return };
        let assigned = std::mem::replace(&mut member.assigned, gathered(&value.assigned_partitions));
        let revoking =
            std::mem::replace(&mut member.revoking, gathered(&value.partitions_pending_revocation));
        (member.epoch, member.previous_epoch) = (value.member_epoch, value.previous_member_epoch);
        member.state = MemberState::from_number(value.state);
        let (id, has, gives) = (member.id.clone(), member.assigned.clone(), member.revoking.clone());
        self.release(&id, &assigned);
        self.release(&id, &revoking);
        for key in each(&has).chain(each(&gives)) {
            self.owners.insert(key, id.clone());
        }
    }

    /// What each member has.
    pub(crate) fn owners(&self) -> Vec<(Str, Option<Owner>)> {
        let of_member = |member: &Member| {
            let partitions = each(&member.assigned).chain(each(&member.revoking)).collect();
            (member.id.clone(), Some(Owner { epoch: member.epoch, partitions }))
        };
        self.members.values().map(of_member).collect()
    }

    fn release(&mut self, id: &Str, partitions: &Partitions) {
        for key in each(partitions) {
            if self.owners.get(&key) == Some(id) {
                self.owners.remove(&key);
            }
        }
    }
}

/// The member of that id, made if there is none.
fn known<'a>(members: &'a mut BTreeMap<Str, Member>, id: &Str) -> &'a mut Member {
    if !members.contains_key(id) {
        let id = Str::from(&**id);
        members.insert(id.clone(), Member { id, ..Member::default() });
    }
    members.get_mut(id).expect("it was put there if it was missing")
}

fn copied_metadata(metadata: &ClassicMemberMetadata) -> ClassicMemberMetadata {
    let protocol = |protocol: &ClassicProtocol| ClassicProtocol {
        name: Str::from(&*protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    ClassicMemberMetadata {
        session_timeout_ms: metadata.session_timeout_ms,
        supported_protocols: metadata.supported_protocols.iter().map(protocol).collect(),
    }
}
