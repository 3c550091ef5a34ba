//! `grid export`: jobs as a file, as the server writes it.
//!
//! Must stay true: memory holds one part of the transfer, however many jobs there are; a file appears under its name only
//! when it is whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::client::{Client, Transfer};
use super::context::ServerArgs;
use super::filter::JobFilterArgs;
use super::output::{Output, print_json, tell};
use super::whole_file::WholeFile;

/// As every file has it that nobody says more of.
const MODE: u32 = 0o666;

const EXAMPLES: &str =
    "A file is written beside its name and renamed when it is whole; one that is there already is replaced.

Examples:
  grid export > jobs.json
  grid export --format csv --file jobs.csv --status FAILED --label team=ingest
  grid export --format ndjson | jq -r .jobId";

/// What the server can write.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// One array
    #[default]
    Json,
    /// A job a line
    Ndjson,
    /// Comma-separated values, with a head line
    Csv,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// `grid export`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// How the jobs are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// File to write into; - is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    filter: JobFilterArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub async fn export(args: &ExportArgs, output: Output) -> anyhow::Result<()> {
    let client = args.server.client()?;
    let mut query = args.filter.query();
    query.push(("format", args.format.name().to_owned()));
    // Nothing is written before the server has agreed.
    let transfer = transfer(&client, &query).await?;
    save(transfer, &args.file, args.format.name(), output).await
}

/// Writes what comes into a file, or to stdout when it is `-`.
pub async fn save(transfer: Transfer, file: &Path, format: &str, output: Output) -> anyhow::Result<()> {
    if file == Path::new("-") {
        let mut stdout = std::io::stdout().lock();
        copy(transfer, &mut stdout).await?;
        return Ok(());
    }
    let bytes = into_file(transfer, file).await?;
    match output {
        Output::Json => print_json(&json!({"file": file, "format": format, "bytes": bytes})),
        Output::Human => {
            tell(&format!("{bytes} bytes written to {}", file.display()));
            Ok(())
        }
    }
}

async fn transfer(client: &Client, query: &[(&str, String)]) -> anyhow::Result<Transfer> {
    Ok(client.download("/api/v1/jobs/export", query).await?)
}

async fn into_file(transfer: Transfer, path: &Path) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = WholeFile::create(path, MODE).with_context(cannot)?;
    let bytes = copy(transfer, &mut file).await.with_context(cannot)?;
    file.finish().with_context(cannot)?;
    Ok(bytes)
}

async fn copy(mut transfer: Transfer, to: &mut impl Write) -> anyhow::Result<u64> {
    let mut bytes = 0;
    while let Some(part) = transfer.next().await? {
        to.write_all(&part)?;
        bytes += part.len() as u64;
    }
    to.flush()?;
    Ok(bytes)
}
