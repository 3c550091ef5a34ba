//! Retention: days of the log are closed, written into an archive, proved, and dropped.
//!
//! Must stay true: in this order, each step only after the one before it; so whenever it is cut off, running it again ends
//! it, and an event that is in no archive is in the log.

mod closing;
mod forget;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::config::Secret;
use crate::domain::JobId;
use crate::log::archive::{ArchiveCheck, ArchiveError, Day, Folder, KeptDays, date};
use crate::log::{Log, Retention};

/// What to archive, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Days before this one (since 1970).
    pub before: Before,
    pub folder: PathBuf,
    /// Whether days are dropped from the database once their files are proved.
    pub drop: bool,
    /// How long to wait for shards to close the days, and for others to have all of them.
    pub patience: Duration,
}

/// Up to which day, which is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Since 1970.
    Day(i32),
    /// Counted back from today.
    DaysAgo(i32),
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Archived {
    pub before: String,
    pub days: Vec<ArchivedDay>,
    /// Jobs whose rows were taken out of the read models.
    pub jobs_forgotten: u64,
}

/// What became of a day.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchivedDay {
    #[serde(flatten)]
    pub listed: Day,
    /// False: the file was there.
    pub written: bool,
    /// Of the database: by this run.
    pub dropped: bool,
}

/// Why days are not archived. What was done until then stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(
        "{total} unfinished jobs hold the days before {before}, and nothing was archived: {}; kill them or let them end, \
         and run it again",
        named(first, *total)
    )]
    Held {
        before: String,
        first: Vec<JobId>,
        total: u64,
    },
    #[error("{what} after {waited:?}: {}", who.join(", "))]
    NotYet {
        what: String,
        waited: Duration,
        who: Vec<String>,
    },
    #[error("{file} does not hold what the log does, and its day is not dropped: {first}; {hint}")]
    Differs {
        file: String,
        first: String,
        hint: &'static str,
    },
    #[error(transparent)]
    Log(#[from] crate::log::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

fn named(first: &[JobId], total: u64) -> String {
    let mut text: Vec<String> = first.iter().map(JobId::to_string).collect();
    if total > first.len() as u64 {
        text.push("…".to_owned());
    }
    text.join(", ")
}

/// Closes the days, writes and proves their files, and drops them when that is wanted. `tell` hears of each day.
///
/// # Errors
/// See [`Error`].
pub async fn archive(
    log: &Log,
    owner_url: &Secret,
    options: &Options,
    mut tell: impl FnMut(&ArchivedDay),
) -> Result<Archived, Error> {
    let mut retention = Retention::begin(owner_url).await?;
    let today = retention.today().await?;
    let before = match options.before {
        Before::Day(day) => day,
        Before::DaysAgo(days) => today.saturating_sub(days),
    };
    if before > today {
        let text = format!("{} is not over: the latest is {}, today", date(before - 1), date(today));
        return Err(Error::Usage(text));
    }
    let mut folder = Folder::create(&options.folder)?;
    closing::close(&mut retention, log, before, options.patience).await?;
    let mut done = Archived {
        before: date(before),
        ..Archived::default()
    };
    let days = retention.days(before).await?;
    let mut source = Source {
        log,
        kept: KeptDays::read(log, &days).await?,
        timeline: log.timeline().await?,
    };
    for day in days {
        let (listed, written) = source.write(&mut folder, day, options.drop).await?;
        if options.drop {
            closing::await_followers(&mut retention, (day, before), options.patience).await?;
            forget::beside_the_log(retention.connection(), day).await?;
            retention.retire(day, listed.events).await?;
        }
        let day = ArchivedDay {
            listed,
            written,
            dropped: options.drop,
        };
        tell(&day);
        done.days.push(day);
    }
    if options.drop {
        done.jobs_forgotten = forget::jobs(retention.connection(), before).await?;
    }
    retention.end().await?;
    Ok(done)
}

struct Source<'a> {
    log: &'a Log,
    kept: KeptDays,
    timeline: uuid::Uuid,
}

impl Source<'_> {
    /// Sees to it that the day's file is there, whole, and holds what the log does. Says whether it was written.
    async fn write(&mut self, folder: &mut Folder, day: i32, drop: bool) -> Result<(Day, bool), Error> {
        if let Some(listed) = folder.day(day).cloned() {
            if !folder.is_as_listed(&listed)? {
                return Err(Error::Differs {
                    file: listed.file,
                    first: "it is not the file that manifest.json lists".to_owned(),
                    hint: "bring the file back, or take its lines in manifest.json away to have it read anew",
                });
            }
            // It was proved when it was listed; before the log's own copy goes it is proved again.
            if !drop {
                return Ok((listed, false));
            }
        }
        let written = !folder.file_of(day).exists();
        if written {
            self.log.write_day(folder, day, self.timeline).await?;
        }
        let (found, check) = folder.check_day((self.log, &mut self.kept), day).await?;
        if let Some(first) = first_of(&check) {
            return Err(Error::Differs {
                file: found.file,
                first,
                hint: "`grid verify` tells whether the log was changed; a file that is taken away is written anew",
            });
        }
        folder.list(found.clone())?;
        Ok((found, written))
    }
}

fn first_of(check: &ArchiveCheck) -> Option<String> {
    let first = check.differences.first()?;
    let place = match (first.shard, first.seq) {
        (Some(shard), Some(seq)) => format!(" at {}/{seq}", shard.0),
        _ => String::new(),
    };
    Some(format!("expected {}, found {}{place}", first.expected, first.found))
}
