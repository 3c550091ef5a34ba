//! Records that fail in a real pipeline: kept, listed, taken away, and replayed when the mistake is mended.

use std::path::Path;
use std::time::Duration;

use grid::worker::WorkerHandle;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::fixture::{Fixture, TOKEN, text};
use crate::api::workers::Yard;
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(30);

/// Magnitudes of which some are no numbers, and a line that is no JSON: over two replicas.
fn records() -> String {
    let record = |id: usize| match id {
        7 | 13 => format!("{{\"id\": {id}, \"mag\": \"about {id}\"}}\n"),
        _ => format!("{{\"id\": {id}, \"mag\": \"{id}.5\"}}\n"),
    };
    (0..20).map(record).collect::<String>() + "no json\n"
}

fn document(condition: &str) -> String {
    json!({
        "externalId": "magnitudes",
        "tasks": [{"externalId": "strong", "replicas": 2, "dag": [
            {"id": "in", "commandName": "filesource", "config": {"path": "in.ndjson"}, "outputs": ["keep"]},
            {"id": "keep", "commandName": "filter", "config": {"condition": condition}, "outputs": ["out"]},
            {"id": "out", "commandName": "filesink", "config": {"path": "out-${REPLICA_INDEX}.ndjson"}},
        ]}],
    })
    .to_string()
}

const STRICT: &str = "to_float!(.mag) >= 3";
/// Strips the word that nobody expected.
const MENDED: &str = r#"to_float!(replace(string!(.mag), "about ", "")) >= 10"#;

async fn completed(grid: &Fixture, job: &str) {
    eventually("the job is completed", SOON, async || {
        let seen = grid.get(&format!("/api/v1/jobs/{job}")).await;
        assert_ne!(seen["status"], "FAILED", "{seen}");
        (seen["status"] == "COMPLETED").then_some(())
    })
    .await;
}

async fn letters(grid: &Fixture, job: &str, count: u64) -> Value {
    eventually("the letters are there", SOON, async || {
        let list = grid.get(&format!("/api/v1/jobs/{job}/dead-letters")).await;
        (list["failed"] == count).then_some(list)
    })
    .await
}

/// Ids of the records in a file, in their order.
fn ids(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut ids: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

async fn end(worker: WorkerHandle) {
    worker.drain();
    worker.ended().await;
}

async fn replayed(grid: &Fixture, path: &str, key: &str, document: &str) -> (StatusCode, Value) {
    let headers = [("idempotency-key", key), ("content-type", "application/json")];
    let answer = grid.call(Method::POST, path, &headers, document.into()).await;
    (answer.status(), answer.json().await.unwrap())
}

#[actix_web::test]
async fn records_that_failed_are_listed_and_replayed_when_the_mistake_is_mended() {
    let grid = Fixture::new().await;
    let workers = Yard::new();
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    let folder = workers.folder.path().join("a");
    std::fs::write(folder.join("in.ndjson"), records()).unwrap();
    let job = text(&grid.submit(&document(STRICT)).await["jobId"]).to_owned();
    completed(&grid, &job).await;

    let list = letters(&grid, &job, 3).await;
    assert_eq!((&list["total"], &list["kept"]), (&json!(3), &json!(3)));
    let seen: Vec<(&str, &Value)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (text(&item["node"]), &item["record"]))
        .collect();
    assert!(seen.contains(&("keep", &json!({"id": 7, "mag": "about 7"}))), "{list}");
    assert!(
        seen.contains(&("keep", &json!({"id": 13, "mag": "about 13"}))),
        "{list}"
    );
    assert!(seen.contains(&("in", &json!("no json"))), "{list}");
    let only = |filter: String| {
        let path = format!("/api/v1/jobs/{job}/dead-letters?{filter}");
        let grid = &grid;
        async move { grid.get(&path).await["total"].as_u64().unwrap() }
    };
    let tasks = [1, 2].map(|number| format!("{}-{number}", job.replace("job-", "task-")));
    assert_eq!(only("node=keep".to_owned()).await, 2);
    assert_eq!(
        only(format!("task={}", tasks[0])).await + only(format!("task={}", tasks[1])).await,
        3
    );
    let first = grid.get(&format!("/api/v1/jobs/{job}/dead-letters?size=2")).await;
    let cursor = text(&first["nextCursor"]);
    let second = grid
        .get(&format!("/api/v1/jobs/{job}/dead-letters?size=2&cursor={cursor}"))
        .await;
    assert_eq!(second["items"], json!([list["items"][2]]));
    let path = format!("/api/v1/jobs/{job}/dead-letters/export?node=in");
    let exported = grid
        .call(Method::GET, &path, &[], Vec::new())
        .await
        .text()
        .await
        .unwrap();
    let exported: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(exported.len(), 1);
    assert_eq!(exported[0]["record"], "no json");
    the_same_by_graphql(&grid, &job, &list).await;

    // Mended; once under its key.
    let path = format!("/api/v1/jobs/{job}/dead-letters/replay?node=keep");
    let (status, again) = replayed(&grid, &path, "one", &document(MENDED)).await;
    assert_eq!(
        (status, &again["replayed"], &again["leftOut"]),
        (StatusCode::CREATED, &json!(2), &json!(0))
    );
    let (_, same) = replayed(&grid, &path, "one", &document(MENDED)).await;
    assert_eq!(same["jobId"], again["jobId"]);
    assert_eq!(
        replayed(&grid, &path, "one", &document(STRICT)).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let again = text(&again["jobId"]).to_owned();
    completed(&grid, &again).await;
    assert_eq!(
        grid.get(&format!("/api/v1/jobs/{again}")).await["labels"],
        json!({"grid/replay-of": job})
    );
    assert_eq!(letters(&grid, &again, 0).await["items"], json!([]));
    let written = beside(&folder);
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(ids(&folder.join(&written[0])), [13]);
    let untouched = [0, 1].map(|index| ids(&folder.join(format!("out-{index}.ndjson"))));
    assert_eq!(untouched.concat().len(), 15);

    // All of it, with the document as it was: it fails again, where it did.
    let (status, again) = replayed(&grid, &format!("/api/v1/jobs/{job}/dead-letters/replay"), "two", "").await;
    assert_eq!((status, &again["replayed"]), (StatusCode::CREATED, &json!(3)));
    let again = text(&again["jobId"]).to_owned();
    completed(&grid, &again).await;
    let mut nodes: Vec<String> = letters(&grid, &again, 3).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item["node"]).to_owned())
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["in", "keep", "keep"]);
    end(worker).await;
    grid.stop().await;
}

