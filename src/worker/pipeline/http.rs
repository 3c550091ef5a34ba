//! Requests of the nodes `httpsource` and `httpsink`.
//!
//! A run has its thread to itself, so each node has a small runtime of its own there and waits in it; a cancelled run does
//! not wait on.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::context::{Control, RunContext, RunState};
use super::remote_config::HttpConfig;
use super::report::{PipelineFailure, PipelineFailureReason};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// So much of a refusal's body is told.
const TOLD_BYTES: usize = 512;

const MOST_REDIRECTS: usize = 10;

/// What becomes of an answer that points elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Redirects {
    Followed,
    /// What was sent would not be sent again there: most clients ask for the other place without it.
    Refused,
}

pub(super) struct Http {
    pub id: String,
    pub client: Client,
    pub url: Url,
    pub timeout: Duration,
    runtime: Runtime,
    control: Control,
}

impl Http {
    pub fn new(
        id: &str,
        config: &HttpConfig,
        redirects: Redirects,
        context: &RunContext,
    ) -> Result<Self, PipelineFailure> {
        let failure = |error: &dyn std::error::Error| PipelineFailure::error(id, "cannot make an HTTP client", error);
        let runtime = Builder::new_current_thread().enable_all().build();
        let mut headers = HeaderMap::new();
        for (name, text) in &config.headers {
            let value = HeaderValue::from_str(&text.reveal(id, context)?);
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(value.ok());
            let (name, mut value) = header.ok_or_else(|| {
                let message = format!("the value of the header `{name}` cannot be sent");
                PipelineFailure::new(PipelineFailureReason::InvalidDag, id, message)
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(config.timeout)
            .default_headers(headers)
            .redirect(match redirects {
                Redirects::Refused => Policy::none(),
                Redirects::Followed if config.has_secrets() => Policy::custom(within_the_server),
                Redirects::Followed => Policy::limited(MOST_REDIRECTS),
            })
            .build();
        Ok(Self {
            id: id.to_owned(),
            client: client.map_err(|error| failure(&error))?,
            url: config.url.clone(),
            timeout: config.timeout,
            runtime: runtime.map_err(|error| failure(&error))?,
            control: context.control.clone(),
        })
    }

    /// Does the work, unless the run is cancelled before its end.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, PipelineFailure> {
        self.unless(RunState::Cancel, work)
            .ok_or_else(PipelineFailure::cancelled)
    }

    /// Does the work; `None`: before its end, the run was told so much.
    pub fn unless<T>(&self, told: RunState, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.control.told(told) => None,
                done = work => Some(done),
            }
        })
    }

    /// Without what may be meant for the server alone.
    pub fn shown(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.url.host_str().unwrap_or_default();
        format!("{}://{host}{port}{}", self.url.scheme(), self.url.path())
    }

    pub fn unreachable(&self, error: &reqwest::Error) -> PipelineFailure {
        // Its text names the whole URL.
        let mut failure = PipelineFailure::new(
            PipelineFailureReason::Error,
            &self.id,
            format!("{} does not answer", self.shown()),
        );
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            failure.causes.push(next.to_string());
            cause = next.source();
        }
        if error.is_timeout() {
            failure.causes.push(format!("nothing came for {:?}", self.timeout));
        }
        failure
    }

    /// What an answer that is no success means for the run.
    pub fn refused(&self, status: StatusCode, body: &str) -> PipelineFailure {
        let reason = match status.as_u16() {
            401 | 403 => PipelineFailureReason::Authentication,
            // What was sent is wrong; it would be again.
            400 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 422 | 431 => PipelineFailureReason::Unrecoverable,
            _ => PipelineFailureReason::Error,
        };
        let mut failure = PipelineFailure::new(reason, &self.id, format!("{} answers {status}", self.shown()));
        if !body.trim().is_empty() {
            failure.causes.push(body.trim().to_owned());
        }
        failure
    }
}

/// Secrets are for the server that the document names.
fn within_the_server(attempt: Attempt<'_>) -> Action {
    let named = attempt.previous().first().map(Url::origin);
    if named == Some(attempt.url().origin()) && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// The beginning of a body, for a message.
pub(super) async fn excerpt(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < TOLD_BYTES {
        match response.chunk().await {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(TOLD_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}
