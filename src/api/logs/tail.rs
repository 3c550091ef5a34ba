//! `GET /api/v1/logs/tail`: lines as they are taken in, as events of the server.
//!
//! They come from the workers themselves (`workers`), which need no store for it; else from the store: in standalone with
//! the embedded one, which tells at once what it took in.
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
use super::workers::{Given, Place, Workers};
use crate::api::Api;
use crate::api::graphql::GraphqlState;
use crate::api::page::{ListId, ListKind};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::logs::{Key, Line, Order, Question, Search, StoredLine};

/// Lines of one look: at most some 5 MB.
const LOOK_LINES: u32 = 100;
/// How long a client is asked to wait before it comes again.
const COME_AGAIN: Duration = Duration::from_secs(1);
const PARAMS: [&str; 2] = ["after", "lines"];
/// Earlier lines that may be asked for.
pub const MOST_EARLIER: u32 = 1_000;

/// A line, or word of how a worker's lines come; and the token after it.
pub struct Followed {
    pub line: Option<Line>,
    pub notice: Option<String>,
    pub after: String,
}

impl Followed {
    fn line(line: Line, after: String) -> Self {
        Self {
            line: Some(line.shown()),
            notice: None,
            after,
        }
    }

    fn of((given, place): (Given, Place)) -> Self {
        let after = token_of_workers(&place);
        match given {
            Given::Line(line) => Self::line(*line, after),
            Given::Notice(notice) => Self {
                line: None,
                notice: Some(notice),
                after,
            },
        }
    }
}

/// Where lines come from.
enum Following {
    /// From the store alone.
    Store(Key),
    Workers {
        workers: Box<Workers>,
        /// What came while it began.
        ready: Vec<(Given, Place)>,
    },
}

/// Somebody who follows lines.
pub struct LogTail {
    api: Arc<Api>,
    wanted: Wanted,
    following: Following,
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
        let start = after.map(read_token).transpose()?;
        let tailing = Workers::can(&api, &wanted, &question);
        match (start, tailing) {
            (Some(Start::Store(place)), _) => Ok((Self::in_store(api, wanted, place), Vec::new())),
            (Some(Start::Workers(place)), Some(tailing)) => {
                let workers = Workers::begin(Arc::clone(&api), wanted.clone(), tailing, Some(place), false);
                Ok((Self::at_workers(api, wanted, workers, Vec::new()), Vec::new()))
            }
            (Some(Start::Workers(_)), None) => Err(bad_token()),
            (None, Some(tailing)) => {
                let mut workers = Workers::begin(Arc::clone(&api), wanted.clone(), tailing, None, earlier > 0);
                let ready = workers.begun().await;
                let lines = earlier_lines(&api, question, earlier).await?;
                // What is behind the places comes by following.
                let lines = lines.into_iter().map(|stored| stored.line);
                let lines = lines.filter(|line| workers.place_at_begin().holds(line));
                let lines = lines.rev().map(Line::shown).collect();
                Ok((Self::at_workers(api, wanted, workers, ready), lines))
            }
            (None, None) => {
                let place = api.parts.logs.head().await.map_err(failed)?;
                let lines = earlier_lines(&api, question, earlier).await?;
                // What was taken in since comes by following.
                let lines = lines.into_iter().filter(|stored| stored.key.id <= place.id);
                let lines = lines.rev().map(|stored| stored.line.shown()).collect();
                Ok((Self::in_store(api, wanted, place), lines))
            }
        }
    }

    const fn in_store(api: Arc<Api>, wanted: Wanted, place: Key) -> Self {
        Self {
            api,
            wanted,
            following: Following::Store(place),
        }
    }

    fn at_workers(api: Arc<Api>, wanted: Wanted, workers: Workers, ready: Vec<(Given, Place)>) -> Self {
        Self {
            api,
            wanted,
            following: Following::Workers {
                workers: Box::new(workers),
                ready,
            },
        }
    }

    /// The token after everything that was given.
    pub fn token(&self) -> String {
        match &self.following {
            Following::Store(place) => token(*place),
            Following::Workers { workers, ready } if ready.is_empty() => token_of_workers(workers.place()),
            Following::Workers { workers, .. } => token_of_workers(workers.place_at_begin()),
        }
    }

    /// The next lines; none when none came for a while.
    ///
    /// # Errors
    /// 422 when looking takes too long; 503 when the store does not answer.
    pub async fn next(&mut self) -> Result<Vec<Followed>, Problem> {
        let deadline = Instant::now() + self.api.token_interval();
        match &mut self.following {
            Following::Workers { workers, ready } => {
                let mut came = std::mem::take(ready);
                if came.is_empty() {
                    came = workers.next(deadline, LOOK_LINES as usize).await;
                }
                Ok(came.into_iter().map(Followed::of).collect())
            }
            Following::Store(place) => {
                let (lines, next) = look(&self.api, &self.wanted, *place, deadline).await?;
                *place = next;
                Ok(lines)
            }
        }
    }
}

