//! Rows of workers.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};

use super::{Reading, at};
use crate::domain::{Incarnation, Labels, Timestamp, WorkerName};

/// A worker as its row tells it; what it does at the moment is not in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    pub name: WorkerName,
    pub incarnation: Incarnation,
    pub endpoint_url: String,
    pub max_capacity: u32,
    pub labels: Labels,
    pub registered_at: Timestamp,
    pub created_at: Timestamp,
    pub left_at: Option<Timestamp>,
    /// It gets no new work.
    pub cordoned: bool,
    /// Its process was told to finish and leave.
    pub draining: bool,
}

/// Where a worker stands in the list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerKey {
    pub created_at: Timestamp,
    pub name: String,
}

pub(super) const COLUMNS: &str = "name, incarnation, endpoint_url, max_capacity, labels, registered_at, created_at, left_at, \
    cordoned, draining";

pub(super) fn read(row: &PgRow) -> Result<WorkerRow, sqlx::Error> {
    let name: &str = row.try_get(0)?;
    Ok(WorkerRow {
        name: name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        incarnation: Incarnation(row.try_get(1)?),
        endpoint_url: row.try_get(2)?,
        max_capacity: u32::try_from(row.try_get::<i64, _>(3)?).unwrap_or(0),
        labels: row.try_get::<Json<Labels>, _>(4)?.0,
        registered_at: row.try_get::<DateTime<Utc>, _>(5)?.into(),
        created_at: row.try_get::<DateTime<Utc>, _>(6)?.into(),
        left_at: at(row.try_get(7)?),
        cordoned: row.try_get(8)?,
        draining: row.try_get(9)?,
    })
}

impl WorkerRow {
    pub fn key(&self) -> WorkerKey {
        WorkerKey {
            created_at: self.created_at,
            name: self.name.as_str().to_owned(),
        }
    }
}

impl Reading {
    /// # Errors
    /// When the database does not answer.
    pub async fn worker(&self, name: &WorkerName) -> Result<Option<WorkerRow>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM grid_read.workers WHERE name = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn worker_count(&self) -> Result<u64, sqlx::Error> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM grid_read.workers")
            .fetch_one(&self.pool)
            .await?;
        Ok(count.max(0).unsigned_abs())
    }

    /// `limit` workers, newest first, after the first `offset`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers(&self, offset: u64, limit: u32) -> Result<Vec<WorkerRow>, sqlx::Error> {
        let sql =
            format!("SELECT {COLUMNS} FROM grid_read.workers ORDER BY created_at DESC, name DESC LIMIT $1 OFFSET $2");
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX));
        query.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    /// `limit` workers, newest first, that come after `key`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers_after(&self, key: &WorkerKey, limit: u32) -> Result<Vec<WorkerRow>, sqlx::Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM grid_read.workers WHERE (created_at, name) < ($1, $2)
             ORDER BY created_at DESC, name DESC LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(key.created_at.to_datetime())
            .bind(&key.name);
        query
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

impl WorkerKey {
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.created_at.as_ms().to_be_bytes()[..], self.name.as_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, name) = bytes.split_first_chunk::<8>()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        Some(Self {
            created_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            name,
        })
    }
}
