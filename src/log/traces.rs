//! Of which traces jobs are part: their submissions and retries hold it in the log.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use sqlx::Row;
use uuid::Uuid;

use super::connect::unhurried;
use super::{Error, Log};
use crate::domain::JobId;
use crate::event::EventHeader;

/// The events that begin a run of a job are told by how their bytes begin, so that no others are read.
const BEGINNINGS: [&str; 2] = ["{\"type\":\"JobSubmitted\"", "{\"type\":\"JobRetryRequested\""];

impl Log {
    /// The `traceparent` of the command that brought about each job's latest run; jobs whose commands had none are left
    /// out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn traceparents(&self, jobs: Vec<JobId>) -> Result<HashMap<JobId, Arc<str>>, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let sql = "SELECT given.job, found.payload
                       FROM unnest($1::uuid[], $2::int4[]) AS given (job, day), LATERAL (
                           SELECT e.payload, e.version FROM events e
                           WHERE e.job = given.job AND e.task = 0 AND e.day = given.day
                               AND (substr(e.payload, 1, length($3)) = $3 OR substr(e.payload, 1, length($4)) = $4)
                           ORDER BY e.version) AS found
                       ORDER BY given.job, found.version";
            let (ids, days): (Vec<Uuid>, Vec<i32>) = jobs.iter().map(|job| (job.0, job.day())).unzip();
            let query = sqlx::query(sql).bind(ids).bind(days);
            let [submitted, retried] = BEGINNINGS.map(str::as_bytes);
            let mut reading = unhurried(&pool).await?;
            let mut rows = query.bind(submitted).bind(retried).fetch(&mut *reading);
            let mut found = HashMap::new();
            while let Some(row) = rows.try_next().await? {
                let payload: Vec<u8> = row.try_get(1)?;
                let header = EventHeader::read(&payload).ok();
                if let Some(traceparent) = header.and_then(|header| header.traceparent) {
                    found.insert(JobId(row.try_get(0)?), Arc::from(traceparent.as_ref()));
                }
            }
            Ok(found)
        };
        self.run("log.traceparents", unit).await
    }
}
