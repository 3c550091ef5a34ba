//! The REST client of the command line.
//!
//! Must stay true: every call has a timeout; a call is repeated only when the server cannot have begun it (no connection,
//! 429, 503) and a few times at most; what the server says is wrong comes back whole, as a [`Problem`].

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::problem::Problem;
use crate::config::Secret;
use crate::worker::{TrustError, trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a transfer of any length may take; each part of it has [`CALL_TIMEOUT`].
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
const TRIES: u32 = 4;
/// A server that asks for more patience than this is told to the user instead.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot reach {server}: {what}. Is it running? Another one is named by --server URL, GRID_SERVER or a context"
    )]
    Unreachable { server: String, what: String },
    #[error(
        "{server} is not trusted: {what}. Name the authority that signed its certificate: --ca FILE, GRID_CA or a context"
    )]
    Untrusted { server: String, what: String },
    #[error("the connection to {server} broke: {what}; whether the call was carried out is unknown")]
    Broken { server: String, what: String },
    #[error("the transfer from {server} broke off: {what}; what came is not whole: export again")]
    BrokenOff { server: String, what: String },
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("{server} answered {status} with something that is not JSON: {start:?}; is it a server of grid?")]
    NotJson {
        server: String,
        status: StatusCode,
        start: String,
    },
    #[error("--server {0:?} is not a URL such as http://127.0.0.1:8080")]
    Url(String),
    #[error("--ca: {0}")]
    Authorities(#[from] TrustError),
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Error {
    /// The same call may succeed later without anybody doing anything: the server is away, starting, or full.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 502..=504),
            Self::NotJson { status, .. } => status.is_server_error(),
            Self::Untrusted { .. } | Self::BrokenOff { .. } | Self::Url(_) | Self::Authorities(_) | Self::Client(_) => {
                false
            }
        }
    }
}

/// A server of grid, seen from outside.
#[derive(Clone, Debug)]
pub struct Client {
    server: String,
    token: Option<Secret>,
    http: reqwest::Client,
}

impl Client {
    /// # Errors
    /// `server` is not an http(s) URL; `authorities` cannot be used.
    pub fn new(server: &str, token: Option<Secret>, authorities: Option<&Path>) -> Result<Self, Error> {
        let server = server.trim_end_matches('/').to_owned();
        let scheme = reqwest::Url::parse(&server).map(|url| url.scheme().to_owned());
        if !matches!(scheme.as_deref(), Ok("http" | "https")) {
            return Err(Error::Url(server));
        }
        let http = trust(reqwest::Client::builder(), authorities)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .user_agent(concat!("grid/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { server, token, http })
    }

    /// GET `path` with `query`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Error> {
        self.call(self.request(Method::GET, path).query(query)).await
    }

    /// GET `path` with `query`, as a transfer whose parts are asked for one after the other.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn download(&self, path: &str, query: &[(&str, String)]) -> Result<Transfer, Error> {
        let request = self.request(Method::GET, path).query(query).timeout(TRANSFER_TIMEOUT);
        let sent = tokio::time::timeout(CALL_TIMEOUT, self.send(request)).await;
        let response = match sent {
            Ok(sent) => sent.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.too_late()),
        };
        if response.status().is_success() {
            let server = self.server.clone();
            return Ok(Transfer { server, response });
        }
        let status = response.status();
        Err(match self.answer(Ok(response)).await {
            Err(error) => error,
            Ok(_) => self.not_json(status, &[]),
        })
    }

    fn too_late(&self) -> Error {
        Error::Broken {
            server: self.server.clone(),
            what: "no answer in time".to_owned(),
        }
    }

    /// DELETE `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.call(self.request(Method::DELETE, path)).await
    }

    /// POST `path` with `query`, and with a body of a media type when there is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Value, Error> {
        let mut request = self.request(Method::POST, path).query(query);
        if let Some((media_type, bytes)) = body {
            request = request.header(CONTENT_TYPE, media_type).body(bytes);
        }
        self.call(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        let request = request.header(ACCEPT, "application/json, application/problem+json");
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    async fn call(&self, request: RequestBuilder) -> Result<Value, Error> {
        let sent = self.send(request).await;
        self.answer(sent).await
    }

    async fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let mut pause = Duration::from_millis(100);
        for left in (0..TRIES).rev() {
            let Some(this_try) = request.try_clone() else {
                return request.send().await;
            };
            let sent = this_try.send().await;
            let wait = match &sent {
                Err(error) if error.is_connect() && !is_untrusted(error) => Some(pause),
                Ok(response) => asked_to_wait(response).map(|asked| asked.unwrap_or(pause)),
                Err(_) => None,
            };
            match wait.filter(|wait| left > 0 && *wait <= LONGEST_WAIT) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return sent,
            }
            pause *= 3;
        }
        request.send().await
    }

    async fn answer(&self, sent: reqwest::Result<Response>) -> Result<Value, Error> {
        let response = sent.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        let json = serde_json::from_slice::<Value>(&body);
        match json {
            Ok(value) if status.is_success() => Ok(value),
            Ok(value) => {
                let mut problem = Problem::read(status.as_u16(), &value);
                problem.server.clone_from(&self.server);
                Err(Error::Problem(Box::new(problem)))
            }
            Err(_) => Err(self.not_json(status, &body)),
        }
    }

    fn not_json(&self, status: StatusCode, body: &[u8]) -> Error {
        Error::NotJson {
            server: self.server.clone(),
            status,
            start: String::from_utf8_lossy(body).chars().take(200).collect(),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        let (server, what) = (self.server.clone(), innermost(error));
        if is_untrusted(error) {
            Error::Untrusted { server, what }
        } else if error.is_connect() {
            Error::Unreachable { server, what }
        } else {
            Error::Broken { server, what }
        }
    }
}