/// The newest lines first.
async fn earlier_lines(api: &Api, question: Question, earlier: u32) -> Result<Vec<StoredLine>, Problem> {
    if earlier == 0 {
        return Ok(Vec::new());
    }
    let search = Search {
        question,
        from_ms: (crate::clock::now() - DEFAULT_AGE).as_ms(),
        to_ms: i64::MAX,
        order: Order::NewestFirst,
        beyond: None,
        limit: earlier,
    };
    Ok(api.parts.logs.search(&search).await.map_err(failed)?.lines)
}

/// Lines that the store took in behind the place, and the place behind them.
async fn look(api: &Api, wanted: &Wanted, mut place: Key, deadline: Instant) -> Result<(Vec<Followed>, Key), Problem> {
    loop {
        // `now` in the query is the time of each look.
        let question = wanted.question(crate::clock::now());
        let logs = &api.parts.logs;
        let (page, next) = logs.after(&question, place, LOOK_LINES).await.map_err(failed)?;
        place = next;
        if !page.lines.is_empty() {
            let lines = page.lines.into_iter();
            let mut followed: Vec<Followed> = lines
                .map(|stored| Followed::line(stored.line, token(stored.key)))
                .collect();
            if let Some(last) = followed.last_mut() {
                // Over those that were left out.
                last.after = token(place);
            }
            return Ok((followed, place));
        }
        if Instant::now() >= deadline {
            return Ok((Vec::new(), place));
        }
        if !page.more {
            logs.changed(place).await;
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

/// A place is one of all lines of the workers.
fn places_of_workers() -> ListId {
    ListId::new(ListKind::Logs, &"places of workers")
}

fn token_of_workers(place: &Place) -> String {
    places_of_workers().cursor(0, &place.bytes())
}

/// What a token says.
enum Start {
    Store(Key),
    Workers(Place),
}

fn bad_token() -> Problem {
    Problem::bad_parameter(
        "after",
        "it is not the id of an event of this stream, nor the `after` of a line",
    )
}

fn read_token(text: &str) -> Result<Start, Problem> {
    if let Ok((_, bytes)) = places_of_workers().read_cursor(text) {
        return Place::read(&bytes).map(Start::Workers).ok_or_else(bad_token);
    }
    let (_, bytes) = places().read_cursor(text).map_err(|_| bad_token())?;
    let (parts, rest) = bytes.as_chunks::<8>();
    let (&[at_ms, id], []) = (parts, rest) else {
        return Err(bad_token());
    };
    Ok(Start::Store(Key {
        at_ms: i64::from_be_bytes(at_ms),
        id: i64::from_be_bytes(id),
    }))
}

fn event(line: &Line, id: Option<&str>) -> String {
    // JSON has no line breaks.
    let data = serde_json::to_string(line).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}data: {data}\n\n")
}

fn told(followed: &Followed) -> String {
    let line = followed.line.iter().map(|line| event(line, Some(&followed.after)));
    let notice = followed.notice.iter().map(|notice| {
        let data = serde_json::json!({"message": notice});
        format!("event: notice\ndata: {data}\n\n")
    });
    line.chain(notice).collect()
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
                    Ok(lines) => lines.iter().map(told).collect(),
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
