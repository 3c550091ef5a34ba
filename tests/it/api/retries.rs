//! Scheduled retries: listed by due time, cancelled, brought forward.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, text};

/// Two jobs of which tasks wait for a retry, as the read models would have them.
struct Waiting {
    grid: Fixture,
    jobs: [String; 2],
}

const DOCUMENT: &str = "tasks: [{ externalId: a, executor: noop, replicas: 300, retry: { maxRetries: 5 } }]";

async fn waiting() -> Waiting {
    let grid = Fixture::new().await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(text(&grid.submit(DOCUMENT).await["jobId"]).to_owned());
    }
    // All are written out: then nothing else touches their rows.
    crate::support::eventually("all tasks are there", std::time::Duration::from_secs(20), async || {
        (grid.psql("SELECT count(*) FROM grid_read.tasks") == "600").then_some(())
    })
    .await;
    // Every second task waits; in each job several are due at the same moment.
    grid.psql(
        "UPDATE grid_read.tasks SET state = 'FAILED', attempt = 1, retry_count = 1, reason = 'ERROR',
             next_retry_at = '2030-01-01T00:00:00Z'::timestamptz + (number * 7919 % 50) * interval '1 second'
         WHERE number % 2 = 0",
    );
    grid.psql("UPDATE grid_read.jobs SET failed = 150, ready = 150, retries_pending = 150");
    let jobs = [jobs.remove(0), jobs.remove(0)];
    Waiting { grid, jobs }
}

/// Walks through a list by its cursors.
async fn walk(grid: &Fixture, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let list = grid.get(&format!("{path}{cursor}")).await;
        items.extend(list["items"].as_array().unwrap().iter().cloned());
        let Some(next) = list["nextCursor"].as_str() else {
            return items;
        };
        cursor = format!("&cursor={next}");
    }
}

fn key(item: &Value) -> (String, String, u32) {
    let id = text(&item["taskId"]);
    let number = id.rsplit_once('-').unwrap().1.parse().unwrap();
    (
        text(&item["nextRetryAt"]).to_owned(),
        text(&item["jobId"]).to_owned(),
        number,
    )
}

#[actix_web::test]
async fn retries_are_listed_by_due_time() {
    let Waiting { grid, jobs } = waiting().await;
    let all = walk(&grid, "/api/v1/retries?size=37").await;
    let keys: Vec<(String, String, u32)> = all.iter().map(key).collect();
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(keys.len(), 300);
    assert!(keys == sorted, "in order, each once");
    let first = &all[0];
    assert_eq!(
        (
            &first["state"],
            &first["retryCount"],
            &first["maxRetries"],
            &first["failure"]["reason"]
        ),
        (&json!("FAILED"), &json!(1), &json!(5), &json!("ERROR"))
    );
    assert!(text(&first["externalId"]).starts_with("a-"));
    for job in &jobs {
        let expected: Vec<&Value> = all.iter().filter(|item| item["jobId"] == job.as_str()).collect();
        assert_eq!(expected.len(), 150);
        let by_path = walk(&grid, &format!("/api/v1/jobs/{job}/retries?size=41")).await;
        let by_filter = walk(&grid, &format!("/api/v1/retries?jobId={job}&size=500")).await;
        assert!(by_path.iter().eq(expected.iter().copied()) && by_filter == by_path);
    }
    let page = grid.get("/api/v1/retries?page=2&size=100").await;
    assert_eq!((&page["total"], &page["nextCursor"]), (&json!(300), &Value::Null));
    assert!(page["items"].as_array().unwrap().iter().eq(&all[200..]));
    let of_job = grid.get(&format!("/api/v1/jobs/{}/retries?size=1", jobs[0])).await;
    assert_eq!(of_job["total"], 150);

    // A cursor is good for its list alone.
    let cursor = text(&of_job["nextCursor"]);
    for path in [
        "/api/v1/retries?cursor=",
        &format!("/api/v1/jobs/{}/retries?cursor=", jobs[1]),
    ] {
        let refused = grid
            .json(Method::GET, &format!("{path}{cursor}"), StatusCode::BAD_REQUEST)
            .await;
        assert_eq!(refused["code"], "INVALID_PARAMETER");
    }
    let nobody = "job-019a0000-0000-7000-8000-000000000001";
    for path in [
        format!("/api/v1/jobs/{nobody}/retries"),
        format!("/api/v1/retries?jobId={nobody}"),
    ] {
        assert_eq!(
            grid.json(Method::GET, &path, StatusCode::NOT_FOUND).await["code"],
            "NOT_FOUND"
        );
    }
    for path in [
        "/api/v1/retries?jobId=x",
        "/api/v1/retries?state=FAILED",
        "/api/v1/retries?size=0",
    ] {
        grid.json(Method::GET, path, StatusCode::BAD_REQUEST).await;
    }
    grid.stop().await;
}

#[actix_web::test]
async fn retries_are_found_by_their_indexes_and_cost_others_nothing() {
    let Waiting { grid, jobs } = waiting().await;
    grid.psql("ANALYZE grid_read.tasks");
    let plan = |condition: &str, order: &str| {
        let off = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;";
        grid.psql(&format!(
            "{off} EXPLAIN SELECT * FROM grid_read.tasks WHERE next_retry_at IS NOT NULL {condition} ORDER BY {order} LIMIT 50"
        ))
    };
    let bare = jobs[0].strip_prefix("job-").unwrap();
    let all = plan(
        "AND (next_retry_at, job, number) > ('2030-01-01', gen_random_uuid(), 5)",
        "next_retry_at, job, number",
    );
    assert!(all.contains("tasks_retries on") && !all.contains("Sort"), "{all}");
    let one = plan(
        &format!("AND job = '{bare}' AND (next_retry_at, number) > ('2030-01-01', 5)"),
        "next_retry_at, number",
    );
    assert!(
        one.contains("tasks_retries_of_job on") && !one.contains("Sort"),
        "{one}"
    );

    // Tasks that do not fail stay out of the indexes, and their updates on their page.
    grid.psql("VACUUM FULL grid_read.tasks");
    let counts = || {
        let text = grid.psql("SELECT pg_stat_force_next_flush(); SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'grid_read' AND relname = 'tasks'");
        let line = text.lines().last().unwrap().to_owned();
        let (updated, hot) = line.split_once(' ').unwrap();
        (updated.parse::<u64>().unwrap(), hot.parse::<u64>().unwrap())
    };
    let before = counts();
    grid.psql("UPDATE grid_read.tasks SET state = 'RUNNING', next_retry_at = NULL WHERE number % 2 = 1; SELECT pg_stat_force_next_flush()");
    let after = counts();
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (300, 300),
        "all of them stay on their page"
    );
    grid.stop().await;
}
