//! The executor that does nothing: for measuring, and for jobs that only mark a point in time.

use async_trait::async_trait;

use super::Executor;
use super::attempt::{AttemptContext, Completion, Control, Outcome};

#[derive(Clone, Copy, Debug, Default)]
pub struct NoopExecutor;

#[async_trait]
impl Executor for NoopExecutor {
    async fn run(&self, _attempt: AttemptContext, _control: Control) -> Outcome {
        Outcome::Completed(Completion::default())
    }
}
