//! A sink that sends its records in requests, each at least once.
//!
//! Must stay true: a record is sent before the run completes, and before a checkpoint says that it was; one that was sent
//! without a clear answer is sent again.

use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode};
use vrl::value::Value;

use super::config::Encoding;
use super::context::RunContext;
use super::encoding::Encoder;
use super::http::{Http, Redirects, excerpt};
use super::remote_config::{HttpSinkConfig, Method};
use super::report::PipelineFailure;

const MOST_BATCH_BYTES: usize = 1 << 20;
/// A record waits so long for others at most.
const LINGER: Duration = Duration::from_secs(1);
/// Of one request, and the wait after the first of them; doubled each time.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct HttpSink {
    http: Http,
    method: Method,
    content_type: &'static str,
    encoder: Encoder,
    batch_records: usize,
    batch: Vec<u8>,
    records: usize,
    due: Option<Instant>,
}

impl HttpSink {
    pub fn open(id: &str, config: &HttpSinkConfig, context: &RunContext) -> Result<Self, PipelineFailure> {
        Ok(Self {
            http: Http::new(id, &config.http, Redirects::Refused, context)?,
            method: config.method,
            content_type: match config.encoder.encoding {
                Encoding::Ndjson => "application/x-ndjson",
                Encoding::Text | Encoding::Csv => "text/plain; charset=utf-8",
            },
            encoder: Encoder::new(&config.encoder),
            batch_records: config.batch_records,
            batch: Vec::new(),
            records: 0,
            due: None,
        })
    }

    /// The outer error is the server's, the inner one the record's. Gives the bytes it became.
    pub fn write(&mut self, record: &Value) -> Result<Result<usize, String>, PipelineFailure> {
        let before = self.batch.len();
        if let Err(message) = self.encoder.encode(record, &mut self.batch) {
            return Ok(Err(message));
        }
        let written = self.batch.len() - before;
        self.records += 1;
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
        if self.records >= self.batch_records || self.batch.len() >= MOST_BATCH_BYTES {
            self.flush()?;
        }
        Ok(Ok(written))
    }

    /// Sends what has waited long enough; when the rest will have.
    pub fn tend(&mut self) -> Result<Option<Instant>, PipelineFailure> {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.flush()?;
        }
        Ok(self.due)
    }

    /// All records have been taken by the server.
    pub fn flush(&mut self) -> Result<(), PipelineFailure> {
        if self.records == 0 {
            return Ok(());
        }
        let body = bytes::Bytes::from(std::mem::take(&mut self.batch));
        (self.records, self.due) = (0, None);
        let mut pause = FIRST_PAUSE;
        for tries_left in (0..TRIES).rev() {
            let request = self.request().body(body.clone()).timeout(self.http.timeout);
            let answer = self.http.wait(async {
                let response = request.header(CONTENT_TYPE, self.content_type).send().await?;
                let status = response.status();
                Ok::<_, reqwest::Error>((status, excerpt(response).await))
            })?;
            let failure = match answer {
                Ok((status, _)) if status.is_success() => return Ok(()),
                Ok((status, body)) if tries_left == 0 || !may_pass(status) => {
                    return Err(self.http.refused(status, &body));
                }
                Err(error) if tries_left == 0 => return Err(self.http.unreachable(&error)),
                Ok((status, _)) => status.to_string(),
                Err(error) => error.without_url().to_string(),
            };
            tracing::info!(node = %self.http.id, failure, ?pause, "pipeline.http.again");
            self.http.wait(async { tokio::time::sleep(pause).await })?;
            pause *= 2;
        }
        Ok(())
    }

    fn request(&self) -> RequestBuilder {
        let url = self.http.url.clone();
        match self.method {
            Method::Post => self.http.client.post(url),
            Method::Put => self.http.client.put(url),
        }
    }
}

/// Whether the same request may be taken a moment later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
}
