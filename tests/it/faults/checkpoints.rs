//! Attempts that go on where an earlier one stood: a program that keeps its own checkpoints, and a pipeline over a file
//! whose standalone is killed in the middle. What must hold: the program reads what was kept, nobody else gets in; the
//! files of the pipeline hold every record once, and it has not begun anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::load::{get, submitted};
use super::process::Grid;
use super::standalone::Standalone;
use crate::support::eventually;

const PATIENCE: Duration = Duration::from_secs(120);

async fn finished(grid: &Grid, job: &str) -> Value {
    eventually("the job has finished", PATIENCE, async || {
        let view = get(&grid.url, &format!("/api/v1/jobs/{job}")).await;
        view["finishedAt"].is_string().then_some(view)
    })
    .await
}

/// What its first attempt could not finish, its second does.
const PROGRAM: &str = r#"
set -e
echo "$CHECKPOINT_URL" >"url-$GRID_ATTEMPT.new"
curl -sS -w ' %{http_code}' "$CHECKPOINT_URL" >"before-$GRID_ATTEMPT"
if [ "$GRID_ATTEMPT" = 1 ]; then
    curl -fsS -d '{"ts": 1, "data": "first"}' "$CHECKPOINT_URL"
    curl -fsS -d '{"ts": 2, "data": "as far as \"two\", \u0000 and ä"}' "$CHECKPOINT_URL"
    echo "my URL is $CHECKPOINT_URL" >&2
    exit 1
fi
mv "url-1.new" url-1
mv "url-2.new" url-2
while [ ! -e go ]; do sleep 0.05; done
"#;

struct Caller(reqwest::Client);

impl Caller {
    async fn call(&self, method: Method, url: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response = self.0.request(method, url).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn refused(&self, method: Method, url: &str, body: impl Into<reqwest::Body>, expected: (u16, &str)) {
        let (status, problem) = self.call(method.clone(), url, body).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (expected.0, Some(expected.1)),
            "{method} {url}: {problem}"
        );
    }
}

