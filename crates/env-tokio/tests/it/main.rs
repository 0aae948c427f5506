//! What this crate promises, tried on the operating system.

// A test may block a thread, and what its helpers unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;
mod disk;
mod env;
mod network;
