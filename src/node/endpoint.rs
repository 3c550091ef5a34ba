//! The HTTP endpoint of a worker process: health, metrics, and the last lines of its tasks.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use serde_json::json;
use tokio::sync::watch;

use super::recent_lines::{self, RecentLines};
use crate::api::Tls;
use crate::config::ServerOptions;
use crate::telemetry::Telemetry;
use crate::worker::WorkerState;

type States = watch::Receiver<Option<WorkerState>>;

/// The running endpoint.
pub struct Endpoint {
    pub address: SocketAddr,
    /// By HTTPS.
    pub secured: bool,
    handle: ServerHandle,
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
        self.handle.stop(true).await;
    }
}

/// Serves `/health/live`, `/health/ready`, `/metrics` and `/internal/tail`.
///
/// # Errors
/// When the address is taken, or a file of TLS cannot be used.
pub fn serve(options: &ServerOptions, telemetry: Telemetry, lines: RecentLines) -> anyhow::Result<Endpoint> {
    let (listen, tls) = (options.listen, Tls::of(options)?);
    let listener = TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen}; choose another with --listen"))?;
    let address = listener.local_addr()?;
    let states: Arc<OnceLock<States>> = Arc::default();
    let shown = Arc::clone(&states);
    let following = web::Data::new(lines.clone());
    let server = HttpServer::new(move || {
        let (telemetry, states) = (telemetry.clone(), Arc::clone(&shown));
        App::new()
            .app_data(web::Data::clone(&following))
            .app_data(recent_lines::limit())
            .route("/internal/tail", web::post().to(recent_lines::follow))
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
            )
    })
    .workers(1)
    .disable_signals();
    let server = match &tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.config.clone())?,
        None => server.listen(listener)?,
    };
    let server = server.run();
    let handle = server.handle();
    crate::task::spawn("worker.endpoint", server);
    Ok(Endpoint {
        address,
        secured: tls.is_some(),
        handle,
        lines,
        states,
        _tls: tls,
    })
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
