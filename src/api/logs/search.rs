//! `GET /api/v1/logs/search`: lines that a filter finds, newest first.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::period;
use super::wanted::{FILTERS, REPEATABLE, Wanted, failed};
use crate::api::Api;
use crate::api::page::{ListId, ListKind};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::domain::Timestamp;
use crate::logs::{Key, Line, Order, Search};

const PARAMS: [&str; 4] = ["from", "to", "limit", "cursor"];
pub const MOST_LINES: u32 = 10_000;
pub const DEFAULT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

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

/// Times between which is searched.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Bounds {
    /// What `from` and `to` say; of the last day when they say nothing.
    ///
    /// # Errors
    /// 400 when one is no time, or they are the wrong way round.
    pub fn read(params: &Params, now: Timestamp) -> Result<Self, Problem> {
        Self::between(
            period::time(params, "from", now)?,
            period::time(params, "to", now)?,
            now,
        )
    }

    /// From then to then; of the last day when neither is given.
    ///
    /// # Errors
    /// 400 when they are the wrong way round.
    pub fn between(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Result<Self, Problem> {
        let (from, to) = (from.unwrap_or(now - DEFAULT_AGE), to.unwrap_or(now));
        if from > to {
            return Err(Problem::bad_parameter("from", "it is later than `to`"));
        }
        Ok(Self { from, to })
    }
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
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Found, Problem> {
        let list = ListId::new(ListKind::Logs, &Binding { wanted });
        let start = cursor.map(|text| read_cursor(&list, text)).transpose()?;
        // The pages of one search mean the same `now`.
        let now = start.map_or_else(crate::clock::now, |(_, now)| now);
        let search = Search {
            question: wanted.question(now),
            from_ms: bounds.from.as_ms(),
            to_ms: bounds.to.as_ms(),
            order: Order::NewestFirst,
            beyond: start.map(|(key, _)| key),
            limit,
        };
        let page = self.parts.logs.search(&search).await.map_err(failed)?;
        let last = page.lines.last().filter(|_| page.more);
        Ok(Found {
            next_cursor: last.map(|line| write_cursor(&list, line.key, now)),
            truncated: page.more,
            lines: page.lines.into_iter().map(|stored| stored.line.shown()).collect(),
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
    let params = Params::read_repeating(&request, &[&FILTERS[..], &PARAMS].concat(), &REPEATABLE)?;
    let wanted = Wanted::read(&params)?;
    let bounds = Bounds::read(&params, crate::clock::now())?;
    let limit = params.whole("limit", 100, 1..=MOST_LINES)?;
    let found = api.search_logs(&wanted, bounds, limit, params.get("cursor")).await?;
    Ok(HttpResponse::Ok().json(found))
}
