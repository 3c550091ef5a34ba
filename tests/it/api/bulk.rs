//! Commands for many jobs, and jobs as a file.

use std::time::Duration;

use grid::api::ApiOptions;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, Options, text};
use super::lists::{refill, walk};
use crate::support::eventually;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const NOBODY: &str = "job-019a0000-0000-7000-8000-000000000001";

async fn bulk(grid: &Fixture, query: &str, body: &Value, status: StatusCode) -> Value {
    let path = format!("/api/v1/jobs/bulk{query}");
    let answer = grid
        .call(Method::POST, &path, JSON, body.to_string().into_bytes())
        .await;
    let found = answer.status();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(found, status, "{answer:#}");
    answer
}

async fn submitted(grid: &Fixture, count: usize, team: &str) -> Vec<String> {
    let document = format!("labels: {{ team: {team} }}\ntasks: [{{ externalId: a, executor: noop }}]");
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(text(&grid.submit(&document).await["jobId"]).to_owned());
    }
    ids
}

fn column<'a>(answer: &'a Value, name: &str) -> Vec<&'a Value> {
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item[name])
        .collect()
}

#[actix_web::test]
async fn every_named_job_has_its_own_outcome() {
    let grid = Fixture::new().await;
    let ids = submitted(&grid, 3, "a").await;
    let named = json!({"action": "kill", "jobIds": [ids[0], NOBODY, ids[1]]});
    let dry = bulk(&grid, "?dryRun=true", &named, StatusCode::OK).await;
    assert_eq!(
        (&dry["dryRun"], &dry["matched"], &dry["succeeded"], &dry["failed"]),
        (&json!(true), &json!(3), &json!(0), &json!(1))
    );
    assert_eq!(column(&dry, "status"), [&Value::Null, &json!(404), &Value::Null]);
    assert_eq!(
        grid.get(&format!("/api/v1/jobs/{}", ids[0])).await["status"],
        "RUNNING",
        "nothing was done"
    );

    let killed = bulk(&grid, "", &named, StatusCode::OK).await;
    assert_eq!(
        column(&killed, "jobId"),
        [&json!(ids[0]), &json!(NOBODY), &json!(ids[1])]
    );
    assert_eq!(column(&killed, "status"), [&json!(200), &json!(404), &json!(200)]);
    assert_eq!(
        column(&killed, "code"),
        [&Value::Null, &json!("NOT_FOUND"), &Value::Null]
    );
    assert_eq!(
        (&killed["succeeded"], &killed["failed"], &killed["nextCursor"]),
        (&json!(2), &json!(1), &Value::Null)
    );
    let position = text(&killed["items"][0]["position"]);
    let job = grid
        .get(&format!("/api/v1/jobs/{}?minPosition={position}", ids[0]))
        .await;
    assert_eq!(job["failureSummary"], json!({"KILLED": 1}));

    // As each call alone would have been answered.
    let retried = bulk(&grid, "", &json!({"action": "retry", "jobIds": ids}), StatusCode::OK).await;
    assert_eq!(column(&retried, "status"), [&json!(200), &json!(200), &json!(409)]);
    assert_eq!(retried["items"][2]["code"], "NOTHING_FAILED");
    assert!(text(&retried["items"][2]["detail"]).len() > 5 && retried["items"][2]["position"].is_null());
    grid.stop().await;
}

