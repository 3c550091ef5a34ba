//! Batches to the API, any address of it: of lines, or of dead letters.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

use super::Failed;
use crate::causes::chain;
use crate::config::Secret;
use crate::domain::Incarnation;
use crate::worker::addresses::Addresses;
use crate::worker::trust::trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is needed to ask it.
pub struct ApiSetup<'a> {
    pub url: &'a str,
    pub token: Secret,
    pub authorities: Option<&'a Path>,
    pub incarnation: Incarnation,
    /// A Vector gets the same lines.
    pub to_vector: bool,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Lines,
    /// Each is known by itself, so that batches need no numbers.
    Letters,
}

pub struct Api {
    what: What,
    client: Result<reqwest::Client, String>,
    addresses: Addresses,
    token: Secret,
    incarnation: Incarnation,
    to_vector: bool,
}

impl Api {
    pub fn new(what: What, setup: &ApiSetup<'_>) -> Self {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        let client = trust(builder, setup.authorities)
            .map_err(|error| error.to_string())
            .and_then(|builder| builder.build().map_err(|error| error.to_string()));
        Self {
            what,
            client,
            addresses: Addresses::read(setup.url),
            token: setup.token.clone(),
            incarnation: setup.incarnation,
            to_vector: setup.to_vector,
        }
    }

    /// A batch that was sent twice is known by its number.
    pub async fn send(&self, number: u64, batch: &Bytes) -> Result<(), Failed> {
        let client = self.client.as_ref().map_err(|why| Failed::ForGood(why.clone()))?;
        let also = if self.to_vector { "?vector=true" } else { "" };
        let mut why = String::new();
        for (index, base) in self.addresses.in_turn() {
            let url = match self.what {
                What::Lines => format!("{base}/api/v1/internal/logs/{}/{number}{also}", self.incarnation),
                What::Letters => format!("{base}/api/v1/internal/dead-letters"),
            };
            let request = client
                .post(&url)
                .bearer_auth(self.token.reveal())
                .header("content-type", "application/x-ndjson")
                .body(batch.clone());
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    self.addresses.answers(index);
                    return Ok(());
                }
                Ok(answer) if is_final(answer.status()) => {
                    let status = answer.status();
                    let text = answer.text().await.unwrap_or_default();
                    return Err(Failed::ForGood(format!("{url} answers {status}: {text}")));
                }
                Ok(answer) => why = format!("{url} answers {}", answer.status()),
                Err(error) => why = format!("{url} does not answer: {}", chain(&error)),
            }
        }
        Err(Failed::ForNow(why))
    }
}

/// Whether sending the same again cannot help.
fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}
