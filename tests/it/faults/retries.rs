//! Scheduled retries of real attempts: listed, brought forward, cancelled, and kept over a kill.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::load::{get, submitted};
use super::standalone::Standalone;
use crate::support::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

async fn call(url: String, method: Method, key: &str) -> (StatusCode, bool, Value) {
    let request = reqwest::Client::new()
        .request(method, url)
        .header("idempotency-key", key);
    let response = request.send().await.unwrap();
    let replayed = response.headers().contains_key("idempotency-replayed");
    (response.status(), replayed, response.json().await.unwrap())
}

fn due(list: &Value) -> Vec<(String, u64)> {
    let item = |item: &Value| {
        let name = item["externalId"].as_str().unwrap().to_owned();
        (name, item["attempt"].as_u64().unwrap())
    };
    list["items"].as_array().unwrap().iter().map(item).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_retry_is_listed_brought_forward_and_cancelled() {
    let mut standalone = Standalone::start().await;
    let task = |name: &str, base: u32| json!({"externalId": name, "command": ["false"], "retry": {"maxRetries": 2, "baseSeconds": base}});
    let document = json!({"tasks": [task("late", 3_000), task("soon", 1_000), task("once", 2_000)]});
    let job = submitted(&standalone.grid().url, &document).await;
    let path = format!("/api/v1/jobs/{job}/retries");
    let names = |names: &[(&str, u64)]| -> Vec<(String, u64)> {
        names
            .iter()
            .map(|(name, attempt)| ((*name).to_owned(), *attempt))
            .collect()
    };
    let url = standalone.grid().url.clone();
    let listed = async |path: &str, expected: Vec<(String, u64)>| {
        eventually("the list is as it should be", PATIENCE, async || {
            let list = get(&url, path).await;
            (list["items"].is_array() && due(&list) == expected && list["total"] == expected.len()).then_some(())
        })
        .await;
    };
    for path in [path.as_str(), "/api/v1/retries"] {
        listed(path, names(&[("soon", 1), ("once", 1), ("late", 1)])).await;
    }

    // What is scheduled outlives a kill.
    standalone.grid().kill();
    standalone.grid().restart();
    standalone.grid().ready().await;
    listed(&path, names(&[("soon", 1), ("once", 1), ("late", 1)])).await;

    // Brought forward, it runs and fails again; the same request again brings nothing forward.
    let bare = job.strip_prefix("job-").unwrap();
    let retry = |number: u32| format!("{url}/api/v1/tasks/task-{bare}-{number}/retry");
    let (status, replayed, forward) = call(retry(2), Method::POST, "now").await;
    assert_eq!((status, replayed), (StatusCode::OK, false), "{forward}");
    listed(&path, names(&[("once", 1), ("soon", 2), ("late", 1)])).await;
    let (status, replayed, again) = call(retry(2), Method::POST, "now").await;
    assert_eq!(
        (status, replayed, &again["position"]),
        (StatusCode::OK, true, &forward["position"])
    );
    assert_eq!(again["attempt"], 2);
    listed("/api/v1/retries", names(&[("once", 1), ("soon", 2), ("late", 1)])).await;

    // Cancelled, the failure is final.
    let (status, _, cancelled) = call(retry(3), Method::DELETE, "never").await;
    assert_eq!((status, &cancelled["nextRetryAt"]), (StatusCode::OK, &Value::Null));
    assert_eq!(cancelled["failure"]["reason"], "ERROR");
    listed(&path, names(&[("soon", 2), ("late", 1)])).await;
    let (status, _, refused) = call(retry(3), Method::POST, "late").await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::CONFLICT, &json!("NO_RETRY_PENDING"))
    );

    let killed = call(format!("{url}/api/v1/jobs/kill/{job}"), Method::DELETE, "end").await;
    assert_eq!(killed.0, StatusCode::OK);
    listed(&path, Vec::new()).await;
    standalone.end();
}
