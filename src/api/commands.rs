//! Commands: sent to the shard that decides them, awaited, and looked up in the log when no answer comes.
//!
//! Must stay true: a command is unanswered for a bounded time, and only so many of a shard are; an unknown outcome is
//! never called a failure; an answer is given only after the read models had their chance to hold it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use super::auth::Caller;
use super::idempotency::Reservations;
use super::options::ApiOptions;
use super::problem::Problem;
use super::replies::Replies;
use crate::bus::{Bus, Message, SendError, Topic};
use crate::clock;
use crate::domain::{
    Incarnation, JobId, JobSpec, Position, Refusal, RefusalCode, ShardId, StreamId, Timestamp, WorkerName,
};
use crate::event::{Command, CommandMessage, Version, Wire};
use crate::log::{Format, Log};
use crate::projection::Watermarks;
use crate::telemetry::{Span, SpanKind};

/// The way of commands to the shards; shared by REST and whatever else asks.
pub struct Commands {
    pub(super) options: ApiOptions,
    pub(super) log: Log,
    bus: Arc<dyn Bus>,
    watermarks: Watermarks,
    replies: Replies,
    pub(super) reservations: Reservations,
    shards: u16,
    trouble: Trouble,
    /// Commands that each shard may still be sent.
    room: Vec<Arc<Semaphore>>,
}

/// Why a shard of this process does not work at the moment, when it does not.
pub type Trouble = Arc<dyn Fn(ShardId) -> Option<String> + Send + Sync>;

/// A document that is ready to become a job.
pub struct Submission {
    pub spec: JobSpec,
    pub normalised: Vec<u8>,
    pub content_type: &'static str,
    /// As it was sent.
    pub body: Vec<u8>,
}

impl Commands {
    pub fn new(
        (options, trouble): (ApiOptions, Trouble),
        log: Log,
        bus: Arc<dyn Bus>,
        watermarks: Watermarks,
        replies: Replies,
    ) -> Self {
        let shards = bus.partitions().of(Topic::Commands);
        let room = (0..shards)
            .map(|_| Arc::new(Semaphore::new(options.unanswered_per_shard as usize)))
            .collect();
        Self {
            reservations: Reservations::new(log.clone(), options.idempotency_keep),
            options,
            log,
            bus,
            watermarks,
            replies,
            shards,
            trouble,
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
        // Nothing is kept before a place is sure: a document that nobody asks for again would stay for ever.
        let room = self.room(job)?;
        let command = self.keep(job, submission).await?;
        let position = self.send(command, job, self.ticket(), room, caller).await?;
        Ok((job, position))
    }

    /// Keeps the document of a job to be; gives the command that submits it. Repeated for a job, it changes nothing.
    pub(super) async fn keep(&self, job: JobId, submission: Submission) -> Result<Command, Problem> {
        let Submission {
            spec,
            normalised,
            content_type,
            body,
        } = submission;
        let (pool, hash) = (self.log.pool().clone(), spec.document_hash.clone());
        let keep = async move {
            // Flushed before the command is sent: the command outlives a crash of Postgres, and the job that a shard
            // makes of it then must have its document.
            let keep = "WITH document AS (
                            INSERT INTO documents (hash, normalised) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING
                        )
                        INSERT INTO submissions (job, hash, content_type, body) VALUES ($3, $1, $4, $5)
                        ON CONFLICT (job) DO NOTHING";
            let try_to_keep = || {
                sqlx::query(keep)
                    .bind(&hash)
                    .bind(&normalised)
                    .bind(job.0)
                    .bind(content_type)
                    .bind(&body)
                    .execute(&pool)
            };
            match try_to_keep().await {
                // The last job that had the document went in this very moment, and the document with it.
                Err(error)
                    if error
                        .as_database_error()
                        .is_some_and(|it| it.is_foreign_key_violation()) =>
                {
                    try_to_keep().await?
                }
                other => other?,
            };
            Ok(())
        };
        self.log
            .run("api.keep_document", keep)
            .await
            .map_err(|error| Problem::database(&error))?;
        let spec = Box::new(spec);
        Ok(Command::SubmitJob { job, spec })
    }

    /// Sends a command about a job that is there, or was.
    ///
    /// # Errors
    /// As [`Commands::submit`].
    pub async fn command(&self, command: Command, job: JobId, caller: &Caller) -> Result<Position, Problem> {
        let room = self.room(job)?;
        Ok(self.send(command, job, self.ticket(), room, caller).await?)
    }

