//! `POST /api/v1/jobs`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::{self, Body};
use super::commands::Submission;
use super::idempotency::{CarriedOut, IdempotencyKey};
use super::params::Params;
use super::problem::Problem;
use super::view::JobView;
use crate::document;
use crate::domain::{JobId, JobSpec};

/// What a dry run answers.
#[derive(Serialize, ToSchema)]
#[schema(as = DryRun)]
#[serde(rename_all = "camelCase")]
pub struct DryRunView {
    valid: bool,
    /// How many tasks the job would have.
    task_count: u32,
    /// SHA-256 of the document with its defaults filled in, in hexadecimal digits.
    document_hash: String,
}

struct Checked {
    spec: JobSpec,
    normalised: Vec<u8>,
    body: Body,
}

fn check(body: Body) -> Result<Checked, Problem> {
    let job = document::parse(&body.bytes, Some(body.content_type)).map_err(Problem::document)?;
    let normalised = document::normalise(&job);
    let spec = document::to_spec(&job, &normalised.hash);
    Ok(Checked {
        spec,
        normalised: normalised.bytes,
        body,
    })
}

impl Api {
    /// Submits a document, once under its key; gives the job as it is then.
    pub(super) async fn submit(
        &self,
        body: Body,
        key: Option<IdempotencyKey>,
        caller: &Caller,
    ) -> Result<CarriedOut<JobView>, Problem> {
        let key = key.map(|key| (key, body.bytes.clone()));
        self.submit_as(body, key, caller).await
    }

    /// As [`Api::submit`], under a key that stands for something else than the document.
    pub(super) async fn submit_as(
        &self,
        body: Body,
        key: Option<(IdempotencyKey, Vec<u8>)>,
        caller: &Caller,
    ) -> Result<CarriedOut<JobView>, Problem> {
        let Checked { spec, normalised, body } = self.check_document(body).await?;
        let accepted = spec.clone();
        let submission = Submission {
            spec,
            normalised,
            content_type: body.content_type,
            body: body.bytes,
        };
        let done = self.commands.submit_once(submission, key, caller).await?;
        let job = done.job;
        let row = self.reading.job(job).await.unwrap_or_default();
        // Committed is committed, also when the read models are late or do not answer.
        let object = row.map_or_else(|| JobView::accepted(job, &accepted, job.created_at()), JobView::from);
        Ok(self.carried_out(done, object))
    }

    /// Looks for mistakes only.
    pub(super) async fn dry_run(&self, body: Body) -> Result<JobSpec, Problem> {
        Ok(self.check_document(body).await?.spec)
    }

    /// Programs are compiled: not on a thread that serves others.
    async fn check_document(&self, body: Body) -> Result<Checked, Problem> {
        web::block(move || check(body))
            .await
            .map_err(|error| Problem::internal("check a document", &error))?
    }
}

/// Where a job is found.
pub(super) fn location(job: JobId) -> String {
    format!("/api/v1/jobs/{job}")
}

pub async fn submit(api: web::Data<Api>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["dryRun"])?;
    let dry_run = params.flag("dryRun")?;
    let key = IdempotencyKey::of(&request)?;
    let body = body::read(&request, payload, api.parts.options.body_timeout).await?;
    if dry_run {
        let spec = api.dry_run(body).await?;
        return Ok(HttpResponse::Ok().json(DryRunView {
            valid: true,
            task_count: spec.task_count,
            document_hash: spec.document_hash,
        }));
    }
    let submitted = api.submit(body, key, &Api::caller(&request)).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location(submitted.done.job)));
    Ok(submitted.answer(response))
}
