//! A standalone whose lines a real VictoriaLogs keeps, where they are found seconds after they were written: who follows them
//! is told at once, from the memory of its worker.

use std::time::Duration;

use serde_json::{Value, json};

use super::follower::{Tail, delay_ms};
use crate::cli::server::Standalone;
use crate::support::{VictoriaLogs, eventually};

const SOON: Duration = Duration::from_secs(60);

fn start(server: &VictoriaLogs) -> Standalone {
    let store = format!("victorialogs.url={}", server.url);
    Standalone::start_with(&["--set", &store, "--set", "worker.name=kept-afar"])
}

async fn submit(url: &str, lines: &str) -> String {
    let command = format!("for i in {lines}; do echo line $i; sleep 0.1; done");
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command]}]});
    let post = reqwest::Client::new()
        .post(format!("{url}/api/v1/jobs"))
        .json(&document)
        .send();
    let job: Value = post.await.unwrap().json().await.unwrap();
    job["jobId"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_at_once_although_their_store_takes_its_time() {
    let Some(server) = VictoriaLogs::shared() else { return };
    let grid = tokio::task::block_in_place(|| start(server));
    let url = grid.url.clone();
    let mut tail = Tail::open(&url, "query=line&worker_id=kept-afar", None).await;
    tail.begun().await;
    let job = submit(&url, "1 2 3 4 5 6 7 8 9 10").await;
    let mut delays = Vec::new();
    for number in 1..=5 {
        let line = tail.line().await;
        delays.push(delay_ms(&line));
        assert_eq!(
            (&line["message"], &line["_position"]),
            (&json!(format!("line {number}")), &Value::Null)
        );
    }
    // Whoever comes again goes on behind his last line.
    let mut tail = Tail::open(&url, "query=line&worker_id=kept-afar", tail.id.as_deref()).await;
    for number in 6..=10 {
        let line = tail.line().await;
        delays.push(delay_ms(&line));
        assert_eq!(line["message"], format!("line {number}"));
    }
    delays.sort_unstable();
    println!("ms on the way: {delays:?}");
    // Most: a machine that does other things holds one up now and then. The store would tell after 8 s.
    assert!(delays[7] < 1_000, "{delays:?}");
    assert_eq!(tail.notices, Vec::<String>::new());

    // They are in the store as well, and what is there comes once before what comes then.
    let path = format!("/api/v1/logs/search?job_id={job}");
    eventually("all lines are found", SOON, async || {
        server.flush().await;
        let found: Value = reqwest::get(format!("{url}{path}")).await.ok()?.json().await.ok()?;
        (found["lines"].as_array()?.len() == 10).then_some(())
    })
    .await;
    let mut earlier = Tail::open(&url, "query=line&worker_id=kept-afar&lines=10", None).await;
    submit(&url, "11 12").await;
    for number in 1..=12 {
        assert_eq!(earlier.line().await["message"], format!("line {number}"));
    }
    drop((tail, earlier));
    tokio::task::block_in_place(|| drop(grid));
}
