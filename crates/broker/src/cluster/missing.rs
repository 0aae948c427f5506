//! Topics that come into being because a client asked for them.

use super::{Cluster, Forward};
use crate::handlers::create_topics::new_topic;
use crate::response::frame_bytes;
use highwater_env::Env;
use highwater_metadata::controller::{self, NewTopic};
use highwater_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use highwater_wire::{Message, Str, encode_request};
use std::time::Duration;

/// How long the controller has for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The length before a frame.
const LENGTH_BYTES: usize = 4;

impl<E: Env> Cluster<E> {
    /// Creates topics with the defaults for everything. Those that cannot be created are not.
    pub(crate) async fn create_missing_topics(&self, names: Vec<String>) {
        let topic = |name: &String| CreatableTopic {
            name: Str::from(name.as_str()),
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        self.create_topics(names.iter().map(topic).collect()).await;
    }

    /// Creates topics. Those that cannot be created are not; the caller looks.
    pub(crate) async fn create_topics(&self, topics: Vec<CreatableTopic>) {
        let request = CreateTopicsRequest {
            topics,
            timeout_ms: i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX),
            validate_only: false,
        };
        let version = *CreateTopicsRequest::VERSIONS.end();
        let frame = match encode_request(0, Some("highwater"), version, &request) {
            Ok(frame) => frame_bytes(frame).split_off(LENGTH_BYTES),
            Err(error) => {
                return tracing::error!(%error, "topics that clients asked for could not be created");
            }
        };
        match self.forward(frame).await {
            // Another request may have been faster, or the names may not do.
            Forward::Answered(_) => {}
            Forward::Here => self.create_topics_here(&request.topics).await,
            Forward::Lost(problem) => {
                tracing::warn!(problem, "topics that clients asked for may not have been created")
            }
        }
    }

    async fn create_topics_here(&self, topics: &[CreatableTopic]) {
        let topics: Vec<NewTopic> = topics.iter().map(new_topic).collect();
        let draw_id = || self.draw_topic_id();
        match self.change(|view| controller::create_topics(view, &topics, false, draw_id)).await {
            Ok(answers) => {
                let refused = topics.iter().zip(answers).filter_map(|(topic, it)| Some((topic, it.err()?)));
                for (topic, refusal) in refused {
                    // Another request may have been faster.
                    tracing::debug!(topic = %topic.name, %refusal, "a topic was not created");
                }
            }
            Err(error) => tracing::warn!(%error, "topics that clients asked for could not be created"),
        }
    }
}
