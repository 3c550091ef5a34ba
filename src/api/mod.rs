//! The REST API: what the outside sees of jobs, tasks, workers and their histories, and the way in for commands.
//!
//! Must stay true: reads go to the read models and the log, never to actors; what is wrong is a problem document that
//! names it; nothing waits without a bound; an answer to a command comes after its commit.

mod as_of;
pub mod auth;
mod body;
mod bulk;
mod checkpoints;
mod commands;
pub mod etag;
mod explain;
mod export;
mod feed;
pub mod graphql;
mod history;
mod idempotency;
mod jobs;
mod letters;
pub mod live;
mod logs;
mod openapi;
mod options;
mod page;
mod params;
mod problem;
mod purge;
mod replies;
mod retries;
mod routes;
mod schema;
mod search;
mod series;
mod server;
mod submit;
mod system;
mod tasks;
mod tls;
mod tokens;
mod view;
mod workers;

#[cfg(test)]
mod tests;

pub use auth::{Access, AnonymousRole, AuthOptions, Caller, Role};
pub use commands::{Commands, Submission, Trouble};
pub use idempotency::{Done, IdempotencyKey};
pub use logs::{HeardWorkers, Tailing, WayToLines};
pub use options::ApiOptions;
pub use problem::{Mistake, Problem};
pub use replies::Replies;
pub use routes::{Rule, rules};
pub use server::{Error, LISTEN, METRICS_LISTEN, Server, bind, can_listen, serve};
pub use tls::{Tls, TlsError};

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::Bus;
use crate::config::{Secret, ServerOptions};
use crate::domain::{Incarnation, ShardId, WorkerName};
use crate::letters::Letters;
use crate::log::Log;
use crate::logs::LogStore;
use crate::metrics::{Keeping, MetricStore};
use crate::projection::{PositionToken, Reading, Watermarks};
use crate::shard::{LiveWorker, Placing};
use graphql::GraphqlOptions;
use live::{Hub, Rows};
use params::Params;

/// What a worker does at the moment, as this process has heard it.
pub type LiveWorkers = Arc<dyn Fn(&WorkerName) -> Option<LiveWorker> + Send + Sync>;
/// What this process knows of placing the tasks of a shard.
pub type PlacingOf = Arc<dyn Fn(ShardId) -> Placing + Send + Sync>;
/// What the process still waits for before it can serve; empty: nothing.
pub type WaitingFor = Arc<dyn Fn() -> Vec<String> + Send + Sync>;
/// The metrics as Prometheus' text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// All that the API works with.
#[derive(Clone)]
pub struct ApiParts {
    pub options: ApiOptions,
    pub graphql: GraphqlOptions,
    pub log: Log,
    pub bus: Arc<dyn Bus>,
    pub watermarks: Watermarks,
    /// What is committed, live.
    pub live: Hub,
    /// Of the log.
    pub timeline: Uuid,
    /// This process.
    pub node: Incarnation,
    /// What people call it.
    pub node_name: String,
    /// How it is served, but for the address.
    pub server: ServerOptions,
    /// Workers in this process need a way in of their own when the other one is secured.
    pub inner_workers: bool,
    pub live_workers: LiveWorkers,
    pub placing: PlacingOf,
    pub waiting_for: WaitingFor,
    pub trouble: Trouble,
    pub metrics: RenderMetrics,
    /// Points of metrics.
    pub metric_store: Arc<dyn MetricStore>,
    /// How long they are kept there.
    pub keeping: Keeping,
    /// Where lines of tasks are kept and found.
    pub logs: Arc<dyn LogStore>,
    /// How lines of workers are reached while they are written; `None`: they come from their store alone.
    pub tailing: Option<Tailing>,
    /// What workers show to fetch documents, when they have no tokens of their own.
    pub worker_token: Option<Secret>,
    /// What a caller may do who shows no token; `None`: only what is open.
    pub anonymous_role: Option<Role>,
}

/// What every handler sees.
struct Api {
    commands: Commands,
    reading: Reading,
    /// Rows of what has just changed.
    rows: Rows,
    parts: ApiParts,
    shards: u16,
    /// Records that failed.
    letters: Letters,
    /// Of questions about the past.
    turns: as_of::Turns,
    /// The key from which the secrets of attempts follow; read when it is needed first.
    checkpoint_key: OnceCell<Vec<u8>>,
}

impl Api {
    /// How often a stream that leaves events out says how far it is.
    const fn token_interval(&self) -> std::time::Duration {
        self.parts.graphql.token_interval
    }

    /// Who asks: found out before any handler runs.
    fn caller(request: &HttpRequest) -> Caller {
        let found = request.extensions().get::<Caller>().cloned();
        found.unwrap_or_else(Caller::nobody)
    }

    fn token(&self, position: crate::domain::Position) -> PositionToken {
        PositionToken::new(self.parts.timeline, position)
    }

    /// A token of this log, naming shards that there are.
    fn check_token(&self, parameter: &str, token: &PositionToken) -> Result<(), Problem> {
        if token.timeline != self.parts.timeline {
            let message = "it is of another timeline of the log, which was restored since: start over without it";
            return Err(Problem::bad_parameter(parameter, message));
        }
        let unknown = token.positions().find(|position| position.shard.0 >= self.shards);
        unknown.map_or(Ok(()), |position| {
            let message = format!("there is no shard {}", position.shard);
            Err(Problem::bad_parameter(parameter, message))
        })
    }

    /// Waits until the read models are at least as new as `minPosition` asks.
    async fn wait_for_position(&self, params: &Params) -> Result<(), Problem> {
        match params.parsed::<PositionToken>("minPosition")? {
            Some(token) => self.wait_for_token(&token).await,
            None => Ok(()),
        }
    }

    /// As [`Api::wait_for_position`], of a text.
    async fn wait_for(&self, min_position: Option<&str>) -> Result<(), Problem> {
        let Some(text) = min_position else { return Ok(()) };
        let token = text.parse::<PositionToken>();
        let token = token.map_err(|error| Problem::bad_parameter("minPosition", error.to_string()))?;
        self.wait_for_token(&token).await
    }

    async fn wait_for_token(&self, token: &PositionToken) -> Result<(), Problem> {
        self.check_token("minPosition", token)?;
        let deadline = Instant::now() + self.parts.options.position_wait;
        self.parts
            .watermarks
            .wait_for_all(token, deadline)
            .await
            .map_err(|lagging| {
                let mut problem = Problem::unavailable(format!("{lagging}; try again"));
                problem.code = "READ_MODEL_BEHIND".into();
                problem
            })
    }
}
