//! A whole node under raw requests.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]
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
mod retention;
mod turned_away;
