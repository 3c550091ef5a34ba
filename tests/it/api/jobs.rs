//! The lives of jobs, as clients see them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, text};
use crate::support::eventually;

const TWO: &str = "
externalId: pair
labels: { team: seismology }
tasks:
  - { externalId: a, executor: noop, retry: { maxRetries: 1 } }
  - { externalId: b, executor: noop, replicas: 2 }
";

#[actix_web::test]
async fn a_submitted_job_is_found_at_once() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let (id, position) = (text(&job["jobId"]), text(&job["position"]));
    let mut keys: Vec<&str> = job.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        "createdAt externalId failureSummary finishedAt jobId labels position retriesPending status taskCounters";
    assert_eq!(keys.join(" "), expected);
    assert_eq!(
        job["taskCounters"],
        json!({"ready": 3, "scheduled": 0, "running": 0, "completed": 0, "failed": 0})
    );
    assert_eq!(
        (&job["status"], &job["externalId"]),
        (&json!("RUNNING"), &json!("pair"))
    );

    let mut found = grid.get(&format!("/api/v1/jobs/{id}?minPosition={position}")).await;
    assert_eq!(found["labels"], json!({"team": "seismology"}));
    assert_eq!(
        found["createdAt"].as_str().unwrap().len(),
        "2026-01-31T10:00:00.000Z".len()
    );
    found["position"] = job["position"].clone();
    assert_eq!(found, job);
    // With and without the prefix.
    let bare = id.strip_prefix("job-").unwrap();
    assert_eq!(grid.get(&format!("/api/v1/jobs/{bare}")).await["jobId"], job["jobId"]);

    let tasks = grid.get(&format!("/api/v1/jobs/{id}/tasks")).await;
    let names: Vec<&str> = tasks["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| text(&task["externalId"]))
        .collect();
    assert_eq!((names, &tasks["total"]), (vec!["a", "b-0", "b-1"], &json!(3)));
    let task = grid.get(&format!("/api/v1/tasks/task-{bare}-1")).await;
    assert_eq!(
        task,
        json!({
            "taskId": format!("task-{bare}-1"), "jobId": id, "externalId": "a", "replicaIndex": 0, "state": "READY",
            "attempt": 0, "retryCount": 0, "maxRetries": 1, "nextRetryAt": null, "workerId": null, "failure": null,
            "createdAt": job["createdAt"], "scheduledAt": null, "startedAt": null, "finishedAt": null,
        })
    );

    let document = grid
        .call(Method::GET, &format!("/api/v1/jobs/{id}/document"), &[], Vec::new())
        .await;
    assert_eq!(document.headers()["content-type"], "application/yaml");
    assert_eq!(document.text().await.unwrap(), TWO);
    grid.stop().await;
}

#[actix_web::test]
async fn an_empty_job_is_empty() {
    let grid = Fixture::new().await;
    let job = grid.submit("tasks: []").await;
    assert_eq!(job["status"], "EMPTY");
    let id = text(&job["jobId"]);
    let tasks = grid.get(&format!("/api/v1/jobs/{id}/tasks")).await;
    assert_eq!(
        tasks,
        json!({"items": [], "page": 0, "size": 50, "total": 0, "nextCursor": null})
    );
    grid.stop().await;
}

async fn finished(grid: &Fixture, id: &str) -> Value {
    eventually("the job has finished", std::time::Duration::from_secs(20), async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (!job["finishedAt"].is_null()).then_some(job)
    })
    .await
}

#[actix_web::test]
async fn a_job_is_killed_and_retried() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let id = text(&job["jobId"]);
    let refused = grid
        .json(Method::POST, &format!("/api/v1/jobs/{id}/retry"), StatusCode::CONFLICT)
        .await;
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&json!("NOTHING_FAILED"), &json!(409))
    );

    let killed = grid
        .json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    assert!(killed["position"].is_string());
    let done = finished(&grid, id).await;
    assert_eq!(done["taskCounters"]["failed"], 3);
    assert_eq!(
        (&done["status"], &done["failureSummary"]),
        (&json!("FAILED"), &json!({"KILLED": 3}))
    );
    let mut again = grid
        .json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    again.as_object_mut().unwrap().remove("position");
    assert_eq!(again, done, "already finished: unchanged");

    let bare = id.strip_prefix("job-").unwrap();
    let task = grid.get(&format!("/api/v1/tasks/{bare}-3")).await;
    let failure = &task["failure"];
    assert_eq!(
        (&failure["reason"], &failure["retryable"]),
        (&json!("KILLED"), &json!(false))
    );
    let path = format!("/api/v1/tasks/{bare}-3/retry");
    for method in [Method::POST, Method::DELETE] {
        let refused = grid.json(method, &path, StatusCode::CONFLICT).await;
        assert_eq!(refused["code"], "NO_RETRY_PENDING");
    }

    let retried = grid
        .json(Method::POST, &format!("/api/v1/jobs/{id}/retry"), StatusCode::OK)
        .await;
    assert!(retried["finishedAt"].is_null());
    eventually("all are ready", std::time::Duration::from_secs(20), async || {
        (grid.get(&format!("/api/v1/jobs/{id}")).await["taskCounters"]["ready"] == 3).then_some(())
    })
    .await;
    grid.json(Method::POST, &format!("/api/v1/jobs/{id}/stop"), StatusCode::OK)
        .await;
    finished(&grid, id).await;
    grid.stop().await;
}

