//! The way of attempts to their checkpoints, which the API keeps.
//!
//! The secrets of attempts are made here, from a key that the worker process fetches once. Must stay true: whatever
//! becomes of the API, no attempt waits for it for long, and none fails for it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::addresses::Addresses;
use super::trust::trust;
use crate::causes::chain;
use crate::checkpoint::{self, AttemptSecret, WorkerKey};
use crate::config::Secret;
use crate::domain::{Attempt, Incarnation, TaskId};

/// How long an attempt waits for the key of its worker, or for a checkpoint.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a failure to get the key nobody asks for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a checkpoint cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("this worker has no key for checkpoints")]
    NoKey,
    #[error("the API does not answer: {0}")]
    Unreachable(String),
    #[error("the API answers {0}")]
    Refused(StatusCode),
    /// For good.
    #[error("the task has ended")]
    TaskFinished,
    #[error("the attempt is over")]
    AttemptOver,
}

/// What an earlier attempt kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredCheckpoint {
    pub data: String,
    pub attempt: u32,
}

/// CHECKPOINT_URL of an attempt. Prints nothing of its secret.
#[derive(Clone)]
pub struct CheckpointUrl {
    pub url: String,
    /// The part of it that nobody else may see.
    pub secret: String,
}

impl fmt::Debug for CheckpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The checkpoints of a worker process; cheap to clone.
#[derive(Clone, Default)]
pub struct Checkpoints(Option<Arc<Inner>>);

/// What the checkpoints of a worker process need.
pub(super) struct CheckpointsSetup<'a> {
    /// One or more addresses, separated by commas.
    pub api_url: &'a str,
    pub token: Secret,
    /// A file of those that are trusted besides the machine's.
    pub authorities: Option<&'a Path>,
    pub incarnation: Incarnation,
    /// How often a pipeline keeps one.
    pub every: Duration,
}

struct Inner {
    client: Client,
    addresses: Addresses,
    token: Secret,
    incarnation: Incarnation,
    every: Duration,
    key: OnceLock<WorkerKey>,
    /// When the key could not be had last; held while one asks for it.
    failed: Mutex<Option<Instant>>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Checkpoints" } else { "Nowhere" })
    }
}

#[derive(Deserialize)]
struct KeyView {
    key: String,
}

#[derive(Deserialize)]
struct ProblemView {
    code: String,
}

impl Checkpoints {
    /// Where nothing is kept.
    pub fn nowhere() -> Self {
        Self(None)
    }

    pub(super) fn new(setup: CheckpointsSetup<'_>) -> Self {
        let CheckpointsSetup {
            api_url,
            token,
            authorities,
            incarnation,
            every,
        } = setup;
        let builder = Client::builder().connect_timeout(PATIENCE).timeout(PATIENCE);
        let client = trust(builder, authorities)
            .map_err(|error| error.to_string())
            .and_then(|builder| builder.build().map_err(|error| chain(&error)));
        match client {
            Ok(client) => Self(Some(Arc::new(Inner {
                client,
                addresses: Addresses::read(api_url),
                token,
                incarnation,
                every,
                key: OnceLock::new(),
                failed: Mutex::new(None),
            }))),
            Err(error) => {
                tracing::error!(error, "worker.checkpoints.no_client");
                Self(None)
            }
        }
    }

    /// How often a pipeline keeps one; `None` where nothing is kept.
    pub fn every(&self) -> Option<Duration> {
        self.0.as_ref().map(|inner| inner.every)
    }

    /// CHECKPOINT_URL of an attempt; `None` when the API cannot be reached.
    pub async fn url(&self, task: TaskId, attempt: Attempt) -> Option<CheckpointUrl> {
        let inner = self.0.as_ref()?;
        let secret = inner.secret(task, attempt).await?;
        let (_, base) = inner.addresses.in_turn().next()?;
        Some(CheckpointUrl {
            url: checkpoint::url(base, task, attempt, &secret),
            secret: secret.reveal(),
        })
    }

