//! Documents by their hash, fetched from the API once and kept while they are used.
//!
//! Must stay true: what is given has the hash that was asked for; one fetch of a hash is under way at a time; what is
//! kept is bounded; while one of the API's addresses answers, a document is had without a pause.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use reqwest::StatusCode;

use super::addresses::Addresses;
use super::trust::trust;
use crate::causes::chain;
use crate::config::Secret;
use crate::document::{JobDocument, NormalisedDocument, TaskSpec};

/// Documents that are kept.
const KEPT: usize = 64;
/// A document of at most 1 MiB can grow when it is normalised; nothing longer is read.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How often all addresses are asked.
const ROUNDS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a document cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    #[error("the API at {url} does not answer: {why}")]
    Unreachable { url: String, why: String },
    #[error("the API at {url} answers {status}; check worker.api_token")]
    Refused { url: String, status: StatusCode },
    #[error("the API at {url} answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("what {url} gave has the hash {found}")]
    WrongHash { url: String, found: String },
    #[error("what {url} gave cannot be read: {why}")]
    Unreadable { url: String, why: String },
    #[error("the document {hash} has no group {index}")]
    NoGroup { hash: String, index: u32 },
}

impl FetchError {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            // Not there: it was written before its command, but perhaps to a server that has not seen it yet.
            Self::Unreachable { .. } | Self::Status { .. } | Self::WrongHash { .. } => true,
            Self::Client(_) | Self::Refused { .. } | Self::Unreadable { .. } | Self::NoGroup { .. } => false,
        }
    }
}

type Fetched = Result<Arc<JobDocument>, FetchError>;

struct Entry {
    document: Shared<BoxFuture<'static, Fetched>>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<String, Entry>,
    uses: u64,
}

pub(super) struct Documents {
    client: Result<reqwest::Client, FetchError>,
    addresses: Arc<Addresses>,
    token: Secret,
    cache: Mutex<Cache>,
}

impl Documents {
    /// `api_url`: one or more addresses, separated by commas.
    #[cfg(test)]
    pub(super) fn new(api_url: &str, token: Secret) -> Self {
        Self::trusting(api_url, token, None)
    }

    /// `authorities`: a file of those that are trusted besides the machine's.
    pub(super) fn trusting(api_url: &str, token: Secret, authorities: Option<&Path>) -> Self {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        let client = trust(builder, authorities)
            .map_err(|error| error.to_string())
            .and_then(|builder| builder.build().map_err(|error| error.to_string()));
        Self {
            client: client.map_err(FetchError::Client),
            addresses: Arc::new(Addresses::read(api_url)),
            token,
            cache: Mutex::default(),
        }
    }

    /// The group of the document, counted among those that have replicas.
    pub(super) async fn task(&self, hash: &str, group_index: u32) -> Result<Arc<TaskSpec>, FetchError> {
        let document = self.document(hash).await?;
        let mut groups = document.tasks.iter().filter(|task| task.replicas > 0);
        let group = groups.nth(group_index as usize).cloned();
        group.ok_or_else(|| FetchError::NoGroup {
            hash: hash.to_owned(),
            index: group_index,
        })
    }

    async fn document(&self, hash: &str) -> Fetched {
        let document = self.entry(hash)?;
        let fetched = document.clone().await;
        if fetched.is_err() {
            // The next one asks anew; unless somebody has begun to.
            let mut cache = self.lock();
            if cache
                .entries
                .get(hash)
                .is_some_and(|entry| entry.document.ptr_eq(&document))
            {
                cache.entries.remove(hash);
            }
        }
        fetched
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, hash: &str) -> Result<Shared<BoxFuture<'static, Fetched>>, FetchError> {
        let mut cache = self.lock();
        cache.uses += 1;
        let used = cache.uses;
        if let Some(entry) = cache.entries.get_mut(hash) {
            entry.used = used;
            return Ok(entry.document.clone());
        }
        if cache.entries.len() >= KEPT {
            let oldest = cache
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(hash, _)| hash.clone());
            oldest.map(|hash| cache.entries.remove(&hash));
        }
        let fetch = Fetch {
            client: self.client.clone()?,
            addresses: Arc::clone(&self.addresses),
            token: self.token.clone(),
            hash: hash.to_owned(),
        };
        let document = fetch.until_it_is_had().boxed().shared();
        let entry = Entry {
            document: document.clone(),
            used,
        };
        cache.entries.insert(hash.to_owned(), entry);
        Ok(document)
    }
}

struct Fetch {
    client: reqwest::Client,
    addresses: Arc<Addresses>,
    token: Secret,
    hash: String,
}

impl Fetch {
    async fn until_it_is_had(self) -> Fetched {
        let mut pause = FIRST_PAUSE;
        let mut round = 1;
        loop {
            let error = match self.anywhere(round).await {
                Ok(document) => {
                    metrics::counter!("grid_worker_documents_fetched_total").increment(1);
                    return Ok(document);
                }
                Err(error) => error,
            };
            if round == ROUNDS || !error.may_pass() {
                return Err(error);
            }
            round += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Asks one address after the other.
    async fn anywhere(&self, round: u32) -> Fetched {
        let mut last = Err(FetchError::Client("worker.api_url is empty".to_owned()));
        for (index, base) in self.addresses.in_turn() {
            last = self.once(base).await;
            match &last {
                Ok(_) => self.addresses.answers(index),
                Err(error) => {
                    metrics::counter!("grid_worker_document_failures_total").increment(1);
                    tracing::warn!(%error, round, "worker.document_failed");
                }
            }
            if !last.as_ref().is_err_and(FetchError::may_pass) {
                break;
            }
        }
        last
    }

    async fn once(&self, base: &str) -> Fetched {
        let full = format!("{base}/api/v1/internal/documents/{}", self.hash);
        let url = || full.clone();
        let unreachable = |error: reqwest::Error| FetchError::Unreachable {
            url: url(),
            why: chain(&error.without_url()),
        };
        let request = self.client.get(&full).bearer_auth(self.token.reveal());
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(FetchError::Refused { url: url(), status }),
            _ => return Err(FetchError::Status { url: url(), status }),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BYTES {
                let why = format!("it has more than {MAX_BYTES} bytes");
                return Err(FetchError::Unreadable { url: url(), why });
            }
        }
        let found = NormalisedDocument::hash_of(&bytes);
        if found != self.hash {
            return Err(FetchError::WrongHash { url: url(), found });
        }
        // Reading a long one takes milliseconds, which the heartbeats should not wait for.
        let read = tokio::task::spawn_blocking(move || NormalisedDocument::read(&bytes)).await;
        let unreadable = |why: String| FetchError::Unreadable { url: url(), why };
        let document = read.map_err(|error| unreadable(error.to_string()))?;
        let first = |errors: Vec<crate::document::DocumentError>| {
            errors
                .first()
                .map_or_else(|| "it is no document".to_owned(), ToString::to_string)
        };
        document.map(Arc::new).map_err(|errors| unreadable(first(errors)))
    }
}
