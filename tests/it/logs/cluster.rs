//! Lines from a worker process to the search and tail of any jobmaster.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::cluster::{Cluster, Patience};
use crate::support::{Kafka, Postgres, eventually};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_tasks_are_found_and_followed_at_every_jobmaster_over_the_death_of_one() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 1).await;
    let urls = cluster.urls();
    let http = reqwest::Client::new();
    let mut tail = http.get(format!("{}/api/v1/logs/tail", urls[1])).send().await.unwrap();
    let command = "for i in $(seq 40); do echo line $i; sleep 0.25; done";
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command]}]});
    let submit = http.post(format!("{}/api/v1/jobs", urls[1])).json(&document).send();
    let job: Value = submit.await.unwrap().json().await.unwrap();
    let job = job["jobId"].as_str().unwrap().to_owned();
    let mut followed = String::new();
    tokio::time::timeout(SOON, async {
        while !followed.contains("\"line 3\"") {
            followed += &String::from_utf8_lossy(&tail.chunk().await.unwrap().unwrap());
        }
    })
    .await
    .unwrap();
    // The worker hands its lines to the other one from now on.
    cluster.jobmasters[0].kill();
    let url = format!("{}/api/v1/logs/search?job_id={job}&limit=100", urls[1]);
    let lines = eventually("all lines are there", SOON, async || {
        let found: Value = http.get(&url).send().await.ok()?.json().await.ok()?;
        let lines = found["lines"].as_array()?.clone();
        (lines.len() >= 40).then_some(lines)
    })
    .await;
    let messages: Vec<&str> = lines
        .iter()
        .rev()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (1..=40).map(|number| format!("line {number}")).collect();
    assert_eq!(messages, expected);
    assert_eq!(lines[0]["worker_id"], "worker-w0");
    tokio::time::timeout(SOON, async {
        while !followed.contains("\"line 40\"") {
            followed += &String::from_utf8_lossy(&tail.chunk().await.unwrap().unwrap());
        }
    })
    .await
    .unwrap();
    let each = (1..=40).map(|number| followed.matches(&format!("\"line {number}\"")).count());
    assert!(each.into_iter().all(|count| count == 1), "each line once: {followed}");
    drop(tail);
    cluster.jobmasters[0].restart();
    cluster.jobmasters[0].ready().await;
    cluster.stop();
}
