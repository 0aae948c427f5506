//! Groups as administrators see them.

use crate::Coordinator;
use crate::classic::{Classic, State};
use crate::group::Group;
use crate::topics::Topics;
use bytes::Bytes;
use highwater_assign::protocol::CONSUMER;
use highwater_wire::messages::consumer_group_describe;
use highwater_wire::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use highwater_wire::messages::list_groups::ListedGroup;
use highwater_wire::{ErrorCode, Str};

/// The type of all groups whose members assign among themselves.
const CLASSIC: &str = "Classic";
/// The type of all groups of the new protocol.
const CONSUMER_TYPE: &str = "Consumer";
/// From here on it is an error to ask for a group that does not exist.
const NOT_FOUND_FROM: i16 = 6;

impl State {
    /// Kafka's word.
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl Coordinator {
    /// A group and its members, as an answer of that version has them.
    pub fn describe(&self, id: &Str, version: i16) -> DescribedGroup {
        let Some(group) = self.groups.get(id).filter(|group| group.consumers.is_none()) else {
            let missing = version >= NOT_FOUND_FROM;
            return DescribedGroup {
                error_code: if missing { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE },
                error_message: missing.then(|| Str::from(format!("Group {id} not found."))),
                group_id: id.clone(),
                group_state: Str::from_static("Dead"),
                ..DescribedGroup::default()
            };
        };
        let classic = &group.classic;
        DescribedGroup {
            group_id: group.id.clone(),
            group_state: Str::from_static(classic.state.name()),
            protocol_type: classic.protocol_type.clone().unwrap_or_default(),
            // Before all agreed, what one of them has to say means nothing.
            protocol_data: classic.agreed().cloned().unwrap_or_default(),
            members: classic.described_members(),
            ..DescribedGroup::default()
        }
    }

    /// The groups in these states and of these types; without any, all.
    pub fn list(&self, states: &[Str], types: &[Str]) -> Vec<ListedGroup> {
        let has = |filter: &[Str], word: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
        };
        let listed = |group: &Group| {
            let (protocol_type, state, kind) = match &group.consumers {
                Some(consumers) => (Str::from_static(CONSUMER), consumers.state_name(), CONSUMER_TYPE),
                None => {
                    let protocol_type = group.classic.protocol_type.clone().unwrap_or_default();
                    (protocol_type, group.classic.state.name(), CLASSIC)
                }
            };
            ListedGroup {
                group_id: group.id.clone(),
                protocol_type,
                group_state: Str::from_static(state),
                group_type: Str::from_static(kind),
            }
        };
        let all = self.groups.values().map(listed);
        all.filter(|group| has(states, &group.group_state) && has(types, &group.group_type)).collect()
    }

    /// A group of the new protocol and its members.
    pub fn describe_consumers(
        &self,
        id: &Str,
        topics: &dyn Topics,
    ) -> consumer_group_describe::DescribedGroup {
        match self.groups.get(id).and_then(|group| group.consumers.as_ref()) {
            Some(consumers) => consumers.described(id, topics),
            None => consumer_group_describe::DescribedGroup {
                error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                error_message: Some(Str::from(format!("Group {id} is not a consumer group."))),
                group_id: id.clone(),
                ..consumer_group_describe::DescribedGroup::default()
            },
        }
    }
}

impl Classic {
    /// The protocol of a generation whose members have their assignments.
    fn agreed(&self) -> Option<&Str> {
        self.protocol.as_ref().filter(|_| self.state == State::Stable)
    }

    fn described_members(&self) -> Vec<DescribedGroupMember> {
        let agreed = self.agreed();
        self.members
            .values()
            .map(|member| DescribedGroupMember {
                member_id: member.id.clone(),
                group_instance_id: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                member_metadata: agreed.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
                member_assignment: agreed.map_or_else(Bytes::new, |_| member.assignment.clone()),
            })
            .collect()
    }
}
