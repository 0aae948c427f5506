//! The features of the cluster and of its brokers (KIP-584).

use super::{Decision, RefusalCode};
use crate::configs::ConfigView;
use crate::image::{Image, METADATA_FEATURE};
use crate::records::{ClusterRecord, FeatureRange, FeatureRecord, METADATA_VERSION, MetadataRecord};
use crate::refusal::Refusal;
use highwater_types::BrokerId;

/// In which direction a level may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up.
    Upgrade,
    /// Up or down.
    Downgrade,
}

impl UpgradeType {
    /// The type of this number in Kafka's protocol. No level here loses anything, so both ways down are one.
    pub const fn from_number(number: i8) -> Option<Self> {
        match number {
            1 => Some(Self::Upgrade),
            2 | 3 => Some(Self::Downgrade),
            _ => None,
        }
    }
}

/// A new level of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature.
    pub name: String,
    /// The level; 0: none.
    pub level: u16,
    /// In which direction it may move.
    pub upgrade: UpgradeType,
}

/// What this program can work with.
pub fn supported_features() -> Vec<FeatureRange> {
    let newest = u16::try_from(METADATA_VERSION).expect("metadata versions are small");
    vec![FeatureRange { name: METADATA_FEATURE.to_owned(), min: 1, max: newest }]
}

/// Sets levels of features, each for itself.
pub fn update_features(
    view: &ConfigView<'_>,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Decision<()> {
    let mut records = Vec::new();
    let answers = updates
        .iter()
        .enumerate()
        .map(|(at, update)| {
            if updates[..at].iter().any(|earlier| earlier.name == update.name) {
                let message = format!("Feature {} is in the request more than once.", update.name);
                return Err(Refusal::new(RefusalCode::InvalidRequest, message));
            }
            check_update(view.image, update)?;
            records.extend(record(view.image, update));
            Ok(())
        })
        .collect();
    Decision { records: if validate_only { Vec::new() } else { records }, answers }
}

fn check_update(image: &Image, update: &FeatureUpdate) -> Result<(), Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    let FeatureUpdate { name, level, upgrade } = update;
    let now = image.feature(name);
    let supported = supported_features();
    let range = supported.iter().find(|range| range.name == *name);
    let allowed = |range: Option<&FeatureRange>| {
        *level == 0 || range.is_some_and(|range| (range.min..=range.max).contains(level))
    };
    if !allowed(range) {
        let known = match range {
            Some(range) => format!("levels {} to {} are known", range.min, range.max),
            None => "it is not known".to_owned(),
        };
        return refuse(
            RefusalCode::InvalidUpdateVersion,
            format!("Feature {name} has no level {level}: {known}."),
        );
    }
    if *level < now && (*upgrade == UpgradeType::Upgrade || name == METADATA_FEATURE) {
        let message = format!("Feature {name} cannot go down from level {now} to {level}.");
        return refuse(RefusalCode::InvalidUpdateVersion, message);
    }
    let unable = image.brokers().find(|broker| !allowed(broker.features.iter().find(|it| it.name == *name)));
    if let Some(broker) = unable {
        let message = format!("Broker {} does not know level {level} of feature {name}.", broker.id);
        return refuse(RefusalCode::FeatureUpdateFailed, message);
    }
    Ok(())
}

fn record(image: &Image, update: &FeatureUpdate) -> Option<MetadataRecord> {
    if update.level == image.feature(&update.name) {
        return None;
    }
    if update.name != METADATA_FEATURE {
        let record = FeatureRecord { name: update.name.clone(), level: update.level };
        return Some(MetadataRecord::Feature(record));
    }
    let record = ClusterRecord { cluster_id: image.cluster_id()?, metadata_version: update.level.into() };
    Some(MetadataRecord::Cluster(record))
}

/// Refuses a broker that does not know what is in force.
pub(super) fn check_features(image: &Image, id: BrokerId, known: &[FeatureRange]) -> Result<(), Refusal> {
    let unknown = image.features().find(|(name, level)| {
        !known.iter().any(|range| range.name == *name && (range.min..=range.max).contains(level))
    });
    match unknown {
        None => Ok(()),
        Some((name, level)) => {
            let message = format!(
                "Broker {id} does not know level {level} of feature {name}, which is in force: start a newer version \
                 of the program."
            );
            Err(Refusal::new(RefusalCode::UnsupportedVersion, message))
        }
    }
}
