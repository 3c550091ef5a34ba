//! Lines in Postgres: a table in partitions of an hour.
//!
//! Must stay true: ids rise in the order of the commits, since who adds lines holds the row of the last id; so following
//! by id misses nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{Stream, TryStreamExt};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Batch, Key, LogStore, Order, Page, Search, StoreError, StoredLine};
use crate::domain::Timestamp;
use crate::logs::line::Line;
use crate::logs::options::LogsOptions;
use crate::logs::question::Question;

const HOUR_MS: i64 = 3_600_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// A line's clock may be so far ahead.
const AHEAD_MS: i64 = HOUR_MS;
/// Following looks at no line that is older than this when it was taken in.
const LATE_MS: i64 = 48 * HOUR_MS;
/// A page of lines ends behind the one that takes it over this.
const PAGE_BYTES: usize = 32 * 1024 * 1024;
/// A line that was held back for what might belong to it is older than its position, by no more than this.
const HELD_MS: i64 = 60_000;
/// Ids that one look of a follower goes through.
const STEP_IDS: i64 = 20_000;

const COLUMNS: &str = "at, id, job_id, task_id, worker_id, attempt, level, logger_name, source, service, stream, message, \
                       fields, position";

const ADD: &str = "
    WITH fresh AS (
        INSERT INTO log_lines_sources AS known (incarnation, last_batch, taken_at) VALUES ($1, $2, now())
        ON CONFLICT (incarnation) DO UPDATE SET last_batch = excluded.last_batch, taken_at = excluded.taken_at
            WHERE known.last_batch < excluded.last_batch
        RETURNING 1
    ), head AS (
        UPDATE log_lines_head SET last_id = last_id + $3 WHERE EXISTS (SELECT FROM fresh) RETURNING last_id - $3 AS before
    )
    INSERT INTO log_lines (at, id, job_id, task_id, worker_id, attempt, level, logger_name, source, service, stream,
        message, fields, position)
    SELECT l.at, head.before + l.place, l.job_id, l.task_id, l.worker_id, l.attempt, l.level, l.logger_name, l.source,
        l.service, l.stream, l.message, l.fields::jsonb, l.position
    FROM head, unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
        $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[]) WITH ORDINALITY AS l(at, job_id, task_id, worker_id, attempt,
        level, logger_name, source, service, stream, message, fields, position, place)
    RETURNING id";

/// The store in the database of the log.
pub struct Embedded {
    pool: PgPool,
    options: LogsOptions,
    /// Hours whose partitions are there.
    hours: Mutex<BTreeSet<i64>>,
    /// The last id that this process took in.
    newest: watch::Sender<i64>,
}

impl Embedded {
    pub fn new(pool: PgPool, options: LogsOptions) -> Self {
        Self {
            pool,
            options,
            hours: Mutex::default(),
            newest: watch::channel(0).0,
        }
    }

    /// Drops what is too old or too much: at once, then some time after lines came, else each hour; until the handle is
    /// aborted. Who takes nothing in asks the database nothing in between.
    pub fn sweep(&self) -> JoinHandle<()> {
        let (pool, options) = (self.pool.clone(), self.options.clone());
        let mut newest = self.newest.subscribe();
        crate::task::spawn("logs.sweep", async move {
            loop {
                match drop_hours(&pool, &options, crate::clock::now()).await {
                    Ok(0) => {}
                    Ok(hours) => tracing::info!(hours, "logs.hours_dropped"),
                    Err(error) => tracing::warn!(%error, "logs.not_swept"),
                }
                if let Ok(Err(_)) = tokio::time::timeout(HOUR, newest.changed()).await {
                    return;
                }
                tokio::time::sleep(options.sweep_interval.max(Duration::from_millis(10))).await;
            }
        })
    }

    /// The lines' times as they are stored: none before what is kept, none too far ahead.
    fn clamped(&self, at: Timestamp, now: Timestamp) -> i64 {
        let oldest = now - self.options.max_age;
        at.as_ms().clamp(oldest.as_ms(), now.as_ms() + AHEAD_MS)
    }

    async fn make_hours(&self, times: &[i64]) -> Result<(), sqlx::Error> {
        let wanted: BTreeSet<i64> = times.iter().map(|at| at.div_euclid(HOUR_MS)).collect();
        let missing: Vec<i64> = {
            let there = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.difference(&there).copied().collect()
        };
        for hour in missing {
            sqlx::query("SELECT grid_make_log_hours($1, $2)")
                .bind(hour)
                .bind(hour)
                .execute(&self.pool)
                .await?;
            self.hours.lock().unwrap_or_else(PoisonError::into_inner).insert(hour);
        }
        Ok(())
    }

