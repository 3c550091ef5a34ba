//! What the database looks at for a list: never a whole table.

use super::fixture::Fixture;
use crate::support::Postgres;

const JOBS: u32 = 20_000;

const FILL: &str = "UPDATE grid_read.jobs SET external_id = 'seldom' WHERE seq % 400 = 0;
         INSERT INTO grid_read.task_names SELECT id, 1, 10, 'task ' || seq % 100, created_at FROM grid_read.jobs;
         UPDATE grid_read.jobs SET task_count = 10, ready = 10 * ready, completed = 10 * completed, failed = 10 * failed,
             final_error = 10 * final_error, final_timeout = 10 * final_timeout, final_killed = 10 * final_killed;
         UPDATE grid_read.job_labels SET task_count = 10;
         INSERT INTO grid_read.tasks (job, number, attempt, retry_count, state, worker)
         SELECT id, n, 1, 0, CASE WHEN ready > 0 THEN 'READY' WHEN failed > 0 THEN 'FAILED' ELSE 'COMPLETED' END, 'w' || n
         FROM grid_read.jobs, generate_series(1, 10) n;
         INSERT INTO grid_read.job_specs
         SELECT id, json_build_object('documentHash', '', 'taskCount', 10, 'policies', '[]'::json, 'groups',
             json_build_array(json_build_object('externalId', 'x', 'replicas', 10, 'executor', 'noop', 'policy', 0)))
         FROM grid_read.jobs ON CONFLICT DO NOTHING;
         UPDATE grid_read.projection_cursors p SET ready = r, completed = c, failed = f
         FROM (SELECT shard, sum(ready) AS r, sum(completed) AS c, sum(failed) AS f FROM grid_read.jobs GROUP BY shard) x
         WHERE x.shard = p.shard";

/// As in `api::lists`, with ten tasks each, and names.
async fn fill(grid: &Fixture) {
    super::lists::refill(grid, JOBS).await;
    // Not on the thread that tends the connections of the client, which would grow old unseen.
    let url = grid.url.clone();
    let work = move || {
        Postgres::shared().psql(&url, FILL);
        Postgres::shared().psql(&url, "VACUUM ANALYZE");
    };
    actix_web::web::block(work).await.unwrap();
}

/// Rows read by sequential scans, and rows fetched from tables by way of their indexes.
async fn read(grid: &Fixture) -> (u64, u64) {
    let url = grid.url.clone();
    // Not on the thread that tends the connections of the client, which would grow old unseen.
    let rows = actix_web::web::block(move || {
        // A connection tells what it has read at its end.
        Postgres::shared().psql(
            &url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = 'grid' AND application_name <> 'grid projector'",
        );
        Postgres::shared().psql(
            &url,
            "SELECT sum(seq_tup_read), sum(idx_tup_fetch) FROM pg_stat_user_tables WHERE schemaname = 'grid_read'
             AND relname IN ('jobs', 'tasks', 'job_labels', 'task_names', 'job_specs', 'task_blocks')",
        )
    });
    let rows = rows.await.unwrap();
    let (scanned, fetched) = rows.split_once('|').unwrap();
    (scanned.parse().unwrap(), fetched.parse().unwrap())
}

#[actix_web::test]
async fn no_list_reads_a_whole_table() {
    let grid = Fixture::new().await;
    fill(&grid).await;
    let some = grid.psql("SELECT id FROM grid_read.jobs OFFSET 777 LIMIT 1");
    // The most rows that may be fetched for it.
    let cases = [
        ("/jobs".to_owned(), 100),
        ("/jobs?page=500".to_owned(), 200),
        ("/jobs?page=999".to_owned(), 100),
        (format!("/jobs/{some}"), 5),
        ("/jobs?status=RUNNING".to_owned(), 100),
        ("/jobs?status=FAILED&status=TIMEOUT&page=50".to_owned(), 200),
        ("/jobs?label=team:t1".to_owned(), 100),
        (
            "/jobs?label=n:777&status=COMPLETED&status=RUNNING&status=FAILED".to_owned(),
            100,
        ),
        // Many have both: they are merged, and counted, by index alone.
        ("/jobs?label=team:t1&status=FAILED&page=100".to_owned(), 200),
        ("/jobs?externalId=seldom".to_owned(), 200),
        (
            "/jobs?createdFrom=2026-01-01T00:10:00Z&createdTo=2026-01-01T00:20:00Z".to_owned(),
            100,
        ),
        ("/jobs?sort=finishedAt".to_owned(), 100),
        ("/jobs?sort=externalId".to_owned(), 100),
        (format!("/jobs/{some}/tasks"), 100),
        (format!("/jobs/{some}/tasks?state=READY&state=FAILED"), 100),
        ("/tasks".to_owned(), 500),
        // In the middle, and at the end: by index alone up to the page.
        ("/tasks?page=1600".to_owned(), 500),
        ("/tasks?page=3300".to_owned(), 500),
        // Counters are in no index: the unfinished jobs, which are a sixth, may all have to be looked at.
        ("/tasks?state=FAILED".to_owned(), 5_000),
        ("/tasks?state=READY&page=3".to_owned(), 5_000),
        (format!("/tasks?worker=w3&jobId={some}"), 100),
        ("/search?q=job%203".to_owned(), 200),
        ("/search?q=team".to_owned(), 200),
        ("/search?q=task%2033".to_owned(), 200),
        ("/search?q=task".to_owned(), 200),
        ("/search?q=job".to_owned(), 200),
        (format!("/search?q={}", &some[..6]), 200),
    ];
    let mut before = read(&grid).await;
    for (path, most) in cases {
        grid.get(&format!("/api/v1{path}")).await;
        let after = read(&grid).await;
        assert_eq!(after.0 - before.0, 0, "{path} reads a whole table");
        let fetched = after.1 - before.1;
        assert!(fetched <= most, "{path} fetches {fetched} rows");
        before = after;
    }
    grid.stop().await;
}

