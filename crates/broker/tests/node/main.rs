//! A whole node under raw requests.

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod fetching;
mod metadata;
mod offsets;
mod producing;
