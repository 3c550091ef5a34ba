//! Loading a shard after its claim: the unfinished jobs from their snapshots, and the tail of events behind them.
//!
//! Must stay true: what is loaded is the fold of the log, snapshots are only a shortcut; one event that cannot be taken
//! in costs its own job (which goes into quarantine), never the shard.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::claim::Claimed;
use super::connect::unhurried;
use super::fold::JobFold;
use super::quarantine::{Poison, QuarantineSource};
use super::reader::shard_page;
use super::snapshot::{StoredSnapshot, Workers};
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::{Job, JobId, Position, Seq, ShardId, Timestamp, WorkerHistory, WorkerName};

/// Events in one read.
const PAGE_EVENTS: usize = 10_000;

/// What a shard's owner begins with.
#[derive(Debug)]
pub struct LoadedShard {
    /// Those that are not at rest, and those that were changed behind the last round of snapshots; by id.
    pub jobs: Vec<Job>,
    /// Jobs that were changed behind the last round: the next round must write them.
    pub changed: Vec<JobId>,
    /// Ids of yesterday to tomorrow that need not be in memory: at rest, or unreadable.
    pub finished: Vec<JobId>,
    /// Workers whose history lives here, with the version of the stream of their present incarnation.
    pub workers: Vec<(WorkerName, WorkerHistory, u32)>,
    /// Events behind the last round of snapshots.
    pub tail_events: usize,
    /// Jobs that cannot be folded; their events are in quarantine.
    pub unreadable: Vec<UnreadableJob>,
}

/// A job with an event that cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableJob {
    pub job: JobId,
    pub position: Position,
    pub why: String,
}

impl Log {
    /// Loads what the claim is of. At most `concurrent_loads` run at a time; others wait.
    pub async fn load(&self, claimed: &Claimed, now: Timestamp) -> Result<LoadedShard, Error> {
        let (log, claimed) = (self.clone(), claimed.clone());
        let unit = async move {
            let _one_of_few = log
                .inner
                .loads
                .acquire()
                .await
                .map_err(|error| Error::Broken(error.to_string()))?;
            let started = std::time::Instant::now();
            let loaded = Loading::new(&log.inner.pool, &claimed).load(&log, now).await?;
            metrics::histogram!("grid_log_load_seconds").record(started.elapsed().as_secs_f64());
            tracing::info!(
                shard = claimed.shard.0, epoch = claimed.epoch.0, jobs = loaded.jobs.len(),
                finished = loaded.finished.len(), tail_events = loaded.tail_events,
                unreadable = loaded.unreadable.len(), took = ?started.elapsed(), "log.shard_loaded"
            );
            Ok(loaded)
        };
        self.run("log.load", unit).await
    }

    /// One job, from its snapshot and its later events; `None`: the log has no such job.
    ///
    /// # Errors
    /// [`Error::UnreadableEvent`] when one of its events cannot be taken in.
    pub async fn load_job(&self, shard: ShardId, job: JobId) -> Result<Option<Job>, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let sql = format!("SELECT {} FROM snapshots WHERE job = $1", StoredSnapshot::COLUMNS);
            let row = sqlx::query(AssertSqlSafe(sql))
                .bind(job.0)
                .fetch_optional(&pool)
                .await?;
            let snapshot = row.as_ref().map(StoredSnapshot::read).transpose()?;
            let from = snapshot.and_then(|snapshot| Some((snapshot.job()?, snapshot.seq)));
            let mut fold = match from {
                Some((job, seq)) => JobFold::of(job, seq),
                None => JobFold::empty(),
            };
            replay(&pool, shard, job, &mut fold).await?;
            fold.finish()
                .map_err(|(position, why)| Error::UnreadableEvent { job, position, why })
        };
        self.run("log.load_job", unit).await
    }
}

