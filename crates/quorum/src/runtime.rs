//! The library's runtime: the environment of the node whose task it runs in.
//!
//! The library's runtime has functions without a receiver. They find the node's environment in a variable of the
//! thread that [`within`] sets around each turn of a task, so that many simulated nodes share a thread.

use highwater_env::{Env, Purpose, Rng, Sleep, Task, TaskEnd};
use highwater_types::{Instant, mutant};
use openraft::AsyncRuntime;
use rand::Rng as _;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn DynEnv>>> = const { RefCell::new(None) };
}

/// What the library needs of an environment, without its type.
pub(crate) trait DynEnv: Send + Sync {
    fn now(&self) -> Instant;
    fn sleep_until(&self, deadline: Instant) -> Sleep;
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> Task;
    fn random(&self) -> Rng;
}

impl<E: Env> DynEnv for E {
    fn now(&self) -> Instant {
        if mutant!("raft-wallclock") {
            return Instant(
                u64::try_from(self.clock().wall().0).unwrap_or_default().saturating_mul(1_000_000),
            );
        }
        self.clock().now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        if mutant!("raft-wallclock") {
            let left = deadline.since(DynEnv::now(self));
            return self.clock().sleep_until(self.clock().now().after(left));
        }
        self.clock().sleep_until(deadline)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> Task {
        Env::spawn(self, "quorum", task)
    }

    fn random(&self) -> Rng {
        self.entropy(Purpose::Election)
    }
}

/// Runs a future with an environment in scope.
pub(crate) fn within<F: Future>(env: Arc<dyn DynEnv>, work: F) -> Within<F> {
    Within { env, work: Box::pin(work) }
}

/// See [`within`].
pub(crate) struct Within<F> {
    env: Arc<dyn DynEnv>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _scope = Scope::enter(Arc::clone(&self.env));
        self.work.as_mut().poll(cx)
    }
}

/// Puts back what was in scope before, also when a turn panics.
struct Scope(Option<Arc<dyn DynEnv>>);

impl Scope {
    fn enter(env: Arc<dyn DynEnv>) -> Self {
        Self(CURRENT.replace(Some(env)))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

fn current() -> Arc<dyn DynEnv> {
    let env = CURRENT.with_borrow(Option::clone);
    env.expect("Invariant: the library runs with a node's environment in scope")
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvRuntime;

impl AsyncRuntime for EnvRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: Send + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = EnvInstant;
    type TimeoutError = highwater_env::Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = Timeout<T>;
    type ThreadLocalRng = Random;
    type OneshotSender<T: Send> = Sender<T>;
    type OneshotReceiver<T: Send> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let env = current();
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let task = within(Arc::clone(&env), async move {
            let value = future.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        });
        JoinHandle { task: env.spawn(Box::pin(task)), result }
    }

    fn sleep(duration: Duration) -> Sleep {
        let env = current();
        env.sleep_until(env.now().after(duration))
    }

    fn sleep_until(deadline: EnvInstant) -> Sleep {
        current().sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { work: Box::pin(future), deadline: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: EnvInstant, future: F) -> Timeout<F> {
        Timeout { work: Box::pin(future), deadline: Self::sleep_until(deadline) }
    }

    fn is_panic(error: &JoinError) -> bool {
        error.0 == TaskEnd::Panicked
    }

    fn thread_rng() -> Random {
        Random(current().random())
    }

    fn oneshot<T: Send>() -> (Sender<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), receiver)
    }
}

/// A point on the node's monotonic clock. Subtraction saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnvInstant(Instant);

impl openraft::Instant for EnvInstant {
    fn now() -> Self {
        Self(current().now())
    }
}

impl Add<Duration> for EnvInstant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.after(by))
    }
}

impl AddAssign<Duration> for EnvInstant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for EnvInstant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(Instant(self.0.0.saturating_sub(by)))
    }
}

impl SubAssign<Duration> for EnvInstant {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

impl Sub for EnvInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.since(earlier.0)
    }
}

/// A task did not end by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinError(TaskEnd);

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a task of the quorum ended: {:?}", self.0)
    }
}

/// Waits for what a task gives.
pub(crate) struct JoinHandle<T> {
    task: Task,
    result: Arc<Mutex<Option<T>>>,
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = std::task::ready!(Pin::new(&mut self.task).poll(cx));
        let value = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        Poll::Ready(value.ok_or(JoinError(end)))
    }
}

/// Work with a deadline.
pub(crate) struct Timeout<F> {
    work: Pin<Box<F>>,
    deadline: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, highwater_env::Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.work.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        self.deadline.as_mut().poll(cx).map(|()| Err(highwater_env::Elapsed))
    }
}

/// The sending end of a channel for one value.
pub(crate) struct Sender<T>(oneshot::Sender<T>);

impl<T: Send> openraft::async_runtime::AsyncOneshotSendExt<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

/// The environment's randomness, by the trait of the older version of `rand` that the library takes.
pub(crate) struct Random(Rng);

impl rand08::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand08::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}
