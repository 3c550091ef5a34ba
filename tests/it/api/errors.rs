//! Every way to ask wrongly, and what is said of it.

use std::time::Duration;

use grid::api::ApiOptions;
use grid::domain::{Position, Seq, ShardId};
use grid::projection::PositionToken;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Fixture, Options};

const NOBODY: &str = "019a0000-0000-7000-8000-000000000001";
const YAML: &[(&str, &str)] = &[("content-type", "application/yaml")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

struct Case {
    method: Method,
    path: String,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// What the detail, or a mistake, must name.
    names: &'static str,
}

fn get(path: impl Into<String>, status: u16, code: &'static str, names: &'static str) -> Case {
    Case {
        method: Method::GET,
        path: path.into(),
        headers: &[],
        body: Vec::new(),
        status,
        code,
        names,
    }
}

fn call(method: Method, path: impl Into<String>, status: u16, code: &'static str, names: &'static str) -> Case {
    Case {
        method,
        ..get(path, status, code, names)
    }
}

fn post(
    headers: &'static [(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
    names: &'static str,
) -> Case {
    Case {
        method: Method::POST,
        headers,
        body: body.into(),
        ..get("/api/v1/jobs", status, code, names)
    }
}

async fn check(grid: &Fixture, case: Case) -> Value {
    let Case {
        method,
        path,
        headers,
        body,
        status,
        code,
        names,
    } = case;
    let name = format!("{method} {path} {headers:?}");
    let response = grid.call(method, &path, headers, body).await;
    let (found, answered) = (response.status().as_u16(), response.headers().clone());
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (found, problem["code"].as_str()),
        (status, Some(code)),
        "{name}: {problem:#}"
    );
    assert_eq!(answered["content-type"], "application/problem+json", "{name}");
    assert_eq!(problem["status"], status, "{name}");
    for field in ["type", "title", "detail"] {
        assert!(
            problem[field].as_str().is_some_and(|text| !text.is_empty()),
            "{name}: {field} in {problem:#}"
        );
    }
    assert!(problem["errors"].is_array(), "{name}");
    assert!(problem.to_string().contains(names), "{name}: {names:?} in {problem:#}");
    problem
}

