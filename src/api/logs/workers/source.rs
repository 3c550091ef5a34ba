//! The lines of one worker, for one follower.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{CONNECT_TIMEOUT, Tailing, WayToLines};
use crate::api::Api;
use crate::api::logs::wanted::Wanted;
use crate::domain::WorkerName;
use crate::logs::Line;
use crate::logs::following::{Following, Word};
use crate::logs::recent::{Asked, Behind, Reach, now_us};

/// A worker speaks every second: one that is silent so long is not reached.
const SILENT: Duration = Duration::from_secs(4);
/// Between attempts to reach it, and looks into the store meanwhile.
const PAUSE: Duration = Duration::from_millis(500);
/// Before it is asked again when it ended its answer.
const AGAIN: Duration = Duration::from_millis(50);
/// How long lines of a worker that is heard no more are looked for.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// Lines of one look into the store.
const PAGE_LINES: u32 = 200;
/// A worker sends no longer line.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// What comes of a worker.
pub enum Came {
    Line(WorkerName, Box<Line>),
    /// Nothing wanted stands before this position.
    At(WorkerName, i64),
    Notice(String),
    /// Nothing comes any more.
    Left(WorkerName),
}

/// Follows one worker.
pub struct Source {
    pub api: Arc<Api>,
    pub wanted: Wanted,
    pub tailing: Tailing,
    pub worker: WorkerName,
    pub after: Behind,
    pub to: mpsc::Sender<Came>,
}

/// Why it is not read any more.
enum Stopped {
    /// Nobody wants it.
    Unwanted,
    /// The worker ended its answer, perhaps because some lines are only in the store.
    Ended,
    NotReached(String),
}

impl From<mpsc::error::SendError<Came>> for Stopped {
    fn from(_: mpsc::error::SendError<Came>) -> Self {
        Self::Unwanted
    }
}

