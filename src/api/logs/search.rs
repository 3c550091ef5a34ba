//! `GET /api/v1/logs/search`: lines that a filter finds, newest first.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::period;
use crate::api::Api;
use crate::api::page::{ListId, ListKind};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::domain::{JobId, TaskId, Timestamp, WorkerName};
use crate::logs::logsql::{self, Filter, QueryError};
use crate::logs::{Key, Line, Search, StoreError};

const PARAMS: [&str; 9] = [
    "query",
    "job_id",
    "task_id",
    "worker_id",
    "level",
    "from",
    "to",
    "limit",
    "cursor",
];
const REPEATABLE: [&str; 4] = ["job_id", "task_id", "worker_id", "level"];
pub const MOST_LINES: u32 = 10_000;
const DEFAULT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is asked of lines, as a client wrote it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wanted {
    /// LogsQL.
    pub query: Option<String>,
    pub job_ids: Vec<String>,
    pub task_ids: Vec<String>,
    pub worker_ids: Vec<String>,
    pub levels: Vec<String>,
}

/// Lines that were found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundLogs)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    pub lines: Vec<Line>,
    /// Goes on behind the last line; null when there are no more.
    pub next_cursor: Option<String>,
    /// There are more.
    pub truncated: bool,
}

impl Wanted {
    pub fn read(params: &Params) -> Result<Self, Problem> {
        let levels: Vec<String> = params.all("level")?;
        Ok(Self {
            query: params.get("query").map(str::to_owned),
            job_ids: params.all("job_id")?,
            task_ids: params.all("task_id")?,
            worker_ids: params.all("worker_id")?,
            levels: levels.into_iter().map(|level| level.to_uppercase()).collect(),
        })
    }

    /// All of it as one filter.
    ///
    /// # Errors
    /// 400 when the query cannot be read or answered.
    pub fn filter(&self, now: Timestamp) -> Result<Filter, Problem> {
        let query = match &self.query {
            Some(query) => logsql::parse(query, now).map_err(refused)?,
            None => Filter::All,
        };
        let named = |field, ids: &[String], whole: fn(&str) -> Option<String>| {
            let whole = |id: &String| whole(id).unwrap_or_else(|| id.clone());
            Filter::one_of(field, ids.iter().map(whole).collect())
        };
        // Ids are texts here: one that is none of ours finds nothing.
        let job = |id: &str| id.parse::<JobId>().ok().map(|id| id.to_string());
        let task = |id: &str| id.parse::<TaskId>().ok().map(|id| id.to_string());
        let worker = |id: &str| id.parse::<WorkerName>().ok().map(|id| id.to_string());
        Ok(named("job_id", &self.job_ids, job)
            .and(named("task_id", &self.task_ids, task))
            .and(named("worker_id", &self.worker_ids, worker))
            .and(Filter::one_of("level", self.levels.clone()))
            .and(query))
    }
}

/// 400 for a query.
fn refused(error: QueryError) -> Problem {
    let code = match error {
        QueryError::Syntax { .. } => "INVALID_QUERY",
        QueryError::Unsupported(_) => "UNSUPPORTED_QUERY",
        QueryError::Pipes => "QUERY_HAS_PIPES",
    };
    let mut problem = Problem::bad_parameter("query", error.to_string());
    problem.code = code.into();
    problem
}

/// What a store says, as a problem.
pub fn failed(error: StoreError) -> Problem {
    match error {
        StoreError::Query(error) => refused(error),
        StoreError::Refused(why) => refused(QueryError::Unsupported(why)),
        StoreError::TooLong(_) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(status, "SEARCH_TOO_LONG", error.to_string())
        }
        StoreError::Unavailable(_) => {
            tracing::warn!(%error, "api.logs.unavailable");
            Problem::unavailable("the store of lines does not answer; try again")
        }
    }
}

/// Times between which is searched, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub from: Timestamp,
    pub to: Timestamp,
    pub limit: u32,
}

#[derive(Serialize)]
struct Binding<'a> {
    wanted: &'a Wanted,
}

impl Api {
    /// Lines that are wanted, newest first, from a cursor on.
    ///
    /// # Errors
    /// 400 for a query or cursor that is none; 422 when it takes too long; 503 when the store does not answer.
    pub(in crate::api) async fn search_logs(
        &self,
        wanted: &Wanted,
        bounds: Bounds,
        cursor: Option<&str>,
    ) -> Result<Found, Problem> {
        let list = ListId::new(ListKind::Logs, &Binding { wanted });
        let start = cursor.map(|text| read_cursor(&list, text)).transpose()?;
        // The pages of one search mean the same `now`.
        let now = start.map_or_else(crate::clock::now, |(_, now)| now);
        let search = Search {
            filter: wanted.filter(now)?,
            from_ms: bounds.from.as_ms(),
            to_ms: bounds.to.as_ms(),
            before: start.map(|(key, _)| key),
            limit: bounds.limit,
        };
        let page = self.parts.logs.search(&search).await.map_err(failed)?;
        let last = page.lines.last().filter(|_| page.more);
        Ok(Found {
            next_cursor: last.map(|line| write_cursor(&list, line.key, now)),
            truncated: page.more,
            lines: page.lines.into_iter().map(|stored| stored.line).collect(),
        })
    }
}

fn write_cursor(list: &ListId, key: Key, now: Timestamp) -> String {
    let parts = [key.at_ms, key.id, now.as_ms()];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
    list.cursor(0, &bytes)
}

fn read_cursor(list: &ListId, text: &str) -> Result<(Key, Timestamp), Problem> {
    let (_, bytes) = list.read_cursor(text)?;
    let (parts, rest) = bytes.as_chunks::<8>();
    let (&[at_ms, id, now_ms], []) = (parts, rest) else {
        return Err(crate::api::page::PageQuery::bad_cursor());
    };
    let key = Key {
        at_ms: i64::from_be_bytes(at_ms),
        id: i64::from_be_bytes(id),
    };
    Ok((key, Timestamp::from_ms(i64::from_be_bytes(now_ms))))
}

pub async fn search(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &PARAMS, &REPEATABLE)?;
    let now = crate::clock::now();
    let wanted = Wanted::read(&params)?;
    let to = period::time(&params, "to", now)?.unwrap_or(now);
    let from = period::time(&params, "from", now)?.unwrap_or(now - DEFAULT_AGE);
    if from > to {
        return Err(Problem::bad_parameter("from", "it is later than `to`"));
    }
    let limit = params.whole("limit", 100, 1..=MOST_LINES)?;
    let bounds = Bounds { from, to, limit };
    let found = api.search_logs(&wanted, bounds, params.get("cursor")).await?;
    Ok(HttpResponse::Ok().json(found))
}
