//! The metrics of this process. All tests share them, so only their rise tells something.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The value of the sample whose line begins with `sample`; 0 when there is none. Only what happens after the first
/// call is counted.
pub fn counted(sample: &str) -> f64 {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap());
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(sample));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
