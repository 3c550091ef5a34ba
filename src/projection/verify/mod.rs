//! Read models compared with the fold of the log, row by row.
//!
//! Must stay true: what is expected is folded event by event, by the domain and by [`expected`], and shares no code with
//! what writes the rows; it may run beside a working system (a row that has moved on since is passed over, an edited one
//! is not); memory holds jobs under way.

mod expected;
mod listed;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use async_trait::async_trait;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use self::expected::{ExpectedJob, ExpectedWorker};
use crate::domain::{Event, Job, JobId, Seq, ShardId, TaskId};
use crate::event::EventRecord;
use crate::log::{Difference, DifferenceKind, Error, Log, StoredEvent, Witness};

/// Tasks compared at a time, of one job or of many.
const PAGE_TASKS: u32 = 5_000;
/// Jobs compared at a time.
const MOST_JOBS: usize = 512;
/// Rows without a job that are listed.
const MOST_STRAYS: i64 = 100;

/// What makes the witnesses of the read models.
pub struct ReadModelCheck {
    pool: PgPool,
    cursors: HashMap<ShardId, Seq>,
    retired: HashSet<i32>,
}

impl ReadModelCheck {
    /// Reads how far the read models are: they are compared with the log up to there. To be called before the log's head
    /// is read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn prepare(log: &Log) -> Result<Self, Error> {
        let pool = log.pool().clone();
        let rows = sqlx::query("SELECT shard, seq FROM grid_read.projection_cursors")
            .fetch_all(&pool)
            .await?;
        let mut cursors = HashMap::new();
        for row in rows {
            cursors.insert(
                ShardId(row.try_get::<i32, _>(0)? as u16),
                Seq(row.try_get::<i64, _>(1)? as u64),
            );
        }
        let retired: Vec<i32> = sqlx::query_scalar("SELECT day FROM retired_days")
            .fetch_all(&pool)
            .await?;
        Ok(Self {
            pool,
            cursors,
            retired: retired.into_iter().collect(),
        })
    }

    /// The witness of a shard, for [`Log::verify`].
    pub fn witness(&self, shard: ShardId) -> Box<dyn Witness> {
        Box::new(ReadModelWitness {
            pool: self.pool.clone(),
            shard,
            cursor: self.cursors.get(&shard).copied().unwrap_or_default(),
            retired: self.retired.clone(),
            jobs: HashMap::new(),
            seen: HashSet::new(),
            workers: BTreeMap::new(),
        })
    }
}

struct ReadModelWitness {
    pool: PgPool,
    shard: ShardId,
    /// How far the rows are.
    cursor: Seq,
    retired: HashSet<i32>,
    jobs: HashMap<JobId, ExpectedJob>,
    seen: HashSet<JobId>,
    workers: BTreeMap<String, ExpectedWorker>,
}

#[async_trait]
impl Witness for ReadModelWitness {
    fn event(&mut self, stored: &StoredEvent, record: &EventRecord) {
        let seq = stored.position.seq;
        if seq > self.cursor {
            return;
        }
        let Some(job) = stored.job() else {
            expected::take_worker(&mut self.workers, seq, record);
            return;
        };
        if let Event::JobSubmitted(submitted) = &record.event {
            self.seen.insert(job);
            self.jobs
                .insert(job, ExpectedJob::submitted(job, seq, submitted, &record.meta));
        } else if let Some(expected) = self.jobs.get_mut(&job) {
            expected.take(seq, stored.task(), record);
        }
    }

    async fn jobs(&mut self, jobs: &[&Job]) -> Result<Vec<Difference>, Error> {
        let expected = jobs.iter().filter_map(|job| self.jobs.remove(&job.id())).collect();
        self.compare_jobs(expected).await
    }

    async fn end(&mut self, _: Seq) -> Result<Vec<Difference>, Error> {
        let expected = std::mem::take(&mut self.jobs).into_values().collect();
        let mut found = self.compare_jobs(expected).await?;
        self.find_strays(&mut found).await?;
        self.compare_workers(&mut found).await?;
        self.compare_totals(&mut found).await?;
        Ok(found)
    }
}

