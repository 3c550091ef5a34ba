//! Rows of jobs whose day was dropped from the log go as well.
//!
//! Must stay true: a job's row goes first, with its share of the totals, so that nobody sees half of a job; each
//! transaction is short, and holds the cursor of one shard at most, so that no projector waits for long.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

/// Jobs at a time.
const PAGE_JOBS: i64 = 2_000;
/// Rows at a time.
const PAGE_ROWS: i64 = 10_000;

/// What else there is of a job, and by which column.
const PARTS: [(&str, &str); 6] = [
    ("task_blocks", "job"),
    ("task_names", "job"),
    ("job_labels", "job"),
    ("attempts", "job"),
    ("tasks", "job"),
    ("job_specs", "id"),
];

/// Takes away the rows of all jobs of days before this one (since 1970), all of which are dropped; gives how many jobs
/// these were. Repeated, it goes on where it was cut off.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_jobs(connection: &mut PgConnection, before: i32) -> Result<u64, sqlx::Error> {
    let mut jobs = 0;
    loop {
        let page = "SELECT shard, id FROM grid_read.jobs WHERE id < grid_first_id($1) ORDER BY id LIMIT $2";
        let rows = sqlx::query(page).bind(before).bind(PAGE_JOBS);
        let rows = rows.fetch_all(&mut *connection).await?;
        let mut by_shard: BTreeMap<i32, Vec<Uuid>> = BTreeMap::new();
        for row in &rows {
            by_shard.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
        }
        for (shard, ids) in by_shard {
            jobs += forget_some(connection, shard, ids).await?;
        }
        if rows.len() < PAGE_JOBS as usize {
            break;
        }
    }
    for (table, key) in PARTS {
        let table = format!("grid_read.{table}");
        delete_in_pages(connection, &table, &format!("{key} < grid_first_id({before})")).await?;
    }
    Ok(jobs)
}

async fn forget_some(connection: &mut PgConnection, shard: i32, ids: Vec<Uuid>) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // As the projector does: the cursor first.
    sqlx::query("SELECT FROM grid_read.projection_cursors WHERE shard = $1 FOR UPDATE")
        .bind(shard)
        .execute(&mut *transaction)
        .await?;
    let forget = "WITH gone AS (
                      DELETE FROM grid_read.jobs WHERE id = ANY($2) AND shard = $1
                      RETURNING ready, scheduled, running, completed, failed
                  ), sums AS (
                      SELECT count(*) AS jobs, COALESCE(sum(ready), 0) AS ready, COALESCE(sum(scheduled), 0) AS scheduled,
                          COALESCE(sum(running), 0) AS running, COALESCE(sum(completed), 0) AS completed,
                          COALESCE(sum(failed), 0) AS failed
                      FROM gone
                  )
                  UPDATE grid_read.projection_cursors c
                  SET jobs = c.jobs - s.jobs, ready = c.ready - s.ready, scheduled = c.scheduled - s.scheduled,
                      running = c.running - s.running, completed = c.completed - s.completed, failed = c.failed - s.failed
                  FROM sums s WHERE c.shard = $1 RETURNING s.jobs";
    let jobs: Option<i64> = sqlx::query_scalar(forget)
        .bind(shard)
        .bind(ids)
        .fetch_optional(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(jobs.unwrap_or(0).unsigned_abs())
}

/// Deletes rows, some at a time; gives how many. Table and condition are the program's own.
///
/// # Errors
/// When the database does not answer.
pub async fn delete_in_pages(connection: &mut PgConnection, table: &str, condition: &str) -> Result<u64, sqlx::Error> {
    let delete = format!(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {PAGE_ROWS}))"
    );
    let mut deleted = 0;
    loop {
        let page = sqlx::query(AssertSqlSafe(delete.clone()))
            .execute(&mut *connection)
            .await?;
        deleted += page.rows_affected();
        if page.rows_affected() < PAGE_ROWS as u64 {
            return Ok(deleted);
        }
    }
}