    /// What the greatest earlier attempt kept that kept anything, or this one.
    pub async fn load(&self, task: TaskId, attempt: Attempt) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        let request = |client: &Client, url: &str| client.get(url);
        let response = self.call(task, attempt, request).await?;
        match response.status() {
            StatusCode::OK => {
                let unreadable = |error: reqwest::Error| CheckpointError::Unreachable(chain(&error.without_url()));
                response.json().await.map(Some).map_err(unreadable)
            }
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(CheckpointError::Refused(status)),
        }
    }

    /// Keeps the attempt's newest.
    pub async fn save(&self, task: TaskId, attempt: Attempt, ts: i64, data: &str) -> Result<(), CheckpointError> {
        let body = json!({ "ts": ts, "data": data });
        let request = |client: &Client, url: &str| client.post(url).json(&body);
        let response = self.call(task, attempt, request).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            StatusCode::CONFLICT => {
                let problem: Option<ProblemView> = response.json().await.ok();
                Err(match problem {
                    Some(problem) if problem.code == "TASK_FINISHED" => CheckpointError::TaskFinished,
                    Some(_) | None => CheckpointError::AttemptOver,
                })
            }
            status => Err(CheckpointError::Refused(status)),
        }
    }

    /// Asks one address after the other until one answers.
    async fn call(
        &self,
        task: TaskId,
        attempt: Attempt,
        request: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<Response, CheckpointError> {
        let inner = self.0.as_ref().ok_or(CheckpointError::NoKey)?;
        let secret = inner.secret(task, attempt).await.ok_or(CheckpointError::NoKey)?;
        let url = |base: &str| checkpoint::url(base, task, attempt, &secret);
        let send = |base: &str| request(&inner.client, &url(base)).send();
        inner.anywhere(send).await
    }
}

impl Inner {
    async fn secret(&self, task: TaskId, attempt: Attempt) -> Option<AttemptSecret> {
        if let Some(key) = self.key.get() {
            return Some(key.secret(task, attempt));
        }
        let mut failed = self.failed.lock().await;
        // Somebody else may have got it meanwhile, or have just failed to.
        if self.key.get().is_none() && failed.is_none_or(|at| at.elapsed() >= PAUSE) {
            let fetched = tokio::time::timeout(PATIENCE, self.fetch_key()).await;
            match fetched.unwrap_or_else(|_| Err(CheckpointError::Unreachable("it takes too long".to_owned()))) {
                Ok(key) => {
                    // Set once: the lock is held.
                    let _ = self.key.set(key);
                }
                Err(error) => {
                    metrics::counter!("grid_worker_checkpoint_failures_total", "what" => "key").increment(1);
                    tracing::warn!(%error, "worker.checkpoints.no_key");
                    *failed = Some(Instant::now());
                }
            }
        }
        self.key.get().map(|key| key.secret(task, attempt))
    }

    async fn fetch_key(&self) -> Result<WorkerKey, CheckpointError> {
        let send = |base: &str| {
            let url = format!("{base}/api/v1/internal/checkpoint-key/{}", self.incarnation);
            self.client.get(url).bearer_auth(self.token.reveal()).send()
        };
        let response = self.anywhere(send).await?;
        if response.status() != StatusCode::OK {
            return Err(CheckpointError::Refused(response.status()));
        }
        let unreadable = |error: reqwest::Error| CheckpointError::Unreachable(chain(&error.without_url()));
        let view: KeyView = response.json().await.map_err(unreadable)?;
        WorkerKey::read(self.incarnation, &view.key).map_err(|error| CheckpointError::Unreachable(error.to_string()))
    }

    async fn anywhere<F>(&self, send: impl Fn(&str) -> F) -> Result<Response, CheckpointError>
    where
        F: Future<Output = reqwest::Result<Response>>,
    {
        let mut last = CheckpointError::Unreachable("worker.api_url is empty".to_owned());
        for (index, base) in self.addresses.in_turn() {
            match send(base).await {
                Ok(response) if response.status().is_server_error() => {
                    last = CheckpointError::Refused(response.status());
                }
                Ok(response) => {
                    self.addresses.answers(index);
                    return Ok(response);
                }
                // Without its URL, which holds the secret.
                Err(error) => last = CheckpointError::Unreachable(chain(&error.without_url())),
            }
        }
        Err(last)
    }
}
