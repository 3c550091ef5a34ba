//! A jobmaster and a worker as processes of their own, over Kafka: what they write to one InfluxDB, and the trace of a
//! call through both.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::collector::{Collector, Told};
use crate::cli::run;
use crate::cli::server::Standalone as Process;
use crate::support::{InfluxDb, Kafka, Postgres, TOKEN, free_port, wait_for};

const DEADLINE: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(30);

const JOB: &str = r#"
tasks:
  - externalId: numbers
    dag:
      - { id: in, commandName: generatesource, config: { count: 1000 }, outputs: [out] }
      - { id: out, commandName: filesink, config: { path: "all.ndjson" }, outputs: [] }
  - externalId: reports
    command: ["sh", "-c", "echo one; curl -sS --fail --data-binary 'm v=7' $GRID_METRICS_URL; sleep 1.2"]
"#;

fn values(jobmaster: &Process, question: &str) -> Vec<(Value, f64)> {
    let answer = jobmaster.get(&format!("/api/v1/metrics?interval=1d&{question}"));
    let points = answer["dataPoints"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    let value = |point: &Value| (point["tags"].clone(), point["value"].as_f64().unwrap());
    points.iter().map(value).collect()
}

/// How a process is started.
struct Role {
    flags: Vec<String>,
    address: String,
}

impl Role {
    fn new(name: &str, flags: &[&str], more: &[String]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let more: Vec<&str> = more.iter().flat_map(|setting| ["--set", setting]).collect();
        let own = ["--name", name, "--listen", &address];
        let flags = [flags, &own, &more].concat();
        Self {
            flags: flags.into_iter().map(str::to_owned).collect(),
            address,
        }
    }

    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    fn start(&self) -> Process {
        let process = Process::spawned(Process::folder(), &self.flags(), &self.address);
        process.await_line("node.serving", DEADLINE);
        process
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_of_its_own_measures_is_asked_of_a_jobmaster() {
    let Some(influx) = InfluxDb::shared() else { return };
    let bucket = influx.bucket("cluster").await;
    let settings = [
        format!("influxdb.url={}", influx.url),
        format!("influxdb.bucket={bucket}"),
        format!("influxdb.token={TOKEN}"),
        "metrics.sample_interval=300ms".to_owned(),
        "metrics.idle_interval=1s".to_owned(),
    ];
    tokio::task::block_in_place(|| {
        let cluster = Cluster::start(&settings);
        let job = cluster.run();
        points_of_the_job_add_up(&cluster.jobmaster, &job);
        each_process_tells_of_its_parts(&cluster.jobmaster);
        let shown = |path: &str| {
            let url = format!("http://{}{path}", cluster.scraped);
            Command::new("curl").args(["-sS", "--fail", &url]).output().unwrap()
        };
        let told = String::from_utf8(shown("/metrics").stdout).unwrap();
        assert!(told.contains("grid_build_info"), "{told}");
        assert!(shown("/health/ready").status.success());
        assert!(
            !shown("/internal/tail").status.success(),
            "lines are shown to nobody there"
        );
    });
}

#[test]
fn a_call_is_followed_to_the_execution_of_its_tasks() {
    let collector = Collector::start();
    let cluster = Cluster::start(&[
        format!("tracing.otlp_endpoint={}", collector.url),
        "metrics.enabled=false".to_owned(),
    ]);
    let document = r#"{"tasks": [{"externalId": "a", "replicas": 2, "command": ["sh", "-c", "echo $TRACEPARENT"]}]}"#;
    let job = cluster.submit_within("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", document);
    let of_trace = || collector.of("0af7651916cd43dd8448eb211c80319c");
    let spans = wait_for("all spans of the call", SOON, || {
        let spans = of_trace();
        (spans.iter().filter(|span| span.name == "execute task").count() == 2 && spans.len() >= 7).then_some(spans)
    });
    let named = |name: &str| -> Vec<&Told> { spans.iter().filter(|span| span.name == name).collect() };
    let one = |name: &str| match named(name).as_slice() {
        [span] => (*span).clone(),
        found => panic!("{name}: {found:#?} of {spans:#?}"),
    };
    let (call, command, commit) = (one("POST /api/v1/jobs"), one("command"), one("commit"));
    assert_eq!(call.parent, "b7ad6b7169203331");
    assert_eq!((&command.parent, &commit.parent), (&call.id, &command.id));
    assert_eq!(call.attributes["http.response.status_code"], "201");
    assert_eq!(command.attributes["grid.command"], "SubmitJob");
    let (assigned, executed) = (named("assign task"), named("execute task"));
    assert_eq!((assigned.len(), executed.len(), spans.len()), (2, 2, 7), "{spans:#?}");
    for execution in &executed {
        let assignment = assigned.iter().find(|span| span.id == execution.parent);
        let assignment = assignment.unwrap_or_else(|| panic!("{execution:?} is under none of {assigned:?}"));
        assert_eq!(assignment.parent, commit.id);
        let task = &execution.attributes["grid.task_id"];
        assert_eq!(&assignment.attributes["grid.task_id"], task);
        assert!(
            task.starts_with(&format!("task-{}", job.trim_start_matches("job-"))),
            "{task}"
        );
        assert_eq!(execution.attributes["grid.worker_id"], "worker-afar");
        assert_ne!(execution.process, call.process, "the worker is another process");
        assert!(assignment.begun >= commit.begun && execution.begun >= assignment.begun);
    }
    assert_ne!(executed[0].parent, executed[1].parent);
    for span in [&command, &commit].into_iter().chain(assigned) {
        assert_eq!(span.process, call.process, "{span:?}");
    }
    assert!(commit.ended <= command.ended && command.ended <= call.ended);
    let mut known: Vec<String> = executed
        .iter()
        .map(|span| format!("00-{}-{}-01", span.trace, span.id))
        .collect();
    known.sort();
    let found = wait_for("what the programs know of it", SOON, || {
        let found = cluster.jobmaster.get(&format!("/api/v1/logs/search?job_id={job}"));
        let lines = found["lines"].as_array().unwrap().iter();
        let mut lines: Vec<_> = lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect();
        lines.sort();
        (lines.len() == 2).then_some(lines)
    });
    assert_eq!(found, known);
}

#[test]
fn a_later_attempt_is_in_the_trace_of_its_job_when_the_shard_was_loaded_anew() {
    let collector = Collector::start();
    let mut cluster = Cluster::start(&[
        format!("tracing.otlp_endpoint={}", collector.url),
        "metrics.enabled=false".to_owned(),
    ]);
    let document = r#"{"tasks": [{"externalId": "a", "retry": {"baseSeconds": 3600},
        "command": ["sh", "-c", "test $GRID_ATTEMPT = 2"]}]}"#;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let job = cluster.submit_within(&format!("00-{trace}-00f067aa0ba902b7-01"), document);
    let path = format!("/api/v1/jobs/{job}");
    wait_for("the retry is waited for", SOON, || {
        (cluster.jobmaster.get(&path)["retriesPending"] == 1).then_some(())
    });
    cluster.restart_jobmaster();
    let task = format!("task-{}-1", job.trim_start_matches("job-"));
    let (code, _, err) = cluster.jobmaster.run(&["retries", "bring-forward", &task]);
    assert_eq!(code, 0, "{err}");
    wait_for("the job is finished", SOON, || {
        (cluster.jobmaster.get(&path)["status"] == "COMPLETED").then_some(())
    });
    let spans = wait_for("both executions", SOON, || {
        let spans = collector.of(trace);
        (spans.iter().filter(|span| span.name == "execute task").count() == 2).then_some(spans)
    });
    let command = spans.iter().find(|span| span.name == "command").unwrap();
    let by_attempt = |attempt: &str| {
        let of_attempt = |span: &&Told| {
            span.attributes
                .get("grid.attempt")
                .is_some_and(|found| found == attempt)
        };
        let execution = spans.iter().find(of_attempt).unwrap();
        wait_for("its assignment", SOON, || {
            collector.of(trace).into_iter().find(|span| span.id == execution.parent)
        })
    };
    let (first, second) = (by_attempt("1"), by_attempt("2"));
    assert_ne!(second.process, first.process, "the shard was loaded by another process");
    assert_eq!((&second.name, &second.parent), (&first.name, &command.id), "{spans:#?}");
}

