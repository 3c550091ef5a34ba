//! Jobs, tasks and workers by the beginning of an id, a name or a label.
//!
//! Must stay true: each question is answered from one end of one index, and stops at its limit.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::Reading;
use crate::domain::{JobId, TaskId, WorkerName};

/// Something that begins as was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    Job {
        id: JobId,
        matched: Matched,
    },
    /// Of a task with replicas, the first one that matches.
    Task {
        id: TaskId,
        matched: Matched,
    },
    Worker {
        name: WorkerName,
    },
}

/// What of it begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    Id,
    ExternalId(String),
    Label { name: String, value: String },
}

/// The first character that no name holds: names that begin with `text` come before `text` and it.
const BEYOND: char = '\u{10ffff}';

/// The ids that begin with these digits: the first and the last.
fn ids(text: &str) -> Option<(Uuid, Uuid)> {
    const SHAPE: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let text = text.to_ascii_lowercase();
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'-' => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    if text.len() > SHAPE.len() || !text.bytes().zip(SHAPE).all(fits) {
        return None;
    }
    let fill = |digit: &str| {
        let rest: String = SHAPE[text.len()..].iter().map(|byte| char::from(*byte)).collect();
        Uuid::try_parse(&format!("{text}{}", rest.replace('x', digit))).ok()
    };
    Some((fill("0")?, fill("f")?))
}

/// A whole job id with the beginning of a number behind it.
fn task(text: &str) -> Option<(JobId, &str)> {
    let (job, number) = text.split_at_checked(36)?;
    let number = number.strip_prefix('-')?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    (digits && number.len() <= 7).then_some((JobId(Uuid::try_parse(job).ok()?), number))
}

/// The numbers up to `most` that begin so, the smallest first.
fn numbers(beginning: &str, most: u32, limit: usize) -> Vec<u32> {
    let Ok(first) = beginning.parse::<u32>() else {
        return (1..=most).take(limit).collect();
    };
    let mut found = Vec::new();
    let mut width = 1_u32;
    loop {
        let from = u64::from(first) * u64::from(width);
        if from > u64::from(most) || found.len() >= limit {
            return found;
        }
        let to = (from + u64::from(width) - 1).min(u64::from(most));
        let room = limit - found.len();
        found.extend((from..=to).take(room).filter_map(|number| u32::try_from(number).ok()));
        let Some(wider) = width.checked_mul(10) else {
            return found;
        };
        width = wider;
    }
}

