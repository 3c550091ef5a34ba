//! Starts the real things that tests run on, and ends them.

mod authority;
mod certificates;
mod guardian;
mod influx;
mod kafka;
mod metrics;
mod mounted;
mod node;
mod postgres;
mod python;
mod victoria;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::RngExt;

pub use authority::Authority;
pub use certificates::PASSWORD;
pub use influx::{InfluxDb, TOKEN};
pub use kafka::{Guarded, Kafka, Secured};
pub use metrics::counted;
pub use mounted::Mounted;
pub use node::{chromium, node, pages};
pub use postgres::Postgres;
pub use python::python;
pub use victoria::VictoriaLogs;

/// Shows the log lines of this process on stderr when `GRID_TEST_LOG` holds a filter.
pub fn show_log() {
    if let Ok(filter) = std::env::var("GRID_TEST_LOG") {
        let shown = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        // The first test of the process has done it for all.
        let _ = shown.try_init();
    }
}

/// A TCP port of 127.0.0.1 that was free a moment ago, and that this process has not been given before. Not one of those
/// that the kernel gives to outgoing connections: a server that is killed must find its port free again.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rand::rng().random_range(15_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Asks `condition` again and again until it gives a value; panics with `what` at the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As [`wait_for`], inside a runtime.
pub async fn eventually<T>(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The last lines of a log file, for the message of a panic.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
