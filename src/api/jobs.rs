//! Jobs: list, look, kill, retry, stop, and the document as it was submitted.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use sqlx::Row;

use super::Api;
use super::page::{List, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{At, JobView};
use crate::domain::JobId;
use crate::event::Command;
use crate::projection::{JobKey, JobRow};

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
    async fn job(&self, id: JobId) -> Result<JobView, Problem> {
        let row = self.reading.job(id).await.map_err(|error| Problem::database(&error))?;
        match row {
            Some(row) => Ok(row.into()),
            None => Err(self.missing_job(id).await),
        }
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

pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let query = PageQuery::read(&params, ListKind::Jobs, 20)?;
    let after = query
        .after
        .as_deref()
        .map(|key| JobKey::from_bytes(key).ok_or_else(PageQuery::bad_cursor))
        .transpose()?;
    api.wait_for_position(&params).await?;
    let database = |error: sqlx::Error| Problem::database(&error);
    let total = api.reading.job_count().await.map_err(database)?;
    let rows = match after {
        Some(key) => api.reading.jobs_after(key, query.size).await,
        None => api.reading.jobs(query.offset(), query.size, total).await,
    };
    let rows = rows.map_err(database)?;
    let more = query.offset() + (rows.len() as u64) < total && rows.len() == query.size as usize;
    let next = rows
        .last()
        .filter(|_| more)
        .map(|row| query.next(ListKind::Jobs, &row.key().to_bytes()));
    let items = rows.into_iter().map(JobView::from).collect();
    Ok(HttpResponse::Ok().json(List::new(&query, items, total, next)))
}

pub async fn get(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition"])?;
    let id: JobId = id.parse()?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.job(id).await?))
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
    let position = api.commands.command(make(id), id, &Api::caller(request)).await?;
    Ok(HttpResponse::Ok().json(At {
        object: api.job(id).await?,
        position: api.token(position),
    }))
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
    // A submission is kept before its command: only the job's row says that it was accepted.
    let row = sqlx::query(
        "SELECT s.content_type, s.body FROM submissions s JOIN grid_read.jobs j ON j.id = s.job WHERE s.job = $1",
    );
    let row = row
        .bind(id.0)
        .fetch_optional(api.parts.log.pool())
        .await
        .map_err(|error| Problem::database(&error))?;
    let Some(row) = row else {
        return Err(api.missing_job(id).await);
    };
    let read = || Ok::<_, sqlx::Error>((row.try_get::<String, _>(0)?, row.try_get::<Vec<u8>, _>(1)?));
    let (content_type, body) = read().map_err(|error| Problem::database(&error))?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body))
}
