//! Removing lines from a VictoriaLogs (<https://docs.victoriametrics.com/victorialogs/#how-to-delete-logs>): a task that it
//! runs by itself, when it was started with `-delete.enable`.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::ask::{Client, unavailable};
use super::{StoreError, authorization};

/// How often it is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long it is waited for. It goes on after that.
const PATIENCE: Duration = Duration::from_secs(40);

const NOT_ENABLED: &str = "VictoriaLogs removes nothing as it was started: start it with the flag -delete.enable, and run the \
                           purge again";

/// A deletion that is under way.
#[derive(Deserialize)]
pub(super) struct Deletion {
    task_id: String,
}

impl Client {
    /// The deletions that are under way.
    ///
    /// # Errors
    /// When it removes nothing, or does not answer.
    pub(super) async fn deletions(&self) -> Result<Vec<Deletion>, StoreError> {
        let answer = self.delete_call("active_tasks", &[]).await?;
        let body = answer.bytes().await.map_err(|error| unavailable(&error))?;
        // Nothing under way is null.
        let active: Option<Vec<Deletion>> = serde_json::from_slice(&body)
            .map_err(|error| StoreError::Unavailable(format!("VictoriaLogs' list of deletions: {error}")))?;
        Ok(active.unwrap_or_default())
    }

    /// Removes the lines of a job; returns when they are gone.
    ///
    /// # Errors
    /// When it does not, or takes long.
    pub(super) async fn delete_job(&self, job_id: &str) -> Result<(), StoreError> {
        let filter = format!("job_id:={}", serde_json::Value::from(job_id));
        let answer = self.delete_call("run_task", &[("filter", filter)]).await?;
        let body = answer.bytes().await.map_err(|error| unavailable(&error))?;
        let begun: Deletion = serde_json::from_slice(&body)
            .map_err(|error| StoreError::Unavailable(format!("VictoriaLogs' answer to a deletion: {error}")))?;
        let deadline = Instant::now() + PATIENCE;
        while self.deletions().await?.iter().any(|task| task.task_id == begun.task_id) {
            if Instant::now() > deadline {
                let long = format!("VictoriaLogs still removes lines after {PATIENCE:?}");
                return Err(StoreError::Unavailable(long));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    async fn delete_call(&self, what: &str, form: &[(&str, String)]) -> Result<reqwest::Response, StoreError> {
        let request = self.http.post(format!("{}/delete/{what}", self.url)).form(form);
        let request = authorization(request, self.token.as_ref()).timeout(self.timeout);
        let answer = request.send().await.map_err(|error| unavailable(&error))?;
        self.success(answer).await.map_err(|error| match error {
            // What it says names the flag.
            StoreError::Refused(said) | StoreError::Invalid(said) | StoreError::Unavailable(said)
                if said.contains("-delete.enable") =>
            {
                StoreError::CannotErase(NOT_ENABLED.to_owned())
            }
            other => other,
        })
    }
}
