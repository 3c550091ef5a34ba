//! Every query of the dashboards and alert rules of docker/grafana, on a real InfluxDB and the store of lines that real jobs
//! have filled. Grafana itself is not there: its variables are put in by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use grid::domain::Timestamp;
use serde_json::Value;

use crate::cli::server::Standalone;
use crate::support::{InfluxDb, TOKEN, eventually};

const BUCKET: &str = "grafana";
const SOON: Duration = Duration::from_secs(60);

/// 1,000 records go in and 500 out; two lines of log; four tasks complete.
const KNOWN: &str = r#"
tasks:
  - externalId: numbers
    replicas: 2
    dag:
      - { id: in, commandName: generatesource, config: { count: 1000 }, outputs: [even] }
      - { id: even, commandName: filter, config: { condition: "to_int!(.index) < 500" }, outputs: [out] }
      - { id: out, commandName: filesink, config: { path: "even-${REPLICA_INDEX}.ndjson" }, outputs: [] }
  - externalId: said
    command: ["sh", "-c", "echo one; echo WARN two >&2; curl -sf -d 'm v=7' $GRID_METRICS_URL; sleep 1"]
  - { externalId: nothing, executor: noop }
"#;
/// 21 of its tasks fail for good, 3 wait for a retry that comes much later.
const FAILING: &str = r#"
tasks:
  - { externalId: fails, replicas: 21, command: ["false"], retry: { maxRetries: 0 } }
  - { externalId: waits, replicas: 3, command: ["false"], retry: { maxRetries: 3, baseSeconds: 3000 } }
"#;
/// 4 of its tasks have a slot, and do nothing; 2 have none.
const QUIET: &str = r#"
tasks:
  - { externalId: sleeps, replicas: 6, command: ["sleep", "600"] }
"#;

struct Query {
    place: String,
    is_flux: bool,
    text: String,
}

fn queries() -> Vec<Query> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/grafana.sh");
    let output = Command::new(script).arg("queries").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |query: &Value| Query {
        place: text(&query["where"]),
        is_flux: query["datasource"]["type"] == "influxdb",
        text: text(&query["query"]),
    };
    found.iter().map(one).collect()
}

type Row = BTreeMap<String, String>;

/// The rows of an answer in CSV; none of its values has a comma.
fn rows(csv: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in csv.replace("\r\n", "\n").split("\n\n") {
        let mut lines = table.lines().filter(|line| !line.is_empty());
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        for line in lines {
            let values = line.split(',').map(str::to_owned);
            rows.push(names.iter().map(ToString::to_string).zip(values).collect());
        }
    }
    rows
}

/// Grafana's part: what it puts in before it asks.
struct Asker<'a> {
    influx: &'a InfluxDb,
    queries: Vec<Query>,
    variables: BTreeMap<&'static str, String>,
}

impl Asker<'_> {
    fn text(&self, place: &str) -> &str {
        let found = self.queries.iter().find(|query| query.place == place);
        &found.unwrap_or_else(|| panic!("no query is at {place}")).text
    }

    /// What the query answers when it is asked at that time with that range.
    async fn ask_at(&self, text: &str, now: Timestamp, back: Duration) -> Vec<Row> {
        let mut text = text
            .replace("v.defaultBucket", &format!("\"{BUCKET}\""))
            .replace("v.timeRangeStart", &(now - back).to_string())
            .replace("v.timeRangeStop", &now.to_string())
            .replace("v.windowPeriod", "120000ms");
        for (name, value) in &self.variables {
            text = text.replace(&format!("${{{name}:regex}}"), value);
        }
        assert!(!text.contains("v.") && !text.contains("${"), "{text}");
        rows(&self.influx.flux(&text).await)
    }

    async fn ask(&self, place: &str) -> Vec<Row> {
        let now = grid::clock::now() + Duration::from_secs(1);
        self.ask_at(self.text(place), now, Duration::from_secs(3_600)).await
    }

    /// The one number of a panel or rule.
    async fn number(&self, place: &str) -> f64 {
        let rows = self.ask(place).await;
        assert_eq!(rows.len(), 1, "{place}: {rows:?}");
        value(&rows[0], "_value")
    }

    /// The sum of a column of a table.
    async fn column(&self, place: &str, name: &str) -> f64 {
        let rows = self.ask(place).await;
        rows.iter().map(|row| value(row, name)).sum()
    }
}

