//! Lists: pages, cursors, order.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, text};
use crate::support::Postgres;

pub fn ids(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(item.get("taskId").unwrap_or(&item["jobId"])).to_owned())
        .collect()
}

#[actix_web::test]
async fn jobs_are_listed_newest_first_by_page_and_by_cursor() {
    let grid = Fixture::new().await;
    for _ in 0..23 {
        grid.submit("tasks: []").await;
    }
    let all = grid.get("/api/v1/jobs?size=500").await;
    assert_eq!(
        (&all["total"], &all["page"], &all["size"]),
        (&json!(23), &json!(0), &json!(500))
    );
    assert!(all["nextCursor"].is_null());
    let keys: Vec<(String, String)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (text(&job["createdAt"]).to_owned(), text(&job["jobId"]).to_owned()))
        .collect();
    assert!(keys.windows(2).all(|pair| pair[0] > pair[1]), "{keys:?}");

    let (mut by_page, mut by_cursor) = (Vec::new(), Vec::new());
    for page in 0..6 {
        by_page.extend(ids(&grid.get(&format!("/api/v1/jobs?page={page}&size=4")).await));
    }
    let mut path = "/api/v1/jobs?size=4".to_owned();
    for page in 0.. {
        let list = grid.get(&path).await;
        assert_eq!(list["page"], page);
        by_cursor.extend(ids(&list));
        let Some(cursor) = list["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs?size=4&cursor={cursor}");
    }
    assert_eq!(by_page, ids(&all));
    assert_eq!(by_cursor, ids(&all));
    let beyond = grid.get("/api/v1/jobs?page=9&size=4").await;
    assert_eq!(
        (&beyond["items"], &beyond["total"], &beyond["nextCursor"]),
        (&json!([]), &json!(23), &Value::Null)
    );
    let last = grid.get("/api/v1/jobs?page=4294967295&size=500").await;
    assert_eq!(last["items"], json!([]));
    grid.stop().await;
}

/// All pages of a list, by its cursors.
pub async fn walk(grid: &Fixture, path: &str) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), path.to_owned());
    loop {
        let list = grid.get(&next).await;
        found.extend(ids(&list));
        assert!(found.len() as u64 <= list["total"].as_u64().unwrap(), "{path}");
        let Some(cursor) = list["nextCursor"].as_str() else {
            assert_eq!(found.len() as u64, list["total"].as_u64().unwrap(), "{path}");
            return found;
        };
        next = format!("{path}&cursor={cursor}");
    }
}

/// Jobs of every kind, made by SQL: what is listed is compared with what SQL says.
pub async fn refill(grid: &Fixture, jobs: u32) {
    // Each shard has its cursor once something was written.
    grid.submit_to_each_shard().await;
    grid.psql("DELETE FROM grid_read.jobs; DELETE FROM grid_read.job_labels");
    let sql = format!(
        "INSERT INTO grid_read.jobs (id, shard, external_id, labels, document_hash, principal, task_count, created_at,
             finished_at, seq, ready, scheduled, running, completed, failed, retries_pending, final_error,
             final_timeout, final_killed, final_worker_lost, final_handed_back, final_invalid_dag,
             final_authentication, final_unrecoverable)
         SELECT gen_random_uuid(), n % 4, CASE WHEN n % 5 > 0 THEN 'job ' || n % 7 END,
             jsonb_build_object('team', 't' || n % 3, 'n', n::text), repeat('ab', 32), 'anonymous', least(n % 6, 1),
             '2026-01-01'::timestamptz + n / 2 * interval '1 second',
             CASE WHEN n % 6 <> 1 THEN '2026-01-02'::timestamptz - n / 3 * interval '1 minute' END,
             n, (n % 6 = 1)::int, 0, 0, (n % 6 = 2)::int, (n % 6 > 2)::int, 0, (n % 6 = 3)::int, (n % 6 = 4)::int,
             (n % 6 = 5)::int, 0, 0, 0, 0, 0
         FROM generate_series(1, {jobs}) n;
         INSERT INTO grid_read.job_labels
         SELECT j.id, l.key, l.value, j.created_at, j.task_count FROM grid_read.jobs j, jsonb_each_text(j.labels) l;
         UPDATE grid_read.projection_cursors c
         SET jobs = (SELECT count(*) FROM grid_read.jobs j WHERE j.shard = c.shard)"
    );
    // Not on the thread that tends the connections of the client, which would grow old unseen.
    let url = grid.url.clone();
    actix_web::web::block(move || Postgres::shared().psql(&url, &sql))
        .await
        .unwrap();
}

