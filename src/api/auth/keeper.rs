//! Tokens as every request needs them: kept in memory for a while, and forgotten the moment one is revoked.
//!
//! Must stay true: what is kept is believed only while this process surely hears of revocations. Postgres tells them to a
//! connection that does nothing else, which is asked every half second, while any is kept, whether it still hears; an answer
//! is worth two seconds. Without one each request looks its token up. So a revocation counts within milliseconds of its
//! commit on every node, and within two seconds on one whose connection has died without a sound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPoolOptions};
use subtle::ConstantTimeEq;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::lease::Lease;
use super::token::{Shown, TokenId};
use super::tokens::{self, TokenRow};
use crate::api::problem::Problem;
use crate::clock;
use crate::log::Log;

/// Told by a trigger of the table.
const CHANNEL: &str = "grid_tokens";
const ASKED_EVERY: Duration = Duration::from_millis(500);
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// How long an answer is worth, from when it was asked for: so long after the commit of a revocation the token may still
/// be taken, by a node whose connection has died without a sound.
pub const REVOKED_WITHIN: Duration = Duration::from_secs(2);
/// A row is read again after this, heard of or not: then its use is noted, too.
const KEPT_FOR: Duration = Duration::from_secs(60);
const MOST_KEPT: usize = 10_000;
const PAUSE: Duration = Duration::from_millis(500);
/// How often a row is read while revocations keep coming.
const TRIES: u32 = 5;

/// A token that is good.
#[derive(Clone, Debug)]
pub struct Known {
    pub row: Arc<TokenRow>,
    pub lease: Lease,
}

struct Kept {
    row: Arc<TokenRow>,
    read_at: Instant,
    /// Tells whoever lives on the token that it was revoked.
    revoked: watch::Sender<bool>,
}

#[derive(Default)]
struct Memory {
    kept: HashMap<TokenId, Kept>,
    /// Raised by every revocation that is heard of: a row that was read before it may not be kept.
    heard: u64,
    believed_until: Option<Instant>,
}

struct Inner {
    log: Log,
    memory: Mutex<Memory>,
    /// Told when a token is kept.
    kept: Notify,
}

