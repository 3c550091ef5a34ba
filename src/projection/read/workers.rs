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
    /// `DRAINED`, `LOST` or `SUPERSEDED`.
    pub left_cause: Option<String>,
    /// It gets no new work.
    pub cordoned: bool,
    /// Its process was told to finish and leave.
    pub draining: bool,
}

pub(super) const COLUMNS: &str = "name, incarnation, endpoint_url, max_capacity, labels, registered_at, created_at, \
    left_at, left_cause, cordoned, draining";

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
        left_cause: row.try_get(8)?,
        cordoned: row.try_get(9)?,
        draining: row.try_get(10)?,
    })
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
}