/// 0 where a row lacks it.
fn value(row: &Row, name: &str) -> f64 {
    let text = row.get(name).unwrap_or_else(|| panic!("no {name}: {row:?}"));
    if text.is_empty() { 0.0 } else { text.parse().unwrap() }
}

fn standalone(influx: &InfluxDb) -> Standalone {
    let sets = [
        format!("influxdb.url={}", influx.url),
        format!("influxdb.bucket={BUCKET}"),
        format!("influxdb.token={TOKEN}"),
        "metrics.sample_interval=300ms".to_owned(),
    ];
    let mut flags = vec!["--slots", "4"];
    sets.iter().for_each(|set| flags.extend(["--set", set]));
    Standalone::start_with(&flags)
}

/// Gives its id.
fn submit(standalone: &Standalone, name: &str, job: &str) -> String {
    standalone.write(name, job);
    let (code, submitted) = standalone.json(&["submit", name]);
    assert_eq!(code, 0, "{submitted:#}");
    submitted["jobId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_query_runs_and_the_numbers_of_a_known_job_are_right() {
    let Some(influx) = InfluxDb::shared() else { return };
    influx.bucket(BUCKET).await;
    let standalone = standalone(influx);
    let job = submit(&standalone, "known.yaml", KNOWN);
    let failing = submit(&standalone, "failing.yaml", FAILING);
    let tasks = standalone.get(&format!("/api/v1/jobs/{job}/tasks"));
    let id_of = |at: usize| tasks["items"][at]["taskId"].as_str().unwrap().to_owned();
    let task = id_of(0);
    let variables = [
        ("job", job.as_str()),
        ("task", &task),
        ("worker", ".*"),
        ("process", ".*"),
    ];
    let mut asker = Asker {
        influx,
        queries: queries(),
        variables: variables.map(|(name, value)| (name, value.to_owned())).into(),
    };
    let completed = "Job Monitoring: Completed";
    eventually("the known job has ended", SOON, async || {
        let rows = asker.ask(completed).await;
        rows.iter().any(|row| value(row, "_value") == 4.0).then_some(())
    })
    .await;
    let storm = "grid-retry-storm";
    eventually("the failing one has failed", SOON, async || {
        let rows = asker.ask(storm).await;
        rows.iter().any(|row| value(row, "_value") == 3.0).then_some(())
    })
    .await;
    let quiet = submit(&standalone, "quiet.yaml", QUIET);
    eventually("no slot is free", SOON, async || {
        let rows = asker.ask("grid-no-capacity").await;
        rows.iter().any(|row| value(row, "_value") == 2.0).then_some(())
    })
    .await;
    let of_pipeline = empty(&asker).await;
    the_job_is_right(&asker, &standalone).await;
    the_rules_see_it(&asker, (&quiet, &job)).await;
    every_panel_of_lines_answers(&asker, &standalone);
    // Only a program has the CPU time of its processes, and only a pipeline has nodes.
    asker.variables.insert("task", id_of(2));
    let reported = asker.ask("Task Details: What the program reports").await;
    assert!(
        !reported.is_empty() && reported.iter().all(|row| value(row, "_value") == 7.0),
        "{reported:?}"
    );
    let of_program = empty(&asker).await;
    let never: Vec<_> = of_pipeline.intersection(&of_program).collect();
    assert!(never.is_empty(), "these have no rows: {never:?}");
    asker.variables.insert("job", failing);
    assert_eq!(asker.number("Job Monitoring: Failed").await, 24.0);
}

/// Those of the queries in Flux that have no row.
async fn empty(asker: &Asker<'_>) -> BTreeSet<String> {
    let mut empty = BTreeSet::new();
    for query in asker.queries.iter().filter(|query| query.is_flux) {
        if asker.ask(&query.place).await.is_empty() {
            empty.insert(query.place.clone());
        }
    }
    empty
}

async fn the_job_is_right(asker: &Asker<'_>, standalone: &Standalone) {
    let written = ["even-0.ndjson", "even-1.ndjson"].map(|name| {
        let file = standalone.path().join("data/files").join(name);
        std::fs::metadata(file).unwrap().len() as f64
    });
    for (panel, expected) in [
        ("Ready", 0.0),
        ("Scheduled", 0.0),
        ("Running", 0.0),
        ("Completed", 4.0),
        ("Failed", 0.0),
        ("Records read", 1_000.0),
        ("Records written", 500.0),
        ("Bytes written", written.iter().sum()),
        ("Records that failed", 0.0),
        ("Dead letters", 0.0),
    ] {
        assert_eq!(
            asker.number(&format!("Job Monitoring: {panel}")).await,
            expected,
            "{panel}"
        );
    }
    let tasks = "Job Monitoring: Tasks";
    assert_eq!(asker.ask(tasks).await.len(), 3, "a no-op leaves no point");
    assert_eq!(asker.column(tasks, "input_events").await, 1_000.0);
    assert_eq!(asker.column(tasks, "output_events").await, 500.0);
    assert_eq!(asker.column(tasks, "log_lines").await, 2.0);
    // What was counted in windows is all of it, and so are rates by the seconds of their windows.
    assert_eq!(asker.column("Job Monitoring: Lines of log", "_value").await, 2.0);
    let rates = asker.ask("Job Monitoring: Throughput").await;
    let read = rates.iter().filter(|row| row["_field"] == "input_events");
    let read: f64 = read.map(|row| value(row, "_value") * 120.0).sum();
    assert!((read - 1_000.0).abs() < 1e-6, "{read}");
    let nodes = asker.ask("Task Details: Nodes").await;
    let of = |node: &str, field: &str| value(nodes.iter().find(|row| row["node_id"] == node).unwrap(), field);
    assert_eq!(
        of("in", "node_output_events"),
        asker.number("Task Details: Records read").await
    );
    assert_eq!(of("even", "node_output_events"), of("out", "node_input_events"));
    assert_eq!(asker.number("Cluster Overview: Workers that report").await, 1.0);
    assert_eq!(asker.number("Cluster Overview: Capacity").await, 4.0);
    assert_eq!(asker.number("Cluster Overview: Capacity in use").await, 1.0);
    assert_eq!(
        asker.number("Cluster Overview: Tasks that wait for a worker").await,
        2.0
    );
    assert_eq!(
        asker.number("Cluster Overview: Tasks that wait for their retry").await,
        3.0
    );
}

async fn the_rules_see_it(asker: &Asker<'_>, (quiet, busy): (&str, &str)) {
    let share = asker.number("grid-failure-rate").await;
    assert!(share > 0.5 && share < 1.0, "{share}");
    assert!(asker.number("grid-silent-worker").await < 60.0);
    let later = grid::clock::now() + Duration::from_secs(600);
    let silent = asker.ask_at(asker.text("grid-silent-worker"), later, Duration::from_secs(3_600));
    let silent = value(&silent.await[0], "_value");
    assert!((600.0..700.0).contains(&silent), "{silent}");
    let still = asker.ask("grid-stuck-task").await;
    // The programs that failed have done nothing either, for as long as a busy machine let them take.
    let of = |job: &str| {
        still
            .iter()
            .filter(|row| row["job_id"] == job && value(row, "_value") > 0.0)
            .count()
    };
    assert_eq!((of(quiet), of(busy)), (4, 0), "{still:?}");
    assert_eq!(asker.number("grid-drops").await, 0.0);
    assert!(asker.number("grid-disk").await > 1_000_000.0);
    assert!(asker.number("grid-lag").await < 1_000.0);
}

fn every_panel_of_lines_answers(asker: &Asker<'_>, standalone: &Standalone) {
    let mut found = BTreeMap::new();
    for query in asker.queries.iter().filter(|query| !query.is_flux) {
        let mut text = query.text.clone();
        for (name, value) in &asker.variables {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        let search = format!("{}/api/v1/logs/search", standalone.url);
        let url = reqwest::Url::parse_with_params(&search, [("from", "-1h"), ("query", &text)]).unwrap();
        let answer = standalone.get(url.as_str().trim_start_matches(&standalone.url));
        let lines = answer["lines"].as_array().unwrap();
        let messages = lines.iter().map(|line| line["message"].as_str().unwrap().to_owned());
        found.insert(query.place.as_str(), messages.collect::<Vec<_>>());
    }
    assert_eq!(found["Job Monitoring: Log"].len(), 2, "{found:?}");
    assert_eq!(found["Job Monitoring: Warnings and errors"], ["WARN two"], "{found:?}");
    assert!(found["Cluster Overview: Warnings and errors of all tasks"].contains(&"WARN two".to_owned()));
    assert!(found["Task Details: Log"].is_empty(), "{found:?}");
    assert_eq!(found.len(), 4);
}
