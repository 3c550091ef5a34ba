//! `POST /api/v1/internal/logs/{incarnation}/{number}`: a batch of lines from a worker, one JSON object a line. A batch
//! that was taken before is answered alike and not kept again. `vector=true`: a Vector gets the same lines.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::wanted::failed;
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::api::{Api, body};
use crate::logs::{Batch, Line};

/// A batch has 1 MiB, and one line more.
const MOST_BYTES: usize = 2 * 1024 * 1024;

pub async fn take(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let to_vector = Params::read(&request, &["vector"])?.flag("vector")?;
    let (incarnation, number) = path.into_inner();
    let incarnation: Uuid = incarnation
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", "the incarnation is no UUID"))?;
    let number: u64 = number
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", "the number of the batch is none"))?;
    let bytes = body::gather(&request, payload, MOST_BYTES, api.parts.options.body_timeout).await?;
    let bytes = bytes.ok_or_else(|| {
        let detail = format!("a batch of lines has at most {MOST_BYTES} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
    })?;
    let lines = serde_json::Deserializer::from_slice(&bytes)
        .into_iter::<Line>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "INVALID_LINES", error.to_string()))?;
    let taken = lines.len() as u64;
    let batch = Batch {
        incarnation,
        number,
        lines,
        to_vector,
    };
    api.parts.logs.add(batch).await.map_err(failed)?;
    metrics::counter!("grid_log_lines_taken_total").increment(taken);
    Ok(HttpResponse::NoContent().finish())
}
