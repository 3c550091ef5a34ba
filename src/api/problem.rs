//! Problem documents (RFC 9457): the one form in which the API says that something is wrong.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::document::{DocumentError, ErrorCode};
use crate::domain::{IdError, JobId, Refusal, RefusalCode};

/// One mistake in what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mistake {
    /// RFC 6901, in the body; absent when the mistake is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What is wrong, for programs (`code`) and for people (`detail`).
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub detail: String,
    pub errors: Vec<Mistake>,
    /// The job that the unknown outcome is of.
    pub job: Option<JobId>,
    pub retry_after_seconds: Option<u32>,
    /// What the resource can do.
    pub allow: Option<String>,
    pub challenge: bool,
}

/// What is wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub struct ProblemView<'a> {
    /// urn:grid:problem: and the code in lower case.
    r#type: String,
    /// Of the status.
    title: &'a str,
    status: u16,
    /// For people.
    detail: &'a str,
    /// For programs: stable.
    code: &'a str,
    /// Each mistake in what was sent.
    errors: &'a [Mistake],
    /// The job whose command has an outcome that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
}

impl Problem {
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            job: None,
            retry_after_seconds: None,
            allow: None,
            challenge: false,
        }
    }

    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{what} does not exist"))
    }

    pub fn gone(what: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::GONE,
            "GONE",
            format!("the history of {what} has been archived"),
        )
    }

    pub fn bad_parameter(name: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_PARAMETER",
            format!("{name}: {message}"),
        );
        problem.errors.push(Mistake {
            parameter: Some(name.to_owned()),
            message,
            ..Mistake::default()
        });
        problem
    }

    pub fn method_not_allowed(method: &Method, allow: &str) -> Self {
        let detail = format!("{method} is not possible here; allowed: {allow}");
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail);
        problem.allow = Some(allow.to_owned());
        problem
    }

    /// A credential is missing or wrong.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", detail);
        problem.challenge = true;
        problem
    }

    pub fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "OVERLOADED", detail).retry_after(1)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", detail).retry_after(1)
    }

    /// An error that is nobody's but ours: told to the log whole, to the client without its inside.
    pub fn internal(what: &'static str, error: &dyn fmt::Display) -> Self {
        tracing::error!(what, error = %error, "api.internal_error");
        metrics::counter!("grid_api_internal_errors_total", "what" => what).increment(1);
        let detail = "something went wrong inside; the server's log says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }

    pub fn database(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error = %error, "api.database_error");
        metrics::counter!("grid_api_database_errors_total").increment(1);
        if crate::log::has_no_room(error) {
            return Self::unavailable(crate::log::NO_ROOM);
        }
        Self::unavailable("the database does not answer; try again")
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn of_job(mut self, job: JobId) -> Self {
        self.job = Some(job);
        self
    }

    /// What is wrong with a document. The code is that of its mistakes when they are all of one kind.
    pub fn document(mistakes: Vec<DocumentError>) -> Self {
        let kinds = |kind| mistakes.iter().any(|mistake| mistake.code == kind);
        let (status, code): (_, Cow<'static, str>) = if kinds(ErrorCode::Syntax) {
            (StatusCode::BAD_REQUEST, "SYNTAX".into())
        } else if kinds(ErrorCode::TooLarge) {
            (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE".into())
        } else {
            let first = mistakes.first().map(|mistake| mistake.code);
            let alike = mistakes.iter().all(|mistake| Some(mistake.code) == first);
            let code = first.filter(|_| alike).map(|code| code.to_string().to_uppercase());
            (
                StatusCode::BAD_REQUEST,
                code.map_or("INVALID_DOCUMENT".into(), Cow::Owned),
            )
        };
        let detail = match mistakes.as_slice() {
            [one] => one.to_string(),
            many => format!("the document has {} mistakes; nothing was submitted", many.len()),
        };
        let mut problem = Self::new(status, code, detail);
        problem.errors = mistakes.into_iter().map(mistake).collect();
        problem
    }
}

fn mistake(error: DocumentError) -> Mistake {
    Mistake {
        pointer: Some(error.pointer),
        line: Some(error.line),
        column: Some(error.column),
        parameter: None,
        message: error.message,
        code: Some(error.code.to_string().to_uppercase()),
    }
}

impl Problem {
    fn view(&self) -> ProblemView<'_> {
        ProblemView {
            r#type: format!("urn:grid:problem:{}", self.code.to_lowercase().replace('_', "-")),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            errors: &self.errors,
            job_id: self.job,
        }
    }

    /// As a text, for a stream that has begun: it is too late for a status.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.view()).unwrap_or_default()
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ID", error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.code {
            RefusalCode::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            RefusalCode::IdTaken => (StatusCode::CONFLICT, "ID_TAKEN"),
            RefusalCode::IdOutOfRange => (StatusCode::BAD_REQUEST, "ID_OUT_OF_RANGE"),
            RefusalCode::Gone => (StatusCode::GONE, "GONE"),
            RefusalCode::NothingFailed => (StatusCode::CONFLICT, "NOTHING_FAILED"),
            RefusalCode::BeingEnded => (StatusCode::CONFLICT, "BEING_ENDED"),
            RefusalCode::NoRetryPending => (StatusCode::CONFLICT, "NO_RETRY_PENDING"),
            RefusalCode::Superseded => (StatusCode::CONFLICT, "SUPERSEDED"),
            RefusalCode::WorkerLeft => (StatusCode::CONFLICT, "WORKER_LEFT"),
            RefusalCode::Expired => (StatusCode::GATEWAY_TIMEOUT, "EXPIRED"),
            RefusalCode::Quarantined => (StatusCode::INTERNAL_SERVER_ERROR, "QUARANTINED"),
            RefusalCode::UpgradeUnfinished => (StatusCode::CONFLICT, "UPGRADE_UNFINISHED"),
        };
        Self::new(status, code, refusal.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response: HttpResponseBuilder = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.content_type("application/problem+json").json(self.view())
    }
}
