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

use crate::config::Secret;
use crate::logs::following::{Following, Word};
use crate::logs::recent::{Asked, Recent};

/// Who may follow at a time.
const MOST_FOLLOWERS: usize = 256;
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

/// One who is answered.
struct Answered {
    following: Following,
    _room: OwnedSemaphorePermit,
}

impl Answered {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let text = match self.following.next().await? {
            Word::Reach(reach) => format!("{}\n", json!(reach)).into(),
            Word::At(position) => format!("{}\n", json!({"at": position})).into(),
            Word::Lines(lines) => {
                let mut text = Vec::new();
                for line in &lines {
                    serde_json::to_writer(&mut text, line.as_ref()).ok()?;
                    text.push(b'\n');
                }
                text.into()
            }
        };
        Some((Ok(text), self))
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
    let Ok(following) = Following::new(Arc::clone(recent), asked.into_inner()) else {
        return HttpResponse::BadRequest().finish();
    };
    let answered = Answered { following, _room: room };
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(answered, Answered::next))
}

/// The limit of what is asked.
pub fn limit() -> web::JsonConfig {
    web::JsonConfig::default().limit(QUESTION_BYTES)
}
