//! `POST /internal/tail` of a worker's endpoint: its lines while they are written, to servers of the API, as JSON objects
//! a line: first its [`Reach`], then lines, and now and then `{"at": POSITION}` when none was wanted.
//!
//! Must stay true: only who shows the token that workers and servers share is answered; how many are is bounded; the answer
//! ends where lines that were not given are kept no more.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::stream;
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Secret;
use crate::logs::Question;
use crate::logs::logsql::Filter;
use crate::logs::recent::{Asked, Behind, Look, Recent, SILENCE};

/// Who may follow at a time.
const MOST_FOLLOWERS: usize = 256;
/// Lines that are looked at before the next part of the answer.
const LOOK_LINES: usize = 500;
/// More than any question has.
const QUESTION_BYTES: usize = 128 * 1024;

/// What the endpoint needs.
#[derive(Clone)]
pub struct RecentLines {
    token: Secret,
    recent: Arc<OnceLock<Arc<Recent>>>,
    room: Arc<Semaphore>,
}

impl RecentLines {
    /// Whoever shows `token` is answered; nobody when it is empty.
    pub fn new(token: Secret) -> Self {
        Self {
            token,
            recent: Arc::default(),
            room: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
        }
    }

    /// Gives these from now on.
    pub fn show(&self, recent: Arc<Recent>) {
        self.recent.get_or_init(|| recent);
    }

    /// Ends the answers, behind the last line.
    pub fn close(&self) {
        if let Some(recent) = self.recent.get() {
            recent.close();
        }
    }

    fn knows(&self, request: &HttpRequest) -> bool {
        let shown = request.headers().get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = self.token.reveal();
        // In a time that tells nothing of where they differ.
        !token.is_empty() && shown.is_some_and(|shown| Sha256::digest(shown).ct_eq(&Sha256::digest(token)).into())
    }
}

struct Following {
    recent: Arc<Recent>,
    question: Question,
    /// Until the reach was told.
    begin: Option<Behind>,
    after: i64,
    /// And since when it is good.
    filter: Option<(Instant, Arc<Filter>)>,
    _room: OwnedSemaphorePermit,
}

impl Following {
    /// `now` in the query is the time of the look, to a second.
    fn filter(&mut self) -> Option<Arc<Filter>> {
        if let Some((since, filter)) = &self.filter
            && since.elapsed() < SILENCE
        {
            return Some(Arc::clone(filter));
        }
        self.question.now = crate::clock::now();
        let filter = Arc::new(self.question.filter().ok()?);
        self.filter = Some((Instant::now(), Arc::clone(&filter)));
        Some(filter)
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(behind) = self.begin.take() {
            let reach = self.recent.reach(behind);
            self.after = reach.begin;
            return Some((Ok(format!("{}\n", json!(reach)).into()), self));
        }
        loop {
            let filter = self.filter()?;
            // Whether it is over is asked first: lines that came before are looked at after.
            let goes_on = match tokio::time::timeout(SILENCE, self.recent.changed(self.after)).await {
                Ok(goes_on) => goes_on,
                Err(_) => return Some((Ok(format!("{}\n", json!({"at": self.after})).into()), self)),
            };
            let Ok(Look::Lines(lines, next)) = self.recent.after(self.after, &filter, LOOK_LINES) else {
                return None;
            };
            let moved = next > self.after;
            self.after = next;
            if !goes_on && !moved {
                return None;
            }
            let mut text = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut text, line.as_ref()).ok()?;
                text.push(b'\n');
            }
            if !text.is_empty() {
                return Some((Ok(text.into()), self));
            }
        }
    }
}

/// Answers one who follows.
pub async fn follow(lines: web::Data<RecentLines>, request: HttpRequest, asked: web::Json<Asked>) -> HttpResponse {
    if !lines.knows(&request) {
        return HttpResponse::Unauthorized().finish();
    }
    let (Some(recent), Ok(room)) = (lines.recent.get(), Arc::clone(&lines.room).try_acquire_owned()) else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    let asked = asked.into_inner();
    if asked.question.filter().is_err() {
        return HttpResponse::BadRequest().finish();
    }
    let following = Following {
        recent: Arc::clone(recent),
        begin: Some(asked.after),
        question: asked.question,
        after: 0,
        filter: None,
        _room: room,
    };
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(following, Following::next))
}

/// The limit of what is asked.
pub fn limit() -> web::JsonConfig {
    web::JsonConfig::default().limit(QUESTION_BYTES)
}
