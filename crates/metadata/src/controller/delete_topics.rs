//! Deleting topics.

use super::{Decision, Draft};
use crate::configs::ConfigView;
use crate::image::Topic;
use crate::records::{MetadataRecord, RemoveTopicRecord};
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::TopicId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By its name.
    Name(String),
    /// By its id.
    Id(TopicId),
}

/// Decides on the deletion of topics. The answers are the topics as they were. One that is named twice, be it once
/// by name and once by id, is not deleted.
pub fn delete_topics(view: &ConfigView<'_>, topics: &[TopicRef]) -> Decision<Arc<Topic>> {
    let mut draft = Draft::new();
    let enabled = view.broker().delete_topic_enable;
    let found: Vec<_> = topics.iter().map(|topic| find(view, topic)).collect();
    let mut named: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in found.iter().flatten() {
        *named.entry(topic.id()).or_default() += 1;
    }
    let answers = found
        .into_iter()
        .map(|found| {
            let topic = if enabled { found? } else { return Err(disabled()) };
            if named.get(&topic.id()).is_some_and(|&times| times > 1) {
                let message = format!("Topic {:?} is in the request more than once.", topic.name());
                return Err(Refusal::new(RefusalCode::InvalidRequest, message));
            }
            draft.add(vec![MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic.id() })])?;
            Ok(topic)
        })
        .collect();
    draft.finish(answers)
}

fn find(view: &ConfigView<'_>, topic: &TopicRef) -> Result<Arc<Topic>, Refusal> {
    match topic {
        TopicRef::Name(name) => view.image.topic(name).cloned().ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownTopicOrPartition, "This server does not host this topic.")
        }),
        TopicRef::Id(id) => view.image.topic_by_id(*id).cloned().ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownTopicId, "This server does not host this topic ID.")
        }),
    }
}

fn disabled() -> Refusal {
    Refusal::new(RefusalCode::TopicDeletionDisabled, "Topic deletion is disabled (delete.topic.enable).")
}
