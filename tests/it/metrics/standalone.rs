//! What real jobs leave behind, on a real `grid standalone`.

use std::time::Duration;

use grid::metrics::{METRICS, Measurement};
use serde_json::Value;

use crate::cli::server::Standalone;
use crate::support::{InfluxDb, TOKEN, wait_for};

/// The busy one runs for longer than from one heartbeat to the next, with which the worker is measured.
const JOB: &str = r#"
tasks:
  - externalId: numbers
    replicas: 2
    dag:
      - { id: in, commandName: generatesource, config: { count: 1000 }, outputs: [even] }
      - { id: even, commandName: filter, config: { condition: "to_int!(.index) < 500" }, outputs: [out] }
      - { id: out, commandName: filesink, config: { path: "even-${REPLICA_INDEX}.ndjson" }, outputs: [] }
  - externalId: busy
    command: ["sh", "-c", "echo one; echo two; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; sleep 5"]
  - { externalId: nothing, executor: noop }
"#;

/// The sum of a metric of the job, with any of these tags, over all of the last hour.
fn sum(standalone: &Standalone, job: &str, metric: &str, more: &str) -> f64 {
    let path = format!("/api/v1/metrics?metric={metric}&aggregation=sum&interval=2h&tag.job_id={job}{more}");
    values(standalone, &path).iter().sum()
}

fn values(standalone: &Standalone, path: &str) -> Vec<f64> {
    let answer = standalone.get(path);
    let points = answer["dataPoints"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    points.iter().map(|point| point["value"].as_f64().unwrap()).collect()
}

#[test]
fn points_add_up_to_what_a_job_did() {
    points_add_up(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_add_up_in_influxdb_too() {
    let Some(influx) = InfluxDb::shared() else { return };
    let bucket = influx.bucket("standalone").await;
    let settings = [
        format!("influxdb.url={}", influx.url),
        format!("influxdb.bucket={bucket}"),
        format!("influxdb.token={TOKEN}"),
    ];
    let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    tokio::task::block_in_place(|| points_add_up(&flags));
    let all = influx
        .flux(&format!(
            "from(bucket: \"{bucket}\") |> range(start: -1h) |> group(columns: [\"_measurement\"]) |> count()"
        ))
        .await;
    for measurement in ["task_metrics", "worker_metrics", "job_metrics", "system_metrics"] {
        assert!(all.contains(measurement), "{measurement}: {all}");
    }
}

fn points_add_up(more: &[&str]) {
    let standalone = Standalone::start_with(&[&["--set", "metrics.sample_interval=300ms"], more].concat());
    standalone.write("job.yaml", JOB);
    let (code, submitted) = standalone.json(&["submit", "--wait", "job.yaml"]);
    assert_eq!(code, 0, "{submitted:#}");
    let job = submitted["jobId"].as_str().unwrap();

    wait_for("the last points", Duration::from_secs(30), || {
        let done = values(
            &standalone,
            &format!("/api/v1/metrics?metric=tasks_completed&aggregation=max&interval=1d&tag.job_id={job}"),
        );
        (done.iter().copied().fold(0.0, f64::max) >= 4.0
            && sum(&standalone, job, "input_events", "") >= 1_000.0
            && sum(&standalone, job, "log_lines", "") >= 2.0)
            .then_some(())
    });
    let sum = |metric, more| sum(&standalone, job, metric, more);
    assert_eq!(sum("input_events", ""), 1_000.0);
    assert_eq!(sum("output_events", ""), 500.0);
    assert_eq!(sum("errors", ""), 0.0);
    assert_eq!(sum("node_input_events", "&tag.node_id=even"), 1_000.0);
    assert_eq!(sum("node_output_events", "&tag.command_name=filter"), 500.0);
    let written = ["even-0.ndjson", "even-1.ndjson"].map(|name| {
        let file = standalone.path().join("data/files").join(name);
        std::fs::metadata(file).unwrap().len() as f64
    });
    assert_eq!(sum("output_bytes", ""), written.iter().sum::<f64>());
    assert_eq!((sum("log_lines", ""), sum("log_bytes", "")), (2.0, 8.0));
    let cpu = sum("cpu_seconds", "");
    assert!(cpu > 0.0 && cpu < 20.0, "{cpu}");
    let of_job = |metric: &str| {
        values(
            &standalone,
            &format!("/api/v1/metrics?metric={metric}&aggregation=max&interval=1d&tag.job_id={job}"),
        )
    };
    assert!(
        of_job("rss_bytes").iter().all(|bytes| *bytes > 100_000.0),
        "{:?}",
        of_job("rss_bytes")
    );
    let longest = of_job("duration_seconds").into_iter().fold(0.0, f64::max);
    assert!((1.0..60.0).contains(&longest), "{longest}");
    let tasks = standalone.get(&format!(
        "/api/v1/metrics?metric=duration_seconds&interval=1d&tag.job_id={job}"
    ));
    assert_eq!(
        tasks["dataPoints"].as_array().unwrap().len(),
        3,
        "a no-op leaves no point: {tasks:#}"
    );
    assert!(of_job("processing_seconds").iter().all(|seconds| *seconds >= 1.0));
    assert!(of_job("job_throughput").iter().any(|rate| *rate > 0.0));
    of_the_cluster(&standalone);
    of_its_parts(&standalone);
    super::prometheus::the_answer_is_well_formed_and_in_the_page(&standalone);
}

fn of_the_cluster(standalone: &Standalone) {
    let value = |metric: &str| {
        let path = format!("/api/v1/metrics?metric={metric}&aggregation=max&interval=1d");
        let answer: Value = standalone.get(&path);
        answer["dataPoints"][0]["value"]
            .as_f64()
            .unwrap_or_else(|| panic!("{metric}: {answer:#}"))
    };
    assert_eq!(value("worker_capacity"), 4.0);
    assert!(value("worker_running") >= 1.0);
    assert!(value("worker_memory_bytes") > 1_000_000.0);
    assert!(value("process_memory_bytes") > 1_000_000.0);
    assert!(value("process_cpu_cores") > 0.0);
    assert!(value("disk_free_bytes") > 1_000_000.0);
    assert_eq!(value("dropped_points"), 0.0);
}

/// Every metric of the process is there, and those of a healthy one tell that it is.
fn of_its_parts(standalone: &Standalone) {
    let highest = |metric: &str| {
        let path = format!("/api/v1/metrics?metric={metric}&aggregation=max&interval=1d");
        values(standalone, &path).into_iter().reduce(f64::max)
    };
    let system = METRICS
        .iter()
        .filter(|metric| metric.measurement == Measurement::System);
    let missing: Vec<_> = system
        .filter(|metric| highest(metric.name).is_none())
        .map(|metric| metric.name)
        .collect();
    assert_eq!(
        missing,
        ["publish_queue_bytes", "publish_lag_events"],
        "without Kafka nothing is published"
    );
    let highest = |metric: &str| highest(metric).unwrap();
    assert!(highest("uptime_seconds") > 5.0);
    assert!(highest("commits") >= 1.0);
    let (mean, high) = (highest("commit_latency_seconds"), highest("commit_latency_p99_seconds"));
    assert!(mean > 0.0 && mean < 60.0 && high > 0.0 && high <= 60.0, "{mean} {high}");
    for metric in [
        "dropped_lines",
        "stopped_shards",
        "panics",
        "journal_restarts",
        "postgres_restarts",
    ] {
        assert_eq!(highest(metric), 0.0, "{metric}");
    }
}
