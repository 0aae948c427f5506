//! A classic group and its members.

use bytes::Bytes;
use highwater_types::Timestamp;
use highwater_wire::{Message, Str};

/// The value. Version 1 brings the rebalance timeout, 2 the time of the last change of state, 3 static members; 4 is
/// the first flexible one.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-4", flexible = "4+")]
pub struct GroupMetadataValue {
    /// The kind of protocols.
    pub protocol_type: Str,
    /// The generation.
    pub generation: i32,
    /// The protocol that was chosen.
    #[field(nullable = "0+")]
    pub protocol: Option<Str>,
    /// The member that assigned.
    #[field(nullable = "0+")]
    pub leader: Option<Str>,
    /// Since when the group is in its state.
    #[field(versions = "2+", default = Timestamp::NONE)]
    pub current_state_timestamp: Timestamp,
    /// The members.
    pub members: Vec<MemberMetadata>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberMetadata {
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "3+", nullable = "3+")]
    pub group_instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// Where it connects from.
    pub client_host: Str,
    /// For how long the others wait for it, in milliseconds.
    #[field(versions = "1+")]
    pub rebalance_timeout: i32,
    /// Without a word from it for how long it is taken for dead, in milliseconds.
    pub session_timeout: i32,
    /// What it has to say in the chosen protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

impl GroupMetadataValue {
    /// The version that is written: as Kafka does, the last one that older readers know.
    pub(super) const WRITTEN: i16 = 3;

    /// A value that was read in a version, with what that version lacks filled in.
    pub(super) fn completed((mut value, version): (Self, i16)) -> Self {
        if version == 0 {
            // There was one timeout for both.
            value.members.iter_mut().for_each(|member| member.rebalance_timeout = member.session_timeout);
        }
        value
    }
}