impl Reading {
    /// What begins with `text`: at most `limit` each of jobs, tasks and workers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn search(&self, text: &str, limit: u32) -> Result<Vec<Hit>, sqlx::Error> {
        let (jobs, by_id, by_name, workers) = futures::try_join!(
            self.search_jobs(text, limit),
            self.search_tasks_by_id(text, limit),
            self.search_tasks_by_name(text, limit),
            self.search_workers(text, limit),
        )?;
        let mut seen = HashSet::new();
        let tasks = by_id.into_iter().chain(by_name).filter(|(id, _)| seen.insert(*id));
        let tasks = tasks
            .take(limit as usize)
            .map(|(id, matched)| Hit::Task { id, matched });
        let workers = workers.into_iter().map(|name| Hit::Worker { name });
        Ok(jobs.into_iter().chain(tasks).chain(workers).collect())
    }

    /// By id, external id, `name=value` of a label, its value, its name: the newest first of each.
    async fn search_jobs(&self, text: &str, limit: u32) -> Result<Vec<Hit>, sqlx::Error> {
        const NAME: &str = "COALESCE(external_id, '') COLLATE \"C\"";
        let bounds = ids(text.strip_prefix("job-").unwrap_or(text));
        let (label, value) = text.split_once(['=', ':']).unwrap_or(("", ""));
        let sql = format!(
            "(SELECT id, '' AS name, '' AS value, 0 AS by FROM grid_read.jobs
              WHERE id >= $1 AND id <= $2 ORDER BY id DESC LIMIT $8)
             UNION ALL
             (SELECT id, '', external_id, 1 FROM grid_read.jobs
              WHERE {NAME} = $3 ORDER BY created_at DESC, id DESC LIMIT $8)
             UNION ALL
             (SELECT id, '', external_id, 1 FROM grid_read.jobs
              WHERE {NAME} > $3 AND {NAME} < $4 ORDER BY {NAME} DESC, created_at DESC, id DESC LIMIT $8)
             UNION ALL
             (SELECT job, name, value, 2 FROM grid_read.job_labels
              WHERE name = $5 AND value >= $6 AND value < $7 ORDER BY value, created_at DESC, job DESC LIMIT $8)
             UNION ALL
             (SELECT job, name, value, 2 FROM grid_read.job_labels
              WHERE value >= $3 AND value < $4 ORDER BY value, created_at DESC, job DESC LIMIT $8)
             UNION ALL
             (SELECT job, name, value, 2 FROM grid_read.job_labels
              WHERE name >= $3 AND name < $4 ORDER BY name, value, created_at DESC, job DESC LIMIT $8)"
        );
        // No id lies between the last and the first.
        let (first, last) = bounds.unwrap_or((Uuid::max(), Uuid::nil()));
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(first)
            .bind(last)
            .bind(text)
            .bind(format!("{text}{BEYOND}"))
            .bind(label)
            .bind(value)
            .bind(format!("{value}{BEYOND}"))
            .bind(i64::from(limit));
        let (mut hits, mut seen) = (Vec::new(), HashSet::new());
        for row in query.persistent(false).fetch_all(&self.pool).await? {
            let id = JobId(row.try_get(0)?);
            if hits.len() == limit as usize || !seen.insert(id) {
                continue;
            }
            let matched = match row.try_get::<i32, _>(3)? {
                0 => Matched::Id,
                1 => Matched::ExternalId(row.try_get(2)?),
                _ => Matched::Label {
                    name: row.try_get(1)?,
                    value: row.try_get(2)?,
                },
            };
            hits.push(Hit::Job { id, matched });
        }
        Ok(hits)
    }

    /// Tasks of a whole job id, or the first task of each job.
    async fn search_tasks_by_id(&self, text: &str, limit: u32) -> Result<Vec<(TaskId, Matched)>, sqlx::Error> {
        let bare = text.strip_prefix("task-");
        let of = |job: JobId, number: u32| (TaskId { job, number }, Matched::Id);
        if let Some((job, beginning)) = task(bare.unwrap_or(text)) {
            let query = sqlx::query_scalar("SELECT task_count FROM grid_read.jobs WHERE id = $1").bind(job.0);
            let tasks: Option<i32> = query.fetch_optional(&self.pool).await?;
            let found = numbers(beginning, tasks.unwrap_or(0).unsigned_abs(), limit as usize);
            return Ok(found.into_iter().map(|number| of(job, number)).collect());
        }
        let Some((first, last)) = bare.and_then(ids) else {
            return Ok(Vec::new());
        };
        let sql =
            "SELECT id FROM grid_read.jobs WHERE id >= $1 AND id <= $2 AND task_count > 0 ORDER BY id DESC LIMIT $3";
        let query = sqlx::query_scalar(sql).bind(first).bind(last).bind(i64::from(limit));
        let jobs: Vec<Uuid> = query.persistent(false).fetch_all(&self.pool).await?;
        Ok(jobs.into_iter().map(|job| of(JobId(job), 1)).collect())
    }

    async fn search_tasks_by_name(&self, text: &str, limit: u32) -> Result<Vec<(TaskId, Matched)>, sqlx::Error> {
        let replica = super::task_list::replica(text);
        let (name, index) = replica.map_or((None, 0), |(name, index)| (Some(name), index));
        // The order is that of the column, not of what is given under its name.
        let sql = "
            (SELECT n.job, n.first_number + $4, n.name || '-' || $4 AS found FROM grid_read.task_names n
             WHERE n.name = $3 AND n.replicas > 1 AND n.replicas > $4 ORDER BY n.created_at DESC, n.job DESC LIMIT $5)
            UNION ALL
            (SELECT n.job, n.first_number, CASE WHEN n.replicas > 1 THEN n.name || '-0' ELSE n.name END AS found
             FROM grid_read.task_names n
             WHERE n.name >= $1 AND n.name < $2 ORDER BY n.name, n.created_at DESC, n.job DESC LIMIT $5)";
        let query = sqlx::query(sql)
            .bind(text)
            .bind(format!("{text}{BEYOND}"))
            .bind(name)
            .bind(index)
            .bind(i64::from(limit));
        let mut hits = Vec::new();
        for row in query.persistent(false).fetch_all(&self.pool).await? {
            let id = TaskId {
                job: JobId(row.try_get(0)?),
                number: row.try_get::<i32, _>(1)?.unsigned_abs(),
            };
            hits.push((id, Matched::ExternalId(row.try_get(2)?)));
        }
        Ok(hits)
    }

    async fn search_workers(&self, text: &str, limit: u32) -> Result<Vec<WorkerName>, sqlx::Error> {
        const NAME: &str = "name COLLATE \"C\"";
        let text = text.strip_prefix("worker-").unwrap_or(text);
        let sql =
            format!("SELECT name FROM grid_read.workers WHERE {NAME} >= $1 AND {NAME} < $2 ORDER BY {NAME} LIMIT $3");
        let query = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(text)
            .bind(format!("{text}{BEYOND}"))
            .bind(i64::from(limit));
        let names: Vec<String> = query.persistent(false).fetch_all(&self.pool).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0198c2a0-7c00-7000-8000-000000000001";

    #[test]
    fn ids_are_found_by_their_beginning() {
        let text = |bounds: Option<(Uuid, Uuid)>| bounds.map(|(first, last)| (first.to_string(), last.to_string()));
        let expected = (
            "0198c200-0000-0000-0000-000000000000".to_owned(),
            "0198c2ff-ffff-ffff-ffff-ffffffffffff".to_owned(),
        );
        assert_eq!(text(ids("0198C2")), Some(expected));
        let whole = JOB.to_owned();
        assert_eq!(text(ids(JOB)), Some((whole.clone(), whole)));
        for wrong in ["0198c2a07", "x", "0198c2a0--", "0198c2a0-7c00-7000-8000-0000000000011"] {
            assert_eq!(ids(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_found_by_their_beginning() {
        assert_eq!(numbers("", 3, 10), [1, 2, 3]);
        assert_eq!(numbers("3", 400, 5), [3, 30, 31, 32, 33]);
        assert_eq!(numbers("12", 125, 100), [12, 120, 121, 122, 123, 124, 125]);
        assert_eq!(numbers("5", 4, 10), [0; 0]);
        let task = |text: &str| task(text).map(|(job, number)| (job.0.to_string(), number.to_owned()));
        assert_eq!(task(&format!("{JOB}-12")), Some((JOB.to_owned(), "12".to_owned())));
        assert_eq!(task(&format!("{JOB}-")), Some((JOB.to_owned(), String::new())));
        for wrong in [
            JOB.to_owned(),
            format!("{JOB}-01"),
            format!("{JOB}-x"),
            format!("{JOB}-12345678"),
        ] {
            assert_eq!(task(&wrong), None, "{wrong}");
        }
    }
}
