//! Commands that run processes, and those that work on the database without one.

use super::output::{print, print_json, tell};
use super::{Failure, Output, ProcessCommand, RebuildArgs, RepublishArgs, StoreCommand, VerifyArgs};
use crate::causes::chain;
use crate::config::whole::Loaded;
use crate::{node, telemetry};

/// Runs the process until it is told to end.
pub fn run(command: ProcessCommand) -> anyhow::Result<()> {
    let loaded = match &command {
        ProcessCommand::Standalone(args) => args.load(),
        ProcessCommand::Jobmaster(args) => args.load(),
        ProcessCommand::Worker(args) => args.load(),
    };
    let Loaded { config, .. } = loaded.map_err(Failure::from)?;
    let telemetry = telemetry::start(&config.log)?;
    let tracing = telemetry::start_tracing(&config.tracing)?;
    let ended = match command {
        ProcessCommand::Standalone(_) => node::run(node::standalone(config, telemetry)),
        ProcessCommand::Jobmaster(_) => node::run(node::jobmaster(config, telemetry)),
        ProcessCommand::Worker(_) => node::run(node::worker(config, telemetry)),
    };
    tracing.stop();
    ended
}

/// Works on the database.
pub fn run_on_store(command: StoreCommand, output: Output) -> anyhow::Result<()> {
    match command {
        StoreCommand::Migrate(args) => super::migrate::run(&args, output),
        StoreCommand::Verify(args) if args.archive.is_some() => super::archive::verify(&args, output),
        StoreCommand::Verify(args) => verify(&args, output),
        StoreCommand::Archive(args) => super::archive::run(&args, output),
        StoreCommand::Rebuild(args) => rebuild(&args, output),
        StoreCommand::Restore(args) => super::restore::run(&args, output),
        StoreCommand::Token(args) => super::token::run(&args, output),
    }
}

fn rebuild(args: &RebuildArgs, output: Output) -> anyhow::Result<()> {
    let Loaded { config, .. } = args.load().map_err(Failure::from)?;
    telemetry::start(&config.log)?;
    let rebuilt = node::run(node::rebuild(&config))?;
    match output {
        Output::Json => print_json(&serde_json::to_value(rebuilt)?),
        Output::Human => print(&format!(
            "{} events made {} changes of rows in {:.1} s; for {:.3} s of it nothing could be written to the read models\n",
            rebuilt.events, rebuilt.rows, rebuilt.seconds, rebuilt.swap_seconds
        )),
    }
}

/// Publishes what the topic of events lacks.
pub fn republish(args: &RepublishArgs, output: Output) -> anyhow::Result<()> {
    let Loaded { config, .. } = args.load().map_err(Failure::from)?;
    telemetry::start(&config.log)?;
    let done = node::run(node::republish(&config))?;
    match output {
        Output::Json => print_json(&serde_json::to_value(done)?),
        Output::Human => {
            let mut text = format!("{} events of {} shards published", done.events, done.shards);
            for (count, what) in [
                (done.complete, "shards had everything"),
                (done.left_to_owners, "shards are gone on with by a jobmaster"),
                (
                    done.passed_over,
                    "events cannot be published, see the log of this process",
                ),
                (done.archived, "events of archived days are not in the log any more"),
            ] {
                if count > 0 {
                    text.push_str(&format!("; {count} {what}"));
                }
            }
            print(&format!("{text}\n"))
        }
    }
}

/// 0 clean, 2 differences, 3 could not check.
fn verify(args: &VerifyArgs, output: Output) -> anyhow::Result<()> {
    let checked = args
        .load()
        .map_err(anyhow::Error::from)
        .and_then(|Loaded { config, .. }| {
            telemetry::start(&config.log)?;
            node::run(node::verify(&config))
        });
    let report = match checked {
        Ok(report) => report,
        Err(error) => {
            tell(&format!("error: the log could not be checked: {}", chain(&*error)));
            return Err(Failure::Told(3).into());
        }
    };
    match output {
        Output::Json => print_json(&serde_json::to_value(&report)?)?,
        Output::Human => {
            let mut text = format!(
                "{} events of {} jobs in {} shards",
                report.events, report.jobs, report.shards
            );
            if report.archived_events > 0 {
                text.push_str(&format!(", {} archived", report.archived_events));
            }
            text.push_str(&format!(": {} differences\n", report.differences_total));
            for difference in &report.differences {
                let (kind, expected, found) = (difference.kind, &difference.expected, &difference.found);
                let place = difference.seq.map_or_else(String::new, |seq| format!("/{seq}"));
                let of = difference.task.map(|task| format!(" {task}"));
                let of = of
                    .or_else(|| difference.job.map(|job| format!(" {job}")))
                    .unwrap_or_default();
                text.push_str(&format!(
                    "  {kind:?} at {}{place}{of}: expected {expected}, found {found}\n",
                    difference.shard
                ));
            }
            print(&text)?;
        }
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err(Failure::Told(2).into())
    }
}