    /// Sends a command about a worker, whose present or last process is `incarnation`.
    ///
    /// # Errors
    /// As [`Commands::command`].
    pub async fn worker_command(
        &self,
        command: Command,
        name: WorkerName,
        incarnation: Incarnation,
        caller: &Caller,
    ) -> Result<Position, Problem> {
        let about = About::Worker { name, incarnation };
        let room = self.room_of(about.shard(self.shards))?;
        Ok(self.send(command, about, self.ticket(), room, caller).await?)
    }

    /// For a command that nobody has sent before.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            id: Uuid::new_v4(),
            not_after: clock::now() + self.options.command_timeout,
        }
    }

    pub(super) fn room(&self, job: JobId) -> Result<OwnedSemaphorePermit, Problem> {
        self.room_of(job.shard(self.shards))
    }

    fn room_of(&self, shard: ShardId) -> Result<OwnedSemaphorePermit, Problem> {
        let room = self
            .room
            .get(usize::from(shard.0))
            .ok_or_else(|| Problem::internal("no such shard", &shard))?;
        Arc::clone(room).try_acquire_owned().map_err(|_| {
            metrics::counter!("grid_api_overload_refusals_total", "why" => "unanswered").increment(1);
            Problem::overloaded("too many commands to this shard are unanswered; try again in a moment")
        })
    }

    pub(super) async fn send(
        &self,
        command: Command,
        about: impl Into<About>,
        ticket: Ticket,
        _room: OwnedSemaphorePermit,
        caller: &Caller,
    ) -> Result<Position, Unanswered> {
        let begun = Instant::now();
        let allowed = Format::of_command(&command).allowed_by(self.log.format());
        allowed.map_err(|refusal| Unanswered::never(refusal.into()))?;
        let Ticket { id, not_after } = ticket;
        let timeout = not_after.since(clock::now());
        let about = about.into();
        let sought = Sought::of(&command, &about, id);
        let (address, mut waiting) = self.replies.expect();
        let mut span = Span::under(caller.traceparent.as_deref(), "command", SpanKind::Producer);
        span.set("grid.command", &command.name());
        span.set("grid.command_id", &id);
        let message = CommandMessage {
            v: Version,
            id,
            principal: Arc::clone(&caller.principal),
            not_after,
            traceparent: span.traceparent().or_else(|| caller.traceparent.clone()),
            reply_to: Some(address),
            command,
        };
        let message = Message::new(message.encode()).with_key(about.key());
        let sent = self.bus.send(Topic::Commands, about.shard(self.shards).0, message);
        // Only the answer counts: a message that was not acknowledged may have arrived all the same.
        drop(sent.map_err(|error| Unanswered::never(not_sent(error)))?);
        let answer = tokio::time::timeout_at(begun + timeout, &mut waiting.answer).await;
        let position = match answer {
            Ok(Ok(Ok(accepted))) => accepted.position,
            // One that arrived twice may have had its effect the first time.
            Ok(Ok(Err(refusal))) if refusal.code == RefusalCode::Expired => {
                let left = timeout.saturating_sub(begun.elapsed());
                return Err(Unanswered::perhaps(about.tell(expired(refusal, left).retry_after(1))));
            }
            Ok(Ok(Err(refusal))) => return Err(Unanswered::never(refusal.into())),
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("grid_api_unanswered_total").increment(1);
                let found = self.find(sought).await;
                let unknown = || Unanswered::perhaps(about.tell(self.unknown(about.shard(self.shards))));
                found.map_err(|_| unknown())?.ok_or_else(unknown)?
            }
        };
        metrics::histogram!("grid_api_command_seconds").record(begun.elapsed().as_secs_f64());
        self.settle(position).await;
        Ok(position)
    }

    /// Waits until a reading call would find it, but not for long.
    pub(super) async fn settle(&self, position: Position) {
        let deadline = Instant::now() + self.options.read_model_wait;
        if let Err(lagging) = self.watermarks.wait_for(position, deadline).await {
            metrics::counter!("grid_api_late_read_models_total").increment(1);
            tracing::debug!(%lagging, "api.read_model_late");
        }
    }

    /// Whether a command has had its effect, the log knows: where the first event of it stands.
    pub(super) async fn find(&self, sought: Sought) -> Result<Option<Position>, crate::log::Error> {
        const PAGE: usize = 500;
        let Sought { stream, submits, id } = sought;
        let mut after = 0;
        loop {
            let page = self.log.stream(stream, after, PAGE).await?;
            let made = page.events.iter().find(|event| {
                // The id of a job is made for one submission.
                submits
                    || event
                        .header()
                        .is_ok_and(|header| header.command == Some(id) || header.causation == Some(id))
            });
            match (made, page.events.last()) {
                (Some(event), _) => return Ok(Some(event.position)),
                (None, Some(last)) if page.more => after = last.version,
                (None, _) => return Ok(None),
            }
        }
    }

    fn unknown(&self, shard: ShardId) -> Problem {
        let waited: Duration = self.options.command_timeout;
        let mut detail = format!(
            "no answer within {waited:?}: whether the command was carried out is not known yet; look before you send it \
             again"
        );
        if let Some(why) = (self.trouble)(shard) {
            detail.push_str(&format!(
                ". Shard {shard}, which decides it, does not work at the moment: {why}"
            ));
        }
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "OUTCOME_UNKNOWN", detail)
    }
}