#[actix_web::test]
async fn jobs_are_filtered_and_sorted() {
    let grid = Fixture::new().await;
    refill(&grid, 120).await;
    let newest = "created_at DESC, id DESC";
    let ends = "COALESCE(finished_at, 'infinity')";
    let name = "COALESCE(external_id, '') COLLATE \"C\"";
    let cases = [
        ("status=FAILED", "status = 'FAILED'", newest.to_owned()),
        (
            "status=FAILED&status=RUNNING&status=EMPTY",
            "status IN ('FAILED', 'RUNNING', 'EMPTY')",
            newest.to_owned(),
        ),
        ("externalId=job%203", "external_id = 'job 3'", newest.to_owned()),
        (
            "externalId=job%203&externalId=job%205&sort=createdAt,asc",
            "external_id IN ('job 3', 'job 5')",
            "created_at, id".to_owned(),
        ),
        ("label=team:t1", "labels->>'team' = 't1'", newest.to_owned()),
        (
            "label=team=t1&label=team=t2",
            "labels->>'team' IN ('t1', 't2')",
            newest.to_owned(),
        ),
        (
            "label=team=t1&label=n:37",
            "labels->>'team' = 't1' AND labels->>'n' = '37'",
            newest.to_owned(),
        ),
        (
            "label=team=t1&status=COMPLETED&sort=createdAt,asc",
            "labels->>'team' = 't1' AND status = 'COMPLETED'",
            "created_at, id".to_owned(),
        ),
        ("label=team=none", "false", newest.to_owned()),
        (
            "createdFrom=2026-01-01T00:00:20Z&createdTo=2026-01-01T00:00:40.000Z",
            "created_at >= '2026-01-01 00:00:20Z' AND created_at < '2026-01-01 00:00:40Z'",
            newest.to_owned(),
        ),
        (
            "createdTo=2026-01-01T00:00:20Z&label=team:t0&externalId=job%203&status=TIMEOUT&status=COMPLETED",
            "created_at < '2026-01-01 00:00:20Z' AND labels->>'team' = 't0' AND external_id = 'job 3'
             AND status IN ('TIMEOUT', 'COMPLETED')",
            newest.to_owned(),
        ),
        ("sort=finishedAt", "true", format!("{ends} DESC, {newest}")),
        (
            "sort=finishedAt,asc&status=FAILED",
            "status = 'FAILED'",
            format!("{ends}, created_at, id"),
        ),
        ("sort=externalId", "true", format!("{name}, created_at, id")),
        (
            "sort=externalId,desc&label=team:t2",
            "labels->>'team' = 't2'",
            format!("{name} DESC, {newest}"),
        ),
    ];
    for (query, filter, order) in cases {
        let sql = format!("SELECT 'job-' || id FROM grid_read.jobs WHERE {filter} ORDER BY {order}");
        let expected: Vec<String> = grid.psql(&sql).lines().map(str::to_owned).collect();
        assert!(
            expected.len() > 1 || filter.contains("false") || filter.contains(" AND "),
            "{filter}"
        );
        assert_eq!(
            walk(&grid, &format!("/api/v1/jobs?size=7&{query}")).await,
            expected,
            "{query}"
        );
        let mut paged = Vec::new();
        for page in 0..=expected.len() / 7 {
            let list = grid.get(&format!("/api/v1/jobs?size=7&page={page}&{query}")).await;
            assert_eq!(list["total"], expected.len(), "{query}");
            paged.extend(ids(&list));
        }
        assert_eq!(paged, expected, "{query}");
    }
    grid.stop().await;
}

/// From behind the middle on, pages are found from the end.
#[actix_web::test]
async fn deep_pages_are_those_of_the_order() {
    let grid = Fixture::new().await;
    refill(&grid, 6_000).await;
    let cases = [
        ("", "true"),
        ("&status=FAILED&status=RUNNING", "status IN ('FAILED', 'RUNNING')"),
    ];
    for (query, filter) in cases {
        let sql = format!("SELECT 'job-' || id FROM grid_read.jobs WHERE {filter} ORDER BY created_at DESC, id DESC");
        let expected: Vec<String> = grid.psql(&sql).lines().map(str::to_owned).collect();
        for (page, part) in expected.chunks(100).enumerate() {
            let list = grid.get(&format!("/api/v1/jobs?size=100&page={page}{query}")).await;
            assert_eq!(ids(&list), part, "page {page}{query}");
            assert_eq!(list["nextCursor"].is_null(), page == expected.len() / 100 - 1);
        }
    }
    grid.stop().await;
}

#[actix_web::test]
async fn a_cursor_is_good_for_its_list_alone() {
    let grid = Fixture::new().await;
    for _ in 0..3 {
        grid.submit("tasks: []").await;
    }
    let first = grid.get("/api/v1/jobs?size=1&status=EMPTY&status=FAILED").await;
    let cursor = text(&first["nextCursor"]);
    // In another order, and one of them twice, the filter is the same.
    let same = format!("/api/v1/jobs?size=2&status=FAILED&status=EMPTY&status=FAILED&cursor={cursor}");
    assert_eq!(ids(&grid.get(&same).await).len(), 2);
    for other in [
        "status=EMPTY",
        "",
        "status=EMPTY&status=FAILED&sort=createdAt,asc",
        "label=a:b",
    ] {
        let path = format!("/api/v1/jobs?size=1&{other}&cursor={cursor}");
        let refused = grid.json(Method::GET, &path, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["errors"][0]["parameter"], "cursor");
        assert!(
            text(&refused["detail"]).contains("another filter or order"),
            "{refused}"
        );
    }
    grid.stop().await;
}

#[actix_web::test]
async fn tasks_are_listed_by_number() {
    let grid = Fixture::new().await;
    let job = grid
        .submit("tasks: [{ externalId: t, executor: noop, replicas: 1234 }]")
        .await;
    let id = text(&job["jobId"]);
    let (mut path, mut numbers) = (format!("/api/v1/jobs/{id}/tasks?size=500"), Vec::new());
    loop {
        let list = grid.get(&path).await;
        assert_eq!(list["total"], 1234);
        numbers.extend(
            list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| task["replicaIndex"].as_u64().unwrap()),
        );
        let Some(cursor) = list["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs/{id}/tasks?size=500&cursor={cursor}");
    }
    assert_eq!(numbers, (0..1234).collect::<Vec<_>>());
    let page = grid.get(&format!("/api/v1/jobs/{id}/tasks?page=12&size=100")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 34);
    let names: BTreeSet<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| text(&task["externalId"]))
        .collect();
    assert!(names.contains("t-1233") && !names.contains("t-1199"));
    grid.stop().await;
}
