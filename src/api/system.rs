//! What the process says of itself, and what only workers may ask.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Api;
use super::params::Params;
use super::problem::Problem;

pub async fn info(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(json!({
        "name": "grid",
        "version": env!("CARGO_PKG_VERSION"),
        "apiVersion": "v1",
        "timeline": api.parts.timeline,
        "shards": api.shards,
        "node": api.parts.node,
        "nodeName": api.parts.node_name,
        "url": api.parts.server.public_url,
        "time": crate::clock::now(),
    })))
}

/// `GET /api/v1/internal/setup`: what a worker has to know of the log before it can begin.
pub async fn setup(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(json!({"timeline": api.parts.timeline, "shards": api.shards})))
}

/// The process runs.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "UP"}))
}

/// It can serve; if not, what it waits for.
pub async fn ready(api: web::Data<Api>) -> HttpResponse {
    let mut waiting_for = (api.parts.waiting_for)();
    if !api.commands.is_listening() {
        waiting_for.push("the bus: answers of shards cannot be read".to_owned());
    }
    if waiting_for.is_empty() {
        return HttpResponse::Ok().json(json!({"status": "READY", "waitingFor": []}));
    }
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, "1"))
        .json(json!({"status": "WAITING", "waitingFor": waiting_for}))
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