/// Checks tokens. Dropped, it hears no more.
pub struct Tokens {
    inner: Arc<Inner>,
    listening: JoinHandle<()>,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Tokens {
    /// Begins to listen for revocations.
    pub fn start(log: &Log) -> Self {
        let inner = Arc::new(Inner {
            log: log.clone(),
            memory: Mutex::default(),
            kept: Notify::new(),
        });
        let listening = crate::task::spawn("api.tokens", listen(Arc::clone(&inner)));
        Self { inner, listening }
    }

    /// What is known of a token without asking the database: `None`, then [`Tokens::look_up`] has to.
    ///
    /// # Errors
    /// 401 for one that is wrong, revoked or expired.
    pub fn recall(&self, shown: &Shown) -> Result<Option<Known>, Problem> {
        let memory = self.inner.lock();
        let now = Instant::now();
        if memory.believed_until.is_none_or(|until| until <= now) {
            return Ok(None);
        }
        let Some(kept) = memory.kept.get(&shown.id).filter(|kept| now - kept.read_at < KEPT_FOR) else {
            return Ok(None);
        };
        let (row, revoked) = (Arc::clone(&kept.row), kept.revoked.subscribe());
        drop(memory);
        judge(shown, row, revoked).map(Some)
    }

    /// Reads a token from the database.
    ///
    /// # Errors
    /// 401 for one that is wrong, revoked or expired; 503 when the database does not answer.
    pub async fn look_up(&self, shown: &Shown) -> Result<Known, Problem> {
        let pool = self.inner.log.pool();
        for _ in 0..TRIES {
            let heard = self.inner.lock().heard;
            let found = tokens::find(pool, &shown.id).await;
            let row = found.map_err(|error| Problem::database(&error))?.ok_or_else(unknown)?;
            let row = Arc::new(row);
            let Some(revoked) = self.inner.keep(&row, heard) else {
                continue;
            };
            let known = judge(shown, row, revoked)?;
            self.note_use(known.row.id.clone());
            return Ok(known);
        }
        Err(Problem::unavailable("tokens are being revoked; try again"))
    }

    fn note_use(&self, id: TokenId) {
        let pool = self.inner.log.pool().clone();
        crate::task::spawn("api.token_used", async move {
            if let Err(error) = tokens::used(&pool, &id).await {
                tracing::debug!(%error, token = %id, "api.token_use_not_noted");
            }
        });
    }
}

fn unknown() -> Problem {
    Problem::unauthenticated("this token is not known here")
}

/// Only who has the secret is told more than that it is wrong.
fn judge(shown: &Shown, row: Arc<TokenRow>, revoked: watch::Receiver<bool>) -> Result<Known, Problem> {
    if !bool::from(shown.sha256.ct_eq(&row.sha256)) {
        return Err(unknown());
    }
    if row.revoked_at.is_some() {
        return Err(Problem::unauthenticated("this token was revoked"));
    }
    if row.has_expired(clock::now()) {
        return Err(Problem::unauthenticated("this token has expired"));
    }
    let lease = Lease::new(row.expires_at, revoked);
    Ok(Known { row, lease })
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a row; `None` when a revocation was heard of since `heard`, which may be its own.
    fn keep(&self, row: &Arc<TokenRow>, heard: u64) -> Option<watch::Receiver<bool>> {
        let mut memory = self.lock();
        if memory.heard != heard {
            return None;
        }
        if memory.kept.len() >= MOST_KEPT {
            memory.kept.retain(|_, kept| kept.revoked.receiver_count() > 0);
        }
        let read_at = Instant::now();
        let kept = memory.kept.entry(row.id.clone()).or_insert_with(|| Kept {
            row: Arc::clone(row),
            read_at,
            revoked: watch::Sender::new(false),
        });
        (kept.row, kept.read_at) = (Arc::clone(row), read_at);
        self.kept.notify_one();
        Some(kept.revoked.subscribe())
    }

    /// Whether anything rests on what is kept; what has not been used for long is let go.
    fn is_needed(&self) -> bool {
        let mut memory = self.lock();
        let now = Instant::now();
        memory
            .kept
            .retain(|_, kept| now - kept.read_at < KEPT_FOR || kept.revoked.receiver_count() > 0);
        !memory.kept.is_empty()
    }

    fn forget(&self, id: &str) {
        let mut memory = self.lock();
        memory.heard += 1;
        let Ok(id) = id.parse::<TokenId>() else { return };
        if let Some(kept) = memory.kept.remove(&id) {
            kept.revoked.send_replace(true);
            tracing::info!(token = %id, principal = kept.row.principal, "api.token_revoked");
        }
    }

    fn believe_until(&self, until: Option<Instant>) {
        self.lock().believed_until = until;
    }
}

/// Listens, for as long as the process serves.
async fn listen(inner: Arc<Inner>) {
    loop {
        if let Err(error) = hear(&inner).await {
            inner.believe_until(None);
            metrics::counter!("grid_api_token_listener_failures_total").increment(1);
            tracing::warn!(%error, "api.tokens.not_heard");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hears of revocations until the connection fails.
async fn hear(inner: &Inner) -> Result<(), sqlx::Error> {
    let options = inner.log.pool().connect_options().as_ref().clone();
    let options = options.application_name("grid tokens");
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(inner.log.options().connect_timeout)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    catch_up(inner, &mut listener).await?;
    loop {
        while !inner.is_needed() {
            tokio::select! {
                told = listener.try_recv() => inner.forget(told?.ok_or(sqlx::Error::WorkerCrashed)?.payload()),
                () = inner.kept.notified() => {}
            }
        }
        let asked = Instant::now();
        // A connection that is cut off in the middle is not used again.
        timeout(ANSWERED_WITHIN, listener.execute("SELECT 1"))
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)??;
        while let Some(told) = listener.next_buffered() {
            inner.forget(told.payload());
        }
        inner.believe_until(Some(asked + REVOKED_WITHIN));
        while let Ok(told) = tokio::time::timeout_at(asked + ASKED_EVERY, listener.try_recv()).await {
            let told = told?.ok_or(sqlx::Error::WorkerCrashed)?;
            inner.forget(told.payload());
        }
    }
}

/// What was revoked while nobody listened.
async fn catch_up(inner: &Inner, listener: &mut PgListener) -> Result<(), sqlx::Error> {
    let kept: Vec<String> = inner.lock().kept.keys().map(|id| id.as_str().to_owned()).collect();
    for id in tokens::revoked(listener, &kept).await? {
        inner.forget(&id);
    }
    // What is being read at the moment may be older than that.
    inner.lock().heard += 1;
    Ok(())
}
