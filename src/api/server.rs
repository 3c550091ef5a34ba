//! The HTTP servers around the API: the one for all; when that one is secured, one on a loopback address for the workers
//! of this process; and on request one for metrics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

use super::auth::Gate;
use super::graphql::{GraphqlState, remember};
use super::live::Rows;
use super::replies::Replies;
use super::routes::Offer;
use super::tls::{Tls, TlsError};
use super::{Api, ApiOptions, ApiParts, Commands, auth, routes};
use crate::bus::{BusError, Topic};
use crate::config::ServerOptions;
use crate::letters::{Letters, Limits};
use crate::projection::Reading;

/// How long a connection lasts after the last answer, until the other side has read it or has sent the rest of what it
/// began: long enough for a slow client of a WebSocket to read why it is dropped, which comes after all that was sent
/// before; not so long that many who never end hold many connections.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// What names the addresses.
pub const LISTEN: &str = "--listen";
pub const METRICS_LISTEN: &str = "server.metrics_listen";

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}; {}{option}", advice(source))]
    Listen {
        address: SocketAddr,
        /// What says so.
        option: &'static str,
        source: io::Error,
    },
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    #[error("answers of shards cannot be read: {0}")]
    Bus(#[from] BusError),
    #[error("{0}")]
    Tls(#[from] TlsError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there (ss -ltnp says which): end it, or choose another address with "
        }
        io::ErrorKind::AddrNotAvailable => "it is no address of this machine: choose another with ",
        io::ErrorKind::PermissionDenied => "only root has ports below 1024: choose another with ",
        _ => "choose another address with ",
    }
}

/// A running server. Dropping it leaves it running; [`Server::stop`] ends it.
pub struct Server {
    /// Where it listens; the real port when 0 was asked for.
    pub address: SocketAddr,
    /// Whether it is served by HTTPS.
    pub secured: bool,
    /// Where the workers of this process find it, by plain HTTP.
    pub workers_address: SocketAddr,
    /// Where metrics are open.
    pub metrics_address: Option<SocketAddr>,
    /// Tells streams, which have no end of their own, to end.
    ending: watch::Sender<bool>,
    main: Running,
    others: Vec<Running>,
    /// Ends with the server.
    sweeper: JoinHandle<()>,
    _tls: Option<Tls>,
}

struct Running {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Takes no more requests, lets those under way end, and returns when all is closed.
    pub async fn stop(self) {
        self.ending.send_replace(true);
        self.sweeper.abort();
        let all: Vec<Running> = std::iter::once(self.main).chain(self.others).collect();
        futures::future::join_all(all.iter().map(|one| one.handle.stop(true))).await;
        for one in all {
            // What it said at its end has been logged by itself.
            let _ = one.task.await;
        }
    }

    /// Returns when the server has ended by itself.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.main.task)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Serves the API on `listen`. Returns once requests are taken.
///
/// # Errors
/// When an address is taken, a file of TLS cannot be used, or the bus cannot be reached.
pub async fn serve(listen: SocketAddr, parts: ApiParts) -> Result<Server, Error> {
    let server = &parts.server;
    let tls = Tls::of(server)?;
    let (listener, address) = bind(listen, LISTEN)?;
    let inner =
        (tls.is_some() && parts.inner_workers).then(|| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), LISTEN));
    let inner = inner.transpose()?;
    let scraped = server
        .metrics_listen
        .map(|address| bind(address, METRICS_LISTEN))
        .transpose()?;
    let replies = Replies::start(parts.bus.clone(), parts.node).await?;
    let (gate, options) = (web::Data::new(Gate::new(&parts, address)), parts.options.clone());
    let (ending, told) = watch::channel(false);
    let api = Arc::new(api(parts, replies));
    let app = Served {
        graphql: web::Data::new(GraphqlState::new(Arc::clone(&api), gate.clone().into_inner(), told)),
        api: web::Data::from(api),
        gate,
        options,
    };
    let reservations = app.api.commands.reservations.clone();
    let main = app.start("api.server", listener, tls.as_ref(), Offer::All)?;
    let (workers_address, metrics_address) = (
        inner
            .as_ref()
            .map_or_else(|| from_here(address), |(_, address)| *address),
        scraped.as_ref().map(|(_, address)| *address),
    );
    let mut others = Vec::new();
    if let Some((listener, _)) = inner {
        others.push(app.start("api.inner_server", listener, None, Offer::Workers)?);
    }
    if let Some((listener, _)) = scraped {
        others.push(app.start_metrics(listener)?);
    }
    let sweeping = reservations.keep_swept(app.options.idempotency_sweep_interval);
    Ok(Server {
        address,
        sweeper: crate::task::spawn("api.sweeper", sweeping),
        secured: tls.is_some(),
        workers_address,
        metrics_address,
        ending,
        main,
        others,
        _tls: tls,
    })
}

