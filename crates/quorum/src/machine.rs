//! What commands lead to.

use bytes::Bytes;

/// Encodes a state: run beside other tasks, because it may take long.
pub type Encode = Box<dyn FnOnce() -> Vec<Bytes> + Send>;

/// What the commands of a quorum lead to. Every member has one and hands it the same commands in the same order, so
/// that all reach the same state.
///
/// Methods are called one at a time and must be quick: the member applies nothing else meanwhile.
pub trait Machine: Send + 'static {
    /// Applies a command that is committed and not empty. `index` rises from call to call, with gaps where entries
    /// are the quorum's own; `term` is that in which the command was proposed.
    fn apply(&mut self, index: u64, term: u64, command: &Bytes);

    /// A snapshot of the state as it stands: what is returned encodes it in pieces of at most 1 MiB, and is not
    /// affected by what is applied later.
    fn snapshot(&self) -> Encode;

    /// Takes over the state of a snapshot that covers everything up to entry `index` of `term`. An error stops the
    /// member: it cannot go on without the state.
    fn restore(&mut self, index: u64, term: u64, pieces: Vec<Bytes>) -> Result<(), String>;
}
