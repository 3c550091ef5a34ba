//! What running tasks write, from the worker to the search, over REST.

use std::time::Duration;

use grid::worker::WorkerHandle;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::api::fixture::{Fixture, TOKEN, text};
use crate::api::workers::Yard;
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(30);

/// Every kind of line: JSON that claims to be another job's, a level word, colours, a trace, bytes that are no text, one
/// that is too long, none at the end.
const WRITER: &str = concat!(
    r#"{"tasks": [{"externalId": "w", "command": ["sh", "-c", "echo plain; echo 'ERROR in words' >&2; echo warned >&2; "#,
    r#"echo '{\"message\":\"from json\",\"level\":\"debug\",\"job_id\":\"job-9\",\"user\":{\"id\":7}}'; "#,
    r#"printf '\\033[31mred\\033[0m\\n'; printf 'bad \\377 byte\\n'; "#,
    r#"printf 'ERROR boom\\n\\tat a.B(B.java:1)\\n\\tat c.D(D.java:2)\\n'; "#,
    r#"head -c 40000 /dev/zero | tr '\\0' x; echo; printf 'no end'"]}]}"#
);

async fn finished(grid: &Fixture, job: &str) {
    eventually("the job is finished", SOON, async || {
        let seen = grid.get(&format!("/api/v1/jobs/{job}")).await;
        (seen["status"] == "COMPLETED").then_some(())
    })
    .await;
}

async fn end(worker: WorkerHandle) {
    worker.drain();
    worker.ended().await;
}

