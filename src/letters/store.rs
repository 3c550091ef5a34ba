//! Dead letters in Postgres.
//!
//! Must stay true: who adds holds the job's row, so that counts are exact and ids rise in the order of the commits; letters
//! of an attempt that a later one has overtaken are not taken any more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row};

use super::letter::{Letter, Told};
use crate::domain::{JobId, TaskId, Timestamp};

/// What a job may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub letters: u64,
    pub bytes: u64,
}

/// What a job has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that failed.
    pub failed: u64,
    /// Those of them that are kept.
    pub kept: u64,
    pub bytes: u64,
}

/// A letter that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    pub key: Key,
    pub attempt: u32,
    pub letter: Letter,
}

/// Where a letter stands within its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The task's number.
    pub task: u32,
    pub number: u64,
}

impl Key {
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.task.to_be_bytes()[..], &self.number.to_be_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (task, number) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            task: u32::from_be_bytes(*task),
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// Which letters.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub job: JobId,
    /// Numbers of tasks.
    pub tasks: Option<RangeInclusive<u32>>,
    pub node: Option<String>,
    /// Only those that were kept up to this id.
    pub up_to: Option<i64>,
    /// Only what can be replayed.
    pub records: Option<Records>,
}

/// Records that are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    Whole,
    /// Which are texts.
    Texts,
}

impl Wanted {
    pub fn of_job(job: JobId) -> Self {
        Self {
            job,
            tasks: None,
            node: None,
            up_to: None,
            records: None,
        }
    }

    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" FROM dead_letters WHERE job = ").push_bind(self.job.0);
        if let Some(tasks) = &self.tasks {
            sql.push(" AND task BETWEEN ").push_bind(i64::from(*tasks.start()));
            sql.push(" AND ").push_bind(i64::from(*tasks.end()));
        }
        if let Some(node) = &self.node {
            sql.push(" AND node = ").push_bind(node.clone());
        }
        if let Some(up_to) = self.up_to {
            sql.push(" AND id <= ").push_bind(up_to);
        }
        sql.push(match self.records {
            None => "",
            Some(Records::Whole) => " AND NOT is_cut",
            Some(Records::Texts) => " AND NOT is_cut AND left(record, 1) = '\"'",
        });
    }
}

/// The letters of one node of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfNode {
    pub task: u32,
    pub node: String,
    /// Whole ones.
    pub whole: u64,
    /// Of those, the ones that are texts.
    pub texts: u64,
    pub cut: u64,
    /// The last id among them.
    pub last: i64,
}

/// What is new of a task.
struct Standing {
    attempt: i32,
    after: i64,
    failed: i64,
}

/// Letters of a job to be added, as columns.
#[derive(Default)]
struct Columns {
    tasks: Vec<i32>,
    numbers: Vec<i64>,
    attempts: Vec<i32>,
    at: Vec<i64>,
    nodes: Vec<String>,
    errors: Vec<String>,
    records: Vec<String>,
    cut: Vec<bool>,
    bytes: usize,
}

impl Columns {
    /// How many there are, and their bytes, with one more of so many.
    fn held(&self, more: usize) -> (i64, i64) {
        let long = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        (long(self.tasks.len() + 1), long(self.bytes + more))
    }

    fn push(&mut self, told: &Told, letter: Letter) {
        self.bytes += letter.bytes();
        self.tasks.push(signed(told.task_id.number));
        self.numbers.push(long(told.number));
        self.attempts.push(signed(told.attempt));
        self.at.push(letter.at.as_ms());
        self.nodes.push(no_zero(letter.node));
        self.errors.push(no_zero(letter.error));
        self.records.push(letter.record);
        self.cut.push(letter.cut);
    }
}

/// The store in the database of the log.
#[derive(Clone, Debug)]
pub struct Letters {
    pool: PgPool,
    limits: Limits,
}

impl Letters {
    pub fn new(pool: PgPool, limits: Limits) -> Self {
        Self { pool, limits }
    }