/// A body that comes in parts, as long as it may be.
#[derive(Debug)]
pub struct Transfer {
    server: String,
    response: Response,
}

impl Transfer {
    /// The next part; none at the end.
    ///
    /// # Errors
    /// It broke off, or nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let part = tokio::time::timeout(CALL_TIMEOUT, self.response.chunk()).await;
        let broken_off = |what| Error::BrokenOff {
            server: self.server.clone(),
            what,
        };
        match part {
            Ok(part) => part.map_err(|error| broken_off(innermost(&error))),
            Err(_) => Err(broken_off(format!("nothing came for {CALL_TIMEOUT:?}"))),
        }
    }
}

/// The outermost message names the URL again; the innermost says what happened.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let last = causes(error).last();
    last.map(ToString::to_string).unwrap_or_default()
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
        // An I/O error hands over the causes of what it holds, but not that itself.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        }
    })
}

/// Its certificate was refused here: to ask again does not help. The TLS library tells so in words alone.
fn is_untrusted(error: &reqwest::Error) -> bool {
    let words = ["certificate verify failed", "invalid peer certificate"];
    causes(error).any(|cause| {
        let text = cause.to_string();
        words.iter().any(|word| text.contains(word))
    })
}

/// Whether the server refused before doing anything, and for how long it asks to stay away.
#[expect(clippy::option_option, reason = "refused or not, and with a time or without")]
fn asked_to_wait(response: &Response) -> Option<Option<Duration>> {
    let refused = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let seconds = || response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok();
    refused.then(|| seconds().map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{Answer, Server};

    #[tokio::test]
    async fn a_refusal_that_passes_is_tried_again_and_a_real_one_is_told_whole() {
        let server = Server::start(vec![
            Answer::json(429, r#"{"title": "busy"}"#).header("Retry-After", "0"),
            Answer::json(503, r#"{"title": "starting"}"#),
            Answer::json(200, r#"{"jobId": "job-1"}"#),
            Answer::json(
                409,
                r#"{"title": "Nothing failed", "status": 409, "code": "NOTHING_FAILED"}"#,
            ),
        ]);
        let client = Client::new(&format!("{}/", server.url()), None, None).unwrap();
        let body = Some(("application/json", b"{}".to_vec()));
        assert_eq!(client.post("/api/v1/jobs", &[], body).await.unwrap()["jobId"], "job-1");
        let refused = client.post("/api/v1/jobs/job-1/retry", &[], None).await.unwrap_err();
        assert!(
            !refused.may_pass() && refused.to_string().contains("NOTHING_FAILED"),
            "{refused}"
        );
        let lines = server.requests();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[..3].iter().all(|line| line == "POST /api/v1/jobs HTTP/1.1"),
            "{lines:?}"
        );
    }

    #[tokio::test]
    async fn what_is_no_server_of_grid_is_named() {
        let gone = Server::start(Vec::new()).into_url_of_nobody();
        let error = Client::new(&gone, None, None)
            .unwrap()
            .get("/api/v1/jobs", &[])
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("GRID_SERVER") && error.may_pass(), "{error}");
        let other = Server::start(vec![Answer::text(200, "<html>hello")]);
        let error = Client::new(other.url(), None, None)
            .unwrap()
            .get("/api/v1/jobs", &[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("<html>hello"), "{error}");
        assert!(Client::new("127.0.0.1:8080", None, None).is_err() && Client::new("ftp://x", None, None).is_err());
    }
}
