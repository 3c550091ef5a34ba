//! What the process says of itself, and what only workers may ask.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Api;
use super::params::Params;
use super::problem::Problem;
use crate::domain::Timestamp;
use crate::log::Format;

/// What this cluster is.
#[derive(Serialize, ToSchema)]
#[schema(as = Info)]
#[serde(rename_all = "camelCase")]
pub struct InfoView {
    name: &'static str,
    version: &'static str,
    api_version: &'static str,
    /// Of the log: another one begins when it is restored.
    #[schema(value_type = String, format = "uuid")]
    timeline: Uuid,
    shards: u16,
    /// The log's active format: what is written.
    log_format: i32,
    /// The newest one that this process knows. While it is higher, an upgrade waits to be finished
    /// (`grid migrate --finish-upgrade`).
    newest_log_format: i32,
    /// This process, from its start to its end.
    #[schema(value_type = String, format = "uuid")]
    node: Uuid,
    /// What people call it.
    node_name: String,
    /// Where others reach it.
    url: Option<String>,
    /// What its clock says.
    time: Timestamp,
}

/// What a worker has to know of the log before it can begin.
#[derive(Serialize, ToSchema)]
#[schema(as = Setup)]
pub struct SetupView {
    #[schema(value_type = String, format = "uuid")]
    timeline: Uuid,
    shards: u16,
}

/// That the process runs.
#[derive(Serialize, ToSchema)]
#[schema(as = Live)]
pub struct LiveView {
    /// UP.
    status: &'static str,
}

/// Whether the process can serve.
#[derive(Serialize, ToSchema)]
#[schema(as = Ready)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    /// READY or WAITING.
    status: &'static str,
    /// In the words of whoever it waits for.
    waiting_for: Vec<String>,
}

pub async fn info(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(InfoView {
        name: "grid",
        version: env!("CARGO_PKG_VERSION"),
        api_version: "v1",
        timeline: api.parts.timeline,
        shards: api.shards,
        log_format: api.parts.log.format().number(),
        newest_log_format: Format::known().number(),
        node: api.parts.node.0,
        node_name: api.parts.node_name.clone(),
        url: api.parts.server.public_url.clone(),
        time: crate::clock::now(),
    }))
}

/// `GET /api/v1/internal/setup`: what a worker has to know of the log before it can begin.
pub async fn setup(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(SetupView {
        timeline: api.parts.timeline,
        shards: api.shards,
    }))
}

/// The process runs.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(LiveView { status: "UP" })
}

/// It can serve; if not, what it waits for.
pub async fn ready(api: web::Data<Api>) -> HttpResponse {
    let mut waiting_for = (api.parts.waiting_for)();
    if !api.commands.is_listening() {
        waiting_for.push("the bus: answers of shards cannot be read".to_owned());
    }
    if waiting_for.is_empty() {
        return HttpResponse::Ok().json(ReadyView {
            status: "READY",
            waiting_for,
        });
    }
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, "1"))
        .json(ReadyView {
            status: "WAITING",
            waiting_for,
        })
}

pub async fn metrics(api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body((api.parts.metrics)())
}

/// `GET /api/v1/internal/documents/{hash}`: the normalised document, for workers.
pub async fn document(
    api: web::Data<Api>,
    request: HttpRequest,
    hash: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        let detail = "the hash of a document has 64 lower-case hexadecimal digits";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", detail));
    }
    let query =
        sqlx::query_scalar::<_, Vec<u8>>("SELECT normalised FROM documents WHERE hash = $1").bind(hash.as_str());
    let found = query
        .fetch_optional(api.parts.log.pool())
        .await
        .map_err(|error| Problem::database(&error))?;
    let document = found.ok_or_else(|| Problem::not_found(format!("document {hash}")))?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        // What a hash names never changes.
        .insert_header((header::CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .body(document))
}
