//! Scheduled retries: which tasks wait for one, the next due first. A single one is cancelled or brought forward at its
//! task.

use actix_web::{HttpRequest, HttpResponse, web};

use super::Api;
use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::tasks::view;
use super::view::TaskView;
use crate::domain::JobId;
use crate::projection::{RetriesFrom, RetryKey, Slice, TaskRow};

const LIST_PARAMS: [&str; 5] = ["page", "size", "cursor", "minPosition", "jobId"];

/// How a list of retries is named in its cursors.
pub(super) fn list_id(job: Option<JobId>) -> ListId {
    ListId::new(ListKind::Retries, &job)
}

impl Api {
    /// A slice of the tasks that wait for a retry, of a job or of all, and how many there are in all.
    ///
    /// # Errors
    /// 404 and 410 for a job that is not there.
    pub(super) async fn slice_of_retries(
        &self,
        job: Option<JobId>,
        from: RetriesFrom,
        size: u32,
    ) -> Result<(u64, Slice<(RetryKey, TaskView)>), Problem> {
        let database = |error: sqlx::Error| Problem::database(&error);
        if let Some(job) = job
            && self.reading.plan(job).await.map_err(database)?.is_none()
        {
            return Err(self.missing_job(job).await);
        }
        // One more tells whether there is another page: the total may be of a moment ago.
        let limit = size + 1;
        let mut rows = self.reading.retries(job, from, limit).await.map_err(database)?;
        let total = self.reading.retry_count(job).await.map_err(database)?;
        let more = rows.len() == limit as usize;
        rows.truncate(size as usize);
        let mut jobs: Vec<JobId> = rows.iter().map(|row| row.id.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        let plans = self.reading.plans(&jobs).await.map_err(database)?;
        let shown = |row: TaskRow| {
            let (key, plan) = (row.retry_key()?, plans.get(&row.id.job)?);
            Some((key, view(row, plan)?))
        };
        let rows = rows.into_iter().filter_map(shown).collect();
        Ok((total, Slice { rows, more }))
    }

    /// A page of the tasks that wait for a retry: of a job, or of all.
    ///
    /// # Errors
    /// 404 and 410 for a job that is not there; 400 for a cursor that is none.
    pub(super) async fn retries(&self, job: Option<JobId>, query: &PageQuery) -> Result<List<TaskView>, Problem> {
        let from = match query.after.as_deref() {
            Some(key) => RetriesFrom::After(RetryKey::from_bytes(key).ok_or_else(PageQuery::bad_cursor)?),
            None => RetriesFrom::Offset(query.offset()),
        };
        let (total, slice) = self.slice_of_retries(job, from, query.size).await?;
        let last = slice.rows.last().filter(|_| slice.more);
        let next = last.map(|(key, _)| query.next(&list_id(job), &key.to_bytes()));
        let items = slice.rows.into_iter().map(|(_, task)| task).collect();
        Ok(List::new(query, items, total, next))
    }
}

/// `GET /api/v1/retries`.
pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &LIST_PARAMS)?;
    let job = params.parsed::<JobId>("jobId")?;
    answer(&api, &params, job).await
}

/// `GET /api/v1/jobs/{id}/retries`.
pub async fn of_job(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let job: JobId = id.parse()?;
    answer(&api, &params, Some(job)).await
}

async fn answer(api: &Api, params: &Params, job: Option<JobId>) -> Result<HttpResponse, Problem> {
    let query = PageQuery::read(params, &list_id(job), 50)?;
    api.wait_for_position(params).await?;
    Ok(HttpResponse::Ok().json(api.retries(job, &query).await?))
}
