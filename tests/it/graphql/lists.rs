//! Lists and the search: what REST can be asked for, GraphQL can.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Fixture, text};
use crate::support::eventually;

const DOCUMENT: &str = "
labels: { team: a }
tasks:
  - { externalId: quake, replicas: 30, executor: noop, retry: { maxRetries: 5 } }
  - { externalId: report, executor: noop }
";

/// Two jobs of which tasks wait for a retry, and two workers, as the read models would have them.
async fn filled() -> (Fixture, [String; 2]) {
    let grid = Fixture::new().await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(text(&grid.submit(DOCUMENT).await["jobId"]).to_owned());
    }
    // All are written out: then nothing else touches their rows.
    eventually("all tasks are there", Duration::from_secs(20), async || {
        (grid.psql("SELECT count(*) FROM grid_read.tasks") == "62").then_some(())
    })
    .await;
    grid.psql(
        "UPDATE grid_read.tasks SET state = 'FAILED', attempt = 1, retry_count = 1, reason = 'ERROR', worker = 'w1',
             next_retry_at = '2030-01-01T00:00:00Z'::timestamptz + number * interval '1 second' WHERE number % 2 = 0;
         UPDATE grid_read.jobs SET failed = 15, ready = 16, retries_pending = 15;
         UPDATE grid_read.task_blocks SET failed = 15, ready = 16;
         INSERT INTO grid_read.workers (name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at,
             created_at, left_at, seq)
         SELECT 'w' || n, 0, gen_random_uuid(), '', 1, json_build_object('zone', 'z' || n), now(),
             '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 day', CASE WHEN n = 3 THEN now() END, n
         FROM generate_series(1, 3) n",
    );
    (grid, [jobs.remove(0), jobs.remove(0)])
}

/// A field of every item, over all pages.
async fn walk(grid: &Fixture, list: &str, arguments: &str, field: &str) -> Vec<Value> {
    let query = format!(
        "query ($after: String) {{ {list}(first: 7, after: $after, {arguments}) {{
            totalCount pageInfo {{ hasNextPage endCursor }} edges {{ node {{ {field} }} }} }} }}"
    );
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = grid.data(&query, &json!({"after": after})).await[list].clone();
        let edges = page["edges"].as_array().unwrap().iter();
        found.extend(edges.map(|edge| edge["node"][field].clone()));
        if page["pageInfo"]["hasNextPage"] == false {
            assert_eq!(page["totalCount"], found.len(), "{list} {arguments}");
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

async fn rest(grid: &Fixture, path: &str, field: &str) -> Vec<Value> {
    let list = grid.get(&format!("/api/v1/{path}")).await;
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item[field].clone()).collect()
}

#[actix_web::test]
async fn lists_hold_what_those_of_rest_hold_in_their_order() {
    let (grid, [first, second]) = filled().await;
    let cases = [
        (
            "tasks",
            "filter: {}".to_owned(),
            "tasks?size=500".to_owned(),
            "taskId",
            62,
        ),
        (
            "tasks",
            "filter: {states: [FAILED], labels: [\"team:a\"]}, orderBy: {by: CREATED_AT, direction: ASC}".to_owned(),
            "tasks?size=500&state=FAILED&label=team:a&sort=createdAt,asc".to_owned(),
            "taskId",
            30,
        ),
        (
            "tasks",
            format!(
                "filter: {{jobId: \"{first}\", workerIds: [\"worker-w1\"]}}, orderBy: {{by: NUMBER, direction: DESC}}"
            ),
            format!("tasks?size=500&jobId={first}&worker=worker-w1&sort=number,desc"),
            "taskId",
            15,
        ),
        (
            "tasks",
            "filter: {externalIds: [\"report\"]}".to_owned(),
            "tasks?size=500&externalId=report".to_owned(),
            "taskId",
            2,
        ),
        ("retries", String::new(), "retries?size=500".to_owned(), "taskId", 30),
        (
            "retries",
            format!("jobId: \"{second}\""),
            format!("jobs/{second}/retries?size=500"),
            "taskId",
            15,
        ),
        (
            "workers",
            "orderBy: {by: WORKER_ID, direction: DESC}".to_owned(),
            "workers?sort=workerId,desc".to_owned(),
            "workerId",
            3,
        ),
        (
            "workers",
            "filter: {labels: [\"zone=z1\", \"zone=z3\"]}".to_owned(),
            "workers?label=zone:z1&label=zone:z3".to_owned(),
            "workerId",
            2,
        ),
        (
            "workers",
            "filter: {states: [PENDING], createdFrom: \"2026-01-03T00:00:00Z\"}".to_owned(),
            "workers?state=PENDING&createdFrom=2026-01-03".to_owned(),
            "workerId",
            1,
        ),
    ];
    for (list, arguments, path, field, count) in cases {
        let found = walk(&grid, list, &arguments, field).await;
        assert_eq!(found.len(), count, "{list} {arguments}");
        assert_eq!(found, rest(&grid, &path, field).await, "{list} {arguments}");
    }

    let query = "{ search(q: \" quake \", first: 3) { kind id jobId field value } }";
    let hits = grid.data(query, &json!({})).await["search"].clone();
    let items = grid.get("/api/v1/search?q=quake&limit=3").await["items"].clone();
    assert!(hits.as_array().unwrap().len() > 1, "{hits:#}");
    assert_eq!(hits, items);
    grid.stop().await;
}

#[actix_web::test]
async fn what_no_list_can_hold_is_refused() {
    let (grid, _) = filled().await;
    let ids = |count: usize| vec!["\"a\""; count].join(",");
    let cases = [
        (
            "tasks(orderBy: {by: NUMBER, direction: ASC}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        ("tasks(filter: {jobId: \"x\"}) { totalCount }".to_owned(), "INVALID_ID"),
        (
            "retries(jobId: \"job-0198c2a0-7c00-7000-8000-000000000001\") { totalCount }".to_owned(),
            "NOT_FOUND",
        ),
        (
            format!("tasks(filter: {{externalIds: [{}]}}) {{ totalCount }}", ids(51)),
            "INVALID_PARAMETER",
        ),
        ("search(q: \"\") { id }".to_owned(), "INVALID_PARAMETER"),
        ("search(q: \"a\", first: 101) { id }".to_owned(), "INVALID_PARAMETER"),
        // What Postgres has no text for.
        ("search(q: \"a\\u0000\") { id }".to_owned(), "INVALID_PARAMETER"),
        (
            "jobs(filter: {externalIds: [\"a\\u0000\"]}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        (
            "jobs(filter: {labels: [\"a=\\u0000\"]}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        (
            "tasks(filter: {externalIds: [\"\\u0000\"]}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        (
            "tasks(filter: {labels: [\"a\\u0000=b\"]}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        (
            "tasks(filter: {workerIds: [\"w\\u0000\"]}) { totalCount }".to_owned(),
            "INVALID_ID",
        ),
        (
            "workers(filter: {labels: [\"a=\\u0000\"]}) { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
        ("job(id: \"\\u0000\") { status }".to_owned(), "INVALID_ID"),
        // The cursor of a worker without a name but for that.
        (
            "workers(after: \"dwAAAAAAAAAAAA\") { totalCount }".to_owned(),
            "INVALID_PARAMETER",
        ),
    ];
    for (field, code) in cases {
        assert_eq!(grid.code(&format!("{{ {field} }}"), &json!({})).await, code, "{field}");
    }
    grid.stop().await;
}
