//! Checkpoints: `POST` and `GET` of an attempt's CHECKPOINT_URL, and the key from which a worker makes such URLs.
//!
//! Of each attempt the newest checkpoint is kept, as long as its job. An attempt writes its own while it is the task's
//! present attempt and has not ended; it reads its own, or, before it has written one, that of the greatest earlier attempt
//! that has.
//!
//! Must stay true: the log says whose an attempt is and whether it has ended, so that no delay of the read models lets a
//! stranger or a late attempt in.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::{Mistake, Problem};
use super::{Api, body};
use crate::checkpoint::{AttemptSecret, MAX_DATA_BYTES, WorkerKey};
use crate::domain::event::Event;
use crate::domain::{Attempt, Incarnation, StreamId, TaskId, Timestamp};

/// Every byte of the data may be written as six (`\u0000`), and there is something around it.
const MAX_BODY_BYTES: usize = 6 * MAX_DATA_BYTES + 1_024;
/// Events read at a time, from the last one back: an attempt has about five.
const PAGE: usize = 16;

/// What an attempt keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The attempt's own time of it, in milliseconds since 1970.
    #[schema(minimum = 0, maximum = 253_402_300_799_999_i64)]
    pub ts: i64,
    /// At most 64 KiB of UTF-8, of whatever form the task likes.
    #[schema(max_length = 65536)]
    pub data: String,
}

/// What it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckpointView {
    pub ts: i64,
    pub data: String,
    /// Which attempt wrote it.
    pub attempt: u32,
}

/// From what a worker makes the secrets of its attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckpointKey)]
pub struct CheckpointKeyView {
    key: String,
}

/// What the log tells of an attempt.
struct Standing {
    /// The process that it was given to.
    incarnation: Incarnation,
    over: Option<Over>,
}

/// Why an attempt may write no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// The task has ended for good.
    Task,
    /// The attempt has, or another one has taken its place.
    Attempt,
}

impl Api {
    /// # Errors
    /// 403 for a secret that is not the attempt's; 404 and 410 for a task that is not there; 409 when the attempt has
    /// ended or is not the present one; 413 for too much data.
    pub(super) async fn save_checkpoint(
        &self,
        task: TaskId,
        attempt: Attempt,
        secret: &AttemptSecret,
        checkpoint: Checkpoint,
    ) -> Result<(), Problem> {
        if checkpoint.data.len() > MAX_DATA_BYTES {
            return Err(too_large());
        }
        if !(0..=Timestamp::MAX.as_ms()).contains(&checkpoint.ts) {
            let mut problem = invalid(
                "/ts: expected milliseconds since 1970, a whole number from 0 to 253402300799999 (the year 9999)"
                    .to_owned(),
            );
            problem.errors = vec![Mistake {
                pointer: Some("/ts".to_owned()),
                message: problem.detail.clone(),
                ..Mistake::default()
            }];
            return Err(problem);
        }
        match self.standing(task, attempt, secret).await?.over {
            None => {}
            Some(Over::Task) => {
                let detail = format!("{task} has ended: it takes no checkpoint of attempt {attempt} any more");
                return Err(Problem::new(StatusCode::CONFLICT, "TASK_FINISHED", detail));
            }
            Some(Over::Attempt) => {
                let detail = format!("attempt {attempt} of {task} is over: it writes no checkpoints any more");
                return Err(Problem::new(StatusCode::CONFLICT, "ATTEMPT_OVER", detail));
            }
        }
        let (pool, Checkpoint { ts, data }) = (self.parts.log.pool().clone(), checkpoint);
        let unit = async move {
            let sql = "INSERT INTO checkpoints (job, task, attempt, ts, data) VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT (job, task, attempt) DO UPDATE
                       SET ts = excluded.ts, data = excluded.data, saved_at = now()";
            let query = sqlx::query(sql)
                .bind(task.job.0)
                .bind(task.number as i32)
                .bind(attempt.0 as i32);
            Ok(query.bind(ts).bind(data.into_bytes()).execute(&pool).await.map(drop)?)
        };
        let saved = self.parts.log.run("api.save_checkpoint", unit).await;
        saved.map_err(|error| Problem::database(&error))?;
        metrics::counter!("grid_api_checkpoints_saved_total").increment(1);
        Ok(())
    }

