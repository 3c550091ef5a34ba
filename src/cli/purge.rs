//! `grid purge job`: what is known of a finished job beside the log is removed, by the server that knows where it is.
//!
//! Must stay true: nothing is removed before somebody was told what it is and agreed, in person or by --yes.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::bulk::agreed;
use super::context::ServerArgs;
use super::output::{Output, count, tell, understand};
use super::{Failure, not_an_id};
use crate::domain::JobId;

const EXAMPLES: &str = "Needs the role admin. What the log keeps is told; see docs/backup.md.

Examples:
  grid purge job job-0198c2a0-7c00-7000-8000-000000000001 --dry-run
  grid purge job job-0198c2a0-7c00-7000-8000-000000000001 --yes";

/// `grid purge`
#[derive(Args, Debug)]
pub struct PurgeArgs {
    #[command(subcommand)]
    command: PurgeCommand,
}

#[derive(Debug, Subcommand)]
enum PurgeCommand {
    /// Remove the lines, points of metrics, dead letters, checkpoints and the document of a finished job, for ever
    Job(JobArgs),
}

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct JobArgs {
    /// The job: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB")]
    job: String,
    /// Only tell what would be removed
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Purge {
    job_id: String,
    dry_run: bool,
    document_hash: Option<String>,
    document_shared: bool,
    log_lines: u64,
    log_store: String,
    metric_points: u64,
    metric_store: String,
    dead_letters: u64,
    checkpoints: u64,
    keeps: Vec<String>,
}

pub async fn purge(args: &PurgeArgs, output: Output) -> anyhow::Result<()> {
    let PurgeCommand::Job(args) = &args.command;
    let job: JobId = args.job.parse().map_err(not_an_id)?;
    let path = format!("/api/v1/jobs/{job}/purge");
    let client = args.server.client()?;
    if !args.yes {
        let dry_run = [("dryRun", "true".to_owned())];
        let would = client.post(&path, &dry_run, None).await?;
        if args.dry_run {
            return output.print(&would, |purge: Purge| told(&purge));
        }
        tell(told(&understand::<Purge>(&would)?).trim_end());
        if !agreed("remove this for ever?")? {
            let what = format!("nothing was done; --yes does it: purge {job}");
            return Err(Failure::Usage(what).into());
        }
    }
    let done = client.post(&path, &[], None).await?;
    output.print(&done, |purge: Purge| told(&purge))
}

fn told(purge: &Purge) -> String {
    let kept = |what: String, store: &str| match store {
        "postgres" => what,
        other => format!("{what}, and those in {other}"),
    };
    let document = match (&purge.document_hash, purge.document_shared) {
        (None, _) => "none: an earlier purge removed it".to_owned(),
        (Some(hash), false) => format!("as submitted and as normalised ({hash})"),
        (Some(hash), true) => format!("as submitted; the normalised one ({hash}) is that of other jobs too"),
    };
    let mut text = format!(
        "{}{}\n  lines: {}\n  points of metrics: {}\n  dead letters: {}\n  checkpoints: {}\n  document: {document}\n\
         what stays:\n",
        if purge.dry_run {
            "would be removed of "
        } else {
            "removed of "
        },
        purge.job_id,
        kept(count(purge.log_lines, "line"), &purge.log_store),
        kept(count(purge.metric_points, "point"), &purge.metric_store),
        purge.dead_letters,
        purge.checkpoints,
    );
    for kept in &purge.keeps {
        text += &format!("  - {kept}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_and_what_stays_is_told() {
        let purge = Purge {
            job_id: "job-1".into(),
            dry_run: true,
            document_hash: Some("abc".into()),
            document_shared: true,
            log_lines: 1,
            log_store: "victorialogs".into(),
            metric_points: 20,
            metric_store: "postgres".into(),
            dead_letters: 3,
            checkpoints: 0,
            keeps: vec!["the events".into()],
        };
        let text = told(&purge);
        assert!(
            text.starts_with("would be removed of job-1\n  lines: 1 line, and those in victorialogs\n"),
            "{text}"
        );
        assert!(text.contains("points of metrics: 20 points\n"), "{text}");
        assert!(
            text.contains("(abc) is that of other jobs too\nwhat stays:\n  - the events\n"),
            "{text}"
        );
    }
}
