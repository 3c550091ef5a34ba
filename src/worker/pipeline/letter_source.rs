//! A source that reads dead letters: the records that failed at a node of a job, as they came into it.
//!
//! They are taken into a file without a name first, as the answer that an `httpsource` reads is.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use tokio::runtime::Builder;

use super::config::Encoding;
use super::context::{RunContext, RunState};
use super::engine::Engine;
use super::fields::Fields;
use super::file_source::{FileSource, Input};
use super::generate::Generated;
use super::http_source::nameless;
use super::projection::Projection;
use super::report::{PipelineFailure, PipelineFailureReason};
use crate::domain::JobId;

/// Texts that are a line each: a csv row would need the header of its file.
const LINES: &[(&str, Encoding)] = &[("ndjson", Encoding::Ndjson), ("text", Encoding::Text)];

/// Which letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterQuery {
    pub job: JobId,
    /// The id of the node at which they failed.
    pub node: String,
    /// Numbers of tasks: from this one.
    pub first_task: Option<u64>,
    /// Up to this one.
    pub last_task: Option<u64>,
    /// Those that were kept up to this id.
    pub up_to: Option<u64>,
    /// As many must be there.
    pub count: Option<u64>,
    /// Records that are texts, as these texts, and no others.
    pub raw: bool,
}

#[derive(Debug, Clone)]
pub(super) struct LetterSourceConfig {
    query: LetterQuery,
    encoding: Encoding,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<LetterSourceConfig> {
    let job = fields.required_string("job").map(str::parse::<JobId>);
    let job = job.and_then(|job| job.map_err(|error| fields.error("job", error.to_string())).ok());
    let node = fields.required_string("node").map(str::to_owned);
    let raw = fields.optional("encoding").is_some();
    let encoding = fields.choice("encoding", LINES, Encoding::Ndjson);
    let (first_task, last_task) = (fields.count("firstTask"), fields.count("lastTask"));
    let (up_to, count) = (fields.count("upTo"), fields.count("count"));
    Some(LetterSourceConfig {
        query: LetterQuery {
            job: job?,
            node: node?,
            first_task,
            last_task,
            up_to,
            count,
            raw,
        },
        encoding,
    })
}

/// Why letters could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Trying again may help.
    #[error("{0}")]
    ForNow(String),
    /// They are not there, or not any more.
    #[error("{0}")]
    ForGood(String),
}

type Read = dyn Fn(LetterQuery, File) -> BoxFuture<'static, Result<(), Unread>> + Send + Sync;

/// Where a run reads dead letters.
#[derive(Clone)]
pub struct LetterReader(Arc<Read>);

impl LetterReader {
    /// `read` writes the records into the file, each on a line.
    pub fn new(
        read: impl Fn(LetterQuery, File) -> BoxFuture<'static, Result<(), Unread>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }
}

/// There are none.
impl Default for LetterReader {
    fn default() -> Self {
        Self::new(|_, _| Box::pin(async { Err(Unread::ForNow("there are no dead letters here".to_owned())) }))
    }
}

impl fmt::Debug for LetterReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("LetterReader")
    }
}

pub(super) struct LetterSource {
    id: String,
    config: LetterSourceConfig,
    projection: Option<Projection>,
    context: RunContext,
    records: Option<FileSource>,
}

impl LetterSource {
    pub fn new(id: &str, config: LetterSourceConfig, projection: Projection, context: &RunContext) -> Self {
        Self {
            id: id.to_owned(),
            config,
            projection: Some(projection),
            context: context.clone(),
            records: None,
        }
    }

    pub fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<Generated, PipelineFailure> {
        if self.records.is_none() {
            self.records = self.fetch()?;
        }
        let Some(records) = &mut self.records else {
            return Ok(Generated::Wait(Instant::now()));
        };
        Ok(if records.step(node, engine)? {
            Generated::More
        } else {
            Generated::Done
        })
    }

    /// `None`: the run was told to end before they were there.
    fn fetch(&mut self) -> Result<Option<FileSource>, PipelineFailure> {
        let query = self.config.query.clone();
        let shown = format!("the dead letters of {} at {}", query.job, query.node);
        let io = |error: io::Error| PipelineFailure::error(&self.id, format!("cannot keep {shown}"), &error);
        let mut file = nameless(&self.context.data_dir).map_err(io)?;
        let read = (self.context.letters.0)(query, file.try_clone().map_err(io)?);
        // A run has its thread to itself.
        let runtime = Builder::new_current_thread().enable_all().build().map_err(io)?;
        let control = &self.context.control;
        let done = runtime.block_on(async {
            tokio::select! {
                biased;
                () = control.told(RunState::Stop) => None,
                done = read => Some(done),
            }
        });
        match done {
            None => return Ok(None),
            Some(Ok(())) => {}
            Some(Err(why)) => {
                let reason = match why {
                    Unread::ForNow(_) => PipelineFailureReason::Error,
                    Unread::ForGood(_) => PipelineFailureReason::Unrecoverable,
                };
                let mut failure = PipelineFailure::new(reason, &self.id, format!("cannot read {shown}"));
                failure.causes.push(why.to_string());
                return Err(failure);
            }
        }
        file.rewind().map_err(io)?;
        let input = Input {
            file,
            shown,
            encoding: self.config.encoding,
            delimiter: b',',
        };
        let projection = self.projection.take().unwrap_or(Projection::Whole);
        FileSource::over(&self.id, input, projection, None, &self.context).map(Some)
    }
}
