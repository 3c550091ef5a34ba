//! The HTTP server around the API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::task::JoinHandle;

use super::replies::Replies;
use super::{Api, ApiParts, Commands, auth, routes};
use crate::bus::{BusError, Topic};
use crate::projection::Reading;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}; is another process there? Choose another with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    #[error("answers of shards cannot be read: {0}")]
    Bus(#[from] BusError),
}

/// A running server. Dropping it leaves it running; [`Server::stop`] ends it.
pub struct Server {
    /// Where it listens; the real port when 0 was asked for.
    pub address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
    /// Ends with the server.
    sweeper: JoinHandle<()>,
}

impl Server {
    /// Takes no more requests, lets those under way end, and returns when all is closed.
    pub async fn stop(self) {
        self.sweeper.abort();
        self.handle.stop(true).await;
        // What it said at its end has been logged by itself.
        let _ = self.task.await;
    }

    /// Returns when the server has ended by itself.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Serves the API on `listen`. Returns once requests are taken.
///
/// # Errors
/// When the address is taken, or the bus cannot be reached.
pub async fn serve(listen: SocketAddr, parts: ApiParts) -> Result<Server, Error> {
    let failed = |source| Error::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let replies = Replies::start(parts.bus.clone(), parts.node).await?;
    let options = parts.options.clone();
    let commands = Commands::new(
        options.clone(),
        parts.log.clone(),
        parts.bus.clone(),
        parts.watermarks.clone(),
        replies,
    );
    let reservations = commands.reservations.clone();
    let api = web::Data::new(Api {
        commands,
        reading: Reading::new(parts.log.pool().clone()),
        shards: parts.bus.partitions().of(Topic::Commands),
        turns: super::as_of::Turns::new(),
        parts,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .wrap(from_fn(auth::identify))
            .wrap(from_fn(routes::observe))
            .configure(routes::configure)
    })
    .workers(usize::from(options.threads.max(1)))
    .shutdown_timeout(options.stop_timeout.as_secs())
    .client_request_timeout(Duration::from_secs(10))
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let task = crate::task::spawn("api.server", server);
    let sweeping = reservations.keep_swept(options.idempotency_sweep_interval);
    let sweeper = crate::task::spawn("api.sweeper", sweeping);
    Ok(Server {
        address,
        handle,
        task,
        sweeper,
    })
}