/// Whether the addresses that the options name can be listened on; before anything else is begun for nothing.
///
/// # Errors
/// When one is taken, or is not of this machine.
pub fn can_listen(options: &ServerOptions) -> Result<(), Error> {
    // Nobody connects, so that they are free again at once.
    drop(bind(options.listen, LISTEN)?);
    options
        .metrics_listen
        .map_or(Ok(()), |address| bind(address, METRICS_LISTEN).map(drop))
}

/// How this process reaches it.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Listens on the address that an option names; gives the real port when 0 was asked for.
///
/// # Errors
/// When it is taken, or is not of this machine.
pub fn bind(address: SocketAddr, option: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen {
        address,
        option,
        source,
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn api(parts: ApiParts, replies: Replies) -> Api {
    let reading = Reading::new(parts.log.pool().clone());
    Api {
        commands: Commands::new(
            (parts.options.clone(), Arc::clone(&parts.trouble)),
            parts.log.clone(),
            parts.bus.clone(),
            parts.watermarks.clone(),
            replies,
        ),
        rows: Rows::start(reading.clone(), parts.watermarks.clone()),
        reading,
        letters: Letters::new(
            parts.log.pool().clone(),
            Limits {
                letters: u64::from(parts.options.dead_letters_per_job),
                bytes: parts.options.dead_letter_bytes_per_job,
            },
        ),
        shards: parts.bus.partitions().of(Topic::Commands),
        turns: super::as_of::Turns::new(),
        parts,
        checkpoint_key: OnceCell::new(),
    }
}

/// What every server serves.
struct Served {
    api: web::Data<Api>,
    graphql: web::Data<GraphqlState>,
    gate: web::Data<Gate>,
    options: ApiOptions,
}

impl Served {
    fn start(&self, name: &'static str, listener: TcpListener, tls: Option<&Tls>, offer: Offer) -> io::Result<Running> {
        let (api, gate, options) = (self.api.clone(), self.gate.clone(), &self.options);
        let graphql = self.graphql.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(api.clone())
                .app_data(graphql.clone())
                .app_data(gate.clone())
                .wrap(from_fn(auth::identify))
                .wrap(from_fn(auth::admit_page))
                .wrap(from_fn(routes::observe))
                .configure(move |config| routes::configure(config, offer))
        })
        .workers(usize::from(options.threads.max(1)))
        .max_connections(options.max_connections.max(1) as usize)
        .shutdown_timeout(options.stop_timeout.as_secs())
        .on_connect(remember)
        .client_request_timeout(options.header_timeout)
        .client_disconnect_timeout(LAST_WORDS)
        .tls_handshake_timeout(options.header_timeout)
        .disable_signals();
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls.config.clone())?,
            None => server.listen(listener)?,
        };
        let server = server.run();
        Ok(Running {
            handle: server.handle(),
            task: crate::task::spawn(name, server),
        })
    }

    fn start_metrics(&self, listener: TcpListener) -> io::Result<Running> {
        let (api, gate, options) = (self.api.clone(), self.gate.clone(), &self.options);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(api.clone())
                .app_data(gate.clone())
                .wrap(from_fn(auth::admit_scraper))
                .configure(move |config| routes::configure(config, Offer::Metrics))
        })
        .workers(1)
        .shutdown_timeout(options.stop_timeout.as_secs())
        .client_request_timeout(options.header_timeout)
        .disable_signals()
        .listen(listener)?
        .run();
        Ok(Running {
            handle: server.handle(),
            task: crate::task::spawn("api.metrics_server", server),
        })
    }
}
