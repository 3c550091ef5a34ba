//! Lines of workers while they are written, read from the endpoints of the workers, or from the memory of those in the same
//! process.
//!
//! Must stay true: of each worker lines are given in the order of their positions and each once, wherever they come from:
//! what the worker keeps no more, or a worker that is not reached, is read from the store. What waits here for a slow
//! reader is bounded; the workers wait with it, and in the end the store.

mod place;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::wanted::Wanted;
use crate::api::Api;
use crate::config::Secret;
use crate::domain::WorkerName;
use crate::logs::recent::{Behind, Recent, now_us};
use crate::logs::{Line, Question};
pub use place::Place;
use source::{Came, Source};

/// More workers are followed in the store.
pub const MOST_WORKERS: usize = 64;
/// Lines that wait for the reader, besides one of each worker.
const WAITING: usize = 200;
/// How often it is looked whether there are workers that are not followed yet.
const MEET_EVERY: Duration = Duration::from_millis(500);
/// How long the beginning waits for workers to say where they are.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How a worker's lines are reached.
#[derive(Clone)]
pub enum WayToLines {
    /// The URL of its endpoint.
    Endpoint(String),
    /// It is in this process.
    Memory(Arc<Recent>),
}

/// The workers that this process hears.
pub type HeardWorkers = Arc<dyn Fn() -> BTreeMap<WorkerName, WayToLines> + Send + Sync>;

/// How the lines of workers are reached.
#[derive(Clone)]
pub struct Tailing {
    heard: HeardWorkers,
    token: Secret,
    http: reqwest::Client,
}

impl Tailing {
    /// `token`: what workers know servers of the API by; `client`: trusts whom their endpoints are signed by.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new(heard: HeardWorkers, token: Secret, client: reqwest::ClientBuilder) -> reqwest::Result<Self> {
        let http = client.connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { heard, token, http })
    }
}

/// What a follower is given.
pub enum Given {
    Line(Box<Line>),
    /// How a worker's lines come from now on.
    Notice(String),
}

/// Somebody who follows lines of workers.
pub struct Workers {
    api: Arc<Api>,
    wanted: Wanted,
    tailing: Tailing,
    place: Place,
    /// As it was when each worker had said where it is.
    at_begin: Place,
    sources: BTreeMap<WorkerName, JoinHandle<()>>,
    came: mpsc::Receiver<Came>,
    sender: mpsc::Sender<Came>,
    met_at: Instant,
}

impl Workers {
    /// Whether this question can be followed there.
    pub fn can(api: &Api, wanted: &Wanted, question: &Question) -> Option<Tailing> {
        let tailing = api.parts.tailing.clone()?;
        question.filter().ok()?.check().ok()?;
        let heard = heard(&tailing, wanted).len();
        (heard <= MOST_WORKERS).then_some(tailing)
    }

    /// From the place on; without one from now on, `earlier`: from where the store has lines.
    pub fn begin(api: Arc<Api>, wanted: Wanted, tailing: Tailing, place: Option<Place>, earlier: bool) -> Self {
        let (sender, came) = mpsc::channel(WAITING);
        let base = place.clone().unwrap_or_else(|| Place::new(now_us()));
        let mut workers = Self {
            api,
            wanted,
            tailing,
            at_begin: base.clone(),
            place: base,
            sources: BTreeMap::new(),
            came,
            sender,
            met_at: Instant::now(),
        };
        let first = match place {
            Some(_) => None,
            None if earlier => Some(Behind::Stored {
                lag_us: i64::try_from(workers.api.parts.logs.lag().as_micros()).unwrap_or(i64::MAX),
            }),
            None => Some(Behind::Last),
        };
        workers.meet(first);
        // Of those that have left since, the store may have lines.
        let left: Vec<WorkerName> = workers.place.known().cloned().collect();
        left.into_iter().for_each(|name| workers.follow(name, None));
        workers
    }

    /// Waits until each worker has said where it is; gives what comes meanwhile.
    pub async fn begun(&mut self) -> Vec<(Given, Place)> {
        let deadline = Instant::now() + BEGIN_WITHIN;
        let mut given = Vec::new();
        while !self.sources.keys().all(|name| self.place.knows(name)) {
            match timeout_at(deadline, self.came.recv()).await {
                Ok(Some(came)) => given.extend(self.take(came)),
                Ok(None) | Err(_) => break,
            }
        }
        given
    }

    /// Where it began; what came since then is behind it.
    pub const fn place_at_begin(&self) -> &Place {
        &self.at_begin
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Follows workers that are not followed yet; those after the beginning from their place on.
    fn meet(&mut self, first: Option<Behind>) {
        self.met_at = Instant::now();
        for name in heard(&self.tailing, &self.wanted).into_keys() {
            if self.sources.len() < MOST_WORKERS {
                self.follow(name, first);
            }
        }
    }

    fn follow(&mut self, name: WorkerName, first: Option<Behind>) {
        if self.sources.contains_key(&name) {
            return;
        }
        let source = Source {
            api: Arc::clone(&self.api),
            wanted: self.wanted.clone(),
            tailing: self.tailing.clone(),
            after: first.unwrap_or_else(|| Behind::Position(self.place.of(&name))),
            worker: name.clone(),
            to: self.sender.clone(),
        };
        let following = crate::task::spawn("logs.follow_worker", source.run());
        self.sources.insert(name, following);
    }

    /// What came, up to `most`; none when none came until the deadline.
    pub async fn next(&mut self, deadline: Instant, most: usize) -> Vec<(Given, Place)> {
        let mut given = Vec::new();
        while given.is_empty() && Instant::now() < deadline {
            if self.met_at.elapsed() >= MEET_EVERY {
                self.meet(None);
            }
            let until = deadline.min(self.met_at + MEET_EVERY);
            // A sender is held here: it never ends.
            if let Ok(Some(came)) = timeout_at(until, self.came.recv()).await {
                given.extend(self.take(came));
            }
            while given.len() < most
                && let Ok(came) = self.came.try_recv()
            {
                given.extend(self.take(came));
            }
        }
        given
    }

    fn take(&mut self, came: Came) -> Option<(Given, Place)> {
        let given = match came {
            Came::Line(worker, line) => {
                self.place.pass(&worker, line.position);
                Given::Line(line)
            }
            Came::At(worker, position) => {
                if !self.at_begin.knows(&worker) {
                    self.at_begin.pass(&worker, position);
                }
                self.place.pass(&worker, position);
                return None;
            }
            Came::Notice(notice) => Given::Notice(notice),
            Came::Left(worker) => {
                self.sources.remove(&worker);
                return None;
            }
        };
        Some((given, self.place.clone()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.sources.values().for_each(JoinHandle::abort);
    }
}

/// Workers whose lines are wanted.
fn heard(tailing: &Tailing, wanted: &Wanted) -> BTreeMap<WorkerName, WayToLines> {
    let mut heard = (tailing.heard)();
    if !wanted.worker_ids.is_empty() {
        let names: Vec<WorkerName> = wanted.worker_ids.iter().filter_map(|id| id.parse().ok()).collect();
        heard.retain(|name, _| names.contains(name));
    }
    heard
}
