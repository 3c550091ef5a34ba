//! `grid submit` and `grid validate`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, Error};
use super::output::{Output, count, print, print_json, tell, understand};
use super::problem::Mistake;
use super::view::Job;
use super::{Failure, ServerArgs, watch};
use crate::document::{self, Format};

const SUBMIT_HELP: &str = "Exit codes: 0 good (with --watch or --wait: only when the job is COMPLETED), 1 failed, \
2 wrong usage.

Examples:
  grid submit job.yaml
  grid submit job.yaml --watch
  grid submit job.json --wait --output json
  generate-job | grid submit -";

/// `grid submit`
#[derive(Args, Debug)]
#[command(after_help = SUBMIT_HELP)]
pub struct SubmitArgs {
    /// The job document, JSON or YAML; - reads it from standard input
    file: PathBuf,
    /// Show the progress until the job is finished; not on a terminal: one line at the end
    #[arg(long)]
    watch: bool,
    /// Wait in silence until the job is finished
    #[arg(long)]
    wait: bool,
    /// Have the server check the document, and submit nothing
    #[arg(long, conflicts_with_all = ["watch", "wait"])]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub async fn submit(args: &SubmitArgs, output: Output) -> anyhow::Result<()> {
    let document = Document::read(&args.file)?;
    let client = args.server.client()?;
    let query: &[(&str, String)] = if args.dry_run {
        &[("dryRun", "true".to_owned())]
    } else {
        &[]
    };
    let body = Some((document.media_type(), document.bytes.clone()));
    let answer = match client.post("/api/v1/jobs", query, body).await {
        Ok(answer) => answer,
        Err(Error::Problem(problem)) if !problem.errors.is_empty() && output == Output::Human => {
            tell(&format!(
                "error: {}",
                problem.with_source(&document.name, &document.text())
            ));
            return Err(Failure::Told(1).into());
        }
        Err(error) => return Err(error.into()),
    };
    if args.dry_run {
        return match output {
            Output::Human => print(&format!("{}: good\n", document.name)),
            Output::Json => print_json(&answer),
        };
    }
    if args.watch || args.wait {
        return follow(&client, &answer, args.watch, output).await;
    }
    output.print(&answer, |job: Job| {
        if std::io::stderr().is_terminal() {
            tell(&format!("Follow it with: grid job {}", job.job_id));
        }
        format!(
            "{} {}, {}\n",
            job.job_id,
            job.status,
            count(job.task_counters.total(), "task")
        )
    })
}

/// Waits for the end of the submitted job and tells how it ended, on stdout and as exit code.
async fn follow(client: &Client, submitted: &Value, bar: bool, output: Output) -> anyhow::Result<()> {
    let job: Job = understand(submitted)?;
    let finished = watch::until_finished(client, &job, bar).await?;
    let job: Job = understand(&finished)?;
    let told = match output {
        Output::Json => print_json(&finished),
        Output::Human => print(&watch::summary(client, &job).await),
    };
    if job.status == "COMPLETED" {
        return told;
    }
    // Not completed counts more than a reader of stdout that is gone.
    Err(Failure::Told(1).into())
}

/// A file with a job in it.
pub struct Document {
    name: String,
    pub bytes: Vec<u8>,
}

impl Document {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            return Ok(Self {
                name: "stdin".to_owned(),
                bytes,
            });
        }
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            name: path.display().to_string(),
            bytes,
        })
    }

    pub fn media_type(&self) -> &'static str {
        match Format::guess(Some(&self.name), &self.bytes) {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
        }
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

const VALIDATE_HELP: &str = "Needs no server. Exit codes: 0 all good, 1 some are not, 2 wrong usage.";

/// `grid validate`
#[derive(Args, Debug)]
#[command(after_help = VALIDATE_HELP)]
pub struct ValidateArgs {
    /// Job documents, JSON or YAML; - reads one from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn validate(args: &ValidateArgs, output: Output) -> anyhow::Result<()> {
    let mut good = true;
    let mut reports = Vec::new();
    for path in &args.files {
        let document = Document::read(path)?;
        let checked = document::parse(&document.bytes, Some(&document.name));
        good &= checked.is_ok();
        match (&checked, output) {
            (Ok(job), Output::Human) => {
                print(&format!(
                    "{}: good, {}\n",
                    document.name,
                    count(job.task_count().into(), "task")
                ))?;
            }
            (Err(errors), Output::Human) => {
                let text = document.text();
                let shown = errors
                    .iter()
                    .map(|error| Mistake::from(error).in_source(&document.name, &text));
                tell(&shown.collect::<Vec<_>>().join("\n"));
            }
            (Ok(job), Output::Json) => {
                reports.push(json!({"file": document.name, "valid": true, "tasks": job.task_count(), "errors": []}));
            }
            (Err(errors), Output::Json) => {
                reports.push(json!({"file": document.name, "valid": false, "errors": errors}));
            }
        }
    }
    if output == Output::Json {
        print_json(&reports.into())?;
    }
    if good { Ok(()) } else { Err(Failure::Told(1).into()) }
}

impl From<&document::DocumentError> for Mistake {
    fn from(error: &document::DocumentError) -> Self {
        Self {
            pointer: error.pointer.clone(),
            line: error.line as usize,
            column: error.column as usize,
            message: error.message.clone(),
        }
    }
}