#[actix_web::test]
async fn a_glance_at_the_whole_looks_at_unfinished_jobs_alone() {
    let grid = Fixture::new().await;
    super::lists::refill(&grid, JOBS).await;
    let url = grid.url.clone();
    let work = move || {
        let end = "UPDATE grid_read.jobs SET finished_at = created_at WHERE finished_at IS NULL AND
            id NOT IN (SELECT id FROM grid_read.jobs WHERE finished_at IS NULL ORDER BY id LIMIT 300)";
        Postgres::shared().psql(&url, end);
        Postgres::shared().psql(&url, "VACUUM ANALYZE");
    };
    actix_web::web::block(work).await.unwrap();
    let unfinished = grid.psql("SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL");
    let unfinished: u64 = unfinished.parse().unwrap();
    assert_eq!(unfinished, 300);
    let before = read(&grid).await;
    let seen = grid
        .data("{ clusterOverview { jobs { unfinished } } }", &serde_json::json!({}))
        .await;
    let after = read(&grid).await;
    assert_eq!(seen["clusterOverview"]["jobs"]["unfinished"], unfinished);
    assert_eq!(after.0 - before.0, 0, "it reads a whole table");
    let fetched = after.1 - before.1;
    assert!(
        fetched <= unfinished + 50,
        "it fetches {fetched} rows for {unfinished} jobs"
    );
    grid.stop().await;
}

#[actix_web::test]
async fn tasks_of_a_name_or_label_that_many_jobs_have_are_found_by_the_few_jobs_that_differ() {
    let grid = Fixture::new().await;
    super::lists::refill(&grid, JOBS).await;
    let url = grid.url.clone();
    let work = move || {
        let fill = "UPDATE grid_read.jobs SET task_count = 10, ready = 0, completed = 10, failed = 0, final_error = 0,
                final_timeout = 0, final_killed = 0;
            UPDATE grid_read.jobs SET completed = 3, failed = 7, final_error = 7 WHERE seq % 2000 = 0;
            UPDATE grid_read.job_labels SET task_count = 10;
            INSERT INTO grid_read.task_names SELECT id, 1, 10, 'noop', created_at FROM grid_read.jobs;
            INSERT INTO grid_read.job_specs
            SELECT id, json_build_object('documentHash', '', 'taskCount', 10, 'policies', '[]'::json, 'groups',
                json_build_array(json_build_object('externalId', 'noop', 'replicas', 10, 'executor', 'noop', 'policy', 0)))
            FROM grid_read.jobs ON CONFLICT DO NOTHING;
            INSERT INTO grid_read.tasks (job, number, attempt, retry_count, state)
            SELECT id, n, 1, 0, CASE WHEN n <= completed THEN 'COMPLETED' ELSE 'FAILED' END
            FROM grid_read.jobs, generate_series(1, 10) n";
        Postgres::shared().psql(&url, fill);
        Postgres::shared().psql(&url, "VACUUM ANALYZE");
    };
    actix_web::web::block(work).await.unwrap();
    let of_label = "SELECT count(*) FROM grid_read.jobs WHERE labels->>'team' = 't1' AND status";
    let (completed, failed) = (
        grid.psql(&format!("{of_label} = 'COMPLETED'")),
        grid.psql(&format!("{of_label} = 'FAILED'")),
    );
    let (completed, failed): (u64, u64) = (completed.parse().unwrap(), failed.parse().unwrap());
    let cases = [
        ("/tasks?externalId=noop-2&state=FAILED", 0, 200),
        ("/tasks?externalId=noop-3&state=FAILED", 10, 200),
        ("/tasks?label=team:t1&state=COMPLETED", 10 * completed + 3 * failed, 500),
        ("/tasks?label=team:t1&state=FAILED", 7 * failed, 500),
        ("/tasks?label=team:t1", 10 * (completed + failed), 500),
        ("/jobs?label=team:t1&status=COMPLETED", completed, 200),
        ("/jobs?status=COMPLETED&status=EMPTY", 19_990, 200),
    ];
    let mut before = read(&grid).await;
    for (path, total, most) in cases {
        let list = grid.get(&format!("/api/v1{path}")).await;
        assert_eq!(list["total"], total, "{path}");
        let after = read(&grid).await;
        assert_eq!(after.0 - before.0, 0, "{path} reads a whole table");
        let fetched = after.1 - before.1;
        assert!(fetched <= most, "{path} fetches {fetched} rows");
        before = after;
    }
    grid.stop().await;
}