/// Folds the events of one job that are not in it yet.
async fn replay(pool: &PgPool, shard: ShardId, job: JobId, fold: &mut JobFold) -> Result<(), sqlx::Error> {
    // What came after a snapshot came after the shard's round of snapshots too, or the snapshot would be newer. So the
    // place in the shard is the short way there, and the key of the job the short way to its whole history.
    let whole = fold.job().is_none();
    let sql = if whole {
        format!("SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND shard + 0 = $3 AND seq > $4 ORDER BY seq")
    } else {
        format!(
            "SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND shard = $3
             AND seq > greatest($4, (SELECT snapshot_seq FROM shards WHERE shard = $3)) ORDER BY seq"
        )
    };
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(job.day())
        .bind(job.0)
        .bind(shard.0 as i16);
    let mut reading = unhurried(pool).await?;
    let mut rows = query.bind(fold.seen().0 as i64).fetch(&mut *reading);
    while let Some(row) = rows.try_next().await? {
        fold.take(job, &StoredEvent::read(&row)?);
    }
    Ok(())
}

struct Loading<'a> {
    pool: &'a PgPool,
    claimed: &'a Claimed,
    folds: HashMap<JobId, JobFold>,
    /// Jobs whose snapshot cannot be used: all their events must be read.
    from_start: HashSet<JobId>,
    workers: Workers,
    bad_workers: Vec<(Position, String, bytes::Bytes)>,
    tail_events: usize,
    changed: HashSet<JobId>,
}

impl<'a> Loading<'a> {
    fn new(pool: &'a PgPool, claimed: &'a Claimed) -> Self {
        Self {
            pool,
            claimed,
            folds: HashMap::new(),
            from_start: HashSet::new(),
            workers: Workers::default(),
            bad_workers: Vec::new(),
            tail_events: 0,
            changed: HashSet::new(),
        }
    }

    async fn load(mut self, log: &Log, now: Timestamp) -> Result<LoadedShard, Error> {
        self.workers = Workers::read(self.pool, self.claimed.shard).await?;
        let under_way = format!(
            "SELECT {} FROM snapshots WHERE shard = $1 AND NOT at_rest",
            StoredSnapshot::COLUMNS
        );
        let query = sqlx::query(AssertSqlSafe(under_way)).bind(self.claimed.shard.0 as i16);
        self.take_snapshots(query).await?;
        self.replay_whole().await?;
        self.take_tail().await?;
        let mut finished: HashSet<JobId> = self.finished_in_snapshots(now).await?.into_iter().collect();
        let mut jobs = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (id, fold) in std::mem::take(&mut self.folds) {
            match fold.finish() {
                Ok(Some(job)) => {
                    if job.is_at_rest() {
                        finished.insert(id);
                    } else {
                        finished.remove(&id);
                    }
                    jobs.insert(id, job);
                }
                Ok(None) => {}
                Err((position, why)) => {
                    // A command on it looks it up, and is told.
                    finished.insert(id);
                    unreadable.push(UnreadableJob { job: id, position, why });
                }
            }
        }
        let days = (now.day() - 1)..=(now.day() + 1);
        finished.retain(|job| days.contains(&job.day()));
        self.quarantine(log, &unreadable).await?;
        let workers = self.workers.0.into_iter();
        Ok(LoadedShard {
            jobs: jobs.into_values().collect(),
            changed: self.changed.into_iter().collect(),
            finished: finished.into_iter().collect(),
            workers: workers.map(|(name, head)| (name, head.history, head.version)).collect(),
            tail_events: self.tail_events,
            unreadable,
        })
    }