#[actix_web::test]
async fn a_filter_is_worked_through_by_its_cursor() {
    let api = ApiOptions {
        bulk_jobs: 4,
        ..ApiOptions::default()
    };
    let grid = Fixture::with(Options {
        api,
        ..Options::default()
    })
    .await;
    let mut ids = submitted(&grid, 9, "mine").await;
    let others = submitted(&grid, 2, "theirs").await;
    let mut body = json!({"action": "stop", "filter": {"label": ["team=mine"]}});
    let dry = bulk(&grid, "?dryRun=true", &body, StatusCode::OK).await;
    assert_eq!(
        (&dry["matched"], dry["items"].as_array().unwrap().len()),
        (&json!(9), 4)
    );
    let mut found = Vec::new();
    loop {
        let stopped = bulk(&grid, "", &body, StatusCode::OK).await;
        assert_eq!((&stopped["matched"], &stopped["failed"]), (&json!(9), &json!(0)));
        found.extend(column(&stopped, "jobId").into_iter().map(|id| text(id).to_owned()));
        if stopped["nextCursor"].is_null() {
            break;
        }
        body["cursor"] = stopped["nextCursor"].clone();
    }
    ids.reverse();
    assert_eq!(found, ids, "each once, the newest first");
    eventually("all have ended", Duration::from_secs(20), async || {
        (grid.get("/api/v1/jobs?label=team=mine&status=FAILED").await["total"] == 9).then_some(())
    })
    .await;
    for id in others {
        assert_eq!(grid.get(&format!("/api/v1/jobs/{id}")).await["status"], "RUNNING");
    }
    // The cursor belongs to its filter.
    body["filter"] = json!({"label": ["team=theirs"]});
    assert_eq!(
        bulk(&grid, "", &body, StatusCode::BAD_REQUEST).await["errors"][0]["parameter"],
        "cursor"
    );
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_asked_wrongly_is_named() {
    let grid = Fixture::new().await;
    let cases = [
        (json!({"action": "pause", "jobIds": [NOBODY]}), "INVALID_BODY", "pause"),
        (json!({"action": "kill"}), "INVALID_BODY", "either jobIds or filter"),
        (
            json!({"action": "kill", "jobIds": [NOBODY], "filter": {"status": ["FAILED"]}}),
            "INVALID_BODY",
            "either",
        ),
        (json!({"action": "kill", "jobIds": []}), "INVALID_BODY", "1 to 1000"),
        (json!({"action": "kill", "jobIds": ["x"]}), "INVALID_BODY", "/jobIds/0"),
        (
            json!({"action": "kill", "jobIds": [NOBODY, NOBODY]}),
            "INVALID_BODY",
            "twice",
        ),
        (
            json!({"action": "kill", "jobIds": [NOBODY], "colour": 1}),
            "UNKNOWN_FIELD",
            "colour",
        ),
        (json!({"action": "kill", "filter": {}}), "INVALID_BODY", "every job"),
        (
            json!({"action": "kill", "filter": {"status": ["failed"]}}),
            "INVALID_BODY",
            "FAILED",
        ),
        (
            json!({"action": "kill", "filter": {"label": ["a=b", "c"]}}),
            "INVALID_BODY",
            "/filter/label/1",
        ),
        (
            json!({"action": "kill", "filter": {"createdTo": "soon"}}),
            "INVALID_BODY",
            "/filter/createdTo",
        ),
        (
            json!({"action": "kill", "filter": {"createdFrom": "2026-01-02", "createdTo": "2026-01-02"}}),
            "INVALID_BODY",
            "/filter/createdTo: expected a time after createdFrom",
        ),
        (
            json!({"action": "kill", "filter": {"status": ["FAILED"]}, "limit": 1001}),
            "INVALID_BODY",
            "1 to 1000",
        ),
    ];
    for (body, code, names) in cases {
        let refused = bulk(&grid, "", &body, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["code"], code, "{body}: {refused}");
        assert!(refused.to_string().contains(names), "{body}: {refused}");
    }
    // What a key promises cannot be kept for jobs that a filter chooses anew.
    let headers = [JSON[0], ("idempotency-key", "k")];
    let body = json!({"action": "kill", "filter": {"status": ["FAILED"]}}).to_string();
    let answer = grid
        .call(Method::POST, "/api/v1/jobs/bulk", &headers, body.into_bytes())
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let refused: Value = answer.json().await.unwrap();
    assert_eq!(refused["code"], "INVALID_IDEMPOTENCY_KEY", "{refused}");
    grid.stop().await;
}

#[actix_web::test]
async fn jobs_are_exported_in_every_format() {
    let grid = Fixture::new().await;
    refill(&grid, 1_700).await;
    grid.psql("UPDATE grid_read.jobs SET external_id = '=HYPERLINK(\"http://x\")' WHERE external_id = 'job 3'");
    let all = walk(&grid, "/api/v1/jobs?size=500").await;
    let export = async |query: &str| {
        let answer = grid
            .call(Method::GET, &format!("/api/v1/jobs/export?{query}"), &[], Vec::new())
            .await;
        assert_eq!(answer.status(), StatusCode::OK, "{query}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let headers = (header("content-type"), header("content-disposition"));
        (headers, answer.text().await.unwrap())
    };
    let (headers, json) = export("").await;
    assert_eq!(
        headers,
        (
            "application/json".to_owned(),
            "attachment; filename=\"jobs.json\"".to_owned()
        )
    );
    let json: Vec<Value> = serde_json::from_str(&json).unwrap();
    let ids = |jobs: &[Value]| {
        jobs.iter()
            .map(|job| text(&job["jobId"]).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&json), all);
    assert_eq!(
        json[7],
        grid.get(&format!("/api/v1/jobs/{}", all[7])).await,
        "the objects of the list"
    );

    let (_, lines) = export("format=ndjson&status=FAILED&label=team:t1").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        ids(&lines),
        walk(&grid, "/api/v1/jobs?size=500&status=FAILED&label=team:t1").await
    );

    let (headers, text) = export("format=csv").await;
    assert!(headers.0.starts_with("text/csv"));
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(csv.headers().unwrap().get(0), Some("jobId"));
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| row[0].to_owned()).collect::<Vec<_>>(), all);
    let formulas = rows.iter().filter(|row| row[1].starts_with('=')).count();
    let tamed = rows.iter().filter(|row| row[1].starts_with("'=HYPERLINK")).count();
    assert!(formulas == 0 && tamed > 100, "{formulas} {tamed}");
    assert!(rows.iter().all(|row| row[11].contains("; team=t")), "{:?}", rows[0]);

    let empty = export("label=no:one").await.1;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&empty).unwrap(), Vec::<Value>::new());
    let refused = grid
        .json(Method::GET, "/api/v1/jobs/export?format=xml", StatusCode::BAD_REQUEST)
        .await;
    assert!(text_of(&refused).contains("json, ndjson, csv"), "{refused}");
    grid.stop().await;
}

fn text_of(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap()
}