struct Cluster {
    jobmaster: Process,
    role: Role,
    /// Where the worker shows what it tells Prometheus, to a network of its own.
    scraped: String,
    _worker: Process,
}

impl Cluster {
    fn start(more: &[String]) -> Self {
        let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
        let database = postgres.fresh_database();
        let topics = format!("kafka.topic_prefix={}", kafka.fresh_prefix());
        let brokers = format!("kafka.brokers={}", kafka.brokers());
        let folder = Process::folder();
        let migrate = [
            "migrate",
            "--shards",
            "4",
            "--postgres",
            &database,
            "--set",
            &topics,
            "--set",
            &brokers,
        ];
        let (code, _, err) = run(folder.path(), &migrate);
        assert_eq!(code, 0, "{err}");
        let settings = [topics, brokers, "worker.api_token=of-the-test".to_owned()];
        let settings = [&settings[..], more].concat();
        // As the service role: the owner may change the log, and is refused.
        let database = database.replace("//postgres@", "//grid@");
        let role = Role::new("measured", &["jobmaster", "--postgres", &database], &settings);
        let jobmaster = role.start();
        let worker = ["worker", "--data-dir", "data", "--api", &jobmaster.url];
        let scraped = format!("127.0.0.1:{}", free_port());
        let settings = [settings, vec![format!("server.metrics_listen={scraped}")]].concat();
        let worker = Role::new("afar", &worker, &settings).start();
        Self {
            jobmaster,
            role,
            scraped,
            _worker: worker,
        }
    }

