//! `#[derive(Message)]`: reads and writes a Kafka message as its attributes say.
//!
//! The struct carries the message's versions, each field the versions that have it:
//!
//! ```text
//! #[derive(Clone, Debug, PartialEq, Message)]
//! #[message(key = FETCH, response = FetchResponse, versions = "4-18", flexible = "12+")]
//! pub struct FetchRequest {
//!     #[field(versions = "12+", nullable = "12+", tag = 0)]
//!     pub cluster_id: Option<Str>,
//!     #[field(versions = "0-14", default = BrokerId(-1))]
//!     pub replica_id: BrokerId,
//!     ...
//! }
//! ```
//!
//! On the struct: `versions` are those that the message knows; `flexible` is the first version with compact
//! lengths and tagged fields ("none" for a message without). `key` (a constant of `ApiKey`) and `response`
//! make it a `Request`. A struct inside a message has no `#[message]`: it takes version and flexibility from
//! the message around it.
//!
//! On a field: `versions` that have it ("0+" if not given), `nullable` versions (needed for an `Option`),
//! `default` (an expression; else the type's own) for versions without the field, `tag` if it is a tagged
//! field.
//!
//! `Default` comes with the derive, since the defaults are part of the schema.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See the crate's documentation.
#[proc_macro_derive(Message, attributes(message, field))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::message(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