    async fn take_snapshots(
        &mut self,
        query: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<(), Error> {
        let mut reading = unhurried(self.pool).await?;
        let mut rows = query.fetch(&mut *reading);
        while let Some(row) = rows.try_next().await? {
            let snapshot = StoredSnapshot::read(&row)?;
            match snapshot.job() {
                Some(job) => {
                    self.folds.insert(snapshot.job, JobFold::of(job, snapshot.seq));
                }
                None => {
                    self.from_start.insert(snapshot.job);
                }
            }
        }
        Ok(())
    }

    /// Folds from their first event those whose snapshot could not be used.
    async fn replay_whole(&mut self) -> Result<(), Error> {
        for job in std::mem::take(&mut self.from_start) {
            let mut fold = JobFold::empty();
            replay(self.pool, self.claimed.shard, job, &mut fold).await?;
            self.folds.insert(job, fold);
        }
        Ok(())
    }

    async fn take_tail(&mut self) -> Result<(), Error> {
        let head = Seq(self.claimed.next_seq.0 - 1);
        let mut after = self.claimed.snapshot_seq;
        while after < head {
            let page = shard_page(self.pool, self.claimed.shard, after, head, PAGE_EVENTS).await?;
            if page.through <= after {
                break;
            }
            after = page.through;
            self.tail_events += page.events.len();
            self.find_bases(&page.events).await?;
            for stored in &page.events {
                match stored.job() {
                    Some(job) => {
                        self.changed.insert(job);
                        if let Some(fold) = self.folds.get_mut(&job) {
                            fold.take(job, stored);
                        }
                    }
                    None => {
                        if let Err(why) = self.workers.take(stored) {
                            self.bad_workers.push((stored.position, why, stored.payload.clone()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sees to it that every job of the page has a fold that its events can be added to.
    async fn find_bases(&mut self, events: &[StoredEvent]) -> Result<(), Error> {
        let mut unknown = Vec::new();
        for stored in events {
            let Some(job) = stored.job().filter(|job| !self.folds.contains_key(job)) else {
                continue;
            };
            self.folds.insert(job, JobFold::empty());
            // A job that begins here needs no snapshot.
            if stored.task() > 0 || stored.version > 1 {
                unknown.push(job);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = unknown.iter().map(|job| job.0).collect();
        let sql = format!("SELECT {} FROM snapshots WHERE job = ANY($1)", StoredSnapshot::COLUMNS);
        self.take_snapshots(sqlx::query(AssertSqlSafe(sql)).bind(ids)).await?;
        let without = unknown
            .into_iter()
            .filter(|job| self.folds.get(job).is_some_and(|fold| fold.job().is_none()));
        self.from_start.extend(without);
        self.replay_whole().await
    }

    async fn finished_in_snapshots(&self, now: Timestamp) -> Result<Vec<JobId>, Error> {
        let at_rest = "SELECT job FROM snapshots
                       WHERE at_rest AND shard = $1 AND job >= grid_first_id($2) AND job < grid_first_id($3)";
        let query = sqlx::query_scalar(at_rest).bind(self.claimed.shard.0 as i16);
        let ids: Vec<Uuid> = query
            .bind(now.day() - 1)
            .bind(now.day() + 2)
            .fetch_all(self.pool)
            .await?;
        Ok(ids.into_iter().map(JobId).collect())
    }

    async fn quarantine(&mut self, log: &Log, unreadable: &[UnreadableJob]) -> Result<(), Error> {
        let mut bad = std::mem::take(&mut self.bad_workers);
        for job in unreadable {
            let event = log.event_at(job.position).await?;
            let payload = event.map(|event| event.payload).unwrap_or_default();
            bad.push((job.position, format!("{}: {}", job.job, job.why), payload));
        }
        self.distrust_snapshots(unreadable).await?;
        for (position, reason, payload) in bad {
            let principal = crate::event::EventHeader::read(&payload).map(|header| header.principal.into_owned());
            let poison = Poison {
                shard: position.shard,
                source: QuarantineSource::Event,
                bus: String::new(),
                place: position.seq.0 as i64,
                reason,
                principal: principal.unwrap_or_default(),
                payload: payload.to_vec(),
            };
            log.note_failure(poison, 1).await?;
        }
        Ok(())
    }

    /// The next round of snapshots passes these jobs by. A mark of no schema stays in its place, so that every load folds
    /// them from the start again: a newer program, that reads the event, finds them whole.
    async fn distrust_snapshots(&self, unreadable: &[UnreadableJob]) -> Result<(), Error> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let jobs: Vec<Uuid> = unreadable.iter().map(|job| job.job.0).collect();
        let mark = "INSERT INTO snapshots (job, shard, seq, schema, at_rest, raw_bytes, bytes)
                    SELECT job, $1, 0, -1, false, 0, '' FROM unnest($2::uuid[]) AS job
                    ON CONFLICT (job) DO UPDATE SET schema = -1, at_rest = false, raw_bytes = 0, bytes = ''";
        sqlx::query(mark)
            .bind(self.claimed.shard.0 as i16)
            .bind(jobs)
            .execute(self.pool)
            .await?;
        Ok(())
    }
}
