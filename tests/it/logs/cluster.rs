//! Lines from a worker process to the search and tail of any jobmaster.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::follower::{Tail, delay_ms};
use crate::faults::cluster::{Cluster, Patience};
use crate::support::{Kafka, Postgres, eventually};

const SOON: Duration = Duration::from_secs(60);

fn speaking(lines: u32, seconds: f32, zone: &str) -> Value {
    let command = format!("for i in $(seq {lines}); do echo line $i; sleep {seconds}; done");
    json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command], "requires": {"zone": zone}}]})
}

async fn submit(url: &str, document: &Value) -> String {
    let submit = reqwest::Client::new()
        .post(format!("{url}/api/v1/jobs"))
        .json(document)
        .send();
    let job: Value = submit.await.unwrap().json().await.unwrap();
    job["jobId"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
}

/// `grid logs -f`; its lines.
fn follow(url: &str) -> (Child, Receiver<Value>) {
    let mut following = Command::new(env!("CARGO_BIN_EXE_grid"))
        .args(["logs", "-f", "--lines", "0", "--grep", "^line", "--output", "json"])
        .env("GRID_SERVER", url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (sender, receiver) = sync_channel(1_000);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap();
            let delay = delay_ms(&line);
            if sender.send(json!({"line": line, "delay": delay})).is_err() {
                return;
            }
        }
    });
    (following, receiver)
}

