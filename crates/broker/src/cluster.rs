//! The cluster's metadata: its log, its image, and the one place where it changes.
//!
//! A change is decided on the present image, made durable in the metadata log, applied, carried out on the logs of this
//! node, published to the directory, and only then answered. Changes come one after another.

use crate::directory::Directory;
use crate::topic::log_config;
use bytes::Bytes;
use highwater_env::{Env, Event, Purpose};
use highwater_log::{AppendError, Log, LogConfig, LogError, ReadError, Store};
use highwater_metadata::configs::ConfigView;
use highwater_metadata::controller::{self, Decision, NewTopic, ProducerIdBlock};
use highwater_metadata::{
    ApplyError, BrokerRecord, Change, Endpoint, FrameError, Image, METADATA_LOG, MetadataRecord, Refusal,
};
use highwater_records::{BatchBuilder, BatchError, Batches, Codec};
use highwater_types::{BrokerId, ClusterId, LeaderEpoch, LogId, Offset, TopicId, Uuid};
use rand::Rng as _;
use std::sync::Arc;
use tokio::sync::Mutex;
