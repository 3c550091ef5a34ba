//! The sections that belong to no single component, or whose component is the process itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::{Secret, Setting};
use crate::options;

/// The oldest major version of Postgres that Grid works with.
pub const OLDEST_POSTGRES: u32 = 15;

options! {
    /// Options of the HTTP server.
    pub struct ServerOptions {
        /// Address and port to serve on; port 0 takes a free one, told at start.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        /// URL under which others reach this server: the endpointUrl of its workers, and told by /api/v1/info.
        /// Default: made from `listen`.
        public_url: Option<String> = None,
        /// Certificate of the server (PEM, then those between it and its authority): serves HTTPS, a worker's endpoint too.
        /// Read again when it changes, and at SIGHUP.
        tls_cert: Option<PathBuf> = None,
        /// Its key (PEM).
        tls_key: Option<PathBuf> = None,
        /// Another address on which /metrics and /health are open, by plain HTTP: for a network of their own.
        metrics_listen: Option<SocketAddr> = None,
    }
}

options! {
    /// Options of `grid standalone`.
    pub struct StandaloneOptions {
        /// The folder that holds everything: the private Postgres and the files of the workers. One process at a time.
        data_dir: PathBuf = "grid-data".into(),
        /// How many workers to run inside the process.
        workers: u16 = 1,
    }
}

options! {
    /// Options of the connections to Postgres, and of the private server of standalone.
    pub struct PostgresOptions {
        /// URL of the service role (postgres://user:password@host/database). Without it, standalone runs a private
        /// server in its data folder.
        url: Option<Secret> = None,
        /// URL of the owner of the tables, used by `grid migrate` alone. Default: `url`.
        owner_url: Option<Secret> = None,
        /// Folder with the server's programs (initdb, postgres) for the private server. Default: the newest found
        /// under /usr/lib/postgresql, on PATH or by pg_config.
        bin_dir: Option<PathBuf> = None,
        /// Most connections of this process.
        max_connections: u32 = 10,
        /// How long to wait for a connection.
        connect_timeout: Duration = Duration::from_secs(10),
        /// How long a statement may run.
        statement_timeout: Duration = Duration::from_secs(30),
        /// How long a statement may wait for a lock.
        lock_timeout: Duration = Duration::from_secs(10),
    }
}

options! {
    /// How jobs are divided.
    pub struct ShardsOptions {
        /// Number of shards, and of partitions of the commands and reports. Fixed at the first `grid migrate`.
        count: u16 = 64,
    }
}

options! {
    /// Options of the log of the process.
    pub struct LogOptions {
        /// How lines look on stderr.
        format: LogFormat = LogFormat::Human,
        /// Which lines: a level, or target=level,…
        filter: String = "info,actix_server=warn,sqlx=error".into(),
    }
}

options! {
    /// Options of traces.
    pub struct TracingOptions {
        /// Address of a collector that takes spans over OTLP (HTTP, protobuf), without /v1/traces; without one nothing is
        /// traced.
        otlp_endpoint: Option<String> = None,
        /// The longest time that handing spans over may take.
        timeout: Duration = Duration::from_secs(5),
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    fn expected() -> String {
        "human or json".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("human") => Ok(Self::Human),
            Some("json") => Ok(Self::Json),
            found => Err(format!("found {found:?}, expected {}", Self::expected())),
        }
    }
    fn show(&self) -> serde_json::Value {
        match self {
            Self::Human => "human".into(),
            Self::Json => "json".into(),
        }
    }
}
