//! What goes with a day's jobs, besides their events.
//!
//! Must stay true: it goes some rows at a time, so that nobody waits for long; a document goes only when no job that is
//! left was submitted with it.

use std::collections::BTreeSet;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::projection::{delete_in_pages, forget_jobs};

/// Submissions at a time.
const PAGE_SUBMISSIONS: i64 = 500;

/// What nobody needs any more once a day is closed and archived, and what its retirement would delete in one go.
pub(super) async fn beside_the_log(connection: &mut PgConnection, day: i32) -> Result<(), sqlx::Error> {
    let of_the_day = format!("job >= grid_first_id({day}) AND job < grid_first_id({})", day + 1);
    for table in ["checkpoints", "dead_letters", "dead_letter_tasks", "dead_letter_jobs"] {
        delete_in_pages(connection, table, &of_the_day).await?;
    }
    delete_in_pages(connection, "snapshots", &format!("at_rest AND {of_the_day}")).await?;
    Ok(())
}

/// What is left of jobs of days before this one, all of which are dropped; gives the number of jobs.
pub(super) async fn jobs(connection: &mut PgConnection, before: i32) -> Result<u64, sqlx::Error> {
    let jobs = forget_jobs(connection, before).await?;
    forget_lines(connection, before).await?;
    while forget_submissions(connection, before).await? {}
    Ok(jobs)
}

/// Lines that tasks have written, where this database keeps them.
async fn forget_lines(connection: &mut PgConnection, before: i32) -> Result<(), sqlx::Error> {
    let hours = "SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'log_lines'::regclass";
    let hours: Vec<String> = sqlx::query_scalar(hours).fetch_all(&mut *connection).await?;
    let theirs = format!("job_id LIKE 'job-%' AND job_id < 'job-' || grid_first_id({before})::text");
    for hour in hours {
        match delete_in_pages(connection, &hour, &theirs).await {
            // An hour that was dropped meanwhile.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}

/// Documents as they were submitted, and the normalised ones that nobody else has; false: there was none.
async fn forget_submissions(connection: &mut PgConnection, before: i32) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let submissions = "SELECT job, hash FROM submissions WHERE job < grid_first_id($1) ORDER BY job LIMIT $2";
    let submissions: Vec<(Uuid, String)> = sqlx::query_as(submissions)
        .bind(before)
        .bind(PAGE_SUBMISSIONS)
        .fetch_all(&mut *transaction)
        .await?;
    let (jobs, hashes): (Vec<Uuid>, BTreeSet<String>) = submissions.into_iter().unzip();
    let (some, hashes) = (!jobs.is_empty(), hashes.into_iter().collect::<Vec<_>>());
    // Documents first, as a purge locks them, and before it is looked who has them: a submission of the same one waits.
    sqlx::query("SELECT FROM documents WHERE hash = ANY($1) ORDER BY hash FOR UPDATE")
        .bind(&hashes)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM submissions WHERE job = ANY($1)")
        .bind(jobs)
        .execute(&mut *transaction)
        .await?;
    let documents = "DELETE FROM documents d
                     WHERE d.hash = ANY($1) AND NOT EXISTS (SELECT FROM submissions s WHERE s.hash = d.hash)";
    sqlx::query(documents).bind(hashes).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(some)
}
