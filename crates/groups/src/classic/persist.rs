//! A group as a record, and back.

use super::{Classic, Member, State};
use crate::group::Group;
use crate::{GroupMetadataValue, MemberMetadata, Record};
use bytes::Bytes;
use highwater_types::{Instant, Timestamp};
use highwater_wire::Str;
use std::time::Duration;

impl Group {
    /// The group as it is now.
    pub(crate) fn record(&self, now: Timestamp) -> Record {
        let classic = &self.classic;
        let protocol = classic.protocol.as_deref().unwrap_or_default();
        let value = GroupMetadataValue {
            protocol_type: classic.protocol_type.clone().unwrap_or_default(),
            generation: classic.generation,
            protocol: classic.protocol.clone(),
            leader: classic.leader.clone(),
            current_state_timestamp: now,
            members: classic.members.values().map(|member| member.kept(protocol)).collect(),
        };
        Record::Group(self.id.clone(), Some(value))
    }
}

impl Member {
    fn kept(&self, protocol: &str) -> MemberMetadata {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: millis(self.rebalance_timeout),
            session_timeout: millis(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// A member as a record says that it was.
    pub(crate) fn restored(kept: &MemberMetadata, protocols: Vec<(Str, Bytes)>) -> Self {
        let millis = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
        Self {
            id: Str::from(&*kept.member_id),
            instance: kept.group_instance_id.as_deref().map(Str::from),
            client_id: Str::from(&*kept.client_id),
            client_host: Str::from(&*kept.client_host),
            session_timeout: millis(kept.session_timeout),
            rebalance_timeout: millis(kept.rebalance_timeout),
            protocols,
            assignment: Bytes::copy_from_slice(&kept.assignment),
            join: None,
            sync: None,
            is_new: false,
            deadline: Instant::default(),
            timer: None,
        }
    }
}

impl Classic {
    /// A group as a record says that it was.
    pub(crate) fn restored(value: &GroupMetadataValue) -> Self {
        let protocol = value.protocol.as_deref().map(Str::from);
        let empty = value.members.is_empty();
        let mut classic = Self {
            state: if empty { State::Empty } else { State::Stable },
            since: Some(value.current_state_timestamp).filter(|since| *since != Timestamp::NONE),
            generation: value.generation,
            protocol_type: Some(&*value.protocol_type).filter(|kind| !kind.is_empty()).map(Str::from),
            leader: value.leader.as_deref().map(Str::from),
            protocol,
            ..Self::default()
        };
        let protocol = classic.protocol.clone().unwrap_or_default();
        for kept in &value.members {
            let protocols = vec![(protocol.clone(), Bytes::copy_from_slice(&kept.subscription))];
            classic.insert(Member::restored(kept, protocols));
        }
        classic.subscribed = classic.subscriptions();
        classic
    }
}
