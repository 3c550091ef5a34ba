//! Tasks: those of a job or of all, one of them, and its scheduled retry.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::Caller;
use super::idempotency::{CarriedOut, IdempotencyKey};
use super::jobs::read_created;
use super::page::{List, ListId, ListKind, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{FailureView, TaskView};
use super::{Api, etag};
use crate::domain::event::{Failure, TaskState};
use crate::domain::{JobId, TaskId};
use crate::event::Command;
use crate::projection::{
    Direction, LabelPair, Plan, Slice, Start, TaskFilter, TaskKey, TaskListError, TaskOrder, TaskRow, TaskSort,
};

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

/// What the list of a job's tasks can be asked for.
const OF_JOB_PARAMS: [&str; 8] = [
    "page",
    "size",
    "cursor",
    "minPosition",
    "sort",
    "state",
    "worker",
    "externalId",
];
/// And that of all tasks.
const LIST_PARAMS: [&str; 12] = [
    "page",
    "size",
    "cursor",
    "minPosition",
    "sort",
    "state",
    "worker",
    "externalId",
    "jobId",
    "label",
    "createdFrom",
    "createdTo",
];
const REPEATABLE: [&str; 4] = ["state", "worker", "externalId", "label"];

/// Without the job.
fn read_filter(params: &Params) -> Result<TaskFilter, Problem> {
    Ok(TaskFilter {
        job: None,
        states: params
            .all_of("state", &TaskState::ALL, TaskState::name)?
            .into_iter()
            .collect(),
        workers: params.all("worker")?.into_iter().collect(),
        external_ids: params.all("externalId")?.into_iter().collect(),
        labels: params.all::<LabelPair>("label")?.into_iter().collect(),
        created: read_created(params)?,
    })
}

/// How a list of tasks is named in its cursors.
pub(super) fn list_id(filter: &TaskFilter, order: TaskOrder) -> ListId {
    ListId::new(ListKind::Tasks, &(filter, order))
}

fn no_list(error: TaskListError) -> Problem {
    match error {
        TaskListError::Database(error) => Problem::database(&error),
        TaskListError::TooBroad { .. } => Problem::new(StatusCode::BAD_REQUEST, "FILTER_TOO_BROAD", error.to_string()),
    }
}

impl Api {
    /// How many tasks the filter lets through. `fresh`: not even a moment old.
    pub(super) async fn count_tasks(&self, filter: &TaskFilter, fresh: bool) -> Result<u64, Problem> {
        self.reading.task_count(filter, fresh).await.map_err(no_list)
    }

    /// Sorted by number, the filter names a job.
    pub(super) async fn slice_of_tasks(
        &self,
        filter: &TaskFilter,
        order: TaskOrder,
        start: &Start<TaskKey>,
        size: u32,
    ) -> Result<Slice<(TaskKey, TaskView)>, Problem> {
        let found = self.reading.tasks(filter, order, start, size).await.map_err(no_list)?;
        let jobs: BTreeSet<JobId> = found.rows.iter().map(|(key, _)| key.task.job).collect();
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        let plans = self
            .reading
            .plans(&jobs)
            .await
            .map_err(|error| Problem::database(&error))?;
        let seen = |(key, row): (TaskKey, TaskRow)| Some((key, view(row, plans.get(&key.task.job)?)?));
        Ok(Slice {
            rows: found.rows.into_iter().filter_map(seen).collect(),
            more: found.more,
        })
    }

    /// A page of tasks. Sorted by number, the filter names a job. `fresh`: as [`Api::count_tasks`].
    pub(super) async fn list_tasks(
        &self,
        filter: &TaskFilter,
        order: TaskOrder,
        query: &PageQuery,
        fresh: bool,
    ) -> Result<List<TaskView>, Problem> {
        let after = query.after.as_deref();
        let after = after.map(|key| TaskKey::from_bytes(key).ok_or_else(PageQuery::bad_cursor));
        let offset = query.offset();
        let (total, slice) = match after.transpose()? {
            None if offset > NEAR => {
                let total = self.count_tasks(filter, fresh).await?;
                let start = Start::Offset {
                    offset,
                    total: Some(total),
                };
                (total, self.slice_of_tasks(filter, order, &start, query.size).await?)
            }
            after => {
                let start = after.map_or(Start::Offset { offset, total: None }, Start::After);
                let slice = self.slice_of_tasks(filter, order, &start, query.size);
                futures::try_join!(self.count_tasks(filter, fresh), slice)?
            }
        };
        let last = slice.rows.last().filter(|_| slice.more);
        let next = last.map(|(key, _)| query.next(&list_id(filter, order), &key.to_bytes()));
        let items = slice.rows.into_iter().map(|(_, task)| task).collect();
        Ok(List::new(query, items, total, next))
    }
}

/// `GET /api/v1/tasks`: of all jobs, the newest job first.
pub async fn list_all(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &LIST_PARAMS, &REPEATABLE)?;
    let job = params.parsed::<JobId>("jobId")?;
    let filter = TaskFilter {
        job,
        ..read_filter(&params)?
    };
    let order = params.parsed::<TaskOrder>("sort")?.unwrap_or_default();
    if order.by == TaskSort::Number && job.is_none() {
        let message = "numbers order the tasks of one job: name it by jobId, or sort by createdAt";
        return Err(Problem::bad_parameter("sort", message));
    }
    let query = PageQuery::read(&params, &list_id(&filter, order), 50)?;
    api.wait_for_position(&params).await?;
    let fresh = params.get("minPosition").is_some();
    Ok(HttpResponse::Ok().json(api.list_tasks(&filter, order, &query, fresh).await?))
}

/// `GET /api/v1/jobs/{jobId}/tasks`: by number.
pub async fn list(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &OF_JOB_PARAMS, &REPEATABLE)?;
    let job: JobId = id.parse()?;
    let filter = TaskFilter {
        job: Some(job),
        ..read_filter(&params)?
    };
    let order = params.parsed::<TaskOrder>("sort")?.unwrap_or(BY_NUMBER);
    let query = PageQuery::read(&params, &list_id(&filter, order), 50)?;
    api.wait_for_position(&params).await?;
    let database = |error: sqlx::Error| Problem::database(&error);
    if api.reading.plan(job).await.map_err(database)?.is_none() {
        return Err(api.missing_job(job).await);
    }
    let fresh = params.get("minPosition").is_some();
    Ok(HttpResponse::Ok().json(api.list_tasks(&filter, order, &query, fresh).await?))
}

/// Pages that begin no deeper are not looked for from the end.
const NEAR: u64 = 1_000;

/// The order of a job's tasks when nobody says.
pub(super) const BY_NUMBER: TaskOrder = TaskOrder {
    by: TaskSort::Number,
    direction: Direction::Asc,
};

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
