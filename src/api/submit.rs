//! `POST /api/v1/jobs`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Api;
use super::body::{self, Body};
use super::commands::Submission;
use super::params::Params;
use super::problem::Problem;
use super::view::{At, JobView};
use crate::document;
use crate::domain::JobSpec;

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

pub async fn submit(api: web::Data<Api>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["dryRun"])?;
    let dry_run = params.flag("dryRun")?;
    let body = body::read(&request, payload, api.parts.options.body_timeout).await?;
    // Programs are compiled: not on a thread that serves others.
    let checked = web::block(move || check(body))
        .await
        .map_err(|error| Problem::internal("check a document", &error))??;
    let Checked { spec, normalised, body } = checked;
    if dry_run {
        let hash = spec.document_hash;
        return Ok(HttpResponse::Ok().json(json!({"valid": true, "taskCount": spec.task_count, "documentHash": hash})));
    }
    let accepted = spec.clone();
    let submission = Submission {
        spec,
        normalised,
        content_type: body.content_type,
        body: body.bytes,
    };
    let (job, position) = api.commands.submit(submission, &Api::caller(&request)).await?;
    let row = api.reading.job(job).await.unwrap_or_default();
    // Committed is committed, also when the read models are late or do not answer.
    let object = row.map_or_else(|| JobView::accepted(job, &accepted, job.created_at()), JobView::from);
    let location = (header::LOCATION, format!("/api/v1/jobs/{job}"));
    Ok(HttpResponse::Created().insert_header(location).json(At {
        object,
        position: api.token(position),
    }))
}
