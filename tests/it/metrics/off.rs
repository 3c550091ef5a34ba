//! A standalone that is told to measure nothing and to keep no lines.

use crate::cli::server::Standalone;
use crate::support::free_port;

const JOB: &str = r#"
tasks:
  - { externalId: fails, command: ["sh", "-c", "echo lost >&2; sleep 1.1; exit 3"], retry: { maxRetries: 0 } }
"#;

#[test]
fn nothing_is_measured_and_a_failure_still_has_its_last_lines() {
    let set = [
        "metrics.enabled=false",
        "worker.send_logs=false",
        "metrics.sample_interval=100ms",
    ];
    let mut standalone = Standalone::start_with(&set.map(|setting| ["--set", setting]).concat());
    standalone.write("job.yaml", JOB);
    let (_, submitted) = standalone.json(&["submit", "--wait", "job.yaml"]);
    let job = submitted["jobId"].as_str().unwrap();

    let tasks = standalone.get(&format!("/api/v1/jobs/{job}/tasks"));
    let failure = &tasks["items"][0]["failure"];
    assert_eq!(failure["exitCode"], 3, "{tasks:#}");
    assert_eq!(failure["lastLogLines"], serde_json::json!(["lost"]), "{tasks:#}");
    // It writes what waits when it ends; the next one shows all that was kept.
    let address = format!("127.0.0.1:{}", free_port());
    let flags = ["standalone", "--data-dir", "data", "--listen", &address];
    standalone.restart(&flags, &address);
    let found = standalone.get(&format!("/api/v1/logs/search?job_id={job}"));
    assert_eq!(found["lines"], serde_json::json!([]), "{found:#}");
    for metric in ["duration_seconds", "log_lines", "tasks_failed"] {
        let path = format!("/api/v1/metrics?metric={metric}&interval=1d&tag.job_id={job}");
        let answer = standalone.get(&path);
        assert_eq!(answer["dataPoints"], serde_json::json!([]), "{answer:#}");
    }
}