fn checkpoint(data: &str) -> String {
    json!({"ts": 3, "data": data}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_from_its_checkpoint_and_nobody_else_gets_at_it() {
    let mut standalone = Standalone::start().await;
    let files = standalone.data().join("files");
    let document = json!({"tasks": [{
        "externalId": "counting", "command": ["sh", "-c", PROGRAM],
        "retry": {"maxRetries": 1, "baseSeconds": 0.1},
    }]});
    let job = submitted(&standalone.grid().url, &document).await;
    let read = |name: &str| std::fs::read_to_string(files.join(name)).unwrap_or_default();
    eventually("the second attempt runs", PATIENCE, async || {
        files.join("url-2").exists().then_some(())
    })
    .await;
    assert_eq!(read("before-1"), " 204");
    let (stored, status) = read("before-2")
        .rsplit_once(' ')
        .map(|(body, status)| (body.to_owned(), status.to_owned()))
        .unwrap();
    assert_eq!(status, "200");
    assert_eq!(
        serde_json::from_str::<Value>(&stored).unwrap(),
        json!({"ts": 2, "data": "as far as \"two\", \u{0} and ä", "attempt": 1})
    );

    let caller = Caller(reqwest::Client::new());
    let (first, second) = (read("url-1").trim().to_owned(), read("url-2").trim().to_owned());
    let task = format!("task-{}-1", job.strip_prefix("job-").unwrap());
    assert!(second.contains(&format!("/api/v1/checkpoints/{task}/2/")), "{second}");
    let (base, secret) = second.rsplit_once('/').unwrap();
    // An attempt that is over reads, but writes no more.
    caller
        .refused(Method::POST, &first, checkpoint("late"), (409, "ATTEMPT_OVER"))
        .await;
    assert_eq!(caller.call(Method::GET, &first, "").await.0, 200);
    // A secret is good for its attempt, its task and its process alone.
    let other_attempt = format!("{}/{secret}", base.replace("/2", "/1"));
    let other_task = second.replace("-1/2/", "-2/2/");
    let flipped = format!(
        "{base}/{}{}",
        &secret[..95],
        if secret.ends_with('0') { '1' } else { '0' }
    );
    let other_process = format!("{base}/{}{}", "0".repeat(32), &secret[32..]);
    for url in [
        &other_attempt,
        &other_task,
        &flipped,
        &other_process,
        &format!("{base}/none"),
    ] {
        caller.refused(Method::GET, url, "", (403, "FORBIDDEN")).await;
        caller
            .refused(Method::POST, url, checkpoint("x"), (403, "FORBIDDEN"))
            .await;
    }
    // What is no checkpoint is said.
    for (body, code) in [
        ("", "SYNTAX"),
        ("{", "SYNTAX"),
        ("[]", "INVALID_CHECKPOINT"),
        (r#"{"ts":1}"#, "INVALID_CHECKPOINT"),
        (r#"{"ts":-1,"data":""}"#, "INVALID_CHECKPOINT"),
        (r#"{"ts":"1","data":""}"#, "INVALID_CHECKPOINT"),
        (r#"{"ts":1,"data":"","more":1}"#, "INVALID_CHECKPOINT"),
    ] {
        caller.refused(Method::POST, &second, body, (400, code)).await;
    }
    let most = "ä".repeat(32 * 1024);
    caller
        .refused(
            Method::POST,
            &second,
            checkpoint(&format!("{most}x")),
            (413, "TOO_LARGE"),
        )
        .await;
    caller
        .refused(
            Method::POST,
            &second,
            checkpoint(&"\u{1}".repeat(400_000)),
            (413, "TOO_LARGE"),
        )
        .await;
    // Its own, once it has one, comes before the earlier one's.
    assert_eq!(caller.call(Method::GET, &second, "").await.1["attempt"], 1);
    assert_eq!(caller.call(Method::POST, &second, checkpoint(&most)).await.0, 204);
    assert_eq!(
        caller.call(Method::GET, &second, "").await,
        (200, json!({"ts": 3, "data": most, "attempt": 2}))
    );
    assert_eq!(
        caller.call(Method::GET, &first, "").await.1["attempt"],
        1,
        "an earlier attempt sees no later one"
    );

    std::fs::write(files.join("go"), "").unwrap();
    assert_eq!(finished(standalone.grid(), &job).await["status"], "COMPLETED");
    caller
        .refused(Method::POST, &second, checkpoint("x"), (409, "TASK_FINISHED"))
        .await;
    let events = get(&standalone.grid().url, &format!("/api/v1/tasks/{task}/events?size=500")).await;
    assert!(events.to_string().contains("my URL is"), "{events}");
    assert!(
        !events.to_string().contains(first.rsplit_once('/').unwrap().1),
        "the secret is masked"
    );
    assert!(!standalone.grid().log_text().contains(secret), "and in no log");
    standalone.end();
}

const RECORDS: u64 = 30_000;

/// Slow enough to be killed in the middle.
fn pipeline() -> Value {
    let source = r#"z = encode_gzip(string!(.text)); z = encode_gzip(encode_base64(z)); . = {"n": .n, "z": strlen(encode_base64(z))}"#;
    let node = |id: &str, command: &str, config: Value, outputs: &[&str]| json!({"id": id, "commandName": command, "config": config, "outputs": outputs});
    json!({"tasks": [{
        "externalId": "copy", "replicas": 2, "retry": {"baseSeconds": 0.1},
        "dag": [
            node("in", "filesource", json!({"path": "in.ndjson"}), &["it"]),
            node("it", "eval", json!({"source": source}), &["out"]),
            node("out", "filesink", json!({"path": "out-${REPLICA_INDEX}.ndjson"}), &[]),
        ],
    }]})
}

async fn checkpoints_kept(grid: &Grid) -> u64 {
    let text = reqwest::get(format!("{}/metrics", grid.url))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("grid_worker_checkpoints_total"));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pipeline_goes_on_from_its_checkpoint() {
    let mut standalone = Standalone::start_with(&["--set", "worker.checkpoint_interval=20ms"]).await;
    let files: PathBuf = standalone.data().join("files");
    std::fs::create_dir_all(&files).unwrap();
    let mut input = String::new();
    for n in 0..RECORDS {
        let _ = writeln!(input, "{{\"n\":{n},\"text\":\"{:0180}\"}}", n * 31);
    }
    std::fs::write(files.join("in.ndjson"), &input).unwrap();
    let job = submitted(&standalone.grid().url, &pipeline()).await;
    eventually("some checkpoints are kept", PATIENCE, async || {
        (checkpoints_kept(standalone.grid()).await >= 4).then_some(())
    })
    .await;
    standalone.grid().kill();
    assert!(
        (0..2).any(|replica| !files.join(format!("out-{replica}.ndjson")).exists()),
        "killed in the middle"
    );
    standalone.grid().restart();
    standalone.grid().ready().await;
    assert_eq!(finished(standalone.grid(), &job).await["status"], "COMPLETED");

    // Every record once.
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for replica in 0..2 {
        for line in std::fs::read_to_string(files.join(format!("out-{replica}.ndjson")))
            .unwrap()
            .lines()
        {
            let record: Value = serde_json::from_str(line).unwrap();
            *found.entry(record["n"].as_u64().unwrap()).or_default() += 1;
            assert!(record["z"].is_u64());
        }
    }
    assert_eq!(found.len() as u64, RECORDS);
    assert!(found.values().all(|count| *count == 1));

    // And not all of them read again.
    let (mut resumed, mut read_again) = (0, 0);
    for number in 1..=2 {
        let path = format!(
            "/api/v1/tasks/task-{}-{number}/events?size=500",
            job.strip_prefix("job-").unwrap()
        );
        let events = get(&standalone.grid().url, &path).await;
        let completed = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["type"] == "TaskCompleted");
        let data = &completed.unwrap()["data"];
        if data["counters"]["resumedFromAttempt"].is_u64() {
            resumed += 1;
            read_again += data["counters"]["in.eventsIn"].as_u64().unwrap_or(0);
        }
    }
    assert!(resumed > 0, "at least one went on");
    assert!(
        read_again < resumed * RECORDS / 2,
        "{read_again} records were read again by {resumed}"
    );
    let left: Vec<String> = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    standalone.end();
}
