//! Problems as errors of GraphQL: the same code, status and places as in REST, in `extensions`.

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions, Response, ServerError, Value};

use crate::api::problem::{Mistake, Problem};
use crate::domain::IdError;

/// A problem on its way out of a resolver.
#[derive(Clone, Debug)]
pub struct Fault(pub Problem);

pub type Answer<T> = Result<T, Fault>;

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<IdError> for Fault {
    fn from(error: IdError) -> Self {
        Self(error.into())
    }
}

impl From<Fault> for Error {
    fn from(Fault(problem): Fault) -> Self {
        let error = Self::new(problem.detail.clone());
        error.extend_with(|_, extensions| describe(&problem, extensions))
    }
}

fn describe(problem: &Problem, extensions: &mut ErrorExtensionValues) {
    extensions.set("code", problem.code.as_ref());
    extensions.set("status", i32::from(problem.status.as_u16()));
    if !problem.errors.is_empty() {
        let mistakes = problem.errors.iter().map(place).collect();
        extensions.set("errors", Value::List(mistakes));
    }
    if let Some(job) = problem.job {
        extensions.set("jobId", job.to_string());
    }
    if let Some(seconds) = problem.retry_after_seconds {
        extensions.set("retryAfter", seconds);
    }
}

fn place(mistake: &Mistake) -> Value {
    // A mistake is text and numbers.
    let json = serde_json::to_value(mistake).unwrap_or_default();
    Value::from_json(json).unwrap_or_default()
}

/// A problem that is of no field.
pub fn coded(problem: Problem) -> ServerError {
    Error::from(Fault(problem)).into_server_error(async_graphql::Pos::default())
}

/// As [`coded`], as the whole answer.
pub fn refused(problem: Problem) -> Response {
    let mut error = coded(problem);
    error.locations.clear();
    Response::from_errors(vec![error])
}

/// Whether the request was refused before anything was executed.
pub fn is_refusal(response: &Response) -> bool {
    let nowhere = |error: &ServerError| error.path.is_empty();
    response.data == Value::Null && !response.errors.is_empty() && response.errors.iter().all(nowhere)
}

/// Gives each error a code.
pub fn name_errors(response: &mut Response) {
    let refused = is_refusal(response);
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            // What the executor itself finds wrong is the document or its variables.
            extensions.set("code", if refused { "INVALID_QUERY" } else { "INVALID_PARAMETER" });
            extensions.set("status", 400);
        }
    }
}