/// What a command is about: it decides where the command goes.
#[derive(Clone, Debug)]
pub(super) enum About {
    Job(JobId),
    /// With its present or last process.
    Worker {
        name: WorkerName,
        incarnation: Incarnation,
    },
}

impl From<JobId> for About {
    fn from(job: JobId) -> Self {
        Self::Job(job)
    }
}

impl About {
    fn shard(&self, shards: u16) -> ShardId {
        match self {
            Self::Job(job) => job.shard(shards),
            Self::Worker { name, .. } => ShardId(name.slot(shards)),
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Job(job) => job.0.to_string(),
            Self::Worker { name, .. } => name.to_string(),
        }
    }

    const fn stream(&self) -> StreamId {
        match self {
            Self::Job(job) => StreamId::Job(*job),
            Self::Worker { incarnation, .. } => StreamId::Worker(*incarnation),
        }
    }

    /// The problem, with the job whose outcome it is about.
    fn tell(&self, problem: Problem) -> Problem {
        match self {
            Self::Job(job) => problem.of_job(*job),
            Self::Worker { .. } => problem,
        }
    }
}

/// What makes a command known when it arrives again, and how long it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub id: Uuid,
    pub not_after: Timestamp,
}

/// A command that brought no answer to give.
pub(super) struct Unanswered {
    pub problem: Problem,
    /// It has had no effect, and will have none.
    pub is_void: bool,
}

impl Unanswered {
    fn never(problem: Problem) -> Self {
        Self { problem, is_void: true }
    }

    fn perhaps(problem: Problem) -> Self {
        Self {
            problem,
            is_void: false,
        }
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.problem
    }
}

/// Where a command's first event would be, and how it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    stream: StreamId,
    submits: bool,
    id: Uuid,
}

impl Sought {
    pub fn of(command: &Command, about: &About, id: Uuid) -> Self {
        let stream = match command {
            Command::CancelRetry { task } | Command::BringForwardRetry { task } => StreamId::Task(*task),
            Command::SubmitJob { .. }
            | Command::KillJob { .. }
            | Command::StopJob { .. }
            | Command::RetryJob { .. }
            | Command::RegisterWorker { .. }
            | Command::RemoveWorker { .. }
            | Command::CordonWorker { .. }
            | Command::UncordonWorker { .. }
            | Command::DrainWorker { .. } => about.stream(),
        };
        let submits = matches!(command, Command::SubmitJob { .. });
        Self { stream, submits, id }
    }

    pub fn submission(job: JobId) -> Self {
        Self {
            stream: StreamId::Job(job),
            submits: true,
            id: Uuid::nil(),
        }
    }
}

/// A command that came too late by the clock of who decides it, with so much of its time left by the clock of this process:
/// when any is left, the two clocks differ by that at least.
fn expired(mut refusal: Refusal, left: Duration) -> Problem {
    if left >= clock::AGREE {
        metrics::counter!("grid_api_clocks_differ_total").increment(1);
        tracing::warn!(at_least = ?left, "clock.differs.jobmaster_ahead");
        refusal.message.push_str(&format!(
            "; the clock of the jobmaster that decides it is at least {left:.1?} ahead of this server's: set the clocks of \
             both machines (NTP)"
        ));
    }
    Problem::from(refusal)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_late_by_another_clock_alone_says_so() {
        let refusal = || Refusal::new(RefusalCode::Expired, "it arrived after noon, up to which it was wanted");
        let late = expired(refusal(), Duration::from_millis(1_900)).to_string();
        assert!(late.ends_with("up to which it was wanted"), "{late}");
        let early = expired(refusal(), Duration::from_secs(9)).to_string();
        assert!(early.contains("is at least 9.0s ahead of this server's"), "{early}");
    }
}
