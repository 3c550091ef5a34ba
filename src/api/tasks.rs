//! Tasks: those of a job, one of them, and its scheduled retry.

use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::Caller;
use super::idempotency::{CarriedOut, IdempotencyKey};
use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{FailureView, TaskView};
use super::{Api, etag};
use crate::domain::event::Failure;
use crate::domain::{JobId, TaskId};
use crate::event::Command;
use crate::projection::{Plan, TaskRow};

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.reason.name().to_owned(),
            message: failure.message,
            exit_code: failure.exit_code,
            causes: failure.causes,
            last_log_lines: failure.last_log_lines,
            retryable: failure.reason.retryable(),
        }
    }
}

/// `None`: the job has no such task.
pub(super) fn view(row: TaskRow, plan: &Plan) -> Option<TaskView> {
    let place = plan.place(row.id.number)?;
    Some(TaskView {
        task_id: row.id,
        job_id: row.id.job,
        external_id: place.external_id(),
        replica_index: place.replica_index,
        state: row.state,
        attempt: row.attempt,
        retry_count: row.retry_count,
        max_retries: u32::from(plan.max_retries(&place)),
        next_retry_at: row.next_retry_at,
        worker_id: row.worker.map(|name| format!("worker-{name}")),
        failure: row.failure.map(FailureView::from),
        created_at: plan.created_at,
        scheduled_at: row.scheduled_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
    })
}

impl Api {
    /// `None`: the job has no such task. Without a row it is not written out yet.
    pub(super) fn task_view(row: Option<TaskRow>, id: TaskId, plan: &Plan) -> Option<TaskView> {
        view(row.unwrap_or(TaskRow::unwritten(id)), plan)
    }

    /// `None`: its job is not there, or has no such task.
    pub(super) async fn task_of_row(&self, row: TaskRow) -> Result<Option<TaskView>, Problem> {
        let plan = self.reading.plan(row.id.job).await;
        let plan = plan.map_err(|error| Problem::database(&error))?;
        Ok(plan.and_then(|plan| view(row, &plan)))
    }

    pub(super) async fn task(&self, id: TaskId) -> Result<TaskView, Problem> {
        let database = |error: sqlx::Error| Problem::database(&error);
        let Some(plan) = self.reading.plan(id.job).await.map_err(database)? else {
            return Err(match self.missing_job(id.job).await {
                problem if problem.code == "NOT_FOUND" => Problem::not_found(id),
                problem => problem,
            });
        };
        let row = self.reading.task(id).await.map_err(database)?;
        view(row.unwrap_or(TaskRow::unwritten(id)), &plan).ok_or_else(|| Problem::not_found(id))
    }

    /// Carries out a command on a task; gives the task as it is then.
    pub(super) async fn task_command(
        &self,
        command: Command,
        id: TaskId,
        key: Option<IdempotencyKey>,
        caller: &Caller,
    ) -> Result<CarriedOut<TaskView>, Problem> {
        // A job does not know of numbers that it never had: what is there is known here.
        self.task(id).await?;
        let done = self.commands.command_once(command, id.job, key, caller).await?;
        Ok(self.carried_out(done, self.task(id).await?))
    }
}

pub async fn list(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let job: JobId = id.parse()?;
    let tasks = ListId::new(ListKind::Tasks, &job);
    let query = PageQuery::read(&params, &tasks, 50)?;
    let after = match query.after.as_deref() {
        Some(key) => u64::from(u32::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?)),
        None => query.offset(),
    };
    api.wait_for_position(&params).await?;
    let database = |error: sqlx::Error| Problem::database(&error);
    let Some(plan) = api.reading.plan(job).await.map_err(database)? else {
        return Err(api.missing_job(job).await);
    };
    let total = plan.spec.task_count;
    // Numbers have no gaps: a page is found by its first number.
    let last = u32::try_from(after + u64::from(query.size)).unwrap_or(total).min(total);
    let rows = match u32::try_from(after).ok().filter(|after| *after < last) {
        Some(after) => api.reading.tasks(job, after + 1, last).await.map_err(database)?,
        None => Vec::new(),
    };
    let next = (!rows.is_empty() && last < total).then(|| query.next(&tasks, &last.to_be_bytes()));
    let items: Vec<TaskView> = rows.into_iter().filter_map(|row| view(row, &plan)).collect();
    Ok(HttpResponse::Ok().json(List::new(&query, items, u64::from(total), next)))
}

pub async fn get(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition", "asOf"])?;
    let id: TaskId = id.parse()?;
    let at = params.time("asOf")?;
    api.wait_for_position(&params).await?;
    match at {
        Some(at) => etag::answer(&request, &api.task_as_of(id, at).await?),
        None => etag::answer(&request, &api.task(id).await?),
    }
}

/// `POST /api/v1/tasks/{taskId}/retry`: makes a scheduled retry due now.
pub async fn bring_forward(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    command(&api, &request, &id, |task| Command::BringForwardRetry { task }).await
}

/// `DELETE /api/v1/tasks/{taskId}/retry`: takes a scheduled retry back; the failure is final.
pub async fn cancel_retry(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    command(&api, &request, &id, |task| Command::CancelRetry { task }).await
}

async fn command(
    api: &Api,
    request: &HttpRequest,
    id: &str,
    make: fn(TaskId) -> Command,
) -> Result<HttpResponse, Problem> {
    Params::read(request, &[])?;
    let id: TaskId = id.parse()?;
    let key = IdempotencyKey::of(request)?;
    let carried_out = api.task_command(make(id), id, key, &Api::caller(request)).await?;
    Ok(carried_out.answer(HttpResponse::Ok()))
}