    fn restart_jobmaster(&mut self) {
        self.jobmaster.restart(&self.role.flags(), &self.role.address);
    }

    /// Submits a job within a trace; gives its id.
    fn submit_within(&self, traceparent: &str, document: &str) -> String {
        let content_type = "content-type: application/json";
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "-d", document, "-H", content_type])
            .args(["-H", &format!("traceparent: {traceparent}")])
            .arg(format!("{}/api/v1/jobs", self.jobmaster.url))
            .output()
            .unwrap();
        let job: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        job["jobId"].as_str().unwrap().to_owned()
    }

    /// Runs the job to its end; gives its id.
    fn run(&self) -> String {
        self.jobmaster.write("job.yaml", JOB);
        let (code, job) = self.jobmaster.json(&["submit", "--wait", "job.yaml"]);
        assert_eq!(code, 0, "{job:#}");
        job["jobId"].as_str().unwrap().to_owned()
    }
}

fn points_of_the_job_add_up(jobmaster: &Process, job: &str) {
    let sum = |metric: &str| -> f64 {
        let found = values(jobmaster, &format!("metric={metric}&aggregation=sum&tag.job_id={job}"));
        for (tags, _) in &found {
            assert_eq!(tags["worker_id"], "worker-afar", "{found:?}");
        }
        found.iter().map(|(_, value)| value).sum()
    };
    wait_for("all points of the job", SOON, || {
        (sum("input_events") >= 1_000.0 && sum("log_lines") >= 1.0 && sum("reported") >= 7.0).then_some(())
    });
    assert_eq!((sum("input_events"), sum("output_events")), (1_000.0, 1_000.0));
    assert_eq!((sum("log_lines"), sum("reported")), (1.0, 7.0));
    wait_for("the job's own points", SOON, || {
        let done = values(
            jobmaster,
            &format!("metric=tasks_completed&aggregation=max&tag.job_id={job}"),
        );
        done.iter().any(|(_, value)| *value >= 2.0).then_some(())
    });
    let capacity = values(jobmaster, "metric=worker_capacity&aggregation=max");
    assert_eq!(capacity.len(), 1, "{capacity:?}");
}

fn each_process_tells_of_its_parts(jobmaster: &Process) {
    let tellers = |metric: &str| -> BTreeSet<String> {
        let found = values(jobmaster, &format!("metric={metric}&aggregation=max"));
        let component = |(tags, _): &(Value, f64)| tags["component"].as_str().unwrap().to_owned();
        found.iter().map(component).collect()
    };
    let both = BTreeSet::from(["jobmaster".to_owned(), "worker".to_owned()]);
    let only = |component: &str| BTreeSet::from([component.to_owned()]);
    // Kafka's client tells of its lag every few seconds.
    wait_for("the lag of both", SOON, || {
        (tellers("bus_lag_messages") == both).then_some(())
    });
    assert_eq!(tellers("uptime_seconds"), both);
    for metric in [
        "commit_latency_seconds",
        "publish_lag_events",
        "projection_lag_events",
        "shard_restarts",
    ] {
        assert_eq!(tellers(metric), only("jobmaster"), "{metric}");
    }
    for metric in [
        "lines_over_rate",
        "log_queue_bytes",
        "worker_restarts",
        "guardian_restarts",
    ] {
        assert_eq!(tellers(metric), only("worker"), "{metric}");
    }
}