#[actix_web::test]
async fn histories_are_told_event_by_event() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let id = text(&job["jobId"]);
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    finished(&grid, id).await;
    let newest = grid.get(&format!("/api/v1/jobs/{id}/events?size=1")).await;
    let total = newest["total"].as_u64().unwrap();
    let event = &newest["items"][0];
    assert_eq!(
        (&event["type"], &event["streamVersion"]),
        (&json!("JobFinished"), &json!(total))
    );
    assert_eq!(event["version"], 1);
    assert_eq!(event["data"], json!({"status": "FAILED"}));

    // All pages by cursor, oldest first: every version once.
    let (mut path, mut versions, mut kinds) = (format!("/api/v1/jobs/{id}/events?order=asc&size=2"), vec![], vec![]);
    assert_eq!(grid.get(&path).await["items"][0]["principal"], "anonymous");
    loop {
        let page = grid.get(&path).await;
        for event in page["items"].as_array().unwrap() {
            versions.push(event["streamVersion"].as_u64().unwrap());
            kinds.push(text(&event["type"]).to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs/{id}/events?order=asc&size=2&cursor={cursor}");
    }
    assert_eq!(versions, (1..=total).collect::<Vec<_>>());
    assert_eq!(kinds.first().map(String::as_str), Some("JobSubmitted"));
    assert!(kinds.contains(&"JobKillRequested".to_owned()), "{kinds:?}");

    let bare = id.strip_prefix("job-").unwrap();
    let task = grid.get(&format!("/api/v1/tasks/{bare}-1/events")).await;
    assert_eq!(task["items"][0]["type"], "TaskFailed");
    grid.stop().await;
}

#[actix_web::test]
async fn a_dry_run_submits_nothing() {
    let grid = Fixture::new().await;
    let headers = [("content-type", "application/yaml")];
    let dry = grid
        .call(Method::POST, "/api/v1/jobs?dryRun=true", &headers, TWO.into())
        .await;
    assert_eq!(dry.status(), StatusCode::OK);
    let dry: Value = dry.json().await.unwrap();
    assert_eq!((&dry["valid"], &dry["taskCount"]), (&json!(true), &json!(3)));
    assert_eq!(grid.get("/api/v1/jobs").await["total"], 0);
    assert_eq!(grid.psql("SELECT count(*) FROM submissions"), "0");
    grid.stop().await;
}

#[actix_web::test]
async fn workers_fetch_documents_with_their_token() {
    let grid = Fixture::new().await;
    grid.submit(TWO).await;
    let hash = grid.psql("SELECT hash FROM documents");
    let path = format!("/api/v1/internal/documents/{hash}");
    for headers in [
        &[][..],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "Basic eA==")],
    ] {
        let refused = grid.call(Method::GET, &path, headers, Vec::new()).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    }
    let bearer = format!("Bearer {}", super::fixture::TOKEN);
    let headers = [("authorization", bearer.as_str())];
    let found = grid.call(Method::GET, &path, &headers, Vec::new()).await;
    let document: Value = found.json().await.unwrap();
    assert_eq!(document["externalId"], "pair");
    for (hash, status) in [
        ("00".repeat(32), StatusCode::NOT_FOUND),
        ("xyz".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let path = format!("/api/v1/internal/documents/{hash}");
        assert_eq!(
            grid.call(Method::GET, &path, &headers, Vec::new()).await.status(),
            status
        );
    }
    grid.stop().await;
}

#[actix_web::test]
async fn health_says_what_it_waits_for() {
    let grid = Fixture::new().await;
    assert_eq!(grid.get("/health/live").await["status"], "UP");
    assert_eq!(grid.get("/health/ready").await["status"], "READY");
    grid.ready.store(false, std::sync::atomic::Ordering::Relaxed);
    let waiting = grid
        .json(Method::GET, "/health/ready", StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert_eq!(waiting, json!({"status": "WAITING", "waitingFor": ["the tide"]}));
    let metrics = grid.call(Method::GET, "/metrics", &[], Vec::new()).await;
    assert_eq!(metrics.text().await.unwrap(), "grid_up 1\n");
    let info = grid.get("/api/v1/info").await;
    assert_eq!(
        (&info["name"], &info["nodeName"]),
        (&json!("grid"), &json!("of-the-test"))
    );
    assert_eq!(grid.get("/api/v1/workers").await["total"], 0);
    assert_eq!(grid.get("/api/v1/quarantine").await["items"], json!([]));
    grid.stop().await;
}
