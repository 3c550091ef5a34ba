//! What can be wished.
//!
//! Must stay true: each goes the way of its REST call, with the same keys by which it counts once; of many, each has its
//! own outcome.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::bulk::{self, JobOutcome, MatchingJobs, how_many};
use super::fault::Answer;
use super::guard::Needs;
use super::job::{Job, api};
use super::letters::{self, ReplayPayload};
use super::list::cost;
use super::purge::PurgePayload;
use super::task::Task;
use super::worker::Worker;
use crate::api::Caller;
use crate::api::body::Body;
use crate::api::bulk::BulkAction;
use crate::api::idempotency::IdempotencyKey;
use crate::api::letters::Asked;
use crate::api::problem::Problem;
use crate::api::view::{At, WorkerView};
use crate::domain::{JobId, TaskId, WorkerName};
use crate::event::Command;

pub struct Mutation;

/// A job as it is after a command.
#[derive(SimpleObject)]
pub struct JobPayload {
    job: Job,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    position: String,
    /// By an earlier call under the same key.
    replayed: bool,
}

/// A task as it is after a command.
#[derive(SimpleObject)]
pub struct TaskPayload {
    task: Task,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    position: String,
    /// By an earlier call under the same key.
    replayed: bool,
}

/// A worker as it is after a command.
#[derive(SimpleObject)]
pub struct WorkerPayload {
    worker: Worker,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    position: String,
}

impl From<At<WorkerView>> for WorkerPayload {
    fn from(at: At<WorkerView>) -> Self {
        Self {
            worker: Worker(at.object),
            position: at.position.to_string(),
        }
    }
}

/// What became of a document.
#[derive(SimpleObject)]
pub struct SubmitPayload {
    /// Null after a dry run.
    job: Option<Job>,
    /// Null after a dry run.
    position: Option<String>,
    /// By an earlier call under the same key.
    replayed: bool,
    /// How many tasks the document makes; only after a dry run.
    task_count: Option<u32>,
    /// SHA-256 of the normalised document; only after a dry run.
    document_hash: Option<String>,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum DocumentFormat {
    Json,
    Yaml,
}

fn key(text: Option<String>) -> Answer<Option<IdempotencyKey>> {
    let parsed = text.map(|text| text.parse::<IdempotencyKey>()).transpose();
    Ok(parsed.map_err(|error| Problem::bad_parameter("idempotencyKey", error.to_string()))?)
}

async fn of_job(
    context: &Context<'_>,
    id: &ID,
    make: fn(JobId) -> Command,
    key_text: Option<String>,
) -> Answer<JobPayload> {
    let id: JobId = id.parse()?;
    let caller = context.data_unchecked::<Caller>();
    let done = api(context).job_command(make(id), id, key(key_text)?, caller).await?;
    Ok(JobPayload {
        job: done.at.object.into(),
        position: done.at.position.to_string(),
        replayed: done.done.replayed,
    })
}

async fn of_task(
    context: &Context<'_>,
    id: &ID,
    make: fn(TaskId) -> Command,
    key_text: Option<String>,
) -> Answer<TaskPayload> {
    let id: TaskId = id.parse()?;
    let caller = context.data_unchecked::<Caller>();
    let done = api(context).task_command(make(id), id, key(key_text)?, caller).await?;
    Ok(TaskPayload {
        task: done.at.object.into(),
        position: done.at.position.to_string(),
        replayed: done.done.replayed,
    })
}

#[Object]
impl Mutation {
    /// Submits a document; nothing of it happens when something in it is wrong.
    #[graphql(guard = "Needs::Operator")]
    async fn submit_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job document, as in a file.")] document: String,
        #[graphql(desc = "Guessed from the text when it is not given.")] format: Option<DocumentFormat>,
        #[graphql(desc = "Only look for mistakes.", default)] dry_run: bool,
        #[graphql(desc = "The same key again: the same job.")] idempotency_key: Option<String>,
    ) -> Answer<SubmitPayload> {
        let body = Body::of_text(document, format.map(|format| format == DocumentFormat::Json))?;
        let api = api(context);
        if dry_run {
            let spec = api.dry_run(body).await?;
            return Ok(SubmitPayload {
                job: None,
                position: None,
                replayed: false,
                task_count: Some(spec.task_count),
                document_hash: Some(spec.document_hash),
            });
        }
        let caller = context.data_unchecked::<Caller>();
        let done = api.submit(body, key(idempotency_key)?, caller).await?;
        Ok(SubmitPayload {
            job: Some(done.at.object.into()),
            position: Some(done.at.position.to_string()),
            replayed: done.done.replayed,
            task_count: None,
            document_hash: None,
        })
    }

    /// Ends all unfinished tasks of a job at once; one that has finished stays as it is.
    #[graphql(guard = "Needs::Operator")]
    async fn kill_job(&self, context: &Context<'_>, id: ID, idempotency_key: Option<String>) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::KillJob { job }, idempotency_key).await
    }

    /// Lets the running tasks of a job come to a good end; the others fail as KILLED.
    #[graphql(guard = "Needs::Operator")]
    async fn stop_job(&self, context: &Context<'_>, id: ID, idempotency_key: Option<String>) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::StopJob { job }, idempotency_key).await
    }

    /// Tries the finally failed tasks of a job again.
    #[graphql(guard = "Needs::Operator")]
    async fn retry_job(&self, context: &Context<'_>, id: ID, idempotency_key: Option<String>) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::RetryJob { job }, idempotency_key).await
    }

