//! Bodies of requests: not too long, and in time; that of a submission is of a type that can be a document.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, web};
use futures::StreamExt;

use super::problem::Problem;
use crate::document::{Format, MAX_DOCUMENT_BYTES};

/// A document as it was sent.
pub struct Body {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
}

impl Body {
    /// A document that was made here.
    pub fn json(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            content_type: JSON,
        }
    }

    /// A document that came as a text within something else; without a format the text decides.
    ///
    /// # Errors
    /// 413 for more than the limit.
    pub fn of_text(text: String, is_json: Option<bool>) -> Result<Self, Problem> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(too_large());
        }
        let bytes = text.into_bytes();
        let is_json = is_json.unwrap_or_else(|| matches!(Format::guess(None, &bytes), Format::Json));
        let content_type = if is_json { JSON } else { YAML };
        Ok(Self { bytes, content_type })
    }
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// # Errors
/// 415 for another type, charset or encoding; 413 for more than the limit; 408 when it does not come in time.
pub async fn read(request: &HttpRequest, payload: web::Payload, timeout: Duration) -> Result<Body, Problem> {
    let declared = declared_type(request)?;
    let bytes = gather(request, payload, MAX_DOCUMENT_BYTES, timeout).await?;
    let bytes = bytes.ok_or_else(too_large)?;
    let content_type = declared.unwrap_or_else(|| match Format::guess(None, &bytes) {
        Format::Json => JSON,
        Format::Yaml => YAML,
    });
    Ok(Body { bytes, content_type })
}

/// The whole body; `None` when it has more than `most` bytes.
///
/// # Errors
/// 408 when it does not come in time; 400 when it breaks off.
pub async fn gather(
    request: &HttpRequest,
    payload: web::Payload,
    most: usize,
    timeout: Duration,
) -> Result<Option<Vec<u8>>, Problem> {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Ok(None);
    }
    let late = |_| {
        let detail = format!("the body did not arrive within {timeout:?}");
        Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", detail)
    };
    tokio::time::timeout(timeout, chunks(payload, most))
        .await
        .map_err(late)?
}

async fn chunks(mut payload: web::Payload, most: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(broken)?;
        if bytes.len() + chunk.len() > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// What the gate has cut off, or what broke off by itself.
fn broken(error: PayloadError) -> Problem {
    match error {
        PayloadError::Overflow => {
            let detail = "the body is longer than any may be (api.max_body_bytes)";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
        }
        PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            let detail = "the body did not arrive in time (api.body_timeout)";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", detail)
        }
        error => Problem::new(
            StatusCode::BAD_REQUEST,
            "BROKEN_BODY",
            format!("the body cannot be read: {error}"),
        ),
    }
}

fn too_large() -> Problem {
    let detail = format!("a document has at most {MAX_DOCUMENT_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
}

fn unsupported(detail: String) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail)
}

/// The declared type; `None` when there is none: then the text decides.
fn declared_type(request: &HttpRequest) -> Result<Option<&'static str>, Problem> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && encoding.as_bytes() != b"identity"
    {
        return Err(unsupported(
            "send the document as it is: no Content-Encoding is known here".to_owned(),
        ));
    }
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let declared = match parts.next().unwrap_or_default() {
        "application/json" => JSON,
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => YAML,
        other => {
            return Err(unsupported(format!(
                "expected Content-Type application/json or application/yaml, found {other:?}"
            )));
        }
    };
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    match charset.map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8") => Ok(Some(declared)),
        Some(other) => Err(unsupported(format!("a document is UTF-8, not {other:?}"))),
    }
}
