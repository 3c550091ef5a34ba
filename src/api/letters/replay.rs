//! `POST /api/v1/jobs/{id}/dead-letters/replay`: a new job, whose pipelines begin at the nodes at which records failed, with
//! exactly those records. Its document is that of the job, or a mended one.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Sought;
use crate::api::auth::Caller;
use crate::api::body::{self, Body};
use crate::api::idempotency::{CarriedOut, IdempotencyKey};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::api::view::{At, JobView};
use crate::api::{Api, submit};
use crate::document::{self, FailedAt, ReplayError};
use crate::domain::JobId;
use crate::letters::OfNode;
use crate::projection::Plan;

const PARAMS: [&str; 2] = ["task", "node"];

/// The job that replays, and what it does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayView {
    #[serde(flatten)]
    pub job: JobView,
    /// Records that it reads.
    pub replayed: u64,
    /// Letters that were asked for and cannot be replayed: cut ones, and rows of csv files that could not be read.
    pub left_out: u64,
}

/// What a replay is asked for.
pub struct Asked {
    pub job: JobId,
    pub sought: Sought,
    /// Instead of the job's document.
    pub mended: Option<Body>,
}

impl Asked {
    /// What a key stands for: not the document that is made of it, which another time could be another one.
    fn identity(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(self.job.0.as_bytes());
        let task = self.sought.task.map_or(0, |task| task.number);
        hash.update(task.to_be_bytes());
        let node = self.sought.node.as_deref().unwrap_or_default();
        hash.update((node.len() as u64).to_be_bytes());
        hash.update(node);
        hash.update(self.mended.as_ref().map_or(&[][..], |body| &body.bytes));
        hash.finalize().to_vec()
    }
}

impl Api {
    /// Submits the job that replays the letters, once under its key.
    ///
    /// # Errors
    /// 404 and 410 for a job that is not there; 409 when there is nothing to be replayed; 422 when the document lacks what
    /// records failed at; and those of a submission.
    pub async fn replay_letters(
        &self,
        asked: Asked,
        key: Option<IdempotencyKey>,
        caller: &Caller,
    ) -> Result<CarriedOut<ReplayView>, Problem> {
        let (job, identity) = (asked.job, asked.identity());
        let plan = self
            .reading
            .plan(job)
            .await
            .map_err(|error| Problem::database(&error))?;
        let Some(plan) = plan else {
            return Err(self.missing_job(job).await);
        };
        let found = self.letters.by_node(&asked.sought.of(job)?).await;
        let found = found.map_err(|error| Problem::database(&error))?;
        let Some(up_to) = found.iter().map(|of| of.last).max() else {
            let detail = format!("{job} has no such dead letters");
            return Err(Problem::new(StatusCode::CONFLICT, "NOTHING_TO_REPLAY", detail));
        };
        let all: u64 = found.iter().map(|of| of.whole + of.cut).sum();
        let (content_type, bytes) = match asked.mended {
            Some(body) => (body.content_type.to_owned(), body.bytes),
            None => self.document(job).await?,
        };
        let failed = failed_at(&plan, found);
        let made = web::block(move || {
            let document = document::parse(&bytes, Some(&content_type)).map_err(Problem::document)?;
            document::replay(&document, job, up_to, &failed).map_err(refused)
        });
        let made = made
            .await
            .map_err(|error| Problem::internal("make a document", &error))??;
        let body = Body::json(made.document);
        let submitted = self.submit_as(body, key.map(|key| (key, identity)), caller).await?;
        let CarriedOut {
            at: At { object, position },
            done,
        } = submitted;
        let object = ReplayView {
            job: object,
            replayed: made.letters,
            left_out: all.saturating_sub(made.letters),
        };
        Ok(CarriedOut {
            at: At { object, position },
            done,
        })
    }
}

fn refused(error: ReplayError) -> Problem {
    let (status, code) = match error {
        ReplayError::NoGroup(_) | ReplayError::NoNode { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "DOCUMENT_DOES_NOT_FIT")
        }
        ReplayError::Nothing => (StatusCode::CONFLICT, "NOTHING_TO_REPLAY"),
    };
    Problem::new(status, code, error.to_string())
}

/// By group and node: tasks of a group differ in nothing but which records they had.
fn failed_at(plan: &Plan, found: Vec<OfNode>) -> Vec<FailedAt> {
    let mut failed: Vec<FailedAt> = Vec::new();
    for of in found {
        let Some(place) = plan.place(of.task) else { continue };
        let group = &place.group.external_id;
        match failed.iter_mut().find(|at| at.group == *group && at.node == of.node) {
            Some(at) => {
                at.last_task = of.task;
                at.whole += of.whole;
                at.texts += of.texts;
            }
            None => failed.push(FailedAt {
                group: group.clone(),
                node: of.node,
                first_task: of.task,
                last_task: of.task,
                whole: of.whole,
                texts: of.texts,
            }),
        }
    }
    failed
}

pub async fn replay(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PARAMS)?;
    let job: JobId = id.parse()?;
    let sought = Sought::read(&params)?;
    let key = IdempotencyKey::of(&request)?;
    let body = body::read(&request, payload, api.parts.options.body_timeout).await?;
    let asked = Asked {
        job,
        sought,
        mended: (!body.bytes.is_empty()).then_some(body),
    };
    let done = api.replay_letters(asked, key, &Api::caller(&request)).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, submit::location(done.done.job)));
    Ok(done.answer(response))
}