    /// Keeps what there is room for, and counts the rest. The same told again changes nothing.
    ///
    /// # Errors
    /// When the database does not answer; then some jobs may have theirs and others not.
    pub async fn add(&self, told: Vec<Told>) -> Result<(), sqlx::Error> {
        let mut jobs: BTreeMap<JobId, Vec<Told>> = BTreeMap::new();
        for told in told {
            jobs.entry(told.task_id.job).or_default().push(told);
        }
        for (job, told) in jobs {
            let (pool, limits) = (self.pool.clone(), self.limits);
            // On a task of its own, so that a worker that goes away leaves no transaction open.
            let work = crate::task::spawn("letters.add", async move {
                let mut transaction = pool.begin().await?;
                add_to_job(&mut transaction, job, told, limits).await?;
                transaction.commit().await
            });
            work.await
                .map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))??;
        }
        Ok(())
    }

    /// What a job has; nothing, when none of its records failed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts(&self, job: JobId) -> Result<Counts, sqlx::Error> {
        let sql = "SELECT failed, kept, bytes FROM dead_letter_jobs WHERE job = $1";
        let row = sqlx::query(sql).bind(job.0).fetch_optional(&self.pool).await?;
        row.map_or(Ok(Counts::default()), |row| {
            Ok(Counts {
                failed: row.try_get::<i64, _>(0)?.unsigned_abs(),
                kept: row.try_get::<i64, _>(1)?.unsigned_abs(),
                bytes: row.try_get::<i64, _>(2)?.unsigned_abs(),
            })
        })
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count(&self, wanted: &Wanted) -> Result<u64, sqlx::Error> {
        let mut sql = QueryBuilder::new("SELECT count(*)");
        wanted.push(&mut sql);
        let count: i64 = sql.build_query_scalar().fetch_one(&self.pool).await?;
        Ok(count.unsigned_abs())
    }

    /// At most `limit` letters by task and number, behind `after` or so many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(
        &self,
        wanted: &Wanted,
        after: Option<Key>,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<Dead>, sqlx::Error> {
        let mut sql = QueryBuilder::new("SELECT task, number, attempt, at, node, error, record, is_cut");
        wanted.push(&mut sql);
        if let Some(key) = after {
            sql.push(" AND (task, number) > (").push_bind(i64::from(key.task));
            sql.push(", ").push_bind(long(key.number)).push(")");
        }
        sql.push(" ORDER BY task, number LIMIT ").push_bind(i64::from(limit));
        sql.push(" OFFSET ").push_bind(long(offset));
        sql.build().fetch_all(&self.pool).await?.iter().map(dead).collect()
    }

    /// Where they failed: by task and node.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn by_node(&self, wanted: &Wanted) -> Result<Vec<OfNode>, sqlx::Error> {
        let mut sql = QueryBuilder::new(
            "SELECT task, node, count(*) FILTER (WHERE NOT is_cut),
                 count(*) FILTER (WHERE NOT is_cut AND left(record, 1) = '\"'), count(*) FILTER (WHERE is_cut), max(id)",
        );
        wanted.push(&mut sql);
        sql.push(" GROUP BY task, node ORDER BY task, node");
        let read = |row: &PgRow| {
            Ok(OfNode {
                task: row.try_get::<i32, _>(0)?.unsigned_abs(),
                node: row.try_get(1)?,
                whole: row.try_get::<i64, _>(2)?.unsigned_abs(),
                texts: row.try_get::<i64, _>(3)?.unsigned_abs(),
                cut: row.try_get::<i64, _>(4)?.unsigned_abs(),
                last: row.try_get(5)?,
            })
        };
        sql.build().fetch_all(&self.pool).await?.iter().map(read).collect()
    }
}

