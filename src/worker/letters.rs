//! Dead letters of attempts: the way to the API, and the way back for those that replay them.
//!
//! Must stay true: no attempt waits for its letters; they go in order, one way for all attempts of the process.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use reqwest::StatusCode;

use super::addresses::Addresses;
use super::log_shipper::Shipper;
use super::pipeline::{LetterQuery, LetterReader, Letterbox, Unread};
use super::trust::trust;
use crate::causes::chain;
use crate::config::Secret;
use crate::domain::{Attempt, TaskId};
use crate::letters::Told;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of silence.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the attempts of a worker process leave their dead letters, and read those of others; cheap to clone.
#[derive(Clone, Default)]
pub struct LetterPost(Option<Arc<Inner>>);

/// What it needs.
pub(super) struct LetterSetup<'a> {
    /// One or more addresses, separated by commas.
    pub(super) api_url: &'a str,
    pub(super) token: Secret,
    /// A file of those that are trusted besides the machine's.
    pub(super) authorities: Option<&'a Path>,
    pub(super) shipper: Arc<Shipper>,
}

struct Inner {
    shipper: Arc<Shipper>,
    addresses: Addresses,
    token: Secret,
    authorities: Option<PathBuf>,
}

impl fmt::Debug for LetterPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "LetterPost" } else { "Nowhere" })
    }
}

impl LetterPost {
    pub(super) fn new(setup: LetterSetup<'_>) -> Self {
        Self(Some(Arc::new(Inner {
            shipper: setup.shipper,
            addresses: Addresses::read(setup.api_url),
            token: setup.token,
            authorities: setup.authorities.map(Path::to_owned),
        })))
    }

    /// Where an attempt leaves its letters.
    pub fn letterbox(&self, task_id: TaskId, attempt: Attempt) -> Letterbox {
        let Some(inner) = self.0.clone() else {
            return Letterbox::default();
        };
        Letterbox::new(move |after, number, letter| {
            let told = Told {
                task_id,
                attempt: attempt.0,
                after,
                number,
                letter,
            };
            inner.send(&told)
        })
    }

    pub fn reader(&self) -> LetterReader {
        let Some(inner) = self.0.clone() else {
            return LetterReader::default();
        };
        LetterReader::new(move |query, file| {
            let inner = Arc::clone(&inner);
            async move { inner.read(&query, file).await }.boxed()
        })
    }
}

impl Inner {
    fn send(&self, told: &Told) -> bool {
        // Texts and numbers: cannot fail.
        let Ok(mut text) = serde_json::to_vec(told) else {
            return false;
        };
        text.push(b'\n');
        let is_taken = self.shipper.hand_on(0, text);
        if !is_taken && told.letter.is_some() {
            metrics::counter!("grid_dead_letters_dropped_total", "where" => "worker").increment(1);
        }
        is_taken
    }

    async fn read(&self, query: &LetterQuery, mut file: File) -> Result<(), Unread> {
        // A client belongs to the runtime that it was used in first.
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(TIMEOUT);
        let client = trust(builder, self.authorities.as_deref())
            .map_err(|error| Unread::ForNow(error.to_string()))?
            .build()
            .map_err(|error| Unread::ForNow(chain(&error)))?;
        let mut last = Unread::ForNow("worker.api_url is empty".to_owned());
        for (index, base) in self.addresses.in_turn() {
            let url = format!("{base}/api/v1/internal/dead-letters/{}", query.job);
            let request = client.get(&url).bearer_auth(self.token.reveal()).query(&params(query));
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    self.addresses.answers(index);
                    return save(response, &mut file).await;
                }
                Ok(response) => {
                    let status = response.status();
                    let why = format!(
                        "the API answers {status}: {}",
                        response.text().await.unwrap_or_default()
                    );
                    if is_final(status) {
                        return Err(Unread::ForGood(why));
                    }
                    last = Unread::ForNow(why);
                }
                Err(error) => last = Unread::ForNow(chain(&error.without_url())),
            }
        }
        Err(last)
    }
}

fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE
    )
}

fn params(query: &LetterQuery) -> Vec<(&'static str, String)> {
    let numbers = [
        ("firstTask", query.first_task),
        ("lastTask", query.last_task),
        ("upTo", query.up_to),
        ("count", query.count),
    ];
    let given = numbers
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?.to_string())));
    [("node", query.node.clone()), ("raw", query.raw.to_string())]
        .into_iter()
        .chain(given)
        .collect()
}

async fn save(mut response: reqwest::Response, file: &mut File) -> Result<(), Unread> {
    let broken = |error: reqwest::Error| Unread::ForNow(chain(&error.without_url()));
    while let Some(part) = response.chunk().await.map_err(broken)? {
        file.write_all(&part)
            .map_err(|error| Unread::ForNow(error.to_string()))?;
    }
    Ok(())
}
