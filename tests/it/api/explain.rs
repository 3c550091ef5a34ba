//! Explanations over real shards and workers: what is said is so, and the remedy works.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, text};
use super::workers::Yard;
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(20);

async fn submit(grid: &Fixture, document: &str) -> (String, String) {
    let job = grid.submit(document).await;
    let id = text(&job["jobId"]).to_owned();
    (format!("/api/v1/jobs/{id}"), format!("/api/v1/tasks/task-{}", &id[4..]))
}

/// Asks until the reason is that.
async fn explained(grid: &Fixture, path: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    let found = async || {
        last = grid.get(&format!("{path}/explain")).await;
        (last["reason"] == reason).then(|| last.clone())
    };
    let waited = tokio::time::timeout(SOON, eventually(reason, SOON * 2, found)).await;
    waited.unwrap_or_else(|_| panic!("{path} is not {reason}"))
}

#[actix_web::test]
async fn it_says_what_is_missing_and_the_remedy_works() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let (job, task) = submit(
        &grid,
        "tasks: [{ externalId: t, executor: noop, requires: { zone: b } }]",
    )
    .await;
    let first = explained(&grid, &format!("{task}-1"), "NO_WORKER").await;
    assert_eq!(
        (&first["state"], &first["details"]["decidedHere"]),
        (&json!("READY"), &json!(true))
    );
    let whole = explained(&grid, &job, "NO_WORKER").await;
    assert_eq!(
        (&whole["state"], &whole["tasks"][0]["taskId"]),
        (&json!("RUNNING"), &first["taskId"])
    );

    let other = yard.worker(&grid, "e1", 1, &[("zone", "a")]).await;
    let second = explained(&grid, &format!("{task}-1"), "NO_MATCHING_WORKER").await;
    assert_eq!(second["details"]["requires"], json!({"zone": "b"}));
    assert_eq!(second["details"]["workers"][0]["workerId"], "worker-e1");

    let right = yard.worker(&grid, "e2", 1, &[("zone", "b")]).await;
    let done = explained(&grid, &format!("{task}-1"), "COMPLETED").await;
    assert!(text(&done["sentence"]).contains("worker-e2"), "{done}");
    assert_eq!(done["remedy"], Value::Null);
    let done = explained(&grid, &job, "COMPLETED").await;
    assert_eq!((&done["state"], &done["tasks"]), (&json!("COMPLETED"), &json!([])));

    let cordon = "/api/v1/workers/e2/cordon";
    grid.json(Method::POST, cordon, StatusCode::OK).await;
    let (_, task) = submit(
        &grid,
        "tasks: [{ externalId: t, executor: noop, requires: { zone: b } }]",
    )
    .await;
    let closed = explained(&grid, &format!("{task}-1"), "WORKERS_CORDONED").await;
    assert!(text(&closed["remedy"]).contains("uncordon"), "{closed}");
    grid.json(Method::POST, "/api/v1/workers/e2/uncordon", StatusCode::OK)
        .await;
    explained(&grid, &format!("{task}-1"), "COMPLETED").await;
    for worker in [other, right] {
        worker.halt();
        worker.ended().await;
    }
    grid.stop().await;
}

#[actix_web::test]
async fn it_says_what_is_in_the_way() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let worker = yard.worker(&grid, "e3", 1, &[]).await;
    let long = "maxParallel: 1\ntasks: [{ externalId: t, command: [sleep, '60'], replicas: 2 }]";
    let (job, task) = submit(&grid, long).await;
    let running = explained(&grid, &format!("{task}-1"), "RUNNING").await;
    assert_eq!(running["details"]["workerId"], "worker-e3");
    let limited = explained(&grid, &format!("{task}-2"), "MAX_PARALLEL").await;
    assert_eq!(
        (&limited["details"]["maxParallel"], &limited["details"]["active"]),
        (&json!(1), &json!(1))
    );
    let whole = explained(&grid, &job, "RUNNING").await;
    assert!(
        text(&whole["sentence"]).contains("1 run, 0 are given to workers, 1 are ready"),
        "{whole}"
    );
    let (_, other) = submit(&grid, "tasks: [{ externalId: t, executor: noop }]").await;
    let full = explained(&grid, &format!("{other}-1"), "WORKERS_FULL").await;
    assert!(text(&full["sentence"]).contains("1 of 1 slots"), "{full}");

    let kill = job.replace("/jobs/", "/jobs/kill/");
    grid.json(Method::DELETE, &kill, StatusCode::OK).await;
    let killed = explained(&grid, &format!("{task}-1"), "KILLED").await;
    assert_eq!(killed["details"]["requestedBy"], "anonymous");
    assert!(
        text(&killed["sentence"]).contains("while attempt 1 ran on worker-e3"),
        "{killed}"
    );
    let finished = explained(&grid, &job, "FINISHED").await;
    assert!(
        text(&finished["sentence"]).contains("2 of 2 tasks failed (2 KILLED)"),
        "{finished}"
    );
    explained(&grid, &format!("{other}-1"), "COMPLETED").await;

    let failing = "tasks: [{ externalId: t, command: [sh, -c, 'exit 3'], retry: { baseSeconds: 600, maxRetries: 1 } }]";
    let (job, task) = submit(&grid, failing).await;
    let waits = explained(&grid, &format!("{task}-1"), "RETRY_WAIT").await;
    assert_eq!(
        (&waits["state"], &waits["details"]["failureReason"]),
        (&json!("FAILED"), &json!("ERROR"))
    );
    let shown = grid.get(&format!("{task}-1")).await;
    assert_eq!(waits["details"]["dueAt"], shown["nextRetryAt"]);
    explained(&grid, &job, "RETRY_WAIT").await;
    // What would change it, does.
    grid.json(Method::POST, &format!("{task}-1/retry"), StatusCode::OK)
        .await;
    let over = explained(&grid, &format!("{task}-1"), "RETRIES_USED_UP").await;
    assert_eq!(over["details"]["retriesUsed"], 1);

    let (empty, _) = submit(&grid, "tasks: []").await;
    assert_eq!(explained(&grid, &empty, "EMPTY").await["tasks"], json!([]));
    worker.halt();
    worker.ended().await;
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_not_there_cannot_be_explained() {
    let grid = Fixture::new().await;
    let (_, task) = submit(&grid, "tasks: [{ externalId: t, executor: noop }]").await;
    let unknown = "0198c2a0-7c00-7000-8000-000000000001";
    for path in [
        format!("{task}-2/explain"),
        format!("/api/v1/jobs/{unknown}/explain"),
        format!("/api/v1/tasks/{unknown}-1/explain"),
    ] {
        assert_eq!(
            grid.json(Method::GET, &path, StatusCode::NOT_FOUND).await["code"],
            "NOT_FOUND"
        );
    }
    grid.psql("INSERT INTO retired_days (day, events) VALUES (20319, 1)");
    for path in [
        format!("/api/v1/jobs/{unknown}/explain"),
        format!("/api/v1/tasks/{unknown}-1/explain"),
    ] {
        assert_eq!(grid.json(Method::GET, &path, StatusCode::GONE).await["code"], "GONE");
    }
    grid.json(Method::GET, &format!("{task}-1/explain?why=x"), StatusCode::BAD_REQUEST)
        .await;
    grid.stop().await;
}
