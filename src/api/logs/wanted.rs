//! What is asked of lines, whichever way they are given: the parameters that search, tail and download share.

use actix_web::http::StatusCode;
use serde::Serialize;

use crate::api::params::{Params, fit_for_filter, without_nul};
use crate::api::problem::Problem;
use crate::domain::{JobId, TaskId, Timestamp, WorkerName};
use crate::logs::logsql::QueryError;
use crate::logs::{Question, StoreError, capture};

/// The parameters of every call for lines.
pub const FILTERS: [&str; 5] = ["query", "job_id", "task_id", "worker_id", "level"];
/// Of those, the ones that may be given several times.
pub const REPEATABLE: [&str; 4] = ["job_id", "task_id", "worker_id", "level"];

/// What is asked of lines, as a client wrote it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wanted {
    /// LogsQL.
    query: Option<String>,
    job_ids: Vec<String>,
    task_ids: Vec<String>,
    pub(super) worker_ids: Vec<String>,
    /// In capitals.
    levels: Vec<String>,
}

impl Wanted {
    /// `values`: those of each of [`REPEATABLE`], in that order; none: any.
    ///
    /// # Errors
    /// 400 for a level that no line has, for more values than a filter takes, and for what is no text to look for.
    pub fn new(query: Option<String>, values: [Vec<String>; REPEATABLE.len()]) -> Result<Self, Problem> {
        if let Some(Err(error)) = query.as_deref().map(without_nul) {
            return Err(Problem::bad_parameter("query", error));
        }
        for (name, values) in REPEATABLE.into_iter().zip(&values) {
            fit_for_filter(name, values)?;
        }
        let [job_ids, task_ids, worker_ids, levels] = values;
        Ok(Self {
            query,
            job_ids,
            task_ids,
            worker_ids,
            levels: levels.iter().map(|word| level(word)).collect::<Result<_, _>>()?,
        })
    }

    pub fn read(params: &Params) -> Result<Self, Problem> {
        let [jobs, tasks, workers, levels] = REPEATABLE.map(|name| params.all(name));
        Self::new(
            params.get("query").map(str::to_owned),
            [jobs?, tasks?, workers?, levels?],
        )
    }

    /// All of it, as it is asked now.
    pub fn question(&self, now: Timestamp) -> Question {
        // Ids are texts here: one that is none of ours finds nothing.
        let job = |id: &str| id.parse::<JobId>().ok().map(|id| id.to_string());
        let task = |id: &str| id.parse::<TaskId>().ok().map(|id| id.to_string());
        let worker = |id: &str| id.parse::<WorkerName>().ok().map(|id| id.to_string());
        let mut named = vec![
            ("job_id".to_owned(), whole(&self.job_ids, job)),
            ("task_id".to_owned(), whole(&self.task_ids, task)),
            ("worker_id".to_owned(), whole(&self.worker_ids, worker)),
            ("level".to_owned(), self.levels.clone()),
        ];
        named.retain(|(_, values)| !values.is_empty());
        Question {
            query: self.query.clone(),
            named,
            now,
        }
    }
}

/// The level that a word names: `warning` is WARN. No line has another.
fn level(word: &str) -> Result<String, Problem> {
    let named = capture::level_named(word).map(str::to_owned);
    named.ok_or_else(|| {
        let expected = "expected one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL";
        Problem::bad_parameter("level", format!("{expected}, found {word:?}"))
    })
}

/// Ids in full.
fn whole(ids: &[String], full: impl Fn(&str) -> Option<String>) -> Vec<String> {
    ids.iter().map(|id| full(id).unwrap_or_else(|| id.clone())).collect()
}

/// 400 for a query.
fn refused(error: QueryError) -> Problem {
    let code = match error {
        QueryError::Syntax { .. } => "INVALID_QUERY",
        QueryError::Unsupported(_) => "UNSUPPORTED_QUERY",
        QueryError::Pipes => "QUERY_HAS_PIPES",
    };
    bad_query(code, error.to_string())
}

fn bad_query(code: &'static str, why: String) -> Problem {
    let mut problem = Problem::bad_parameter("query", why);
    problem.code = code.into();
    problem
}

/// What a store says, as a problem.
pub fn failed(error: StoreError) -> Problem {
    match error {
        StoreError::Query(error) => refused(error),
        StoreError::Invalid(why) => bad_query("INVALID_QUERY", why),
        StoreError::Refused(why) => refused(QueryError::Unsupported(why)),
        StoreError::TooLong(_) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(status, "SEARCH_TOO_LONG", error.to_string())
        }
        StoreError::Unavailable(_) | StoreError::CannotErase(_) => {
            tracing::warn!(%error, "api.logs.unavailable");
            Problem::unavailable("the store of lines does not answer; try again")
        }
    }
}