async fn found(grid: &Fixture, query: &str) -> Vec<Value> {
    let answer = grid.get(&format!("/api/v1/logs/search?{query}")).await;
    answer["lines"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

#[actix_web::test]
async fn every_line_of_a_task_is_found() {
    let grid = Fixture::new().await;
    let workers = Yard::new();
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    let job = text(&grid.submit(WRITER).await["jobId"]).to_owned();
    finished(&grid, &job).await;
    let lines = eventually("all lines are there", SOON, async || {
        let lines = found(&grid, &format!("job_id={job}")).await;
        (lines.len() == 9).then_some(lines)
    })
    .await;
    for line in &lines {
        let task = format!("task-{}-1", job.strip_prefix("job-").unwrap());
        assert_eq!(line["job_id"], job);
        assert_eq!(line["task_id"], task.as_str());
        assert_eq!(line["worker_id"], "worker-a");
        assert_eq!(line["attempt"], 1);
        assert_eq!((&line["source"], &line["service"]), (&"task".into(), &"grid".into()));
        assert!(text(&line["@timestamp"]).ends_with('Z'));
    }
    let by = |message: &str| {
        let found = lines.iter().find(|line| text(&line["message"]).starts_with(message));
        found.unwrap_or_else(|| panic!("{message}: {lines:#?}"))
    };
    assert_eq!(
        (&by("plain")["level"], &by("plain")["stream"]),
        (&"INFO".into(), &"stdout".into())
    );
    assert_eq!(by("ERROR in words")["level"], "ERROR");
    assert_eq!(
        (&by("warned")["level"], &by("warned")["stream"]),
        (&"WARN".into(), &"stderr".into())
    );
    let json = by("from json");
    assert_eq!(
        (&json["level"], &json["user.id"], &json["task.job_id"]),
        (&"DEBUG".into(), &"7".into(), &"job-9".into())
    );
    by("red");
    assert_eq!(by("bad")["message"], "bad \u{fffd} byte");
    assert_eq!(
        by("ERROR boom")["stack_trace"],
        "ERROR boom\n\tat a.B(B.java:1)\n\tat c.D(D.java:2)"
    );
    let long = text(&by("xxx")["message"]);
    assert!(long.len() < 33_000 && long.ends_with("… [cut]"));
    by("no end");

    queries_find(&grid, &job, text(&lines[0]["task_id"])).await;
    pages_follow(&grid, &job).await;
    end(worker).await;
    grid.stop().await;
}

/// The seed's queries, and the fields of JSON lines.
async fn queries_find(grid: &Fixture, job: &str, task: &str) {
    for (query, count) in [
        (format!(r#"job_id:"{job}""#), 9),
        (format!(r#"task_id:"{task}" AND level:"ERROR""#), 2),
        (format!(r#"job_id:"{job}" AND _time:[now-1h, now]"#), 9),
        (format!(r#"job_id:"{job}" user.id:7"#), 1),
        (format!(r#"job_id:"{job}" stack_trace:"B.java""#), 1),
    ] {
        let url = reqwest::Url::parse_with_params("http://x/", [("query", &query)]).unwrap();
        assert_eq!(found(grid, url.query().unwrap()).await.len(), count, "{query}");
    }
    assert_eq!(
        found(grid, &format!("task_id={task}&level=error&level=debug"))
            .await
            .len(),
        3
    );
    assert_eq!(found(grid, "job_id=job-12345").await.len(), 0);
    assert_eq!(found(grid, &format!("job_id={job}&to=-1h")).await.len(), 0);
}

async fn pages_follow(grid: &Fixture, job: &str) {
    let page = grid.get(&format!("/api/v1/logs/search?job_id={job}&limit=5")).await;
    assert_eq!(
        (page["lines"].as_array().unwrap().len(), &page["truncated"]),
        (5, &true.into())
    );
    let cursor = text(&page["nextCursor"]);
    let rest = grid
        .get(&format!("/api/v1/logs/search?job_id={job}&limit=5&cursor={cursor}"))
        .await;
    assert_eq!(
        (rest["lines"].as_array().unwrap().len(), &rest["nextCursor"]),
        (4, &Value::Null)
    );
    let last = &page["lines"].as_array().unwrap()[4];
    assert!(!rest["lines"].as_array().unwrap().contains(last));
    let other = format!("/api/v1/logs/search?job_id=job-12345&cursor={cursor}");
    grid.json(Method::GET, &other, StatusCode::BAD_REQUEST).await;
}

#[actix_web::test]
async fn what_cannot_be_searched_is_refused() {
    let grid = Fixture::new().await;
    for (query, code) in [
        ("query=error%20%7C%20delete%20level", "QUERY_HAS_PIPES"),
        ("query=level%3A", "INVALID_QUERY"),
        ("query=", "INVALID_QUERY"),
        ("query=value_type(x)", "UNSUPPORTED_QUERY"),
        ("from=yesterday", "INVALID_PARAMETER"),
        ("from=now&to=-1h", "INVALID_PARAMETER"),
        ("limit=10001", "INVALID_PARAMETER"),
        ("job=x", "UNKNOWN_PARAMETER"),
    ] {
        let problem = grid
            .json(
                Method::GET,
                &format!("/api/v1/logs/search?{query}"),
                StatusCode::BAD_REQUEST,
            )
            .await;
        assert_eq!(problem["code"], code, "{query}: {problem}");
    }
    grid.stop().await;
}

#[actix_web::test]
async fn what_a_task_writes_last_is_sent_before_its_worker_ends() {
    let grid = Fixture::new().await;
    let workers = Yard::new();
    let worker = workers.worker(&grid, "a", 1, &[]).await;
    let document =
        r#"{"tasks": [{"externalId": "w", "command": ["sh", "-c", "for i in $(seq 500); do echo line $i; done"]}]}"#;
    let job = text(&grid.submit(document).await["jobId"]).to_owned();
    finished(&grid, &job).await;
    end(worker).await;
    let lines = found(&grid, &format!("job_id={job}&limit=1000")).await;
    assert_eq!(lines.len(), 500);
    assert_eq!(lines[0]["message"], "line 500");
    grid.stop().await;
}

#[actix_web::test]
async fn only_workers_hand_lines_over() {
    let grid = Fixture::new().await;
    let path = "/api/v1/internal/logs/019a0000-0000-7000-8000-000000000001/1";
    let line = serde_json::to_vec(&super::line("2026-01-31T10:00:00Z", "x")).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let status = async |headers: &[(&str, &str)], path: &str, body: &[u8]| {
        grid.call(Method::POST, path, headers, body.to_vec())
            .await
            .status()
            .as_u16()
    };
    assert_eq!(status(&headers, path, &line).await, 204);
    assert_eq!(status(&headers, path, &line).await, 204);
    assert_eq!(grid.psql("SELECT count(*) FROM log_lines"), "1");
    assert!([401, 403].contains(&status(&[], path, &line).await));
    assert_eq!(status(&headers, path, b"{}").await, 400);
    assert_eq!(status(&headers, "/api/v1/internal/logs/x/1", &line).await, 400);
    assert_eq!(status(&headers, path, &vec![b' '; 3_000_000]).await, 413);
    grid.stop().await;
}
