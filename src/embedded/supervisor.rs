//! Keeps the private server running: one that dies is started again, with a growing pause between failures.

use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::cluster::Cluster;
use super::server::{Server, tail};
use super::{Error, Options};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that has run this long is no longer failing.
const STEADY: Duration = Duration::from_secs(60);

/// How the private server is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It answers.
    Ready { pid: i32, adopted: bool },
    /// It ended and is being started again; `why` is its last words.
    Down { why: String, failures: u32 },
    /// It was ended in order.
    Stopped,
}

/// The task that owns the server's process.
pub struct Supervisor {
    cluster: Cluster,
    server: Server,
    since: Instant,
    failures: u32,
    start_timeout: Duration,
    stop_timeout: Duration,
    state: watch::Sender<State>,
}

impl Supervisor {
    pub fn new(cluster: Cluster, options: &Options, server: Server, adopted: bool) -> (Self, watch::Receiver<State>) {
        metrics::gauge!("grid_postgres_up").set(1.0);
        let (state, watched) = watch::channel(State::Ready {
            pid: server.pid(),
            adopted,
        });
        let supervisor = Self {
            cluster,
            server,
            since: Instant::now(),
            failures: 0,
            start_timeout: options.start_timeout,
            stop_timeout: options.stop_timeout,
            state,
        };
        (supervisor, watched)
    }

    /// Runs until told to stop. A teller that is gone without a word leaves the server running.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                told = &mut stop => return self.end(told.is_ok()).await,
                () = self.server.ended() => self.fell(),
            }
            let told = tokio::select! {
                biased;
                told = &mut stop => told,
                () = self.rise() => continue,
            };
            // The try that this cut off may have started a server.
            if let Some(server) = Server::running(&self.cluster)? {
                self.server = server;
            }
            return self.end(told.is_ok()).await;
        }
    }

    /// Tries until the server runs.
    async fn rise(&mut self) {
        loop {
            tokio::time::sleep(self.pause()).await;
            match self.cluster.launch(self.start_timeout).await {
                Ok((server, adopted)) => return self.rose(server, adopted),
                Err(error) => {
                    tracing::error!(%error, "postgres.start_failed");
                    self.fell();
                }
            }
        }
    }

    async fn end(mut self, told: bool) -> Result<(), Error> {
        if !told {
            return Ok(());
        }
        self.server.stop(self.stop_timeout).await?;
        metrics::gauge!("grid_postgres_up").set(0.0);
        self.state.send_replace(State::Stopped);
        tracing::info!("postgres.stopped");
        Ok(())
    }

    fn fell(&mut self) {
        self.failures = if self.since.elapsed() > STEADY {
            1
        } else {
            self.failures + 1
        };
        self.since = Instant::now();
        let why = tail(&self.cluster.log());
        let why = why.lines().last().unwrap_or("it left no word").to_owned();
        metrics::gauge!("grid_postgres_up").set(0.0);
        tracing::error!(pid = self.server.pid(), failures = self.failures, why, "postgres.ended");
        self.state.send_replace(State::Down {
            why,
            failures: self.failures,
        });
    }

    fn rose(&mut self, server: Server, adopted: bool) {
        let pid = server.pid();
        tracing::info!(
            pid,
            adopted,
            after_ms = self.since.elapsed().as_millis(),
            "postgres.restarted"
        );
        self.server = server;
        self.since = Instant::now();
        metrics::counter!("grid_postgres_restarts_total").increment(1);
        metrics::gauge!("grid_postgres_up").set(1.0);
        self.state.send_replace(State::Ready { pid, adopted });
    }

    /// None before the first try: a lone crash should cost only the recovery.
    fn pause(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(more.min(20) - 2)),
        }
    }
}
