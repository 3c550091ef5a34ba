//! The HTTP endpoint of a worker process: health, metrics, and the last lines of its tasks.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;
use tokio::sync::watch;

use super::recent_lines::{self, RecentLines};
use crate::api::{LISTEN, METRICS_LISTEN, Tls, bind};
use crate::config::ServerOptions;
use crate::telemetry::Telemetry;
use crate::worker::WorkerState;

type States = watch::Receiver<Option<WorkerState>>;

/// The running endpoint.
pub struct Endpoint {
    pub address: SocketAddr,
    /// By HTTPS.
    pub secured: bool,
    handles: Vec<ServerHandle>,
    lines: RecentLines,
    states: Arc<OnceLock<States>>,
    _tls: Option<Tls>,
}

impl Endpoint {
    /// Shows this worker's state from now on.
    pub fn show(&self, states: States) {
        self.states.get_or_init(|| states);
    }

    pub async fn stop(self) {
        self.lines.close();
        for handle in self.handles {
            handle.stop(true).await;
        }
    }
}

/// Serves `/health/live`, `/health/ready`, `/metrics` and `/internal/tail`; at `server.metrics_listen` all but the last, by
/// plain HTTP.
///
/// # Errors
/// When an address is taken, or a file of TLS cannot be used.
pub fn serve(options: &ServerOptions, telemetry: Telemetry, lines: RecentLines) -> anyhow::Result<Endpoint> {
    let tls = Tls::of(options)?;
    let (listener, address) = bind(options.listen, LISTEN)?;
    let scraped = options
        .metrics_listen
        .map(|listen| bind(listen, METRICS_LISTEN))
        .transpose()?;
    let open = Open {
        telemetry,
        states: Arc::default(),
    };
    let states = Arc::clone(&open.states);
    let following = web::Data::new(lines.clone());
    let scraped = scraped.map(|(listener, _)| {
        let open = open.clone();
        let server = HttpServer::new(move || App::new().configure(|routes| open.routes(routes)));
        Ok::<_, std::io::Error>(server.workers(1).disable_signals().listen(listener)?.run())
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&following))
            .app_data(recent_lines::limit())
            .route("/internal/tail", web::post().to(recent_lines::follow))
            .configure(|routes| open.routes(routes))
    })
    .workers(1)
    .disable_signals();
    let server = match &tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.config.clone())?,
        None => server.listen(listener)?,
    };
    let mut handles = Vec::new();
    for server in [Some(server.run()), scraped.transpose()?].into_iter().flatten() {
        handles.push(server.handle());
        crate::task::spawn("worker.endpoint", server);
    }
    Ok(Endpoint {
        address,
        secured: tls.is_some(),
        handles,
        lines,
        states,
        _tls: tls,
    })
}

/// What anybody may ask.
#[derive(Clone)]
struct Open {
    telemetry: Telemetry,
    states: Arc<OnceLock<States>>,
}

impl Open {
    fn routes(&self, routes: &mut web::ServiceConfig) {
        let (telemetry, states) = (self.telemetry.clone(), Arc::clone(&self.states));
        routes
            .route(
                "/health/live",
                web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "UP"})) }),
            )
            .route("/health/ready", web::get().to(move || ready(Arc::clone(&states))))
            .route(
                "/metrics",
                web::get().to(move || {
                    let text = telemetry.render();
                    async move {
                        HttpResponse::Ok()
                            .content_type("text/plain; version=0.0.4; charset=utf-8")
                            .body(text)
                    }
                }),
            );
    }
}

async fn ready(states: Arc<OnceLock<States>>) -> HttpResponse {
    let registered = states
        .get()
        .is_some_and(|states| states.borrow().is_some_and(|state| state.glance.registered));
    if registered {
        return HttpResponse::Ok().json(json!({"status": "READY", "waitingFor": []}));
    }
    HttpResponse::ServiceUnavailable().json(json!({"status": "WAITING", "waitingFor": ["the worker to register"]}))
}
