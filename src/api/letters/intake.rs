//! `POST /api/v1/internal/dead-letters`: records that failed, from a worker, one JSON object a line. What was taken before
//! is answered alike and not kept again.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::api::{Api, body};
use crate::domain::Timestamp;
use crate::letters::{MOST_RECORD_BYTES, Told};

/// A batch has 1 MiB, and one letter more.
const MOST_BYTES: usize = 2 * 1024 * 1024;
const MOST_TEXT_BYTES: usize = 16 * 1024;

pub async fn take(api: web::Data<Api>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let bytes = body::gather(&request, payload, MOST_BYTES, api.parts.options.body_timeout).await?;
    let bytes = bytes.ok_or_else(|| {
        let detail = format!("a batch of dead letters has at most {MOST_BYTES} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
    })?;
    let told = serde_json::Deserializer::from_slice(&bytes)
        .into_iter::<Told>()
        .map(|told| told.map_err(|error| error.to_string()).and_then(checked))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| Problem::new(StatusCode::BAD_REQUEST, "INVALID_LETTERS", why))?;
    let taken = told.iter().filter(|told| told.letter.is_some()).count() as u64;
    let added = api.letters.add(told).await;
    added.map_err(|error| Problem::database(&error))?;
    metrics::counter!("grid_dead_letters_taken_total").increment(taken);
    Ok(HttpResponse::NoContent().finish())
}

/// What others are shown must be what it says.
fn checked(told: Told) -> Result<Told, String> {
    let most = i32::MAX.unsigned_abs();
    let is_counted = told.after <= told.number && i64::try_from(told.number).is_ok();
    if told.attempt > most || told.task_id.number > most || !is_counted {
        return Err("attempt, after and number contradict each other".to_owned());
    }
    let Some(letter) = &told.letter else { return Ok(told) };
    if letter.record.len() > MOST_RECORD_BYTES || letter.node.len() + letter.error.len() > MOST_TEXT_BYTES {
        return Err(format!("a record has at most {MOST_RECORD_BYTES} bytes"));
    }
    if !(0..=Timestamp::MAX.as_ms()).contains(&letter.at.as_ms()) {
        return Err("the time of a letter is not from 1970 to 9999".to_owned());
    }
    let record = serde_json::from_str::<serde::de::IgnoredAny>(&letter.record);
    record.map_err(|error| format!("a record is no JSON: {error}"))?;
    // One a line.
    if letter.record.contains(['\n', '\r']) || letter.record.starts_with([' ', '\t']) {
        return Err("a record has blanks around its values".to_owned());
    }
    Ok(told)
}
