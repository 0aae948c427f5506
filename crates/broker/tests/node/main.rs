//! A whole node under raw requests.

// All of it is tests.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod cluster;
mod connections;
mod fetching;
mod groups;
mod metadata;
mod metadata_crashes;
mod metadata_log;
mod offsets;
mod producing;
mod record_crashes;
mod repair;
mod turned_away;
