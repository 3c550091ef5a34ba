//! `GET /api/v1/logs/tail`: lines as they are taken in, as events of the server.
//!
//! Must stay true: who goes on after the id of an event gets every later line once, whichever server answers; for a reader
//! the lines of one look are held, so that a slow one is only further behind.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::search::DEFAULT_AGE;
use super::wanted::{FILTERS, REPEATABLE, Wanted, failed};
use crate::api::Api;
use crate::api::graphql::GraphqlState;
use crate::api::page::{ListId, ListKind};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::logs::{Key, Line, Order, Search};

/// Lines of one look: at most some 5 MB.
const LOOK_LINES: u32 = 100;
/// How long a client is asked to wait before it comes again.
const COME_AGAIN: Duration = Duration::from_secs(1);
const PARAMS: [&str; 2] = ["after", "lines"];
/// Earlier lines that may be asked for.
pub const MOST_EARLIER: u32 = 1_000;

/// A line, and the token after it.
pub struct Followed {
    pub line: Line,
    pub after: String,
}

/// Somebody who follows lines.
pub struct LogTail {
    api: Arc<Api>,
    wanted: Wanted,
    place: Key,
}

impl LogTail {
    /// From the token `after` on; without one from now on, with up to `earlier` lines that are there already, the oldest
    /// first.
    ///
    /// # Errors
    /// 400 for a query or token that is none; 422 when finding earlier lines takes too long; 503 when the store does not
    /// answer.
    pub async fn begin(
        api: Arc<Api>,
        wanted: Wanted,
        after: Option<&str>,
        earlier: u32,
    ) -> Result<(Self, Vec<Line>), Problem> {
        let question = wanted.question(crate::clock::now());
        api.parts.logs.check(&question).await.map_err(failed)?;
        if let Some(token) = after {
            let place = read_token(token)?;
            return Ok((Self { api, wanted, place }, Vec::new()));
        }
        let place = api.parts.logs.head().await.map_err(failed)?;
        let mut lines: Vec<Line> = Vec::new();
        if earlier > 0 {
            let search = Search {
                question,
                from_ms: (crate::clock::now() - DEFAULT_AGE).as_ms(),
                to_ms: i64::MAX,
                order: Order::NewestFirst,
                beyond: None,
                limit: earlier,
            };
            let found = api.parts.logs.search(&search).await.map_err(failed)?.lines;
            // What was taken in since comes by following.
            let found = found.into_iter().filter(|stored| stored.key.id <= place.id);
            lines = found.rev().map(|stored| stored.line).collect();
        }
        Ok((Self { api, wanted, place }, lines))
    }

    /// The token after everything that was given.
    pub fn token(&self) -> String {
        token(self.place)
    }

    /// The next lines; none when none came for a while.
    ///
    /// # Errors
    /// 422 when looking takes too long; 503 when the store does not answer.
    pub async fn next(&mut self) -> Result<Vec<Followed>, Problem> {
        let deadline = Instant::now() + self.api.token_interval();
        loop {
            // `now` in the query is the time of each look.
            let question = self.wanted.question(crate::clock::now());
            let logs = &self.api.parts.logs;
            let (page, place) = logs.after(&question, self.place, LOOK_LINES).await.map_err(failed)?;
            self.place = place;
            if !page.lines.is_empty() {
                let mut followed: Vec<Followed> = page
                    .lines
                    .into_iter()
                    .map(|stored| Followed {
                        after: token(stored.key),
                        line: stored.line,
                    })
                    .collect();
                if let Some(last) = followed.last_mut() {
                    // Over those that were left out.
                    last.after = token(place);
                }
                return Ok(followed);
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            if !page.more {
                logs.changed(self.place).await;
            }
        }
    }
}

/// A place is one of all lines, whatever is asked of them.
fn places() -> ListId {
    ListId::new(ListKind::Logs, &"places")
}

fn token(place: Key) -> String {
    let bytes: Vec<u8> = [place.at_ms, place.id]
        .iter()
        .flat_map(|part| part.to_be_bytes())
        .collect();
    places().cursor(0, &bytes)
}

fn read_token(text: &str) -> Result<Key, Problem> {
    let bad = || {
        Problem::bad_parameter(
            "after",
            "it is not the id of an event of this stream, nor the `after` of a line",
        )
    };
    let (_, bytes) = places().read_cursor(text).map_err(|_| bad())?;
    let (parts, rest) = bytes.as_chunks::<8>();
    let (&[at_ms, id], []) = (parts, rest) else {
        return Err(bad());
    };
    Ok(Key {
        at_ms: i64::from_be_bytes(at_ms),
        id: i64::from_be_bytes(id),
    })
}

fn event(line: &Line, id: Option<&str>) -> String {
    // JSON has no line breaks.
    let data = serde_json::to_string(line).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}data: {data}\n\n")
}

/// What comes next in a stream.
enum Step {
    /// What was there when it began.
    Begin(Vec<Line>),
    Follow,
    End,
}

struct Events {
    tail: LogTail,
    ending: watch::Receiver<bool>,
    step: Step,
}

impl Events {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let text = match std::mem::replace(&mut self.step, Step::Follow) {
            Step::Begin(lines) => self.beginning(&lines),
            Step::Follow => {
                let lines = tokio::select! {
                    biased;
                    // The client comes again, to another server, and goes on.
                    _ = self.ending.wait_for(|ending| *ending) => return None,
                    lines = self.tail.next() => lines,
                };
                match lines {
                    Ok(lines) if lines.is_empty() => format!("id: {}\n\n", self.tail.token()),
                    Ok(lines) => lines.iter().map(|one| event(&one.line, Some(&one.after))).collect(),
                    Err(problem) => {
                        self.step = Step::End;
                        format!("event: problem\ndata: {}\n\n", problem.json())
                    }
                }
            }
            Step::End => return None,
        };
        Some((Ok(Bytes::from(text)), self))
    }

    /// Only the last of the earlier lines has the token: before it there is nothing to go on from.
    fn beginning(&self, lines: &[Line]) -> String {
        let token = self.tail.token();
        let mut text = format!("retry: {}\n\n", COME_AGAIN.as_millis());
        match lines.split_last() {
            Some((last, rest)) => {
                text.extend(rest.iter().map(|line| event(line, None)));
                text.push_str(&event(last, Some(&token)));
            }
            None => text.push_str(&format!("id: {token}\n\n")),
        }
        text
    }
}

/// `GET /api/v1/logs/tail`
pub async fn tail(
    api: web::Data<Api>,
    graphql: web::Data<GraphqlState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &[&FILTERS[..], &PARAMS].concat(), &REPEATABLE)?;
    let wanted = Wanted::read(&params)?;
    let earlier = params.whole("lines", 0, 0..=MOST_EARLIER)?;
    // What a browser shows when it comes again says more than the address that it came with first.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let after = last.filter(|id| !id.is_empty()).or_else(|| params.get("after"));
    let (tail, lines) = LogTail::begin(api.into_inner(), wanted, after, earlier).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Proxies must not gather what comes now and then.
        .insert_header(("x-accel-buffering", "no"));
    if *request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let events = Events {
        tail,
        ending: graphql.ending(),
        step: Step::Begin(lines),
    };
    Ok(answer.streaming(stream::unfold(events, Events::next)))
}
