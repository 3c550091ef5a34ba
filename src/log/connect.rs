//! Connections to the log's database, and where work on them runs.
//!
//! Must stay true: a unit of work runs in a task of its own, so that a caller that goes away never cuts it off midway;
//! only Postgres (statement and lock timeouts) and the pool (waiting for a connection) end it early.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::reach::{Place, connected, options_of};
use super::{Error, Format};
use crate::config::Secret;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Options {
    /// URL of the service role.
    pub url: Secret,
    /// Most connections of the pool; the journal has one more of its own.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
    /// How many shards are loaded at a time.
    pub concurrent_loads: usize,
    /// How long a claim waits for the shard's row before the backend that holds it is ended.
    pub claim_patience: Duration,
}

impl Options {
    /// The defaults of the configuration.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            max_connections: 10,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            concurrent_loads: 4,
            claim_patience: Duration::from_secs(1),
        }
    }

    /// For the pool.
    pub(super) fn connect_options(&self) -> Result<PgConnectOptions, Error> {
        // Arrays of days are known only with the values: a plan for any value would read all days.
        Ok(self.base_options()?.options([("plan_cache_mode", "force_custom_plan")]))
    }

    /// For the journal's own connection.
    pub(super) fn journal_options(&self) -> Result<PgConnectOptions, Error> {
        // Its one statement is planned once, not at every commit (0.3 ms each). Not knowing how long the arrays are, that
        // plan must not be one that compares every event with every shard.
        Ok(self
            .base_options()?
            .options([("plan_cache_mode", "force_generic_plan"), ("enable_nestloop", "off")]))
    }

    fn base_options(&self) -> Result<PgConnectOptions, Error> {
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        let options = options_of(&self.url)?.application_name("grid");
        Ok(options.options([
            ("statement_timeout", milliseconds(self.statement_timeout).as_str()),
            ("lock_timeout", milliseconds(self.lock_timeout).as_str()),
            ("TimeZone", "UTC"),
            ("jit", "off"),
        ]))
    }
}

/// A transaction whose statements may take as long as they need: reading one history takes time with its length.
pub(super) async fn unhurried(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// The log, as everybody but the journal's writer sees it. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub options: Options,
    pub place: Place,
    pub pool: PgPool,
    pub runtime: Handle,
    pub loads: Semaphore,
    pub claims: Semaphore,
    /// The newest format met in the log.
    pub format: watch::Sender<Format>,
}

impl Log {
    /// Connects. Work runs on the runtime from which this is called.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let connect = options.connect_options()?;
        let place = Place::of(&connect);
        // A pool tells of its patience, not of what it met.
        connected(&connect, options.connect_timeout).await?.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(2))
            .acquire_timeout(options.connect_timeout)
            .connect_with(connect)
            .await?;
        let loads = Semaphore::new(options.concurrent_loads.max(1));
        let claims = Semaphore::new((options.max_connections as usize / 2).max(1));
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                place,
                pool,
                runtime: Handle::current(),
                loads,
                claims,
                format: watch::Sender::new(Format::FIRST),
            }),
        })
    }

    /// The pool, for tables that other modules own. Never cancel a transaction midway: see [`Log::run`].
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Runs a unit of work to its end, whatever becomes of the caller.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = crate::task::spawn_on(&self.inner.runtime, name, work);
        task.await.map_err(|error| Error::Broken(error.to_string()))?
    }

    /// Closes the pool's connections.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }
}
