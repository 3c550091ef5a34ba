//! Histories as people ask for them: of a job, a task or a worker, some of it, in either order.
//!
//! Must stay true: a page goes on from the key of the last event of the page before, so that what is added meanwhile
//! neither repeats nor hides an event; a worker's history is that of its name, over all its processes.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, Type};

use super::reader::days_of;
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::{ShardId, StreamId, Timestamp, WorkerName};

/// Whose history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOf {
    /// Of a job itself, or of a task.
    Stream(StreamId),
    /// Of all processes that bore the name; they live in the worker's shard.
    Worker { name: WorkerName, shard: ShardId },
}

/// Which of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Names of types; empty: all.
    pub types: Vec<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

impl HistoryFilter {
    pub const fn is_empty(&self) -> bool {
        self.types.is_empty() && self.from.is_none() && self.to.is_none()
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    pub of: HistoryOf,
    pub filter: HistoryFilter,
    pub oldest_first: bool,
    /// Go on behind the event with this key, see [`HistoryOf::key`].
    pub after: Option<u64>,
    /// How many to pass over.
    pub skip: u64,
    pub limit: u32,
}

/// A part of a history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    pub events: Vec<StoredEvent>,
    /// How many events the filter lets through, in all.
    pub total: u64,
    /// There are more behind these.
    pub more: bool,
}

impl HistoryOf {
    /// By what its events are ordered and found again.
    pub fn key(&self, event: &StoredEvent) -> u64 {
        match self {
            Self::Stream(_) => u64::from(event.version),
            Self::Worker { .. } => event.position.seq.0,
        }
    }

    const fn key_column(&self) -> &'static str {
        match self {
            Self::Stream(_) => "version",
            Self::Worker { .. } => "seq",
        }
    }
}

/// A condition under construction.
struct Condition {
    sql: String,
    arguments: PgArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Condition {
    fn new() -> Self {
        Self {
            sql: "true".to_owned(),
            arguments: PgArguments::default(),
            failed: None,
        }
    }

    /// Adds a condition; `?` is its argument.
    fn and<'t, T: Encode<'t, Postgres> + Type<Postgres>>(&mut self, sql: &str, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.failed = Some(error);
        }
        self.sql.push_str(" AND ");
        self.sql
            .push_str(&sql.replace('?', &format!("${}", self.arguments.len())));
    }

    fn of(query: &HistoryQuery) -> Self {
        let mut condition = Self::new();
        match &query.of {
            HistoryOf::Stream(stream) => {
                let (id, task) = stream.columns();
                let (first_day, last_day) = days_of(*stream);
                condition.and("day >= ?", first_day);
                condition.and("day <= ?", last_day);
                condition.and("job = ?", id);
                condition.and("task = ?", task as i32);
            }
            HistoryOf::Worker { name, shard } => {
                condition.sql.push_str(" AND worker");
                condition.and("shard = ?", shard.0 as i16);
                // The bytes first, which is quick and leaves little to be read as JSON.
                condition.and("position(?::bytea in payload) > 0", format!("\"{name}\"").into_bytes());
                condition.and(
                    "convert_from(payload, 'UTF8')::json->'data'->>'worker' = ?",
                    name.to_string(),
                );
            }
        }
        let HistoryFilter { types, from, to } = &query.filter;
        if !types.is_empty() {
            condition.and("convert_from(payload, 'UTF8')::json->>'type' = ANY(?)", types.clone());
        }
        // Times are written in one form, whose order is theirs.
        let at = "convert_from(payload, 'UTF8')::json->>'at' COLLATE \"C\"";
        if let Some(from) = from {
            condition.and(&format!("{at} >= ?"), from.to_string());
        }
        if let Some(to) = to {
            condition.and(&format!("{at} < ?"), to.to_string());
        }
        condition
    }

    fn finish(self) -> Result<(String, PgArguments), Error> {
        match self.failed {
            Some(error) => Err(sqlx::Error::Encode(error).into()),
            None => Ok((self.sql, self.arguments)),
        }
    }
}

impl Log {
    /// Some of a history.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        let total = match &query.of {
            // Versions have no gaps.
            HistoryOf::Stream(stream) if query.filter.is_empty() => u64::from(self.stream_version(*stream).await?),
            HistoryOf::Stream(_) | HistoryOf::Worker { .. } => self.history_count(&query).await?,
        };
        let (key, order, beyond) = match query.oldest_first {
            true => (query.of.key_column(), "ASC", ">"),
            false => (query.of.key_column(), "DESC", "<"),
        };
        let mut condition = Condition::of(&query);
        if let Some(after) = query.after {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            condition.and(&format!("{key} {beyond} ?"), after);
        }
        let (sql, arguments) = condition.finish()?;
        let skip = i64::try_from(query.skip).unwrap_or(i64::MAX);
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE {sql} ORDER BY {key} {order} LIMIT {} OFFSET {skip}",
            i64::from(query.limit) + 1
        );
        let pool = self.inner.pool.clone();
        let unit = async move { Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&pool).await?) };
        let mut rows = self.run("log.history", unit).await?;
        let more = rows.len() > query.limit as usize;
        rows.truncate(query.limit as usize);
        let events = rows.iter().map(StoredEvent::read).collect::<Result<_, _>>()?;
        Ok(HistoryPage { events, total, more })
    }

    async fn history_count(&self, query: &HistoryQuery) -> Result<u64, Error> {
        let (sql, arguments) = Condition::of(query).finish()?;
        let sql = format!("SELECT count(*) FROM events WHERE {sql}");
        let pool = self.inner.pool.clone();
        let unit = async move {
            let count: i64 = sqlx::query_scalar_with(AssertSqlSafe(sql), arguments)
                .fetch_one(&pool)
                .await?;
            Ok(count.max(0).unsigned_abs())
        };
        self.run("log.history_count", unit).await
    }
}
