//! Commands: sent to the shard that decides them, awaited, and looked up in the log when no answer comes.
//!
//! Must stay true: a command is unanswered for a bounded time, and only so many of a shard are; an unknown outcome is
//! never called a failure; an answer is given only after the read models had their chance to hold it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::auth::Caller;
use super::options::ApiOptions;
use super::problem::Problem;
use super::replies::Replies;
use crate::bus::{Bus, Message, SendError, Topic};
use crate::clock;
use crate::domain::{JobId, JobSpec, Position, Refusal, RefusalCode, ShardId, StreamId, Timestamp};
use crate::event::{Command, CommandMessage, Version, Wire};
use crate::log::Log;
use crate::projection::Watermarks;

/// The way of commands to the shards; shared by REST and whatever else asks.
pub struct Commands {
    pub(super) options: ApiOptions,
    pub(super) log: Log,
    bus: Arc<dyn Bus>,
    watermarks: Watermarks,
    replies: Replies,
    shards: u16,
    /// Commands that each shard may still be sent.
    room: Vec<Arc<Semaphore>>,
}

/// A document that is ready to become a job.
pub struct Submission {
    pub spec: JobSpec,
    pub normalised: Vec<u8>,
    pub content_type: &'static str,
    /// As it was sent.
    pub body: Vec<u8>,
}

impl Commands {
    pub fn new(options: ApiOptions, log: Log, bus: Arc<dyn Bus>, watermarks: Watermarks, replies: Replies) -> Self {
        let shards = bus.partitions().of(Topic::Commands);
        let room = (0..shards)
            .map(|_| Arc::new(Semaphore::new(options.unanswered_per_shard as usize)))
            .collect();
        Self {
            options,
            log,
            bus,
            watermarks,
            replies,
            shards,
            room,
        }
    }

    /// Whether answers can arrive at the moment.
    pub fn is_listening(&self) -> bool {
        self.replies.is_listening()
    }

    /// A job's id for now.
    pub fn new_job_id(now: Timestamp) -> JobId {
        let ms = u64::try_from(now.as_ms()).unwrap_or(0);
        JobId(uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid())
    }

