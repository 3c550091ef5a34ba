//! What can be wished.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::fault::Answer;
use super::guard::Needs;
use super::job::{Job, api};
use super::task::Task;
use crate::api::Caller;
use crate::domain::{JobId, TaskId};
use crate::event::Command;

pub struct Mutation;

/// A job as it is after a command.
#[derive(SimpleObject)]
pub struct JobPayload {
    job: Job,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    position: String,
}

/// A task as it is after a command.
#[derive(SimpleObject)]
pub struct TaskPayload {
    task: Task,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    position: String,
}

async fn of_job(context: &Context<'_>, id: &ID, make: fn(JobId) -> Command) -> Answer<JobPayload> {
    let (api, id) = (api(context), id.parse::<JobId>()?);
    let position = api
        .commands
        .command(make(id), id, context.data_unchecked::<Caller>())
        .await?;
    Ok(JobPayload {
        job: Job(api.job(id).await?),
        position: api.token(position).to_string(),
    })
}

async fn of_task(context: &Context<'_>, id: &ID, make: fn(TaskId) -> Command) -> Answer<TaskPayload> {
    let (api, id) = (api(context), id.parse::<TaskId>()?);
    // A job does not know of numbers that it never had: what is there is known here.
    api.task(id).await?;
    let caller = context.data_unchecked::<Caller>();
    let position = api.commands.command(make(id), id.job, caller).await?;
    Ok(TaskPayload {
        task: Task(api.task(id).await?),
        position: api.token(position).to_string(),
    })
}

#[Object]
impl Mutation {
    /// Ends all unfinished tasks of a job at once; one that has finished stays as it is.
    #[graphql(guard = "Needs::Operator")]
    async fn kill_job(&self, context: &Context<'_>, id: ID) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::KillJob { job }).await
    }

    /// Lets the running tasks of a job come to a good end; the others fail as KILLED.
    #[graphql(guard = "Needs::Operator")]
    async fn stop_job(&self, context: &Context<'_>, id: ID) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::StopJob { job }).await
    }

    /// Tries the finally failed tasks of a job again.
    #[graphql(guard = "Needs::Operator")]
    async fn retry_job(&self, context: &Context<'_>, id: ID) -> Answer<JobPayload> {
        of_job(context, &id, |job| Command::RetryJob { job }).await
    }

    /// Makes the scheduled retry of a task due now.
    #[graphql(guard = "Needs::Operator")]
    async fn bring_forward_retry(&self, context: &Context<'_>, id: ID) -> Answer<TaskPayload> {
        of_task(context, &id, |task| Command::BringForwardRetry { task }).await
    }

    /// Takes the scheduled retry of a task back; its failure is final.
    #[graphql(guard = "Needs::Operator")]
    async fn cancel_retry(&self, context: &Context<'_>, id: ID) -> Answer<TaskPayload> {
        of_task(context, &id, |task| Command::CancelRetry { task }).await
    }
}
