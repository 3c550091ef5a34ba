//! A source that reads the body of one answer.
//!
//! The body is taken into a file without a name first, so that memory stays flat and all that is true of files is true
//! here: the encodings, and that replicas divide it by its bytes, as long as the server tells each of them the same.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Instant;

use reqwest::StatusCode;

use super::context::{RunContext, RunState};
use super::engine::Engine;
use super::file_source::{FileSource, Input};
use super::generate::Generated;
use super::http::{Http, Redirects, excerpt};
use super::projection::Projection;
use super::remote_config::HttpSourceConfig;
use super::report::PipelineFailure;

pub(super) struct HttpSource {
    http: Http,
    config: HttpSourceConfig,
    projection: Option<Projection>,
    context: RunContext,
    body: Option<FileSource>,
}

/// What came instead of the body.
enum Instead {
    Refused(StatusCode, String),
    Unreachable(reqwest::Error),
    Io(io::Error),
}

impl HttpSource {
    pub fn open(
        id: &str,
        config: HttpSourceConfig,
        projection: Projection,
        context: &RunContext,
    ) -> Result<Self, PipelineFailure> {
        Ok(Self {
            http: Http::new(id, &config.http, Redirects::Followed, context)?,
            config,
            projection: Some(projection),
            context: context.clone(),
            body: None,
        })
    }

    pub fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<Generated, PipelineFailure> {
        if self.body.is_none() {
            self.body = self.fetch()?;
        }
        let Some(body) = &mut self.body else {
            return Ok(Generated::Wait(Instant::now()));
        };
        Ok(if body.step(node, engine)? {
            Generated::More
        } else {
            Generated::Done
        })
    }

    /// `None`: the run was told to end before the body did, and half of it is no answer.
    fn fetch(&mut self) -> Result<Option<FileSource>, PipelineFailure> {
        let shown = self.http.shown();
        let id = self.http.id.clone();
        let io = |error: io::Error| PipelineFailure::error(&id, format!("cannot keep what {shown} answers"), &error);
        let mut file = nameless(&self.context.data_dir).map_err(io)?;
        match self.http.unless(RunState::Stop, self.fetch_into(&mut file)) {
            None => return Ok(None),
            Some(Ok(())) => {}
            Some(Err(Instead::Refused(status, body))) => return Err(self.http.refused(status, &body)),
            Some(Err(Instead::Unreachable(error))) => return Err(self.http.unreachable(&error)),
            Some(Err(Instead::Io(error))) => return Err(io(error)),
        }
        file.rewind().map_err(io)?;
        let input = Input {
            file,
            shown,
            encoding: self.config.encoding,
            delimiter: self.config.delimiter,
        };
        let projection = self.projection.take().unwrap_or(Projection::Whole);
        FileSource::over(&id, input, projection, None, &self.context).map(Some)
    }

    async fn fetch_into(&self, file: &mut File) -> Result<(), Instead> {
        let request = self.http.client.get(self.http.url.clone());
        let mut response = request.send().await.map_err(Instead::Unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Instead::Refused(status, excerpt(response).await));
        }
        while let Some(part) = response.chunk().await.map_err(Instead::Unreachable)? {
            file.write_all(&part).map_err(Instead::Io)?;
        }
        Ok(())
    }
}

/// A file that is gone with the run, however that ends.
pub(super) fn nameless(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!(".httpsource-{}", uuid::Uuid::now_v7()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