fn missing(shard: ShardId, what: &str) -> Difference {
    Difference::new(DifferenceKind::ReadModel, shard, what, "none")
}

/// A value that is not what it should be.
fn differs(shard: ShardId, place: &str, expected: impl Debug, found: impl Debug) -> Difference {
    let (expected, found) = (format!("{place} = {expected:?}"), format!("{place} = {found:?}"));
    Difference::new(DifferenceKind::ReadModel, shard, expected, found)
}

impl ReadModelWitness {
    async fn compare_jobs(&self, jobs: Vec<ExpectedJob>) -> Result<Vec<Difference>, Error> {
        let mut found = Vec::new();
        let (mut some, mut tasks) = (Vec::new(), 0);
        for job in jobs {
            if tasks + job.written() > PAGE_TASKS || some.len() == MOST_JOBS {
                self.compare_some(&some, &mut found).await?;
                (some, tasks) = (Vec::new(), 0);
            }
            tasks += job.written();
            some.push(job);
        }
        self.compare_some(&some, &mut found).await?;
        Ok(found)
    }

    /// Jobs that together have few tasks, or one that has many.
    async fn compare_some(&self, jobs: &[ExpectedJob], found: &mut Vec<Difference>) -> Result<(), Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let ids: Vec<JobId> = jobs.iter().map(ExpectedJob::id).collect();
        // One view of the jobs and their tasks: the row tells whether they have moved on together.
        let mut view = rows::View::begin(&self.pool).await?;
        let now = view.cursor(self.shard).await?;
        let (rows, specs, attempts) = (
            view.jobs(&ids).await?,
            view.specs(&ids).await?,
            view.attempts(&ids).await?,
        );
        let mut still = Vec::new();
        for job in jobs {
            let Some(row) = rows.get(&job.id()) else {
                found.push(missing(self.shard, "a row in jobs").of_job(job.id()));
                continue;
            };
            if row.seq > self.cursor && row.seq <= now {
                continue;
            }
            still.push(job);
            for (column, expected, got) in job.row(self.shard).differences(row) {
                found.push(differs(self.shard, &format!("jobs.{column}"), expected, got).of_job(job.id()));
            }
            if specs.get(&job.id()) != Some(&job.spec_json()) {
                found.push(missing(self.shard, "the row of job_specs as submitted").of_job(job.id()));
            }
            self.compare_attempts(job, attempts.get(&job.id()), found);
        }
        self.compare_listed(&mut view, &still, found).await?;
        self.compare_tasks(&mut view, &still, found).await?;
        view.end().await
    }

    fn compare_attempts(&self, job: &ExpectedJob, rows: Option<&rows::Attempts>, found: &mut Vec<Difference>) {
        let none = rows::Attempts::new();
        let (rows, expected) = (rows.unwrap_or(&none), job.superseded());
        for key in expected
            .keys()
            .chain(rows.keys().filter(|key| !expected.contains_key(key)))
        {
            let (want, got) = (expected.get(key), rows.get(key));
            if want != got {
                let mut difference = differs(self.shard, &format!("attempts[{}]", key.1), want, got).of_job(job.id());
                difference.task = Some(TaskId {
                    job: job.id(),
                    number: key.0,
                });
                found.push(difference);
            }
        }
    }

    async fn compare_tasks(
        &self,
        view: &mut rows::View,
        jobs: &[&ExpectedJob],
        found: &mut Vec<Difference>,
    ) -> Result<(), Error> {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id()).collect();
        let most = jobs.iter().map(|job| job.written()).max().unwrap_or(0);
        let mut after = 0;
        while after < most {
            let last = after.saturating_add(PAGE_TASKS);
            let rows = view.tasks(&ids, after, last).await?;
            for job in jobs {
                for number in after + 1..=last.min(job.written()) {
                    let Some(expected) = job.task(number) else { continue };
                    let id = TaskId { job: job.id(), number };
                    let differing = match rows.get(&id) {
                        Some(row) => expected.differences(row),
                        None => vec![("*", "a row".to_owned(), "none".to_owned())],
                    };
                    for (column, expected, got) in differing {
                        let mut difference = differs(self.shard, &format!("tasks.{column}"), expected, got);
                        difference.task = Some(id);
                        found.push(difference.of_job(job.id()));
                    }
                }
            }
            after = last;
        }
        let counts = view.task_counts(&ids).await?;
        for job in jobs {
            let (want, got) = (i64::from(job.written()), counts.get(&job.id()).copied().unwrap_or(0));
            if got > want {
                found.push(differs(self.shard, "rows in tasks", want, got).of_job(job.id()));
            }
        }
        Ok(())
    }

    /// Rows of jobs that the log does not have.
    async fn find_strays(&self, found: &mut Vec<Difference>) -> Result<(), Error> {
        let rows = sqlx::query_scalar::<_, Uuid>("SELECT id FROM grid_read.jobs WHERE shard = $1 AND seq <= $2");
        let rows = rows
            .bind(i32::from(self.shard.0))
            .bind(self.cursor.0 as i64)
            .fetch_all(&self.pool)
            .await?;
        for id in rows.into_iter().map(JobId) {
            if !self.seen.contains(&id) && !self.retired.contains(&id.day()) {
                let stray = Difference::new(DifferenceKind::ReadModel, self.shard, "no row in jobs", "a row in jobs");
                found.push(stray.of_job(id));
            }
        }
        if self.shard != ShardId(0) {
            return Ok(());
        }
        // These rows name no shard: one witness looks for all.
        for (table, key) in [
            ("tasks", "job"),
            ("attempts", "job"),
            ("job_specs", "id"),
            ("job_labels", "job"),
            ("task_names", "job"),
            ("task_blocks", "job"),
        ] {
            let sql = format!(
                "SELECT DISTINCT t.{key} FROM grid_read.{table} t
                 WHERE NOT EXISTS (SELECT FROM grid_read.jobs j WHERE j.id = t.{key})
                     AND NOT EXISTS (SELECT FROM retired_days r
                         WHERE t.{key} >= grid_first_id(r.day) AND t.{key} < grid_first_id(r.day + 1))
                 LIMIT {MOST_STRAYS}"
            );
            for id in sqlx::query_scalar::<_, Uuid>(sqlx::AssertSqlSafe(sql))
                .fetch_all(&self.pool)
                .await?
            {
                let (expected, got) = (format!("no row in {table}"), format!("a row in {table}"));
                let stray = Difference::new(DifferenceKind::ReadModel, self.shard, expected, got);
                found.push(stray.of_job(JobId(id)));
            }
        }
        Ok(())
    }

    async fn compare_workers(&self, found: &mut Vec<Difference>) -> Result<(), Error> {
        let rows = rows::workers(&self.pool, self.shard).await?;
        for (name, expected) in &self.workers {
            let Some(row) = rows.get(name) else {
                let missing = format!("a row {name:?} in workers");
                found.push(Difference::new(DifferenceKind::ReadModel, self.shard, missing, "none"));
                continue;
            };
            if row.seq > self.cursor {
                continue;
            }
            for (column, expected, got) in expected.differences(row, !self.retired.is_empty()) {
                found.push(differs(
                    self.shard,
                    &format!("workers[{name:?}].{column}"),
                    expected,
                    got,
                ));
            }
        }
        for (name, row) in rows {
            if row.seq <= self.cursor && !self.workers.contains_key(&name) && self.retired.is_empty() {
                let stray = format!("a row {name:?} in workers");
                found.push(Difference::new(DifferenceKind::ReadModel, self.shard, "none", stray));
            }
        }
        Ok(())
    }
}
