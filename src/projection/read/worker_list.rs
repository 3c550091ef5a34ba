//! Lists of workers: filtered, sorted, from any place on; and their totals.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use super::job_list::{Sql, push_span, text_of, to_i64};
use super::workers::{COLUMNS, read};
use super::{Direction, Order, Reading, Slice, SortField, Start, WorkerFilter, WorkerRow};
use crate::domain::{Timestamp, WorkerName};

/// What workers can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerSort {
    /// The first registration.
    CreatedAt,
    /// By code points.
    WorkerId,
}

impl SortField for WorkerSort {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("workerId", Self::WorkerId)];

    fn usual(self) -> Direction {
        match self {
            Self::CreatedAt => Direction::Desc,
            Self::WorkerId => Direction::Asc,
        }
    }
}

pub type WorkerOrder = Order<WorkerSort>;

/// Where a worker stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerKey {
    pub created_at: Timestamp,
    pub name: String,
}

impl WorkerKey {
    pub fn of(row: &WorkerRow) -> Self {
        Self {
            created_at: row.created_at,
            name: row.name.as_str().to_owned(),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.created_at.as_ms().to_be_bytes()[..], self.name.as_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, name) = bytes.split_first_chunk::<8>()?;
        let name = text_of(name)?;
        Some(Self {
            created_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            name,
        })
    }
}

/// Which workers, by what the log does not know: their state at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Among {
    pub names: Vec<WorkerName>,
    /// Those that have left as well.
    pub left: bool,
}

fn push_from(sql: &mut Sql, filter: &WorkerFilter, among: Option<&Among>) {
    sql.push(" FROM grid_read.workers w WHERE true");
    push_span(sql, "w.created_at", filter.created);
    for (name, values) in filter.labels.iter() {
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        sql.push(" AND w.labels ->> ").push_bind(name.to_owned());
        sql.push(" = ANY(").push_bind(values).push(")");
    }
    if let Some(among) = among {
        let names: Vec<String> = among.names.iter().map(|name| name.as_str().to_owned()).collect();
        sql.push(" AND (w.name = ANY(").push_bind(names).push(")");
        if among.left {
            sql.push(" OR w.left_at IS NOT NULL");
        }
        sql.push(")");
    }
}

impl Reading {
    /// Those that have registered and not left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn present_workers(&self) -> Result<Vec<WorkerRow>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM grid_read.workers w WHERE left_at IS NULL");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// How many workers the filter lets through.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn worker_count(&self, filter: &WorkerFilter, among: Option<&Among>) -> Result<u64, sqlx::Error> {
        let mut sql = Sql::new("SELECT count(*)");
        push_from(&mut sql, filter, among);
        let row = sql.build().persistent(false).fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)?.max(0).unsigned_abs())
    }

    /// `size` workers from `start` on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers(
        &self,
        filter: &WorkerFilter,
        among: Option<&Among>,
        order: WorkerOrder,
        start: &Start<WorkerKey>,
        size: u32,
    ) -> Result<Slice<WorkerRow>, sqlx::Error> {
        const NAME: &str = "w.name COLLATE \"C\"";
        let direction = order.direction.sql();
        let mut sql = Sql::new(format!("SELECT {COLUMNS}"));
        push_from(&mut sql, filter, among);
        let mut offset = 0;
        match (start, order.by) {
            (Start::Offset { offset: skipped, .. }, _) => offset = *skipped,
            (Start::After(key), WorkerSort::CreatedAt) => {
                sql.push(format!(" AND (w.created_at, {NAME}) {} (", order.direction.beyond()));
                sql.push_bind(key.created_at.to_datetime()).push(", ");
                sql.push_bind(key.name.clone()).push(")");
            }
            (Start::After(key), WorkerSort::WorkerId) => {
                sql.push(format!(" AND {NAME} {} ", order.direction.beyond()));
                sql.push_bind(key.name.clone());
            }
        }
        sql.push(match order.by {
            WorkerSort::CreatedAt => format!(" ORDER BY w.created_at {direction}, {NAME} {direction}"),
            WorkerSort::WorkerId => format!(" ORDER BY {NAME} {direction}"),
        });
        sql.push(" OFFSET ").push_bind(to_i64(offset));
        sql.push(" LIMIT ").push_bind(i64::from(size) + 1);
        let rows = sql.build().persistent(false).fetch_all(&self.pool).await?;
        let rows: Vec<WorkerRow> = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Slice::cut(rows, size))
    }
}
