//! What a process tells of itself: log lines on stderr, and metrics in Prometheus's text.
//!
//! Must stay true: stdout belongs to results; a log line is an event with a stable dotted name as its message and ids as
//! fields; a panic is a log line like any other; the samples of histograms are drained also when nobody scrapes.

mod page;
mod process;
mod reading;
mod trace;

pub use process::Usage;
pub use reading::{Histogram, Reading};
pub use trace::{Span, SpanKind, Tracing};

use std::backtrace::Backtrace;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogFormat, LogOptions, TracingOptions};

/// How often the samples of histograms are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Latencies: 0.25 ms to 60 s.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
/// Sizes and counts: powers of four from 1 to 16 Mi.
const SIZES: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
];

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log.filter {filter:?} is not a filter (a level, or target=level,…): {source}")]
    Filter { filter: String, source: ParseError },
    #[error("a log is set up already: {0}")]
    Log(#[from] TryInitError),
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] BuildError),
    #[error("tracing.otlp_endpoint cannot be used: {0}")]
    Tracing(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("cannot start the thread that drains the metrics: {0}")]
    Upkeep(#[from] std::io::Error),
}

/// Renders the metrics; cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    started: Instant,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

/// Sets up log, panic hook and metrics of this process: once, before anything else runs.
///
/// # Errors
/// The filter cannot be read, or some of it is set up already.
pub fn start(options: &LogOptions) -> Result<Telemetry, Error> {
    start_log(options)?;
    std::panic::set_hook(Box::new(log_panic));
    let metrics = recorder()?.install_recorder()?;
    describe();
    let telemetry = Telemetry {
        metrics,
        started: Instant::now(),
    };
    let upkeep = telemetry.metrics.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        })?;
    Ok(telemetry)
}

/// Tells spans to a collector, when the options name one: once, before a runtime is made.
///
/// # Errors
/// What is wrong with its address.
pub fn start_tracing(options: &TracingOptions) -> Result<Tracing, Error> {
    Ok(trace::start(options)?)
}

impl Telemetry {
    /// All metrics in Prometheus's text format, version 0.0.4; those of the process are read now.
    pub fn render(&self) -> String {
        let mut text = self.metrics.render();
        process::render(&mut text, self.started.elapsed());
        text
    }

    /// The same, to be read in this process.
    pub fn read(&self) -> Reading {
        Reading::of(&self.metrics.render())
    }

    /// How long this process has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

fn start_log(options: &LogOptions) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|source| Error::Filter {
        filter: options.filter.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A closed stderr must not make a server fail, nor talk about it.
        .log_internal_errors(false);
    match options.format {
        LogFormat::Human => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).finish().try_init()?;
        }
        LogFormat::Json => {
            lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish()
                .try_init()?;
        }
    }
    Ok(())
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(SIZES)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
}

fn describe() {
    page::describe();
    gauge!("grid_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    counter!("grid_panics_total").absolute(0);
}

/// A panic as a log line with fields, instead of text on stderr.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    counter!("grid_panics_total").increment(1);
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        location,
        what = text.unwrap_or("(no text)"),
        backtrace = %Backtrace::force_capture(),
        "process.panicked"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_help_and_fitting_buckets() {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("grid_test_commit_seconds").record(0.003);
            metrics::histogram!("grid_test_commit_events").record(300.0);
        });
        let text = Telemetry {
            metrics: handle,
            started: Instant::now(),
        }
        .render();
        for line in [
            "# HELP grid_panics_total Panics, caught or not.",
            "grid_panics_total 0",
            "grid_test_commit_seconds_bucket{le=\"0.002\"} 0",
            "grid_test_commit_seconds_bucket{le=\"0.004\"} 1",
            "grid_test_commit_events_bucket{le=\"256\"} 0",
            "grid_test_commit_events_bucket{le=\"1024\"} 1",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        assert!(text.contains("grid_build_info{version=\""));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let options = LogOptions {
            filter: "grid=loud".to_owned(),
            ..LogOptions::default()
        };
        let refused = start_log(&options).unwrap_err().to_string();
        assert!(refused.contains("log.filter \"grid=loud\""), "{refused}");
    }
}
