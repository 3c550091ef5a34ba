//! What programs of tasks measure themselves: InfluxDB's line protocol by HTTP, to an address of this machine with a
//! secret of the attempt in its path (GRID_METRICS_URL).
//!
//! Must stay true: only who knows the secret of a running attempt is heard, and only for that attempt; all of it is bounded:
//! connections, bytes, lines, series and values; a worker without the address runs its tasks all the same.

mod line;
mod sink;

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::line::Precision;
use self::sink::{Refused, Sink};
use crate::metrics::{Points, Tags};

/// Bytes of one report, unpacked.
const MOST_BYTES: usize = 256 * 1024;
const MOST_CONNECTIONS: usize = 128;
/// How long a request's head may take, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(10);
/// What clients of InfluxDB say besides, which has no meaning here.
const IGNORED: [&str; 8] = ["org", "orgID", "bucket", "db", "rp", "consistency", "u", "p"];

/// By the SHA-256 of the secret, so that the time of looking one up tells nothing of it.
type Sinks = Mutex<HashMap<[u8; 32], Arc<Sink>>>;

/// Where attempts report; cheap to clone. Also nowhere.
#[derive(Clone, Default)]
pub struct Reported(Option<Arc<Inner>>);

struct Inner {
    /// Without the secret.
    base: String,
    points: Points,
    sinks: Arc<Sinks>,
    server: ServerHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Begins at once; its end is nobody's concern.
        drop(self.server.stop(false));
    }
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reported" } else { "Nowhere" })
    }
}

/// An attempt may report for as long as it has this.
pub struct Reporting {
    pub url: String,
    /// The part of it that nobody else may see.
    pub secret: String,
    key: [u8; 32],
    sinks: Arc<Sinks>,
}

impl Drop for Reporting {
    fn drop(&mut self) {
        lock(&self.sinks).remove(&self.key);
    }
}

fn lock(sinks: &Sinks) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<Sink>>> {
    sinks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Reported {
    /// Where nothing can be reported.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Listens on the loopback address, on a port that is free. Must be called on a thread of actix.
    pub(super) fn start(points: Points) -> Self {
        match Inner::start(points) {
            Ok(inner) => Self(Some(Arc::new(inner))),
            Err(error) => {
                tracing::warn!(%error, "worker.reported.not_listening");
                Self::nowhere()
            }
        }
    }

    /// Lets an attempt report, with the tags of its points.
    pub fn open(&self, tags: Tags) -> Option<Reporting> {
        let inner = self.0.as_ref()?;
        let secret = Uuid::new_v4().simple().to_string();
        let key = key(&secret);
        let sink = Sink::new(inner.points.clone(), tags);
        lock(&inner.sinks).insert(key, Arc::new(sink));
        Some(Reporting {
            url: format!("{}/{secret}", inner.base),
            secret,
            key,
            sinks: Arc::clone(&inner.sinks),
        })
    }
}

impl Inner {
    fn start(points: Points) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let base = format!("http://{}", listener.local_addr()?);
        let sinks: Arc<Sinks> = Arc::default();
        let known = web::Data::from(Arc::clone(&sinks));
        let server = HttpServer::new(move || {
            let post = || web::post().to(take);
            App::new()
                .app_data(known.clone())
                .app_data(web::PayloadConfig::new(MOST_BYTES))
                .route("/{secret}", post())
                .route("/{secret}/write", post())
                .route("/{secret}/api/v2/write", post())
                .default_service(web::to(|| async { unknown() }))
        })
        .workers(1)
        .max_connections(MOST_CONNECTIONS)
        .client_request_timeout(PATIENCE)
        .keep_alive(PATIENCE)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        crate::task::spawn("worker.reported", server);
        Ok(Self {
            base,
            points,
            sinks,
            server: handle,
        })
    }
}

/// As InfluxDB says it.
fn said(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"code": code, "message": message}))
}

fn unknown() -> HttpResponse {
    let message = "expected a POST of line protocol to GRID_METRICS_URL of an attempt that runs";
    said(StatusCode::NOT_FOUND, "not found", message)
}

fn invalid(message: &str) -> HttpResponse {
    said(StatusCode::BAD_REQUEST, "invalid", message)
}

/// The parameter `precision`; nanoseconds when it is not there.
fn precision(query: &str) -> Result<Precision, String> {
    let mut precision = Precision::Nanoseconds;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "precision" => precision = value.parse()?,
            name if IGNORED.contains(&name) => {}
            name => return Err(format!("the parameter {name} is unknown; there is precision")),
        }
    }
    Ok(precision)
}

async fn take(
    request: HttpRequest,
    sinks: web::Data<Sinks>,
    body: Result<web::Bytes, actix_web::Error>,
) -> HttpResponse {
    let secret = request.match_info().get("secret").unwrap_or_default();
    let sink = lock(&sinks).get(&key(secret)).cloned();
    let Some(sink) = sink else { return unknown() };
    let body = match body {
        Ok(body) => body,
        Err(error) if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("at most {MOST_BYTES} bytes are taken at a time");
            return said(StatusCode::PAYLOAD_TOO_LARGE, "request too large", &message);
        }
        Err(error) => return invalid(&error.to_string()),
    };
    let precision = match precision(request.query_string()) {
        Ok(precision) => precision,
        Err(message) => return invalid(&message),
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return invalid("the report is not UTF-8");
    };
    match sink.take(text, precision) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(Refused::Line(bad)) => {
            let message = format!("line {}: {}; nothing of the report was taken", bad.line, bad.why);
            HttpResponse::BadRequest().json(json!({"code": "invalid", "message": message, "line": bad.line}))
        }
        Err(Refused::Never(message)) => invalid(&message),
        Err(Refused::TooMuch(wait)) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            HttpResponse::TooManyRequests()
                .insert_header((header::RETRY_AFTER, seconds.to_string()))
                .json(json!({"code": "too many requests", "message": "this attempt reports too many values"}))
        }
    }
}