fn told(what: &str, delays: &mut [i64]) {
    delays.sort_unstable();
    let (half, most) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!(
        "{what}: {} lines, half of them within {half} ms, all within {most} ms",
        delays.len()
    );
    // Most: a machine that does other things holds one up now and then.
    assert!(delays[delays.len() * 3 / 4] < 1_000, "{delays:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_from_their_workers_at_every_jobmaster_over_the_death_of_one_and_of_the_way_to_a_worker() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 0).await;
    cluster.add_worker(&["worker.labels.zone=a"]).await;
    let urls = cluster.urls();
    let (mut command, lines) = follow(&urls[1]);
    let mut first = Tail::open(&urls[0], "query=line", None).await;
    let mut second = Tail::open(&urls[1], "worker_id=w0&query=line", None).await;
    first.begun().await;
    second.begun().await;
    let job = submit(&urls[1], &speaking(40, 0.2, "a")).await;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for number in 1..=15 {
        let (one, other) = (first.line().await, second.line().await);
        here.push(delay_ms(&one));
        there.push(delay_ms(&other));
        assert_eq!(one["message"], format!("line {number}"));
        assert_eq!(one["message"], other["message"]);
        assert_eq!(
            (&one["worker_id"], &one["_position"]),
            (&json!("worker-w0"), &Value::Null)
        );
    }
    told("from the worker, at the first jobmaster", &mut here);
    told("at the other one", &mut there);
    // Whoever followed there goes on at the other one; the worker hands its lines to that one too.
    cluster.jobmasters[0].kill();
    let mut again = Tail::open(&urls[1], "query=line", first.id.as_deref()).await;
    for number in 16..=40 {
        assert_eq!(again.line().await["message"], format!("line {number}"));
        assert_eq!(second.line().await["message"], format!("line {number}"));
    }
    assert_eq!((&again.notices, &second.notices), (&Vec::new(), &Vec::new()));
    let mut delays: Vec<i64> = (1..=40)
        .map(|number| {
            let came = lines.recv_timeout(SOON).expect("a line in time");
            assert_eq!(came["line"]["message"], format!("line {number}"));
            came["delay"].as_i64().unwrap()
        })
        .collect();
    told("grid logs -f", &mut delays);
    command.kill().unwrap();
    command.wait().unwrap();

    let http = reqwest::Client::new();
    let url = format!("{}/api/v1/logs/search?job_id={job}&limit=100", urls[1]);
    let found = eventually("all lines are there", SOON, async || {
        let found: Value = http.get(&url).send().await.ok()?.json().await.ok()?;
        let lines = found["lines"].as_array()?.clone();
        (lines.len() >= 40).then_some(lines)
    })
    .await;
    let messages: Vec<&str> = found
        .iter()
        .rev()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (1..=40).map(|number| format!("line {number}")).collect();
    assert_eq!(messages, expected);
    // With lines that are there already: those, and then what comes, each once.
    let earlier = format!("job_id={job}&lines=7");
    let mut earlier = Tail::open(&urls[1], &earlier, None).await;
    for number in 34..=40 {
        assert_eq!(earlier.line().await["message"], format!("line {number}"));
    }

    // Nobody answers where this worker says that it is: the store stands in, and that is said.
    let before = again.id.clone();
    cluster
        .add_worker(&["worker.labels.zone=b", "server.public_url=http://127.0.0.1:9"])
        .await;
    submit(&urls[1], &speaking(10, 0.1, "b")).await;
    for number in 1..=10 {
        assert_eq!(again.line().await["message"], format!("line {number}"));
    }
    assert_eq!(again.notices.len(), 1, "{:?}", again.notices);
    assert!(
        again.notices[0].contains("w1 is not reached, its lines come from the store"),
        "{:?}",
        again.notices
    );
    let mut late = Tail::open(&urls[1], "query=line", before.as_deref()).await;
    for number in 1..=10 {
        assert_eq!(late.line().await["message"], format!("line {number}"));
    }
    drop((first, second, again, late, earlier));
    cluster.jobmasters[0].restart();
    cluster.jobmasters[0].ready().await;
    cluster.stop();
}

/// Keeps some twenty lines in memory.
const SMALL: &str = "worker.log_recent_bytes=16384";

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_from_the_store_what_a_worker_keeps_no_more_and_goes_on_with_the_next_of_its_name() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 0).await;
    // Its last task would go on for a minute.
    let settings = ["worker.labels.zone=a", "worker.drain_grace=1s", SMALL];
    cluster.add_worker(&settings).await;
    let url = cluster.urls()[0].clone();
    let mut live = Tail::open(&url, "worker_id=w0&query=line", None).await;
    live.begun().await;
    submit(&url, &speaking(300, 0.01, "a")).await;
    for number in 1..=5 {
        assert_eq!(live.line().await["message"], format!("line {number}"));
    }
    // Leaves, and comes back when nearly all of it has left the worker's memory.
    let left_at = live.id.clone();
    drop(live);
    let mut all = Tail::open(&url, "worker_id=w0&query=\"line 300\"", None).await;
    assert_eq!(all.line().await["message"], "line 300");
    let mut back = Tail::open(&url, "worker_id=w0&query=line", left_at.as_deref()).await;
    for number in 6..=300 {
        assert_eq!(back.line().await["message"], format!("line {number}"));
    }
    assert_eq!(
        back.notices,
        Vec::<String>::new(),
        "the worker was reached all the time"
    );

    // Killed in the middle of a task, and back at once: what it had handed over and what the next attempt writes come, in order.
    submit(&url, &speaking(600, 0.1, "a")).await;
    for number in 1..=20 {
        assert_eq!(back.line().await["message"], format!("line {number}"));
    }
    cluster.workers[0].kill();
    cluster.workers[0].restart();
    cluster.workers[0].ready().await;
    let begun = std::time::Instant::now();
    let mut last = 20;
    loop {
        let line = back.line().await;
        let text = line["message"].as_str().unwrap();
        let number: u32 = text.strip_prefix("line ").unwrap().parse().unwrap();
        if line["attempt"] == 2 {
            assert_eq!(number, 1);
            break;
        }
        assert_eq!(number, last + 1, "{line}");
        last = number;
    }
    println!(
        "line {last} was the last of the first, the next came after {:?}",
        begun.elapsed()
    );
    for number in 2..=20 {
        let line = back.line().await;
        assert_eq!(
            (&line["message"], &line["attempt"]),
            (&json!(format!("line {number}")), &json!(2))
        );
    }
    drop((all, back));
    cluster.stop();
}
