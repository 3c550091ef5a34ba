//! `/graphql` over HTTP, to <https://graphql.github.io/graphql-over-http/draft/>.
//!
//! Must stay true: no mutation by GET, and none by what a page of somebody else's can send without being asked (a form,
//! plain text); nothing is read beyond the limit.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::OperationType;
use async_graphql::{Response, ServerError};
use serde::Serialize;
use serde_json::Value;

use super::GraphqlState;
use super::fault::{is_refusal, name_errors, refused};
use super::limits::name_complexity;
use super::page;
use super::request::{Received, from_query_string};
use crate::api::body::gather;
use crate::api::problem::Problem;
use crate::api::{Api, Role};

/// The forms in which an answer can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`: 200 for whatever is an answer of GraphQL.
    Json,
    /// `application/graphql-response+json`: the status tells whether something was executed.
    Response,
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Response => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// What the client would rather have; `None`: nothing that there is.
    pub fn negotiate(request: &HttpRequest) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        let mut any = false;
        for value in request.headers().get_all(header::ACCEPT) {
            let text = value.to_str().unwrap_or_default();
            for part in text.split(',') {
                any = true;
                let mut parts = part.split(';').map(str::trim);
                let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                    "application/graphql-response+json" => Self::Response,
                    "application/json" | "application/*" | "*/*" => Self::Json,
                    _ => continue,
                };
                let quality = parts
                    .find_map(|it| it.strip_prefix("q="))
                    .and_then(|it| it.parse().ok());
                let quality: f32 = quality.unwrap_or(1.0);
                if quality > 0.0 && best.is_none_or(|(known, _)| quality > known) {
                    best = Some((quality, form));
                }
            }
        }
        if any {
            best.map(|(_, form)| form)
        } else {
            Some(Self::Json)
        }
    }
}

/// An answer as it is written: without `data` when nothing was executed.
#[derive(Serialize)]
pub struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
    #[serde(skip_serializing_if = "<[ServerError]>::is_empty")]
    errors: &'a [ServerError],
}

impl<'a> Written<'a> {
    pub fn of(response: &'a Response) -> Self {
        Self {
            data: (!is_refusal(response)).then_some(&response.data),
            errors: &response.errors,
        }
    }
}

fn write(form: Form, status: StatusCode, response: &Response) -> HttpResponse {
    HttpResponse::build(status)
        .content_type(form.content_type())
        .insert_header((header::VARY, "Accept"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .json(Written::of(response))
}

/// An answer to what is no request.
fn malformed(form: Form, problem: Problem) -> HttpResponse {
    let (status, allow, challenge) = (problem.status, problem.allow.clone(), problem.challenge);
    let mut response = write(form, status, &refused(problem));
    if let Some(allow) = allow.and_then(|allow| allow.parse().ok()) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    if challenge {
        let bearer = header::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

/// `GET` and `POST /graphql`.
pub async fn handle(
    state: web::Data<GraphqlState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if super::socket::is_upgrade(&request) {
        return super::socket::handle(&state, &request, payload);
    }
    if page::is_wanted(&request) {
        return Ok(page::show());
    }
    let Some(form) = Form::negotiate(&request) else {
        let detail = "answers are application/graphql-response+json or application/json";
        let problem = Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail);
        return Ok(malformed(Form::Json, problem));
    };
    if let Err(problem) = Api::caller(&request).may(Role::Viewer) {
        return Ok(malformed(form, problem));
    }
    let received = match receive(&state, &request, payload).await {
        Ok(received) => received,
        Err(problem) => return Ok(malformed(form, problem)),
    };
    Ok(answer(&state, &request, received, form).await)
}

async fn answer(state: &GraphqlState, request: &HttpRequest, received: Received, form: Form) -> HttpResponse {
    let mut response = match received.prepare(&state.options, Api::caller(request)) {
        Err(error) => Response::from_errors(vec![*error]),
        Ok(prepared) => match prepared.kind {
            OperationType::Mutation if *request.method() != Method::POST => {
                let detail = "a mutation is sent by POST";
                let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail);
                problem.allow = Some("POST".to_owned());
                return malformed(form, problem);
            }
            OperationType::Subscription => {
                let detail = "subscribe over a WebSocket to /graphql, or by POST to /graphql/stream";
                refused(Problem::new(StatusCode::BAD_REQUEST, "SUBSCRIPTION_ELSEWHERE", detail))
            }
            OperationType::Query | OperationType::Mutation => state.schema.execute(prepared.request).await,
        },
    };
    name_complexity(&state.options, &mut response);
    name_errors(&mut response);
    let status = match form {
        Form::Response if is_refusal(&response) => StatusCode::BAD_REQUEST,
        Form::Json | Form::Response => StatusCode::OK,
    };
    write(form, status, &response)
}

/// Reads the parameters of a request.
///
/// # Errors
/// 400, 405, 408, 413 or 415.
pub async fn receive(state: &GraphqlState, request: &HttpRequest, payload: web::Payload) -> Result<Received, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
                .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", error.to_string()))?;
            from_query_string(pairs.into_inner())
        }
        Method::POST => {
            check_content_type(request)?;
            let most = state.options.request_bytes as usize;
            let body = gather(request, payload, most, state.body_timeout).await?;
            let bytes = body.ok_or_else(|| {
                let detail = format!("a request has at most {most} bytes (graphql.request_bytes)");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
            })?;
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "SYNTAX",
                    format!("the body is no JSON: {error}"),
                )
            })?;
            Received::read(value)
        }
        _ => Err(Problem::method_not_allowed(request.method(), "GET, HEAD, POST")),
    }
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let unsupported =
        |detail: String| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail);
    if request
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|it| it.as_bytes() != b"identity")
    {
        return Err(unsupported(
            "send the body as it is: no Content-Encoding is known here".to_owned(),
        ));
    }
    let value = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes());
    let text = String::from_utf8_lossy(value.unwrap_or_default()).to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if media != "application/json" {
        return Err(unsupported(format!(
            "expected Content-Type application/json, found {media:?}"
        )));
    }
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    match charset.map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8") => Ok(()),
        Some(other) => Err(unsupported(format!("a request is UTF-8, not {other:?}"))),
    }
}