    /// The attempt's own, else that of the greatest earlier attempt that has one.
    ///
    /// # Errors
    /// As [`Api::save_checkpoint`], but an attempt that is over may still read.
    pub(super) async fn checkpoint(
        &self,
        task: TaskId,
        attempt: Attempt,
        secret: &AttemptSecret,
    ) -> Result<Option<CheckpointView>, Problem> {
        self.standing(task, attempt, secret).await?;
        let sql = "SELECT ts, data, attempt FROM checkpoints WHERE job = $1 AND task = $2 AND attempt <= $3
                   ORDER BY attempt DESC LIMIT 1";
        let row = sqlx::query(sql)
            .bind(task.job.0)
            .bind(task.number as i32)
            .bind(attempt.0 as i32)
            .fetch_optional(self.parts.log.pool())
            .await;
        let read = |row: sqlx::postgres::PgRow| {
            Ok(CheckpointView {
                ts: row.try_get(0)?,
                data: String::from_utf8(row.try_get(1)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                attempt: row.try_get::<i32, _>(2)?.unsigned_abs(),
            })
        };
        let found = row.and_then(|row| row.map(read).transpose());
        found.map_err(|error| Problem::database(&error))
    }

    /// The key of a worker process.
    async fn worker_key(&self, incarnation: Incarnation) -> Result<WorkerKey, Problem> {
        let read = || async {
            let sql = "SELECT key FROM server_keys WHERE name = 'checkpoints'";
            sqlx::query_scalar(sql).fetch_one(self.parts.log.pool()).await
        };
        let key: Result<&Vec<u8>, sqlx::Error> = self.checkpoint_key.get_or_try_init(read).await;
        let key = key.map_err(|error| Problem::database(&error))?;
        Ok(WorkerKey::derive(key, self.parts.timeline, incarnation))
    }

    /// How the attempt stands, for the one who shows its secret.
    async fn standing(&self, task: TaskId, attempt: Attempt, secret: &AttemptSecret) -> Result<Standing, Problem> {
        let key = self.worker_key(secret.incarnation).await?;
        if !key.admits(task, attempt, secret) {
            return Err(forbidden(task, attempt));
        }
        let standing = self.attempt_in_log(task, attempt).await?;
        // The secret proves the process; that the attempt is the process's own, the log.
        standing
            .filter(|standing| standing.incarnation == secret.incarnation)
            .ok_or_else(|| forbidden(task, attempt))
    }

    async fn attempt_in_log(&self, task: TaskId, attempt: Attempt) -> Result<Option<Standing>, Problem> {
        let (mut before, mut seen) = (u32::MAX, Seen::default());
        loop {
            let page = self.parts.log.stream_back(StreamId::Task(task), before, PAGE).await;
            let page = page.map_err(|error| Problem::database(&error))?;
            for stored in &page.events {
                let event = stored.header().and_then(|header| header.event());
                let event = event.map_err(|error| Problem::internal("read an event", &error))?;
                match seen.look_at(&event, attempt) {
                    Looked::At(found) => return Ok(found),
                    Looked::Further => {}
                }
            }
            match page.events.last() {
                Some(oldest) if page.more => before = oldest.version,
                Some(_) => return Ok(None),
                // Nothing of the task is there.
                None if before == u32::MAX => return Err(self.missing_task(task).await),
                None => return Ok(None),
            }
        }
    }

    async fn missing_task(&self, task: TaskId) -> Problem {
        match self.missing_job(task.job).await {
            problem if problem.code == "NOT_FOUND" => Problem::not_found(task),
            problem => problem,
        }
    }
}

/// What the later events have told, read from the last one back.
#[derive(Default)]
struct Seen {
    /// The attempt has ended, or a later one has begun.
    is_over: bool,
    /// Whether the task goes on, by the latest event that says so.
    goes_on: Option<bool>,
}

enum Looked {
    At(Option<Standing>),
    Further,
}

impl Seen {
    fn look_at(&mut self, event: &Event, attempt: Attempt) -> Looked {
        let (of, ends, goes_on) = match event {
            Event::TaskScheduled(event) if event.attempt == attempt => {
                let over = if self.goes_on == Some(false) {
                    Over::Task
                } else {
                    Over::Attempt
                };
                return Looked::At(Some(Standing {
                    incarnation: event.incarnation,
                    over: self.is_over.then_some(over),
                }));
            }
            Event::TaskScheduled(event) => (event.attempt, false, Some(true)),
            Event::TaskStarted(event) => (event.attempt, false, Some(true)),
            Event::TaskCompleted(event) => (event.attempt, true, Some(false)),
            Event::TaskFailed(event) => (event.attempt, true, Some(!event.r#final)),
            Event::TaskReady(_) | Event::RetryScheduled(_) => (attempt, false, Some(true)),
            Event::RetryCancelled(_) => (attempt, false, Some(false)),
            // Of an attempt that was given up before.
            Event::AttemptEnded(_)
            | Event::JobSubmitted(_)
            | Event::JobKillRequested(_)
            | Event::JobStopRequested(_)
            | Event::JobRetryRequested(_)
            | Event::JobDeadlineReached(_)
            | Event::FanOutAdvanced(_)
            | Event::JobFinished(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerLeft(_)
            | Event::WorkerCordoned(_)
            | Event::WorkerUncordoned(_)
            | Event::WorkerDrainRequested(_) => (attempt, false, None),
        };
        if of < attempt {
            // It was never scheduled.
            return Looked::At(None);
        }
        self.is_over |= ends || of > attempt;
        self.goes_on = self.goes_on.or(goes_on);
        Looked::Further
    }
}

fn forbidden(task: TaskId, attempt: Attempt) -> Problem {
    let detail = format!(
        "this URL is not that of attempt {attempt} of {task}: take CHECKPOINT_URL from the task's environment as it is"
    );
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail)
}

fn too_large() -> Problem {
    let detail = format!("the data of a checkpoint has at most {MAX_DATA_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_CHECKPOINT", detail)
}

/// Task, attempt and secret of the path. A secret of the wrong form is as wrong as any.
fn place(path: &(String, String, String)) -> Result<(TaskId, Attempt, AttemptSecret), Problem> {
    let (task, attempt, secret) = path;
    let secret: Result<AttemptSecret, _> = secret.parse();
    let shape = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "this URL has no secret of an attempt",
        )
    };
    let secret = secret.map_err(|_| shape())?;
    let task: TaskId = task.parse()?;
    let number = attempt
        .parse()
        .ok()
        .filter(|number: &u32| (1..=i32::MAX.unsigned_abs()).contains(number));
    let attempt = Attempt(number.ok_or_else(|| {
        let detail = "the number of an attempt is a whole number from 1";
        Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", detail)
    })?);
    Ok((task, attempt, secret))
}

fn read(bytes: &[u8]) -> Result<Checkpoint, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let mut problem = invalid(format!(
            "the body is no checkpoint, {{\"ts\": <milliseconds>, \"data\": \"<text>\"}}: {message}"
        ));
        if error.is_syntax() || error.is_eof() {
            problem.code = "SYNTAX".into();
        }
        problem.errors = vec![Mistake {
            line: u32::try_from(error.line()).ok(),
            column: u32::try_from(error.column()).ok(),
            message,
            ..Mistake::default()
        }];
        problem
    })
}

