//! Which groups may move from one protocol to the other.

/// Which groups move from one protocol to the other while they have members (`group.consumer.migration.policy`). Those
/// without may always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// Classic groups, to the new protocol.
    Upgrade,
    /// Groups of the new protocol, to the classic one.
    Downgrade,
    /// Both.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// By Kafka's word for it, in whichever case.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            ("disabled", Self::Disabled),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
            ("bidirectional", Self::Bidirectional),
        ];
        all.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, policy)| policy)
    }

    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}