#[actix_web::test]
async fn what_is_asked_wrongly_is_named() {
    let grid = Fixture::new().await;
    let cases = vec![
        get("/api/v1/nothing", 404, "NOT_FOUND", "/api/v1/nothing"),
        get("/nowhere", 404, "NOT_FOUND", "path"),
        get(format!("/api/v1/jobs/{NOBODY}"), 404, "NOT_FOUND", "job-019a"),
        get(format!("/api/v1/jobs/{NOBODY}/tasks"), 404, "NOT_FOUND", "job-019a"),
        get(format!("/api/v1/jobs/{NOBODY}/document"), 404, "NOT_FOUND", "job-019a"),
        get(format!("/api/v1/jobs/{NOBODY}/events"), 404, "NOT_FOUND", "job-019a"),
        get(format!("/api/v1/tasks/{NOBODY}-7"), 404, "NOT_FOUND", "task-019a"),
        get(format!("/api/v1/tasks/{NOBODY}-7/events"), 404, "NOT_FOUND", "job-019a"),
        get("/api/v1/workers/worker-nobody", 404, "NOT_FOUND", "worker-nobody"),
        get("/api/v1/workers/nobody/events", 404, "NOT_FOUND", "worker-nobody"),
        get("/api/v1/jobs/job-1", 400, "INVALID_ID", "job-<uuid>"),
        get(format!("/api/v1/jobs/task-{NOBODY}-1"), 400, "INVALID_ID", "job-<uuid>"),
        get(format!("/api/v1/tasks/job-{NOBODY}"), 400, "INVALID_ID", "number"),
        get(format!("/api/v1/tasks/{NOBODY}-0"), 400, "INVALID_ID", "from 1"),
        get("/api/v1/workers/a%20b", 400, "INVALID_ID", "letters"),
        get("/api/v1/jobs?colour=red&page=1", 400, "UNKNOWN_PARAMETER", "colour"),
        get("/api/v1/info?x=1", 400, "UNKNOWN_PARAMETER", "has none"),
        get("/api/v1/jobs?page=1&page=2", 400, "INVALID_PARAMETER", "twice"),
        get("/api/v1/jobs?externalId=a%00b", 400, "INVALID_PARAMETER", "NUL"),
        get("/api/v1/jobs?label=a:%00", 400, "INVALID_PARAMETER", "NUL"),
        get(
            "/api/v1/quarantine?minPosition=0.5",
            400,
            "INVALID_PARAMETER",
            "minPosition",
        ),
        get("/api/v1/jobs?size=0", 400, "INVALID_PARAMETER", "1 to 500"),
        get("/api/v1/jobs?size=501", 400, "INVALID_PARAMETER", "1 to 500"),
        get("/api/v1/jobs?page=-1", 400, "INVALID_PARAMETER", "page"),
        get("/api/v1/jobs?page=one", 400, "INVALID_PARAMETER", "one"),
        get("/api/v1/jobs?cursor=zzzz", 400, "INVALID_PARAMETER", "nextCursor"),
        get("/api/v1/jobs?cursor=zzzz&page=1", 400, "INVALID_PARAMETER", "either"),
        get(
            "/api/v1/jobs?status=failed",
            400,
            "INVALID_PARAMETER",
            "EMPTY, RUNNING, COMPLETED",
        ),
        get("/api/v1/jobs?status=FAILED&status=", 400, "INVALID_PARAMETER", "status"),
        get(
            "/api/v1/jobs?label=team",
            400,
            "INVALID_PARAMETER",
            "name=value or name:value",
        ),
        get(
            "/api/v1/jobs?sort=colour",
            400,
            "INVALID_PARAMETER",
            "createdAt, finishedAt, externalId",
        ),
        get(
            "/api/v1/jobs?sort=createdAt,up",
            400,
            "INVALID_PARAMETER",
            ",asc or ,desc",
        ),
        get(
            "/api/v1/jobs?sort=createdAt&sort=createdAt",
            400,
            "INVALID_PARAMETER",
            "twice",
        ),
        get(
            "/api/v1/jobs?createdFrom=yesterday",
            400,
            "INVALID_PARAMETER",
            "2026-01-31T10:00:00Z",
        ),
        get(
            "/api/v1/jobs?createdFrom=2026-01-02&createdTo=2026-01-01",
            400,
            "INVALID_PARAMETER",
            "after createdFrom",
        ),
        get("/api/v1/tasks?state=DONE", 400, "INVALID_PARAMETER", "READY, SCHEDULED"),
        get("/api/v1/tasks?worker=a%20b", 400, "INVALID_PARAMETER", "worker"),
        get("/api/v1/tasks?jobId=7", 400, "INVALID_PARAMETER", "jobId"),
        get("/api/v1/tasks?sort=number", 400, "INVALID_PARAMETER", "jobId"),
        get(
            "/api/v1/tasks?sort=colour",
            400,
            "INVALID_PARAMETER",
            "createdAt, number",
        ),
        get(
            format!("/api/v1/jobs/{NOBODY}/tasks?label=a:b"),
            400,
            "UNKNOWN_PARAMETER",
            "label",
        ),
        get(
            "/api/v1/workers?state=UP",
            400,
            "INVALID_PARAMETER",
            "ACTIVE, INACTIVE, PENDING",
        ),
        get(
            "/api/v1/workers?sort=name",
            400,
            "INVALID_PARAMETER",
            "createdAt, workerId",
        ),
        get("/api/v1/jobs?minPosition=zz", 400, "INVALID_PARAMETER", "minPosition"),
        get(
            format!("/api/v1/jobs/{NOBODY}/events?order=up"),
            400,
            "INVALID_PARAMETER",
            "asc or desc",
        ),
        call(
            Method::DELETE,
            format!("/api/v1/jobs/kill/{NOBODY}"),
            404,
            "NOT_FOUND",
            "job-019a",
        ),
        call(
            Method::POST,
            format!("/api/v1/jobs/{NOBODY}/retry"),
            404,
            "NOT_FOUND",
            "job-019a",
        ),
        call(
            Method::POST,
            format!("/api/v1/jobs/{NOBODY}/stop"),
            404,
            "NOT_FOUND",
            "job-019a",
        ),
        call(
            Method::DELETE,
            format!("/api/v1/tasks/{NOBODY}-1/retry"),
            404,
            "NOT_FOUND",
            "task-019a",
        ),
        call(Method::DELETE, "/api/v1/jobs/kill/x", 400, "INVALID_ID", "job-<uuid>"),
        call(
            Method::PUT,
            "/api/v1/jobs",
            405,
            "METHOD_NOT_ALLOWED",
            "GET, HEAD, POST",
        ),
        call(Method::POST, "/health/live", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"),
    ];
    for case in cases {
        check(&grid, case).await;
    }
    let refused = grid
        .call(Method::PATCH, &format!("/api/v1/jobs/{NOBODY}/retry"), &[], Vec::new())
        .await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    let head = grid.call(Method::HEAD, "/api/v1/jobs", &[], Vec::new()).await;
    assert_eq!(head.status(), StatusCode::OK);
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_no_job_is_said_with_its_place() {
    let grid = Fixture::new().await;
    let long = vec![b' '; 1024 * 1024 + 1];
    let cases = vec![
        post(JSON, "{", 400, "SYNTAX", "line"),
        post(YAML, "a: [", 400, "SYNTAX", "line"),
        post(JSON, "tasks: []", 400, "SYNTAX", "line"),
        post(YAML, vec![0xff, 0xfe], 400, "SYNTAX", "UTF-8"),
        post(YAML, "tasks: []\ncolour: red", 400, "UNKNOWN_FIELD", "/colour"),
        post(
            YAML,
            "tasks: [{externalId: a, executor: noop, replicas: 1000001}]",
            400,
            "OUT_OF_RANGE",
            "replicas",
        ),
        post(
            YAML,
            "tasks: [{externalId: a, executor: noop, replicas: 600000}, {externalId: b, executor: noop, replicas: 600000}]",
            400,
            "TOO_MANY_TASKS",
            "1000000",
        ),
        post(
            YAML,
            "tasks: [{externalId: a, executor: noop}, {externalId: a, executor: noop}]",
            400,
            "DUPLICATE_NAME",
            "/tasks/1/externalId",
        ),
        post(
            YAML,
            "tasks: [{externalId: a, dag: []}]",
            400,
            "INVALID_DAG",
            "/tasks/0/dag",
        ),
        post(YAML, "{}", 400, "MISSING_FIELD", "tasks"),
        post(YAML, long.clone(), 413, "TOO_LARGE", "1048576"),
        post(
            &[("content-type", "text/plain")],
            "tasks: []",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "text/plain",
        ),
        post(
            &[("content-type", "application/json; charset=latin1")],
            "{}",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "latin1",
        ),
        post(
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            "{}",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Encoding",
        ),
        Case {
            path: "/api/v1/jobs?dryRun=maybe".into(),
            ..post(YAML, "tasks: []", 400, "INVALID_PARAMETER", "dryRun")
        },
        Case {
            path: "/api/v1/jobs?dryRun=true".into(),
            ..post(YAML, "tasks: []\nx: 1", 400, "UNKNOWN_FIELD", "/x")
        },
    ];
    for case in cases {
        check(&grid, case).await;
    }
    // All mistakes at once, each in its place.
    let document = "tasks:\n  - externalId: a\n    executor: noop\n    colour: red\n  - executor: noop\n";
    let problem = check(&grid, post(YAML, document, 400, "INVALID_DOCUMENT", "2 mistakes")).await;
    let places: Vec<(u64, u64)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(4, 5), (5, 5)]);
    assert_eq!(problem["errors"][0]["pointer"], "/tasks/0/colour");
    assert_eq!(
        grid.psql("SELECT count(*) FROM submissions"),
        "0",
        "nothing of all that was kept"
    );
    grid.stop().await;
}

