//! Hash maps whose order depends on nothing but their contents and history.
//!
//! The standard maps draw a seed per process, which would make two runs of one simulation differ. The hash here is
//! fast and not resistant to chosen keys: use a `BTreeMap` where keys come from outside.

#[allow(clippy::disallowed_types)]
mod inner {
    /// A hash map with a fixed hash function.
    pub type HashMap<K, V> = std::collections::HashMap<K, V, rustc_hash::FxBuildHasher>;
    /// A hash set with a fixed hash function.
    pub type HashSet<T> = std::collections::HashSet<T, rustc_hash::FxBuildHasher>;
}

pub use inner::{HashMap, HashSet};
