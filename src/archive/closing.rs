//! Days are closed by the owners of the shards; where nobody owns them, by taking each over.
//!
//! Must stay true: nothing is decided for a shard but by who has claimed it, after a load; a shard with an unfinished job
//! of the days is left as it is.

use std::time::{Duration, Instant};

use super::Error;
use crate::clock;
use crate::domain::{Job, JobId, Seq, ShardId};
use crate::log::archive::date;
use crate::log::{CommitOutcome, Journal, JournalOptions, Log, Retention, ShardBatch, SnapshotRow};

/// Between two looks at what others have done.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two reminders: shards write down how far they are.
const REMIND_EVERY: Duration = Duration::from_secs(2);

/// Returns once every shard has closed the days before this one.
pub(super) async fn close(retention: &mut Retention, log: &Log, before: i32, patience: Duration) -> Result<(), Error> {
    if retention.standing(before).await?.open.is_empty() {
        return Ok(());
    }
    retention.ask(before).await?;
    if !retention.is_served() {
        let open = retention.standing(before).await?.open;
        take_over(log, &open, before).await?;
    }
    let begun = Instant::now();
    loop {
        let standing = retention.standing(before).await?;
        if standing.open.is_empty() {
            return Ok(());
        }
        if !standing.held.is_empty() && standing.held.len() == standing.open.len() {
            return Err(held(
                before,
                standing
                    .held
                    .into_iter()
                    .map(|(_, holders)| (holders.first, holders.total)),
            ));
        }
        if begun.elapsed() > patience {
            return Err(Error::NotYet {
                what: format!("not all shards have closed the days before {}", date(before)),
                waited: patience,
                who: standing.open.iter().map(ShardId::to_string).collect(),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn held(before: i32, all: impl Iterator<Item = (Vec<JobId>, u64)>) -> Error {
    let (mut first, mut total) = (Vec::new(), 0);
    for (jobs, count) in all {
        first.extend(jobs);
        total += count;
    }
    first.sort_unstable();
    first.truncate(MOST_NAMED);
    Error::Held {
        before: date(before),
        first,
        total,
    }
}

const MOST_NAMED: usize = 5;

/// Returns once nobody needs the day's events any more: they are in snapshots, in the read models, and published.
pub(super) async fn await_followers(
    retention: &mut Retention,
    (day, before): (i32, i32),
    patience: Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    let mut reminded: Option<Instant> = None;
    loop {
        let mut who = retention.behind(day).await?;
        if who.is_empty() {
            let unfinished = retention.unfinished(day).await?;
            if unfinished.is_empty() {
                return Ok(());
            }
            let quarantined = |job: &JobId| format!("the snapshot of {job}, see `grid events --quarantine`");
            who = unfinished.iter().map(quarantined).collect();
        }
        if begun.elapsed() > patience || !retention.is_served() {
            let hint = if retention.is_served() {
                ""
            } else {
                "; start a server, which sees to it"
            };
            return Err(Error::NotYet {
                what: format!(
                    "{} is archived, but not everybody has all of it, and it is not dropped{hint}",
                    date(day)
                ),
                waited: begun.elapsed(),
                who,
            });
        }
        if reminded.is_none_or(|at| at.elapsed() > REMIND_EVERY) {
            retention.remind(before).await?;
            reminded = Some(Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Closes the days of shards that nobody serves.
async fn take_over(log: &Log, shards: &[ShardId], before: i32) -> Result<(), Error> {
    let journal = Journal::start_here(log.clone(), JournalOptions::default());
    let mut unfinished: Vec<(Vec<JobId>, u64)> = Vec::new();
    for shard in shards {
        let claimed = journal.claim(*shard, "archive").await?;
        let loaded = log.load(&claimed, clock::now()).await?;
        let of_the_days = |job: &&Job| job.id().day() < before && !job.is_at_rest();
        let holders: Vec<JobId> = loaded.jobs.iter().filter(of_the_days).map(Job::id).collect();
        if !holders.is_empty() {
            let total = holders.len() as u64;
            unfinished.push((holders, total));
            continue;
        }
        let batch = ShardBatch {
            shard: *shard,
            epoch: claimed.epoch,
            first_seq: claimed.next_seq,
            events: [].into(),
            cursor: claimed.cursor.clone(),
            published: claimed.published,
            closed_before: before,
        };
        match journal.commit(batch).await {
            CommitOutcome::Committed(_) => {}
            other => {
                let text = format!("{shard} could not be closed: {other:?}");
                return Err(crate::log::Error::Broken(text).into());
            }
        }
        let upto = Seq(claimed.next_seq.0 - 1);
        let changed: std::collections::HashSet<JobId> = loaded.changed.into_iter().collect();
        let rows = loaded.jobs.iter().filter(|job| changed.contains(&job.id()));
        let row = |job: &Job| SnapshotRow {
            job: job.id(),
            seq: upto,
            at_rest: job.is_at_rest(),
            bytes: job.to_snapshot(),
        };
        let rows = rows.map(row).collect();
        log.write_snapshots(*shard, claimed.epoch, upto, rows).await?;
    }
    if unfinished.is_empty() {
        Ok(())
    } else {
        Err(held(before, unfinished.into_iter()))
    }
}
