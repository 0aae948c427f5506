//! Groups as administrators see them.

use crate::Coordinator;
use crate::classic::{Classic, State};
use bytes::Bytes;
use highwater_wire::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use highwater_wire::messages::list_groups::ListedGroup;
use highwater_wire::{ErrorCode, Str};

/// The type of all groups whose members assign among themselves.
const CLASSIC: &str = "Classic";
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
        let Some(group) = self.groups.get(id) else {
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
        if !has(types, CLASSIC) {
            return Vec::new();
        }
        self.groups
            .values()
            .filter(|group| has(states, group.classic.state.name()))
            .map(|group| ListedGroup {
                group_id: group.id.clone(),
                protocol_type: group.classic.protocol_type.clone().unwrap_or_default(),
                group_state: Str::from_static(group.classic.state.name()),
                group_type: Str::from_static(CLASSIC),
            })
            .collect()
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