/// Files that replays wrote.
fn beside(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".replay-")).collect()
}

async fn the_same_by_graphql(grid: &Fixture, job: &str, list: &Value) {
    let query = "query($job: ID!) { deadLetters(jobId: $job, first: 2) { totalCount failed kept \
                 pageInfo { hasNextPage } edges { node { taskId number attempt at node error record cut } } } }";
    let body = json!({"query": query, "variables": {"job": job}}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = grid.call(Method::POST, "/graphql", &headers, body.into()).await;
    let answer: Value = answer.json().await.unwrap();
    let found = &answer["data"]["deadLetters"];
    assert_eq!(
        (&found["totalCount"], &found["failed"]),
        (&json!(3), &json!(3)),
        "{answer}"
    );
    assert_eq!(found["pageInfo"]["hasNextPage"], true);
    let node = &found["edges"][0]["node"];
    for field in ["taskId", "number", "attempt", "at", "node", "error", "record", "cut"] {
        assert_eq!(node[field], list["items"][0][field], "{field}");
    }
    let mutation = "mutation($job: ID!) { replayDeadLetters(id: $job, node: \"nowhere\") { job { id } } }";
    let body = json!({"query": mutation, "variables": {"job": job}}).to_string();
    let answer = grid.call(Method::POST, "/graphql", &headers, body.into()).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "NOTHING_TO_REPLAY",
        "{answer}"
    );
}

#[actix_web::test]
async fn what_is_wrong_with_a_question_is_named() {
    let grid = Fixture::new().await;
    let job = text(&grid.submit("tasks: [{ externalId: a, executor: noop }]").await["jobId"]).to_owned();
    let other = "task-019a0000-0000-7000-8000-000000000001-1";
    let nobody = "job-019a0000-0000-7000-8000-000000000001";
    for (method, path, status, code) in [
        (
            Method::GET,
            format!("/api/v1/jobs/{job}/dead-letters?task={other}"),
            400,
            "INVALID_PARAMETER",
        ),
        (
            Method::GET,
            format!("/api/v1/jobs/{job}/dead-letters?colour=red"),
            400,
            "UNKNOWN_PARAMETER",
        ),
        (
            Method::GET,
            format!("/api/v1/jobs/{nobody}/dead-letters"),
            404,
            "NOT_FOUND",
        ),
        (
            Method::GET,
            format!("/api/v1/jobs/{nobody}/dead-letters/export"),
            404,
            "NOT_FOUND",
        ),
        (
            Method::POST,
            format!("/api/v1/jobs/{nobody}/dead-letters/replay"),
            404,
            "NOT_FOUND",
        ),
        (
            Method::POST,
            format!("/api/v1/jobs/{job}/dead-letters/replay"),
            409,
            "NOTHING_TO_REPLAY",
        ),
    ] {
        let answer = grid.call(method, &path, &[], Vec::new()).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code, "{path}");
    }
    let secret = format!("Bearer {TOKEN}");
    let headers = [("authorization", secret.as_str())];
    let count = format!("/api/v1/internal/dead-letters/{job}?count=1");
    let answer = grid.call(Method::GET, &count, &headers, Vec::new()).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "DEAD_LETTERS_CHANGED");
    let told = |number: u64, record: &str| {
        let letter =
            json!({"at": "2026-01-31T10:00:00.000Z", "node": "n", "error": "e", "record": record, "cut": false});
        let task = job.replace("job-", "task-") + "-1";
        json!({"taskId": task, "attempt": 1, "after": 0, "number": number, "letter": letter}).to_string()
    };
    for (body, status) in [
        (told(1, "{}"), 204),
        (told(1, "{"), 400),
        (told(1, "{}\n"), 400),
        (told(u64::MAX, "{}"), 400),
        ("{}".to_owned(), 400),
    ] {
        let path = "/api/v1/internal/dead-letters";
        let answer = grid.call(Method::POST, path, &headers, body.clone().into()).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
    }
    // Of a job that has no pipeline of that name.
    let (status, problem) = replayed(&grid, &format!("/api/v1/jobs/{job}/dead-letters/replay"), "k", "").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (422, &json!("DOCUMENT_DOES_NOT_FIT"))
    );
    grid.stop().await;
}