    /// Submits a new job whose pipelines begin at the nodes at which records of a job failed, with exactly these records.
    #[graphql(guard = "Needs::Operator")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn replay_dead_letters(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "Only those of this task of the job.")] task_id: Option<ID>,
        #[graphql(desc = "Only those that failed at the node of this id.")] node: Option<String>,
        #[graphql(desc = "The job's document with its mistake mended; the job's own when it is not given.")]
        document: Option<String>,
        #[graphql(desc = "The same key again: the same job.")] idempotency_key: Option<String>,
    ) -> Answer<ReplayPayload> {
        let asked = Asked {
            job: id.parse()?,
            sought: letters::sought(task_id, node)?,
            mended: document.map(|text| Body::of_text(text, None)).transpose()?,
        };
        let caller = context.data_unchecked::<Caller>();
        let done = api(context)
            .replay_letters(asked, key(idempotency_key)?, caller)
            .await?;
        Ok(ReplayPayload {
            letters: i64::try_from(done.at.object.replayed).unwrap_or(i64::MAX),
            left_out: i64::try_from(done.at.object.left_out).unwrap_or(i64::MAX),
            job: done.at.object.job.into(),
            position: done.at.position.to_string(),
            replayed: done.done.replayed,
        })
    }

    /// Removes for ever what is known of a finished job beside the log: lines, points of metrics, dead letters, checkpoints,
    /// and the document, where no other job has the same.
    #[graphql(guard = "Needs::Admin")]
    async fn purge_job(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "Only tell what would be removed.", default)] dry_run: bool,
    ) -> Answer<PurgePayload> {
        let caller = context.data_unchecked::<Caller>();
        Ok(api(context).purge(id.parse()?, dry_run, caller).await?.into())
    }

    /// Kills each of the jobs, and says of each what became of it.
    #[graphql(
        guard = "Needs::Operator",
        complexity = "100 + cost(how_many(ids.as_ref(), matching.as_ref()), child_complexity)"
    )]
    async fn kill_jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Each once; or `matching`.")] ids: Option<Vec<ID>>,
        #[graphql(desc = "Instead of `ids`.")] matching: Option<MatchingJobs>,
        #[graphql(desc = "Only tell which jobs they are.", default)] dry_run: bool,
    ) -> Answer<Vec<JobOutcome>> {
        bulk::run(context, BulkAction::Kill, ids, matching, dry_run).await
    }

    /// Stops each of the jobs, and says of each what became of it.
    #[graphql(
        guard = "Needs::Operator",
        complexity = "100 + cost(how_many(ids.as_ref(), matching.as_ref()), child_complexity)"
    )]
    async fn stop_jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Each once; or `matching`.")] ids: Option<Vec<ID>>,
        #[graphql(desc = "Instead of `ids`.")] matching: Option<MatchingJobs>,
        #[graphql(desc = "Only tell which jobs they are.", default)] dry_run: bool,
    ) -> Answer<Vec<JobOutcome>> {
        bulk::run(context, BulkAction::Stop, ids, matching, dry_run).await
    }

    /// Tries the finally failed tasks of each of the jobs again, and says of each what became of it.
    #[graphql(
        guard = "Needs::Operator",
        complexity = "100 + cost(how_many(ids.as_ref(), matching.as_ref()), child_complexity)"
    )]
    async fn retry_jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Each once; or `matching`.")] ids: Option<Vec<ID>>,
        #[graphql(desc = "Instead of `ids`.")] matching: Option<MatchingJobs>,
        #[graphql(desc = "Only tell which jobs they are.", default)] dry_run: bool,
    ) -> Answer<Vec<JobOutcome>> {
        bulk::run(context, BulkAction::Retry, ids, matching, dry_run).await
    }

    /// Keeps new work from a worker and all later processes of its name.
    #[graphql(guard = "Needs::Operator")]
    async fn cordon_worker(&self, context: &Context<'_>, id: ID) -> Answer<WorkerPayload> {
        let (name, caller) = (id.parse::<WorkerName>()?, context.data_unchecked::<Caller>());
        Ok(api(context).cordon_worker(name, caller).await?.into())
    }

    /// Lets a worker have new work again.
    #[graphql(guard = "Needs::Operator")]
    async fn uncordon_worker(&self, context: &Context<'_>, id: ID) -> Answer<WorkerPayload> {
        let (name, caller) = (id.parse::<WorkerName>()?, context.data_unchecked::<Caller>());
        Ok(api(context).uncordon_worker(name, caller).await?.into())
    }

    /// Cordons a worker, and lets its process finish what it has and leave.
    #[graphql(guard = "Needs::Operator")]
    async fn drain_worker(&self, context: &Context<'_>, id: ID) -> Answer<WorkerPayload> {
        let (name, caller) = (id.parse::<WorkerName>()?, context.data_unchecked::<Caller>());
        Ok(api(context).drain_worker(name, caller).await?.into())
    }

    /// Makes the scheduled retry of a task due now.
    #[graphql(guard = "Needs::Operator")]
    async fn bring_forward_retry(
        &self,
        context: &Context<'_>,
        id: ID,
        idempotency_key: Option<String>,
    ) -> Answer<TaskPayload> {
        of_task(
            context,
            &id,
            |task| Command::BringForwardRetry { task },
            idempotency_key,
        )
        .await
    }

    /// Takes the scheduled retry of a task back; its failure is final.
    #[graphql(guard = "Needs::Operator")]
    async fn cancel_retry(
        &self,
        context: &Context<'_>,
        id: ID,
        idempotency_key: Option<String>,
    ) -> Answer<TaskPayload> {
        of_task(context, &id, |task| Command::CancelRetry { task }, idempotency_key).await
    }
}
