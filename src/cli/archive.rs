//! `grid archive`: days of the log into files, and out of the database.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::args::{ConfigArgs, Flags, StoreArgs, VerifyArgs};
use super::output::{count, print, print_json, tell};
use super::{Failure, Output};
use crate::archive::{self, Archived, ArchivedDay, Before, Options};
use crate::config::whole::Loaded;
use crate::log::archive::ArchiveCheck;
use crate::{node, telemetry};

const HELP: &str = "From the moment that its day is closed a job takes no command any more (410). A day closes only when all its jobs have
finished; otherwise nothing is archived, and what holds it is told. Each file is read back and held against the log's
hash chain before its day is dropped. Cut off, it ends its work when it is run again. Servers may run meanwhile.

Exit codes: 0 good, 1 failed or held by unfinished jobs, 2 wrong usage or configuration.

Examples:
  grid archive --older-than 90d --to /srv/grid-archive --drop
  grid archive --before 2026-09-01 --to archive --postgres postgres://owner@db/grid
  grid verify --archive /srv/grid-archive --postgres postgres://grid@db/grid";

/// `grid archive`
#[derive(Args, Debug)]
#[command(after_help = HELP, group = ArgGroup::new("which").required(true))]
pub struct ArchiveArgs {
    /// The days (UTC) of the jobs' submissions up to this one, which is left; today at the latest
    #[arg(long, value_name = "YYYY-MM-DD", group = "which", value_parser = day)]
    before: Option<i32>,
    /// The days that are older than so many days: 90d
    #[arg(long, value_name = "DAYS", group = "which", value_parser = days)]
    older_than: Option<i32>,
    /// Folder of the archive: a file a day, and manifest.json; made when it is not there
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Drop each day from the database once its file is proved, with all that goes with its jobs
    #[arg(long)]
    drop: bool,
    /// How long to wait for shards to close the days, and for publisher and read models to have all of them
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

fn day(text: &str) -> Result<i32, String> {
    let date: NaiveDate = text
        .parse()
        .map_err(|_| "expected a date such as 2026-09-01".to_owned())?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|error| error.to_string())
}

fn days(text: &str) -> Result<i32, String> {
    let number = text.strip_suffix('d').and_then(|number| number.parse::<u16>().ok());
    number
        .map(i32::from)
        .ok_or_else(|| "expected a number of days such as 90d".to_owned())
}

impl ArchiveArgs {
    fn options(&self) -> Options {
        Options {
            before: match (self.before, self.older_than) {
                (Some(day), _) => Before::Day(day),
                (None, days) => Before::DaysAgo(days.unwrap_or(0)),
            },
            folder: self.to.clone(),
            drop: self.drop,
            patience: self.wait,
        }
    }
}

pub fn run(args: &ArchiveArgs, output: Output) -> anyhow::Result<()> {
    let mut flags = Flags::default();
    args.store.add_owner(&mut flags);
    let Loaded { config, .. } = args.config.load(flags).map_err(Failure::from)?;
    telemetry::start(&config.log)?;
    let options = args.options();
    let told = |day: &ArchivedDay| {
        if output == Output::Human {
            tell(&line(day));
        }
    };
    match node::run(node::archive(&config, &options, told)) {
        Ok(done) => match output {
            Output::Json => print_json(&serde_json::to_value(done)?),
            Output::Human => print(&summary(&done)),
        },
        Err(error) => Err(failed(error, output)?),
    }
}

fn failed(error: anyhow::Error, output: Output) -> anyhow::Result<anyhow::Error> {
    Ok(match error.downcast::<archive::Error>() {
        Ok(archive::Error::Usage(text)) => Failure::Usage(text).into(),
        Ok(held @ archive::Error::Held { .. }) if output == Output::Json => {
            if let archive::Error::Held { before, first, total } = &held {
                print_json(&json!({"held": {"before": before, "jobs": first, "total": total}}))?;
            }
            held.into()
        }
        Ok(other) => other.into(),
        Err(error) => error,
    })
}

fn line(day: &ArchivedDay) -> String {
    let listed = &day.listed;
    let what = match (day.written, day.dropped) {
        (true, true) => "archived and dropped",
        (true, false) => "archived",
        (false, true) => "was archived, dropped",
        (false, false) => "was archived",
    };
    format!(
        "{}: {} {what}: {}",
        listed.date,
        count(listed.events, "event"),
        listed.file
    )
}

fn summary(done: &Archived) -> String {
    let written = done.days.iter().filter(|day| day.written).count() as u64;
    let dropped = done.days.iter().filter(|day| day.dropped).count() as u64;
    let events = done.days.iter().map(|day| day.listed.events).sum();
    let mut text = format!(
        "before {}: {}, {}; {} written, {} dropped",
        done.before,
        count(done.days.len() as u64, "day"),
        count(events, "event"),
        count(written, "file"),
        count(dropped, "day")
    );
    if done.jobs_forgotten > 0 {
        text.push_str(&format!("; {} forgotten", count(done.jobs_forgotten, "job")));
    }
    text.push('\n');
    text
}

/// `grid verify --archive`: 0 clean, 2 differences, 3 could not check.
pub fn verify(args: &VerifyArgs, output: Output) -> anyhow::Result<()> {
    let folder = args.archive.clone().unwrap_or_default();
    let checked = args
        .load()
        .map_err(anyhow::Error::from)
        .and_then(|Loaded { config, .. }| {
            telemetry::start(&config.log)?;
            if args.offline {
                node::run(node::verify_archive_alone(&folder))
            } else {
                node::run(node::verify_archive(&config, &folder))
            }
        });
    let check = match checked {
        Ok(check) => check,
        Err(error) => {
            tell(&format!("error: the archive could not be checked: {error:#}"));
            return Err(Failure::Told(3).into());
        }
    };
    match output {
        Output::Json => print_json(&serde_json::to_value(&check)?)?,
        Output::Human => print(&checked_text(&check))?,
    }
    if check.is_clean() {
        Ok(())
    } else {
        Err(Failure::Told(2).into())
    }
}

fn checked_text(check: &ArchiveCheck) -> String {
    let mut text = format!(
        "{} of {} in {}, held against {}: {}\n",
        count(check.events, "event"),
        count(check.commits, "commit"),
        count(check.days, "day"),
        if check.with_log { "the log" } else { "their own hashes" },
        count(check.differences_total, "difference")
    );
    for difference in &check.differences {
        let place = match (difference.shard, difference.seq) {
            (Some(shard), Some(seq)) => format!(" at {}/{seq}", shard.0),
            _ => String::new(),
        };
        let (expected, found) = (&difference.expected, &difference.found);
        text.push_str(&format!(
            "  {}{place}: expected {expected}, found {found}\n",
            difference.file
        ));
    }
    if !check.elsewhere.is_empty() {
        text.push_str(&format!(
            "dropped from the log, and not in this folder: {}\n",
            check.elsewhere.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ArchiveArgs,
    }

    fn parse(flags: &[&str]) -> Result<Options, clap::Error> {
        let command = Command::try_parse_from(["grid", "--to=a"].iter().chain(flags))?;
        Ok(command.args.options())
    }

    #[test]
    fn days_are_named_by_date_or_by_age() {
        assert_eq!(parse(&["--before=2026-11-26"]).unwrap().before, Before::Day(20_783));
        assert_eq!(parse(&["--older-than=90d"]).unwrap().before, Before::DaysAgo(90));
        for wrong in [
            &[][..],
            &["--before=yesterday"],
            &["--older-than=90"],
            &["--older-than=-1d"],
            &["--before=2026-11-26", "--older-than=1d"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
