//! Running futures side by side without tasks.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Runs a future per item, at most `limit` at once, and returns the results in the order of the items.
///
/// Every wake-up polls all that run: meant for small limits.
pub(crate) async fn for_each_bounded<T, R: Send, Fut: Future<Output = R> + Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send> + Send,
    limit: usize,
    mut work: impl FnMut(T) -> Fut + Send,
) -> Vec<R> {
    let mut items = items.into_iter();
    let mut results: Vec<Option<R>> = Vec::new();
    let mut running: Vec<(usize, Pin<Box<Fut>>)> = Vec::new();
    poll_fn(|cx| {
        loop {
            while running.len() < limit.max(1) {
                let Some(item) = items.next() else { break };
                running.push((results.len(), Box::pin(work(item))));
                results.push(None);
            }
            let before = running.len();
            if before == 0 {
                return Poll::Ready(());
            }
            running.retain_mut(|(slot, future)| match future.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    results[*slot] = Some(result);
                    false
                }
                Poll::Pending => true,
            });
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    results.into_iter().map(|result| result.expect("all futures have ended")).collect()
}