#[actix_web::test]
async fn a_position_that_does_not_come_is_not_waited_for_for_ever() {
    let api = ApiOptions {
        position_wait: Duration::from_millis(100),
        ..ApiOptions::default()
    };
    let grid = Fixture::with(Options {
        api,
        ..Options::default()
    })
    .await;
    let timeline = grid.log.timeline().await.unwrap();
    let token = |timeline, shard| {
        PositionToken::new(
            timeline,
            Position {
                shard: ShardId(shard),
                seq: Seq(1_000_000),
            },
        )
    };
    let path = format!("/api/v1/jobs?minPosition={}", token(timeline, 1));
    let response = grid.call(Method::GET, &path, &[], Vec::new()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    check(&grid, get(path, 503, "READ_MODEL_BEHIND", "1000000")).await;
    let other = format!("/api/v1/jobs?minPosition={}", token(uuid::Uuid::from_u128(1), 1));
    check(&grid, get(other, 400, "INVALID_PARAMETER", "timeline")).await;
    let beyond = format!("/api/v1/jobs?minPosition={}", token(timeline, 4));
    check(&grid, get(beyond, 400, "INVALID_PARAMETER", "no shard 4")).await;
    grid.stop().await;
}

#[actix_web::test]
async fn without_an_answer_the_outcome_is_unknown_and_more_is_too_much() {
    let api = ApiOptions {
        command_timeout: Duration::from_millis(700),
        unanswered_per_shard: 1,
        ..ApiOptions::default()
    };
    let grid = Fixture::with(Options {
        api,
        shards: false,
        ..Options::default()
    })
    .await;
    let path = format!("/api/v1/jobs/{NOBODY}/retry");
    let (first, second) = futures::join!(
        grid.call(Method::POST, &path, &[], Vec::new()),
        grid.call(Method::POST, &path, &[], Vec::new())
    );
    let (late, early) = if first.status() == 504 {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(
        (early.status().as_u16(), &early.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    assert_eq!(early.json::<Value>().await.unwrap()["code"], "OVERLOADED");
    let late: Value = late.json().await.unwrap();
    assert_eq!(
        (late["code"].as_str(), late["jobId"].as_str()),
        (Some("OUTCOME_UNKNOWN"), Some(format!("job-{NOBODY}").as_str()))
    );
    grid.stop().await;
}
