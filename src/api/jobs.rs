//! Jobs: list, look, kill, retry, stop, and the document as it was submitted.

use std::collections::{BTreeSet, HashMap};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::auth::Caller;
use super::idempotency::{CarriedOut, IdempotencyKey};
use super::page::{List, ListId, ListKind, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::JobView;
use super::{Api, etag};
use crate::domain::{JobId, JobStatus};
use crate::event::Command;
use crate::projection::{JobFilter, JobKey, JobOrder, JobRow, LabelPair, Slice, Span, Start};

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        let (task_counters, failure_summary) = Self::counted(&row.counters);
        Self {
            job_id: row.id,
            external_id: row.external_id,
            labels: row.labels,
            created_at: row.created_at,
            finished_at: row.finished_at,
            task_counters,
            status: row.status,
            retries_pending: row.counters.retries_pending,
            failure_summary,
        }
    }
}

impl Api {
    pub(super) async fn job(&self, id: JobId) -> Result<JobView, Problem> {
        let row = self.reading.job(id).await.map_err(|error| Problem::database(&error))?;
        match row {
            Some(row) => Ok(row.into()),
            None => Err(self.missing_job(id).await),
        }
    }

    /// Carries out a command on a job; gives the job as it is then.
    pub(super) async fn job_command(
        &self,
        command: Command,
        id: JobId,
        key: Option<IdempotencyKey>,
        caller: &Caller,
    ) -> Result<CarriedOut<JobView>, Problem> {
        if matches!(command, Command::RetryJob { .. }) {
            self.refuse_purged(id).await?;
        }
        let done = self.commands.command_once(command, id, key, caller).await?;
        Ok(self.carried_out(done, self.job(id).await?))
    }

    /// Why a job has no row: its day was archived, or it never was.
    pub(super) async fn missing_job(&self, id: JobId) -> Problem {
        let retired = sqlx::query("SELECT 1 FROM retired_days WHERE day = $1").bind(id.day());
        match retired.fetch_optional(self.parts.log.pool()).await {
            Ok(Some(_)) => Problem::gone(id),
            Ok(None) => Problem::not_found(id),
            Err(error) => Problem::database(&error),
        }
    }
}

/// What a list of jobs can be asked for, besides its page.
const LIST_PARAMS: [&str; 10] = [
    "page",
    "size",
    "cursor",
    "minPosition",
    "sort",
    "status",
    "externalId",
    "label",
    "createdFrom",
    "createdTo",
];
/// Of those, what may be given several times.
const REPEATABLE: [&str; 3] = ["status", "externalId", "label"];

pub(super) fn read_filter(params: &Params) -> Result<JobFilter, Problem> {
    Ok(JobFilter {
        ids: BTreeSet::new(),
        statuses: params
            .all_of("status", &JobStatus::ALL, JobStatus::name)?
            .into_iter()
            .collect(),
        external_ids: params.all("externalId")?.into_iter().collect(),
        labels: params.all::<LabelPair>("label")?.into_iter().collect(),
        created: read_created(params)?,
    })
}

/// `createdFrom` and `createdTo`.
pub(super) fn read_created(params: &Params) -> Result<Span, Problem> {
    let span = Span::between(params.time("createdFrom")?, params.time("createdTo")?);
    span.map_err(|error| Problem::bad_parameter("createdTo", error.to_string()))
}

/// How a list of jobs is named in its cursors.
pub(super) fn list_id(filter: &JobFilter, order: JobOrder) -> ListId {
    ListId::new(ListKind::Jobs, &(filter, order))
}

impl Api {
    /// How many jobs the filter lets through. `fresh`: not even a moment old.
    pub(super) async fn count_jobs(&self, filter: &JobFilter, fresh: bool) -> Result<u64, Problem> {
        let count = self.reading.job_count(filter, fresh).await;
        count.map_err(|error| Problem::database(&error))
    }

    pub(super) async fn slice_of_jobs(
        &self,
        filter: &JobFilter,
        order: JobOrder,
        start: &Start<JobKey>,
        size: u32,
    ) -> Result<Slice<JobRow>, Problem> {
        let jobs = self.reading.jobs(filter, order, start, size).await;
        jobs.map_err(|error| Problem::database(&error))
    }