impl Source {
    pub async fn run(mut self) {
        let mut unreached: Option<Instant> = None;
        loop {
            let is_heard = (self.tailing.heard)().get(&self.worker).cloned();
            let stopped = match &is_heard {
                Some(way) => self.read(way, &mut unreached).await,
                None => Stopped::NotReached("it is not heard".to_owned()),
            };
            let went_on = match stopped {
                Stopped::Unwanted => return,
                Stopped::Ended => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Stopped::NotReached(why) => self.stand_in(&why, is_heard.is_some(), unreached.is_none()).await,
            };
            if went_on.is_err() {
                return;
            }
            let since = *unreached.get_or_insert_with(Instant::now);
            if is_heard.is_none() && since.elapsed() >= LAST_WORDS {
                // Nobody waits for it when the follower is gone.
                let _ = self.to.send(Came::Left(self.worker.clone())).await;
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads from the worker until that ends.
    async fn read(&mut self, way: &WayToLines, unreached: &mut Option<Instant>) -> Stopped {
        let asked = Asked {
            question: self.wanted.question(crate::clock::now()),
            after: self.after,
        };
        let told = match way {
            WayToLines::Endpoint(url) => self.call(url, &asked).await,
            WayToLines::Memory(recent) => Following::new(Arc::clone(recent), asked)
                .map(|following| Told::Here(Box::new(following)))
                .map_err(|error| Stopped::NotReached(error.to_string())),
        };
        let went_through = match told {
            Ok(mut told) => self.go_through(&mut told, unreached).await,
            Err(stopped) => return stopped,
        };
        match went_through {
            Ok(never) => match never {},
            Err(stopped) => stopped,
        }
    }

    async fn call(&self, endpoint: &str, asked: &Asked) -> Result<Told, Stopped> {
        let url = format!("{}/internal/tail", endpoint.trim_end_matches('/'));
        let request = self
            .tailing
            .http
            .post(&url)
            .bearer_auth(self.tailing.token.reveal())
            .json(asked);
        let why = match timeout(CONNECT_TIMEOUT, request.send()).await {
            Ok(Ok(answer)) if answer.status().is_success() => return Ok(Told::There(Answer::new(answer))),
            Ok(Ok(answer)) => format!("{url} answers {}", answer.status()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{url} does not answer"),
        };
        Err(Stopped::NotReached(why))
    }

    async fn go_through(
        &mut self,
        told: &mut Told,
        unreached: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, Stopped> {
        let Word::Reach(reach) = told.next().await? else {
            return Err(Stopped::NotReached("it does not say where its lines begin".to_owned()));
        };
        self.pass(reach.begin).await?;
        if reach.begin < reach.evicted {
            return Err(self.catch_up(reach).await?);
        }
        if unreached.take().is_some() {
            let notice = format!("{} is reached again", self.worker);
            self.to.send(Came::Notice(notice)).await?;
        }
        loop {
            match told.next().await? {
                Word::Lines(lines) => {
                    for line in lines {
                        self.give(Arc::unwrap_or_clone(line)).await?;
                    }
                }
                Word::At(position) => self.pass(position).await?,
                Word::Reach(_) => return Err(Stopped::NotReached("it begins a second time".to_owned())),
            }
        }
    }

    /// Lines that the worker keeps no more, from the store, as soon as they are there.
    async fn catch_up(&mut self, reach: Reach) -> Result<Stopped, Stopped> {
        let lag_us = i64::try_from(self.api.parts.logs.lag().as_micros()).unwrap_or(i64::MAX);
        if reach.stored < reach.evicted || now_us() - reach.evicted < lag_us {
            tokio::time::sleep(PAUSE).await;
            return Ok(Stopped::Ended);
        }
        self.catch_up_in_store(reach.evicted).await?;
        self.pass(reach.evicted).await?;
        Ok(Stopped::Ended)
    }

    async fn pass(&mut self, position: i64) -> Result<(), Stopped> {
        self.after = Behind::Position(position);
        self.to.send(Came::At(self.worker.clone(), position)).await?;
        Ok(())
    }

    async fn give(&mut self, line: Line) -> Result<(), Stopped> {
        self.after = Behind::Position(line.position);
        self.to.send(Came::Line(self.worker.clone(), Box::new(line))).await?;
        Ok(())
    }

    /// The store stands in for a worker that is not reached.
    async fn stand_in(&mut self, why: &str, is_heard: bool, is_new: bool) -> Result<(), Stopped> {
        if is_new && is_heard {
            let notice = format!("{} is not reached, its lines come from the store: {why}", self.worker);
            tracing::warn!(worker = %self.worker, why, "logs.worker_not_reached");
            self.to.send(Came::Notice(notice)).await?;
        }
        if !matches!(self.after, Behind::Position(_)) {
            self.pass(now_us()).await?;
        }
        self.catch_up_in_store(i64::MAX).await
    }

    /// Lines behind the place and up to a position, as far as the store has them.
    async fn catch_up_in_store(&mut self, to: i64) -> Result<(), Stopped> {
        let worker = self.worker.to_string();
        loop {
            let Behind::Position(after) = self.after else {
                return Ok(());
            };
            let question = self.wanted.question(crate::clock::now());
            let page = self
                .api
                .parts
                .logs
                .of_worker(&question, &worker, after, PAGE_LINES)
                .await;
            let page = page.map_err(|error| Stopped::NotReached(error.to_string()));
            let page = match page {
                Ok(page) => page,
                Err(_) if to == i64::MAX => return Ok(()),
                Err(stopped) => return Err(stopped),
            };
            for stored in page.lines {
                if stored.line.position > to {
                    return Ok(());
                }
                self.give(stored.line).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct At {
    at: i64,
}

/// What a worker tells, word by word.
enum Told {
    /// At its endpoint.
    There(Answer),
    Here(Box<Following>),
}

impl Told {
    async fn next(&mut self) -> Result<Word, Stopped> {
        match self {
            Self::There(answer) => answer.word().await,
            Self::Here(following) => following.next().await.ok_or(Stopped::Ended),
        }
    }
}

/// JSON objects, one a line: the first is the reach.
struct Answer {
    answer: reqwest::Response,
    rest: Vec<u8>,
    has_begun: bool,
}

impl Answer {
    const fn new(answer: reqwest::Response) -> Self {
        Self {
            answer,
            rest: Vec::new(),
            has_begun: false,
        }
    }

    async fn word(&mut self) -> Result<Word, Stopped> {
        let text = self.next().await?;
        let wrong = |error: serde_json::Error| Stopped::NotReached(error.to_string());
        if !std::mem::replace(&mut self.has_begun, true) {
            let reach: Reach = serde_json::from_slice(&text).map_err(wrong)?;
            return Ok(Word::Reach(reach));
        }
        if let Ok(line) = serde_json::from_slice::<Line>(&text) {
            return Ok(Word::Lines(vec![Arc::new(line)]));
        }
        let at: At = serde_json::from_slice(&text).map_err(wrong)?;
        Ok(Word::At(at.at))
    }

    async fn next(&mut self) -> Result<Vec<u8>, Stopped> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.rest[seen..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest.drain(..=seen + end).collect();
                return Ok(line);
            }
            seen = self.rest.len();
            if seen > LINE_BYTES {
                return Err(Stopped::NotReached("it sends too long a line".to_owned()));
            }
            match timeout(SILENT, self.answer.chunk()).await {
                Ok(Ok(Some(chunk))) => self.rest.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Err(Stopped::Ended),
                Ok(Err(error)) => return Err(Stopped::NotReached(error.to_string())),
                Err(_) => return Err(Stopped::NotReached("it says nothing any more".to_owned())),
            }
        }
    }
}