/// `POST /api/v1/checkpoints/{task}/{attempt}/{secret}`. The body is read as JSON whatever type it declares: tasks are
/// small scripts, and the secret has said that they may write.
pub async fn save(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let (task, attempt, secret) = place(&path)?;
    let timeout = api.parts.options.body_timeout;
    let body = body::gather(&request, payload, MAX_BODY_BYTES, timeout).await?;
    let checkpoint = read(&body.ok_or_else(too_large)?)?;
    api.save_checkpoint(task, attempt, &secret, checkpoint).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET` of the same: 204 when there is none yet.
pub async fn get(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let (task, attempt, secret) = place(&path)?;
    Ok(match api.checkpoint(task, attempt, &secret).await? {
        Some(checkpoint) => HttpResponse::Ok().json(checkpoint),
        None => HttpResponse::NoContent().finish(),
    })
}

/// `GET /api/v1/internal/checkpoint-key/{incarnation}`: from which a worker process makes the secrets of its attempts.
pub async fn key(
    api: web::Data<Api>,
    request: HttpRequest,
    incarnation: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let incarnation = uuid::Uuid::try_parse(&incarnation).map_err(|error| bad_incarnation(&error))?;
    let key = api.worker_key(Incarnation(incarnation)).await?;
    Ok(HttpResponse::Ok().json(CheckpointKeyView { key: key.reveal() }))
}

fn bad_incarnation(error: &dyn fmt::Display) -> Problem {
    let detail = format!("the id of a worker process is a uuid: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{
        AttemptEnded, Budget, Failure, FailureReason, LateEnd, ReadyCause, RetryCancelled, RetryScheduled,
        TaskCompleted, TaskFailed, TaskReady, TaskScheduled, TaskStarted, TaskState,
    };

    fn process(number: u32) -> Incarnation {
        Incarnation(uuid::Uuid::from_u128(number.into()))
    }

    fn ready() -> Event {
        let cause = ReadyCause::Submission;
        Event::TaskReady(TaskReady { cause })
    }

    /// On the process with the number of the attempt.
    fn scheduled(attempt: u32) -> Event {
        Event::TaskScheduled(TaskScheduled {
            attempt: Attempt(attempt),
            worker: "w".parse().unwrap(),
            incarnation: process(attempt),
            start_by: None,
        })
    }

    fn started(attempt: u32) -> Event {
        let attempt = Attempt(attempt);
        Event::TaskStarted(TaskStarted { attempt, run_by: None })
    }

    fn failed(attempt: u32, r#final: bool) -> Event {
        Event::TaskFailed(Box::new(TaskFailed {
            attempt: Attempt(attempt),
            from: TaskState::Running,
            r#final,
            attempt_open: true,
            failure: Failure::new(FailureReason::Error, "it failed"),
        }))
    }

    fn retry() -> Event {
        Event::RetryScheduled(RetryScheduled {
            retry: 1,
            due_at: Timestamp::ZERO,
            budget: Budget::Retries,
        })
    }

    fn ended(attempt: u32) -> Event {
        Event::AttemptEnded(AttemptEnded {
            attempt: Attempt(attempt),
            outcome: LateEnd::Failed,
        })
    }

    /// The process and why it is over, by a history from its beginning.
    fn standing(history: &[Event], attempt: u32) -> Option<(Incarnation, Option<Over>)> {
        let mut seen = Seen::default();
        let found = history
            .iter()
            .rev()
            .find_map(|event| match seen.look_at(event, Attempt(attempt)) {
                Looked::At(found) => Some(found),
                Looked::Further => None,
            });
        found.flatten().map(|found| (found.incarnation, found.over))
    }

    #[test]
    fn the_log_tells_whose_an_attempt_is_and_whether_it_is_over() {
        let completed = |attempt| {
            Event::TaskCompleted(TaskCompleted {
                attempt: Attempt(attempt),
                counters: std::collections::BTreeMap::new(),
            })
        };
        let cancelled = Event::RetryCancelled(RetryCancelled {
            reason: FailureReason::Error,
        });
        let (open, over, finished) = (None, Some(Over::Attempt), Some(Over::Task));
        let first = |over| Some((process(1), over));
        let once = [ready(), scheduled(1), started(1)];
        let waiting = [&once[..], &[failed(1, false), retry()]].concat();
        let again = [&waiting[..], &[ready(), ended(1), scheduled(2)]].concat();
        let lost = [&once[..], &[failed(1, true)]].concat();
        type Expected = Option<(Incarnation, Option<Over>)>;
        let cases: Vec<(Vec<Event>, u32, Expected)> = vec![
            (vec![], 1, None),
            (vec![ready()], 1, None),
            (once[..2].to_vec(), 1, first(open)),
            (once.to_vec(), 1, first(open)),
            (once.to_vec(), 2, None),
            (waiting.clone(), 1, first(over)),
            ([&waiting[..], &[retry()]].concat(), 1, first(over)),
            ([&waiting[..], &[cancelled]].concat(), 1, first(finished)),
            (again.clone(), 1, first(over)),
            (again.clone(), 2, Some((process(2), open))),
            ([&again[..], &[completed(2)]].concat(), 2, Some((process(2), finished))),
            ([&again[..], &[completed(2)]].concat(), 1, first(finished)),
            (lost.clone(), 1, first(finished)),
            ([&lost[..], &[ended(1)]].concat(), 1, first(finished)),
            // The job was retried.
            ([&lost[..], &[ready()]].concat(), 1, first(over)),
            (
                [&lost[..], &[ready(), scheduled(2)]].concat(),
                2,
                Some((process(2), open)),
            ),
            // Killed while it waited.
            ([&lost[..], &[ready(), failed(1, true)]].concat(), 1, first(finished)),
        ];
        for (index, (history, attempt, expected)) in cases.into_iter().enumerate() {
            assert_eq!(standing(&history, attempt), expected, "case {index}");
        }
    }
}
