//! System calls that may wait for a device, on the runtime's pool of blocking threads.

use std::io;
use std::panic::resume_unwind;
use tokio::runtime::Handle;

/// Runs `call` on the blocking pool. It runs to its end even when the returned future is dropped.
pub(crate) async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match runtime.spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(io::Error::other("the runtime is shutting down")),
        },
    }
}