async fn add_to_job(
    connection: &mut PgConnection,
    job: JobId,
    told: Vec<Told>,
    limits: Limits,
) -> Result<(), sqlx::Error> {
    let retired = sqlx::query("SELECT FROM retired_days WHERE day = $1").bind(job.day());
    if retired.fetch_optional(&mut *connection).await?.is_some() {
        return Ok(());
    }
    let sql = "INSERT INTO dead_letter_jobs (job) VALUES ($1) ON CONFLICT (job) DO UPDATE SET job = excluded.job
               RETURNING kept, bytes";
    let row = sqlx::query(sql).bind(job.0).fetch_one(&mut *connection).await?;
    let (mut kept, mut bytes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let mut standings = standings(connection, job, &told).await?;
    let failed_before: i64 = standings.values().map(|standing| standing.failed).sum();
    let mut fresh = Columns::default();
    for mut told in told {
        let letter = told.letter.take();
        if begins(&mut standings, &told) {
            // What earlier attempts told beyond the place from which this one goes on is told anew, or is not so any more.
            let (count, size) = insert(connection, job, std::mem::take(&mut fresh)).await?;
            (kept, bytes) = (kept + count, bytes + size);
            let (count, size) = drop_beyond(connection, &told).await?;
            (kept, bytes) = (kept - count, bytes - size);
        }
        let is_wanted = counts(&mut standings, &told);
        let Some(letter) = letter.filter(|_| is_wanted) else {
            continue;
        };
        let (count, size) = fresh.held(letter.bytes());
        if kept + count > long(limits.letters) || bytes + size > long(limits.bytes) {
            metrics::counter!("grid_dead_letters_dropped_total", "where" => "limit").increment(1);
            continue;
        }
        fresh.push(&told, letter);
    }
    let (count, size) = insert(connection, job, fresh).await?;
    let failed: i64 = standings.values().map(|standing| standing.failed).sum();
    keep_standings(connection, job, &standings).await?;
    sqlx::query("UPDATE dead_letter_jobs SET failed = failed + $2, kept = $3, bytes = $4 WHERE job = $1")
        .bind(job.0)
        .bind(failed - failed_before)
        .bind(kept + count)
        .bind(bytes + size)
        .execute(connection)
        .await?;
    Ok(())
}

async fn standings(
    connection: &mut PgConnection,
    job: JobId,
    told: &[Told],
) -> Result<BTreeMap<i32, Standing>, sqlx::Error> {
    let tasks: Vec<i32> = told.iter().map(|told| signed(told.task_id.number)).collect();
    let sql = "SELECT task, attempt, after, failed FROM dead_letter_tasks WHERE job = $1 AND task = ANY($2)";
    let rows = sqlx::query(sql).bind(job.0).bind(tasks).fetch_all(connection).await?;
    let read = |row: &PgRow| {
        let standing = Standing {
            attempt: row.try_get(1)?,
            after: row.try_get(2)?,
            failed: row.try_get(3)?,
        };
        Ok((row.try_get(0)?, standing))
    };
    rows.iter().map(read).collect()
}

/// Whether it is the first that is heard of a later attempt than the one known.
fn begins(standings: &mut BTreeMap<i32, Standing>, told: &Told) -> bool {
    let (task, attempt) = (signed(told.task_id.number), signed(told.attempt));
    let known = standings.get(&task);
    if known.is_some_and(|known| known.attempt >= attempt) {
        return false;
    }
    let is_later = known.is_some();
    let after = long(told.after);
    let failed = after;
    standings.insert(task, Standing { attempt, after, failed });
    is_later
}

/// Whether it is of the attempt that counts, or of an earlier one up to where that went on; counts it.
fn counts(standings: &mut BTreeMap<i32, Standing>, told: &Told) -> bool {
    let Some(standing) = standings.get_mut(&signed(told.task_id.number)) else {
        return false;
    };
    if standing.attempt > signed(told.attempt) {
        return long(told.number) <= standing.after;
    }
    standing.failed = standing.failed.max(long(told.number));
    true
}

async fn drop_beyond(connection: &mut PgConnection, told: &Told) -> Result<(i64, i64), sqlx::Error> {
    let sql = "WITH gone AS (
                   DELETE FROM dead_letters WHERE job = $1 AND task = $2 AND number > $3
                   RETURNING octet_length(node) + octet_length(error) + octet_length(record) AS bytes
               ) SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone";
    let row = sqlx::query(sql)
        .bind(told.task_id.job.0)
        .bind(signed(told.task_id.number))
        .bind(long(told.after))
        .fetch_one(connection)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// How many of them were not there before, and their bytes.
async fn insert(connection: &mut PgConnection, job: JobId, fresh: Columns) -> Result<(i64, i64), sqlx::Error> {
    if fresh.tasks.is_empty() {
        return Ok((0, 0));
    }
    let sql = "WITH fresh AS (
                   INSERT INTO dead_letters (job, task, number, attempt, at, node, error, record, is_cut)
                   SELECT $1, * FROM unnest($2::integer[], $3::bigint[], $4::integer[], $5::bigint[], $6::text[], $7::text[],
                       $8::text[], $9::boolean[])
                   ON CONFLICT (job, task, number) DO NOTHING
                   RETURNING octet_length(node) + octet_length(error) + octet_length(record) AS bytes
               ) SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM fresh";
    let row = sqlx::query(sql)
        .bind(job.0)
        .bind(fresh.tasks)
        .bind(fresh.numbers)
        .bind(fresh.attempts)
        .bind(fresh.at)
        .bind(fresh.nodes)
        .bind(fresh.errors)
        .bind(fresh.records)
        .bind(fresh.cut)
        .fetch_one(connection)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

async fn keep_standings(
    connection: &mut PgConnection,
    job: JobId,
    standings: &BTreeMap<i32, Standing>,
) -> Result<(), sqlx::Error> {
    let of = |column: fn(&Standing) -> i64| standings.values().map(column).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO dead_letter_tasks (job, task, attempt, after, failed)
         SELECT $1, task, attempt::integer, after, failed
         FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[]) AS t(task, attempt, after, failed)
         ON CONFLICT (job, task) DO UPDATE
         SET attempt = excluded.attempt, after = excluded.after, failed = excluded.failed",
    )
    .bind(job.0)
    .bind(standings.keys().copied().collect::<Vec<_>>())
    .bind(of(|standing| i64::from(standing.attempt)))
    .bind(of(|standing| standing.after))
    .bind(of(|standing| standing.failed))
    .execute(connection)
    .await?;
    Ok(())
}

fn dead(row: &PgRow) -> Result<Dead, sqlx::Error> {
    Ok(Dead {
        key: Key {
            task: row.try_get::<i32, _>(0)?.unsigned_abs(),
            number: row.try_get::<i64, _>(1)?.unsigned_abs(),
        },
        attempt: row.try_get::<i32, _>(2)?.unsigned_abs(),
        letter: Letter {
            at: Timestamp::from_ms(row.try_get(3)?),
            node: row.try_get(4)?,
            error: row.try_get(5)?,
            record: row.try_get(6)?,
            cut: row.try_get(7)?,
        },
    })
}

impl Dead {
    pub fn task_id(&self, job: JobId) -> TaskId {
        TaskId {
            job,
            number: self.key.task,
        }
    }
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Postgres has no character 0 in texts; in JSON it is written as six others.
fn no_zero(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}
