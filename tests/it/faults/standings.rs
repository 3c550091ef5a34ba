//! Cordons over real Kafka: asked for at one jobmaster, kept by all, whatever is killed in between.

use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::{Cluster, Patience};
use super::load::{all_finished, get, submitted};
use crate::support::{Kafka, Postgres, eventually};

const SOON: Duration = Duration::from_secs(60);

async fn post(server: &str, path: &str) -> Value {
    let response = reqwest::Client::new()
        .post(format!("{server}{path}"))
        .send()
        .await
        .unwrap();
    let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
    assert!(status.is_success(), "{path}: {body}");
    body
}

async fn until(server: &str, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SOON, async || {
        let found = get(server, path).await;
        is(&found).then_some(found)
    })
    .await
}

/// On which worker each task of a job of so many no-ops ended.
async fn placed(server: &str, tasks: u32) -> Vec<String> {
    let job = submitted(
        server,
        &json!({ "tasks": [{ "externalId": "t", "executor": "noop", "replicas": tasks }] }),
    )
    .await;
    all_finished(server, std::slice::from_ref(&job), SOON).await;
    let list = get(server, &format!("/api/v1/jobs/{job}/tasks?size=500")).await;
    let tasks = list["items"].as_array().unwrap().iter();
    tasks
        .map(|task| task["workerId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordon_is_kept_by_all_whatever_is_killed() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 2).await;
    let urls = cluster.urls();
    let cordoned = post(&urls[0], "/api/v1/workers/w0/cordon").await;
    assert_eq!(cordoned["cordoned"], true);
    for url in &urls {
        let path = format!(
            "/api/v1/workers/w0?minPosition={}",
            cordoned["position"].as_str().unwrap()
        );
        assert_eq!(get(url, &path).await["cordoned"], true);
    }
    // Once its heartbeats have said so, nothing goes there, from whichever shard.
    let explained = |found: &Value| {
        let seen = found["details"]["workers"].as_array().into_iter().flatten();
        seen.clone()
            .any(|worker| worker["workerId"] == "worker-w0" && worker["cordoned"] == true)
    };
    let nowhere = json!({ "tasks": [{ "externalId": "t", "executor": "noop", "requires": { "no": "where" } }] });
    let waiting = submitted(&urls[0], &nowhere).await;
    for url in &urls {
        let path = format!("/api/v1/jobs/{waiting}/explain");
        let found = until(url, &path, "both have heard of the cordon", explained).await;
        assert_eq!(found["reason"], "NO_MATCHING_WORKER", "{found}");
    }
    // One that nobody can run keeps its jobmaster asking for credits.
    let kill = reqwest::Client::new().delete(format!("{}/api/v1/jobs/kill/{waiting}", urls[0]));
    assert!(kill.send().await.unwrap().status().is_success());
    assert!(placed(&urls[0], 200).await.iter().all(|worker| worker == "worker-w1"));

    // The process is killed, and so is a jobmaster: the next process of the name begins cordoned.
    cluster.workers[0].kill();
    cluster.jobmasters[1].kill();
    cluster.workers[0].restart();
    cluster.jobmasters[1].restart();
    cluster.workers[0].ready().await;
    cluster.jobmasters[1].ready().await;
    let registered = |found: &Value| found["items"][0]["data"]["inherited"] == true;
    let path = "/api/v1/workers/w0/events?type=WorkerCordoned";
    until(&urls[0], path, "the new process has inherited it", registered).await;
    assert!(placed(&urls[0], 200).await.iter().all(|worker| worker == "worker-w1"));

    // Asked for at the other one, and drained there.
    post(&urls[1], "/api/v1/workers/w0/uncordon").await;
    post(&urls[0], "/api/v1/workers/w1/drain").await;
    let gone = |found: &Value| found["items"][0]["data"]["cause"] == "DRAINED";
    until(
        &urls[1],
        "/api/v1/workers/w1/events?type=WorkerLeft",
        "w1 has left",
        gone,
    )
    .await;
    assert!(placed(&urls[1], 50).await.iter().all(|worker| worker == "worker-w0"));
}
