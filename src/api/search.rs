//! `GET /api/v1/search`: jobs, tasks and workers by the beginning of an id, a name or a label.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::params::Params;
use super::problem::Problem;
use crate::domain::JobId;
use crate::projection::{Hit, Matched};

const PARAMS: [&str; 3] = ["q", "limit", "minPosition"];
/// Of a text that is looked for.
pub(super) const MOST_CHARS: usize = 255;
/// The most of each kind that a search gives.
pub(super) const MOST_HITS: u32 = 100;

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Hit)]
#[serde(rename_all = "camelCase")]
pub struct HitView {
    /// JOB, TASK or WORKER.
    pub kind: &'static str,
    pub id: String,
    /// Of a job or a task.
    pub job_id: Option<JobId>,
    /// What begins so: id, externalId or label.
    pub field: &'static str,
    /// The whole of it; of a label `name=value`.
    pub value: String,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        let (kind, id, job_id, matched) = match hit {
            Hit::Job { id, matched } => ("JOB", id.to_string(), Some(id), matched),
            Hit::Task { id, matched } => ("TASK", id.to_string(), Some(id.job), matched),
            Hit::Worker { name } => ("WORKER", name.to_string(), None, Matched::Id),
        };
        let (field, value) = match matched {
            Matched::Id => ("id", id.clone()),
            Matched::ExternalId(name) => ("externalId", name),
            Matched::Label { name, value } => ("label", format!("{name}={value}")),
        };
        Self {
            kind,
            id,
            job_id,
            field,
            value,
        }
    }
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub struct Found {
    query: String,
    items: Vec<HitView>,
}

impl Api {
    /// What begins with `text`: at most `limit` each of jobs, tasks and workers.
    pub(super) async fn search(&self, text: &str, limit: u32) -> Result<Vec<HitView>, Problem> {
        let wrong = |message: &str| Problem::bad_parameter("q", message);
        if text.is_empty() || text.chars().count() > MOST_CHARS {
            return Err(wrong(&format!("expected 1 to {MOST_CHARS} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong("expected no control characters"));
        }
        let hits = self.reading.search(text, limit).await;
        let hits = hits.map_err(|error| Problem::database(&error))?;
        Ok(hits.into_iter().map(HitView::from).collect())
    }
}

pub async fn search(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PARAMS)?;
    let query = params.get("q").unwrap_or_default().trim().to_owned();
    let limit = params.whole("limit", 20, 1..=MOST_HITS)?;
    api.wait_for_position(&params).await?;
    let items = api.search(&query, limit).await?;
    Ok(HttpResponse::Ok().json(Found { query, items }))
}