    /// A page of jobs. `fresh`: as [`Api::count_jobs`].
    pub(super) async fn list_jobs(
        &self,
        filter: &JobFilter,
        order: JobOrder,
        query: &PageQuery,
        fresh: bool,
    ) -> Result<List<JobView>, Problem> {
        let list = list_id(filter, order);
        let after = query.after.as_deref();
        let after = after.map(|key| JobKey::from_bytes(key, order.by).ok_or_else(PageQuery::bad_cursor));
        let offset = query.offset();
        let (total, slice) = match after.transpose()? {
            None if offset > NEAR => {
                let total = self.count_jobs(filter, fresh).await?;
                let start = Start::Offset {
                    offset,
                    total: Some(total),
                };
                (total, self.slice_of_jobs(filter, order, &start, query.size).await?)
            }
            after => {
                let start = after.map_or(Start::Offset { offset, total: None }, Start::After);
                let slice = self.slice_of_jobs(filter, order, &start, query.size);
                futures::try_join!(self.count_jobs(filter, fresh), slice)?
            }
        };
        let last = slice.rows.last().filter(|_| slice.more);
        let next = last.map(|row| query.next(&list, &JobKey::of(row, order.by).to_bytes()));
        let items = slice.rows.into_iter().map(JobView::from).collect();
        Ok(List::new(query, items, total, next))
    }
}

/// Pages that begin no deeper are not looked for from the end.
pub(super) const NEAR: u64 = 1_000;

pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &LIST_PARAMS, &REPEATABLE)?;
    let filter = read_filter(&params)?;
    let order = params.parsed::<JobOrder>("sort")?.unwrap_or_default();
    let query = PageQuery::read(&params, &list_id(&filter, order), 20)?;
    api.wait_for_position(&params).await?;
    let fresh = params.get("minPosition").is_some();
    Ok(HttpResponse::Ok().json(api.list_jobs(&filter, order, &query, fresh).await?))
}

pub async fn get(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition", "asOf"])?;
    let id: JobId = id.parse()?;
    let at = params.time("asOf")?;
    api.wait_for_position(&params).await?;
    match at {
        Some(at) => etag::answer(&request, &api.job_as_of(id, at).await?),
        None => etag::answer(&request, &api.job(id).await?),
    }
}

pub async fn kill(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    command(&api, &request, &id, |job| Command::KillJob { job }).await
}

pub async fn stop(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    command(&api, &request, &id, |job| Command::StopJob { job }).await
}

pub async fn retry(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    command(&api, &request, &id, |job| Command::RetryJob { job }).await
}

async fn command(
    api: &Api,
    request: &HttpRequest,
    id: &str,
    make: fn(JobId) -> Command,
) -> Result<HttpResponse, Problem> {
    Params::read(request, &[])?;
    let id: JobId = id.parse()?;
    let key = IdempotencyKey::of(request)?;
    let carried_out = api.job_command(make(id), id, key, &Api::caller(request)).await?;
    Ok(carried_out.answer(HttpResponse::Ok()))
}

impl Api {
    /// The types and the bytes of the documents of those of the jobs that are there, as they were sent.
    pub(super) async fn documents(&self, ids: &[JobId]) -> Result<HashMap<JobId, (String, Vec<u8>)>, Problem> {
        // A submission is kept before its command: only the job's row says that it was accepted. And a purge that was
        // interrupted may have left it.
        let sql = "SELECT s.job, s.content_type, s.body FROM submissions s JOIN grid_read.jobs j ON j.id = s.job
                   WHERE s.job = ANY($1) AND NOT EXISTS (SELECT FROM purges p WHERE p.job = s.job)";
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.parts.log.pool()).await;
        let rows = rows.map_err(|error| Problem::database(&error))?;
        let read = |row: &PgRow| Ok((JobId(row.try_get(0)?), (row.try_get(1)?, row.try_get(2)?)));
        let documents: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        documents.map_err(|error| Problem::database(&error))
    }

    /// The type and the bytes of a job's document, as they were sent.
    pub(super) async fn document(&self, id: JobId) -> Result<(String, Vec<u8>), Problem> {
        match self.documents(&[id]).await?.remove(&id) {
            Some(document) => Ok(document),
            None => Err(self.missing_document(id).await),
        }
    }
}

/// The bytes as they were sent, with their type.
pub async fn document(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition"])?;
    let id: JobId = id.parse()?;
    api.wait_for_position(&params).await?;
    let (content_type, body) = api.document(id).await?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body))
}