    async fn insert(&self, batch: &Batch) -> Result<(), sqlx::Error> {
        let now = crate::clock::now();
        let times: Vec<i64> = batch.lines.iter().map(|line| self.clamped(line.at, now)).collect();
        self.make_hours(&times).await?;
        let texts = |of: fn(&Line) -> String| batch.lines.iter().map(of).map(no_zero).collect::<Vec<_>>();
        let fields = |line: &Line| serde_json::to_string(&line.fields).unwrap_or_default();
        let query = sqlx::query_scalar::<_, i64>(ADD)
            .bind(batch.incarnation)
            .bind(i64::try_from(batch.number).unwrap_or(i64::MAX))
            .bind(i64::try_from(batch.lines.len()).unwrap_or(i64::MAX))
            .bind(times)
            .bind(texts(|line| line.job_id.clone()))
            .bind(texts(|line| line.task_id.clone()))
            .bind(texts(|line| line.worker_id.clone()))
            .bind(texts(|line| {
                line.attempt.map(|attempt| attempt.to_string()).unwrap_or_default()
            }))
            .bind(texts(|line| line.level.clone()))
            .bind(texts(|line| line.logger_name.clone()))
            .bind(texts(|line| line.source.clone()))
            .bind(texts(|line| line.service.clone()))
            .bind(texts(|line| line.stream.clone()))
            .bind(texts(|line| line.message.clone()))
            .bind(
                batch
                    .lines
                    .iter()
                    .map(fields)
                    .map(|text| text.replace("\\u0000", "\\ufffd"))
                    .collect::<Vec<_>>(),
            )
            .bind(batch.lines.iter().map(|line| line.position).collect::<Vec<_>>());
        let ids = query.fetch_all(&self.pool).await?;
        if let Some(last) = ids.into_iter().max() {
            self.newest.send_if_modified(|newest| {
                let rises = last > *newest;
                *newest = last.max(*newest);
                rises
            });
        }
        Ok(())
    }