    /// Keeps the document and submits the job.
    ///
    /// # Errors
    /// The refusal; 429 when too much is under way; 504 with the job's id when the outcome is unknown.
    pub async fn submit(&self, submission: Submission, caller: &Caller) -> Result<(JobId, Position), Problem> {
        let job = Self::new_job_id(clock::now());
        let Submission {
            spec,
            normalised,
            content_type,
            body,
        } = submission;
        let (pool, hash) = (self.log.pool().clone(), spec.document_hash.clone());
        let keep = async move {
            // Not flushed by itself: it stands before the job's first event in the same write-ahead log, so that the
            // commit that makes the job flushes it too.
            sqlx::query(
                "WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)), document AS (
                     INSERT INTO documents (hash, normalised) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING
                 )
                 INSERT INTO submissions (job, hash, content_type, body) SELECT $3, $1, $4, $5 FROM quick",
            )
            .bind(hash)
            .bind(normalised)
            .bind(job.0)
            .bind(content_type)
            .bind(body)
            .execute(&pool)
            .await?;
            Ok(())
        };
        // Nothing is sent before a place is sure: a document that nobody asks for again would stay for ever.
        let room = self.room(job.shard(self.shards))?;
        self.log
            .run("api.keep_document", keep)
            .await
            .map_err(|error| Problem::database(&error))?;
        let command = Command::SubmitJob {
            job,
            spec: Box::new(spec),
        };
        let position = self.send(command, job, room, caller).await?;
        Ok((job, position))
    }

    /// Sends a command about a job that is there, or was.
    ///
    /// # Errors
    /// As [`Commands::submit`].
    pub async fn command(&self, command: Command, job: JobId, caller: &Caller) -> Result<Position, Problem> {
        let room = self.room(job.shard(self.shards))?;
        self.send(command, job, room, caller).await
    }

    fn room(&self, shard: ShardId) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        let room = self
            .room
            .get(usize::from(shard.0))
            .ok_or_else(|| Problem::internal("no such shard", &shard))?;
        Arc::clone(room).try_acquire_owned().map_err(|_| {
            metrics::counter!("grid_api_overload_refusals_total", "why" => "unanswered").increment(1);
            Problem::overloaded("too many commands to this shard are unanswered; try again in a moment")
        })
    }

    async fn send(
        &self,
        command: Command,
        job: JobId,
        _room: tokio::sync::OwnedSemaphorePermit,
        caller: &Caller,
    ) -> Result<Position, Problem> {
        let (begun, timeout) = (Instant::now(), self.options.command_timeout);
        let (id, stream) = (Uuid::new_v4(), looked_up_in(&command, job));
        let submits = matches!(command, Command::SubmitJob { .. });
        let (address, mut waiting) = self.replies.expect();
        let message = CommandMessage {
            v: Version,
            id,
            principal: Arc::clone(&caller.principal),
            not_after: clock::now() + timeout,
            traceparent: caller.traceparent.clone(),
            reply_to: Some(address),
            command,
        };
        let message = Message::new(message.encode()).with_key(job.0.to_string());
        let sent = self.bus.send(Topic::Commands, job.shard(self.shards).0, message);
        // Only the answer counts: a message that was not acknowledged may have arrived all the same.
        drop(sent.map_err(not_sent)?);
        let answer = tokio::time::timeout_at(begun + timeout, &mut waiting.answer).await;
        let position = match answer {
            Ok(Ok(Ok(accepted))) => accepted.position,
            Ok(Ok(Err(refusal))) if refusal.code == RefusalCode::Expired => return Err(expired(refusal, job)),
            Ok(Ok(Err(refusal))) => return Err(refusal.into()),
            Ok(Err(_)) | Err(_) => self
                .find(stream, submits, id)
                .await
                .map_err(|problem| problem.of_job(job))?,
        };
        metrics::histogram!("grid_api_command_seconds").record(begun.elapsed().as_secs_f64());
        self.settle(position).await;
        Ok(position)
    }

    /// Waits until a reading call would find it, but not for long.
    async fn settle(&self, position: Position) {
        let deadline = Instant::now() + self.options.read_model_wait;
        if let Err(lagging) = self.watermarks.wait_for(position, deadline).await {
            metrics::counter!("grid_api_late_read_models_total").increment(1);
            tracing::debug!(%lagging, "api.read_model_late");
        }
    }

    /// No answer has come: whether the command has had its effect, the log knows.
    async fn find(&self, stream: StreamId, submits: bool, id: Uuid) -> Result<Position, Problem> {
        const PAGE: usize = 500;
        metrics::counter!("grid_api_unanswered_total").increment(1);
        let mut after = 0;
        loop {
            let page = self.log.stream(stream, after, PAGE).await.map_err(|_| self.unknown())?;
            let made = page.events.iter().find(|event| {
                // The id of a job is made for one submission.
                submits
                    || event
                        .header()
                        .is_ok_and(|header| header.command == Some(id) || header.causation == Some(id))
            });
            match (made, page.events.last()) {
                (Some(event), _) => return Ok(event.position),
                (None, Some(last)) if page.more => after = last.version,
                (None, _) => return Err(self.unknown()),
            }
        }
    }

    fn unknown(&self) -> Problem {
        let waited: Duration = self.options.command_timeout;
        let detail = format!(
            "no answer within {waited:?}: whether the command was carried out is not known yet; look at the job before \
             you send it again"
        );
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "OUTCOME_UNKNOWN", detail)
    }
}

fn expired(refusal: Refusal, job: JobId) -> Problem {
    Problem::from(refusal).of_job(job).retry_after(1)
}

/// The stream that the command's first event goes to.
fn looked_up_in(command: &Command, job: JobId) -> StreamId {
    match command {
        Command::CancelRetry { task } | Command::BringForwardRetry { task } => StreamId::Task(*task),
        Command::SubmitJob { .. }
        | Command::KillJob { .. }
        | Command::StopJob { .. }
        | Command::RetryJob { .. }
        | Command::RegisterWorker { .. }
        | Command::RemoveWorker { .. } => StreamId::Job(job),
    }
}

fn not_sent(error: SendError) -> Problem {
    match error {
        SendError::Full { .. } => {
            metrics::counter!("grid_api_overload_refusals_total", "why" => "bus").increment(1);
            Problem::overloaded("the bus is full; try again in a moment")
        }
        SendError::TooLarge { bytes, limit, .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            format!(
                "the job's description takes {bytes} bytes; at most {limit} can be sent: use fewer or shorter tasks"
            ),
        ),
        SendError::NoPartition { .. }
        | SendError::Closed
        | SendError::Interrupted { .. }
        | SendError::Refused { .. } => {
            tracing::warn!(%error, "api.command.not_sent");
            Problem::unavailable("the bus does not take commands at the moment; try again")
        }
    }
}
