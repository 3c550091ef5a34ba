//! The one way to start a background task: with a name, in a span, so that logs and traces tell who does it.

use std::future::Future;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Spawns `future` on the current tokio runtime inside a span named `task` with field `name`.
///
/// Cancellation: dropping the handle detaches the task; abort it through the handle.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::info_span!("task", name)))
}

/// As [`spawn`], on the given runtime: for work that must not share the thread of an actor.
pub fn spawn_on<F>(runtime: &tokio::runtime::Handle, name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    runtime.spawn(future.instrument(tracing::info_span!("task", name)))
}

/// As [`spawn`], on the present thread, which must be one of actix: for what cannot leave it.
pub fn spawn_local<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    tokio::task::spawn_local(future.instrument(tracing::info_span!("task", name)))
}