    fn failed(&self, error: &sqlx::Error) -> StoreError {
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        match code.as_deref() {
            // The statement was cancelled by its time-out.
            Some("57014") => StoreError::TooLong(self.options.search_timeout),
            // An invalid or a too complex regular expression, or a text that Postgres cannot hold.
            Some("2201B" | "54000" | "54001" | "22021" | "22P05") => StoreError::Refused(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }

    /// Runs a query, which asks for one line more than `limit`, within the time for searches and up to the bytes of a page.
    async fn fetch(&self, mut query: QueryBuilder<Postgres>, limit: u32) -> Result<Page, StoreError> {
        let (pool, timeout) = (self.pool.clone(), self.options.search_timeout);
        // On a task of its own, so that a client that goes away leaves no transaction open.
        let work = crate::task::spawn("logs.search", async move {
            let mut transaction = pool.begin().await?;
            sqlx::query("SELECT set_config('statement_timeout', $1, true)")
                .bind(timeout.as_millis().to_string())
                .execute(&mut *transaction)
                .await?;
            // Its text is hardly ever the same: it is planned for its values.
            let page = page(query.build().persistent(false).fetch(&mut *transaction), limit).await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(page)
        });
        let page = work.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        page.map_err(|error| self.failed(&error))
    }
}

/// Of rows as they come.
async fn page(
    mut rows: impl Stream<Item = Result<PgRow, sqlx::Error>> + Unpin,
    limit: u32,
) -> Result<Page, sqlx::Error> {
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        if page.lines.len() >= limit as usize || bytes > PAGE_BYTES {
            page.more = true;
            break;
        }
        let stored = line(&row)?;
        bytes += size_of_line(&stored.line);
        page.lines.push(stored);
    }
    Ok(page)
}

fn size_of_line(line: &Line) -> usize {
    let fields: usize = line.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    line.message.len() + fields + size_of::<Line>()
}

async fn drop_hours(pool: &PgPool, options: &LogsOptions, now: Timestamp) -> Result<i32, sqlx::Error> {
    let before = (now - options.max_age).as_ms();
    sqlx::query_scalar("SELECT grid_drop_log_hours($1, $2)")
        .bind(before)
        .bind(i64::try_from(options.max_bytes).unwrap_or(i64::MAX))
        .fetch_one(pool)
        .await
}

/// Postgres has no character 0 in texts.
fn no_zero(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

fn select() -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM log_lines WHERE ");
    query
}

#[async_trait]
impl LogStore for Embedded {
    async fn add(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.lines.is_empty() {
            return Ok(());
        }
        match self.insert(&batch).await {
            // Its hour was dropped, or made by nobody yet.
            Err(error)
                if error
                    .as_database_error()
                    .is_some_and(|error| error.code().as_deref() == Some("23514")) =>
            {
                self.hours.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.insert(&batch).await
            }
            done => done,
        }
        .map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    async fn check(&self, question: &Question) -> Result<(), StoreError> {
        Ok(question.filter()?.check()?)
    }

    async fn search(&self, search: &Search) -> Result<Page, StoreError> {
        let mut query = select();
        query.push("at >= ").push_bind(search.from_ms);
        query.push(" AND at <= ").push_bind(search.to_ms).push(" AND ");
        let (beyond, order) = match search.order {
            Order::NewestFirst => ("(at, id) < (", " ORDER BY at DESC, id DESC LIMIT "),
            Order::OldestFirst => ("(at, id) > (", " ORDER BY at, id LIMIT "),
        };
        if let Some(key) = search.beyond {
            query
                .push(beyond)
                .push_bind(key.at_ms)
                .push(", ")
                .push_bind(key.id)
                .push(") AND ");
        }
        search.question.filter()?.push(&mut query)?;
        query.push(order).push_bind(i64::from(search.limit) + 1);
        self.fetch(query, search.limit).await
    }

    async fn head(&self) -> Result<Key, StoreError> {
        let id = sqlx::query_scalar("SELECT last_id FROM log_lines_head").fetch_one(&self.pool);
        let id = id.await.map_err(|error| self.failed(&error))?;
        Ok(Key {
            at_ms: crate::clock::now().as_ms(),
            id,
        })
    }

    async fn after(&self, question: &Question, after: Key, limit: u32) -> Result<(Page, Key), StoreError> {
        let head = self.head().await?;
        let to = head.id.min(after.id.saturating_add(STEP_IDS));
        if to <= after.id {
            return Ok((
                Page::default(),
                Key {
                    id: after.id.min(head.id),
                    ..after
                },
            ));
        }
        let mut query = select();
        query
            .push("id > ")
            .push_bind(after.id)
            .push(" AND id <= ")
            .push_bind(to);
        query
            .push(" AND at >= ")
            .push_bind(after.at_ms.saturating_sub(LATE_MS))
            .push(" AND ");
        question.filter()?.push(&mut query)?;
        query.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit) + 1);
        let Page { lines, more } = self.fetch(query, limit).await?;
        let next = match lines.last() {
            Some(last) if more => last.key,
            _ => Key {
                at_ms: head.at_ms.max(after.at_ms),
                id: to,
            },
        };
        let more = more || to < head.id;
        Ok((Page { lines, more }, next))
    }

    async fn of_worker(
        &self,
        question: &Question,
        worker_id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let mut query = select();
        query.push("worker_id = ").push_bind(worker_id.to_owned());
        query.push(" AND position > ").push_bind(after);
        query
            .push(" AND at >= ")
            .push_bind(after / 1_000 - HELD_MS)
            .push(" AND ");
        question.filter()?.push(&mut query)?;
        query.push(" ORDER BY position LIMIT ").push_bind(i64::from(limit) + 1);
        self.fetch(query, limit).await
    }

    async fn can_erase(&self) -> Result<&'static str, StoreError> {
        Ok("postgres")
    }

    async fn erase(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn changed(&self, after: Key) {
        let mut newest = self.newest.subscribe();
        // The time-out is the answer too: other processes take lines in.
        let _ = tokio::time::timeout(self.options.tail_interval, newest.wait_for(|id| *id > after.id)).await;
    }
}

fn line(row: &PgRow) -> Result<StoredLine, sqlx::Error> {
    let at_ms: i64 = row.try_get("at")?;
    let Json(fields) = row.try_get("fields")?;
    let attempt: String = row.try_get("attempt")?;
    Ok(StoredLine {
        key: Key {
            at_ms,
            id: row.try_get("id")?,
        },
        line: Line {
            at: Timestamp::from_ms(at_ms),
            message: row.try_get("message")?,
            level: row.try_get("level")?,
            logger_name: row.try_get("logger_name")?,
            job_id: row.try_get("job_id")?,
            task_id: row.try_get("task_id")?,
            worker_id: row.try_get("worker_id")?,
            attempt: attempt.parse().ok(),
            source: row.try_get("source")?,
            service: row.try_get("service")?,
            stream: row.try_get("stream")?,
            position: row.try_get("position")?,
            fields,
        },
    })
}
