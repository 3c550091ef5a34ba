//! Lists of tasks, of one job and of all: compared with what SQL says.

use std::time::Duration;

use grid::projection::ReadModelCheck;
use reqwest::{Method, StatusCode};

use super::fixture::{Fixture, text};
use super::lists::{ids, walk};
use crate::support::eventually;

/// Small jobs and a large one whose tasks are in every state, by SQL; of some the last tasks are not written out.
/// Gives the id of the large one, bare.
async fn jobs(grid: &Fixture) -> String {
    for index in 0..12 {
        let document = format!(
            "labels: {{ team: t{} }}\ntasks: [{{ externalId: t, executor: noop, replicas: {} }}, {{ externalId: last, \
             executor: noop }}]",
            index % 2,
            index % 5 + 1
        );
        grid.submit(&document).await;
    }
    let big = grid
        .submit("tasks: [{ externalId: big, executor: noop, replicas: 1300 }]")
        .await;
    let big = text(&big["jobId"]).strip_prefix("job-").unwrap().to_owned();
    eventually("all tasks are written out", Duration::from_secs(20), async || {
        let missing = "SELECT (SELECT sum(task_count) FROM grid_read.jobs) - (SELECT count(*) FROM grid_read.tasks)";
        (grid.psql(missing) == "0").then_some(())
    })
    .await;
    grid.psql(&format!(
        "UPDATE grid_read.tasks SET worker = 'w' || number % 3,
             state = (ARRAY['READY', 'SCHEDULED', 'RUNNING', 'COMPLETED', 'FAILED'])
                 [1 + (number * 7 + ascii(substr(job::text, 36, 1))) % 5];
         UPDATE grid_read.tasks SET state = CASE WHEN number % 97 = 0 THEN 'FAILED' ELSE 'COMPLETED' END
         WHERE job = '{big}';
         DELETE FROM grid_read.tasks WHERE job = '{big}' AND number > 1100;
         DELETE FROM grid_read.tasks WHERE ascii(substr(job::text, 36, 1)) % 3 = 0 AND job <> '{big}' AND number > 2;
         CREATE VIEW every_task AS
             SELECT j.id AS job, j.shard, j.created_at, j.labels, n AS number, (n - 1) / 512 AS block, t.worker,
                 COALESCE(t.state, 'READY') AS state, m.name, n - m.first_number AS replica
             FROM grid_read.jobs j CROSS JOIN generate_series(1, j.task_count) n
             JOIN grid_read.task_names m ON m.job = j.id AND n BETWEEN m.first_number AND m.first_number + m.replicas - 1
             LEFT JOIN grid_read.tasks t ON t.job = j.id AND t.number = n;
         UPDATE grid_read.jobs j SET ready = r, scheduled = s, running = u, completed = c, failed = f, final_error = f
         FROM (SELECT job, count(*) FILTER (WHERE state = 'READY') AS r, count(*) FILTER (WHERE state = 'SCHEDULED') AS s,
                   count(*) FILTER (WHERE state = 'RUNNING') AS u, count(*) FILTER (WHERE state = 'COMPLETED') AS c,
                   count(*) FILTER (WHERE state = 'FAILED') AS f
               FROM every_task GROUP BY job) x
         WHERE x.job = j.id;
         UPDATE grid_read.task_blocks b SET ready = r, scheduled = 0, running = 0, completed = c, failed = f
         FROM (SELECT job, block, count(*) FILTER (WHERE state = 'READY') AS r,
                   count(*) FILTER (WHERE state = 'COMPLETED') AS c, count(*) FILTER (WHERE state = 'FAILED') AS f
               FROM every_task GROUP BY job, block) x
         WHERE x.job = b.job AND x.block = b.block;
         UPDATE grid_read.projection_cursors p SET ready = r, scheduled = s, running = u, completed = c, failed = f
         FROM (SELECT shard, sum(ready) AS r, sum(scheduled) AS s, sum(running) AS u, sum(completed) AS c,
                   sum(failed) AS f
               FROM grid_read.jobs GROUP BY shard) x
         WHERE x.shard = p.shard"
    ));
    big
}

#[actix_web::test]
async fn tasks_are_filtered_and_sorted() {
    let grid = Fixture::new().await;
    let big = jobs(&grid).await;
    let newest = "created_at DESC, job DESC, number";
    let of_big = |rest: &str| format!("job = '{big}'{rest}");
    let cases = [
        ("/tasks?", "true".to_owned(), newest),
        (
            "/tasks?sort=createdAt,asc",
            "true".to_owned(),
            "created_at, job, number",
        ),
        ("/tasks?state=FAILED", "state = 'FAILED'".to_owned(), newest),
        ("/tasks?state=READY", "state = 'READY'".to_owned(), newest),
        (
            "/tasks?state=SCHEDULED&state=RUNNING",
            "state IN ('SCHEDULED', 'RUNNING')".to_owned(),
            newest,
        ),
        (
            "/tasks?state=COMPLETED&sort=createdAt,asc",
            "state = 'COMPLETED'".to_owned(),
            "created_at, job, number",
        ),
        ("/tasks?worker=w1", "worker = 'w1'".to_owned(), newest),
        (
            "/tasks?worker=worker-w1&worker=w2&state=FAILED",
            "worker IN ('w1', 'w2') AND state = 'FAILED'".to_owned(),
            newest,
        ),
        ("/tasks?externalId=t", "name = 't'".to_owned(), newest),
        ("/tasks?externalId=t-1", "name = 't' AND replica = 1".to_owned(), newest),
        (
            "/tasks?externalId=last&externalId=t-0&externalId=big-7",
            "name = 'last' OR (name = 'big' AND replica = 7) OR (name = 't' AND replica = 0 AND EXISTS (SELECT FROM
             grid_read.task_names m WHERE m.job = every_task.job AND m.name = 't' AND m.replicas > 1))"
                .to_owned(),
            newest,
        ),
        (
            "/tasks?externalId=last&state=READY",
            "name = 'last' AND state = 'READY'".to_owned(),
            newest,
        ),
        (
            "/tasks?externalId=t&sort=createdAt,asc&label=team:t1",
            "name = 't' AND labels->>'team' = 't1'".to_owned(),
            "created_at, job, number",
        ),
        ("/tasks?label=team:t0", "labels->>'team' = 't0'".to_owned(), newest),
        (
            "/tasks?label=team:t0&state=RUNNING&state=READY",
            "labels->>'team' = 't0' AND state IN ('READY', 'RUNNING')".to_owned(),
            newest,
        ),
        (
            "/tasks?label=team:t1&state=COMPLETED&state=FAILED",
            "labels->>'team' = 't1' AND state IN ('COMPLETED', 'FAILED')".to_owned(),
            newest,
        ),
        (
            "/tasks?createdFrom=2020-01-01&state=COMPLETED",
            "state = 'COMPLETED'".to_owned(),
            newest,
        ),
        ("/tasks?createdTo=2020-01-01", "false".to_owned(), newest),
        (
            "/tasks?jobId=BIG&state=FAILED",
            of_big(" AND state = 'FAILED'"),
            "number",
        ),
        ("/tasks?jobId=BIG&sort=number,desc", of_big(""), "number DESC"),
        ("/jobs/BIG/tasks?", of_big(""), "number"),
        ("/jobs/BIG/tasks?state=READY", of_big(" AND state = 'READY'"), "number"),
        (
            "/jobs/BIG/tasks?state=READY&sort=number,desc",
            of_big(" AND state = 'READY'"),
            "number DESC",
        ),
        (
            "/jobs/BIG/tasks?state=FAILED&state=READY&sort=number,desc",
            of_big(" AND state IN ('FAILED', 'READY')"),
            "number DESC",
        ),
        ("/jobs/BIG/tasks?worker=w2", of_big(" AND worker = 'w2'"), "number"),
        (
            "/jobs/BIG/tasks?worker=w2&sort=number,desc",
            of_big(" AND worker = 'w2'"),
            "number DESC",
        ),
        (
            "/jobs/BIG/tasks?externalId=big-999",
            of_big(" AND replica = 999"),
            "number",
        ),
    ];
    for (path, filter, order) in cases {
        let path = format!("/api/v1{}", path.replace("BIG", &big));
        let sql = format!("SELECT 'task-' || job || '-' || number FROM every_task WHERE {filter} ORDER BY {order}");
        let expected: Vec<String> = grid.psql(&sql).lines().map(str::to_owned).collect();
        assert!(!expected.is_empty() || filter == "false", "{filter}");
        assert_eq!(walk(&grid, &format!("{path}&size=37")).await, expected, "{path}");
        for page in 0..=expected.len() / 37 {
            let list = grid.get(&format!("{path}&size=37&page={page}")).await;
            assert_eq!(list["total"], expected.len(), "{path}");
            let part = expected.chunks(37).nth(page).unwrap_or_default();
            assert_eq!(ids(&list), part, "{path}, page {page}");
        }
    }
    grid.stop().await;
}

/// Its blocks are counted as it is written out, and as it ends.
#[actix_web::test]
async fn the_counters_of_a_large_job_are_those_of_the_log() {
    let grid = Fixture::new().await;
    let job = grid
        .submit("labels: { size: large }\ntasks: [{ externalId: t, executor: noop, replicas: 3000 }]")
        .await;
    let id = text(&job["jobId"]);
    let verified = async || {
        let check = ReadModelCheck::prepare(&grid.log).await.unwrap();
        let report = grid
            .log
            .verify(Default::default(), Some(&|shard, _| check.witness(shard)))
            .await
            .unwrap();
        assert_eq!(report.differences, []);
    };
    verified().await;
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    eventually("it has ended", Duration::from_secs(20), async || {
        (grid.get(&format!("/api/v1/jobs/{id}")).await["status"] == "FAILED").then_some(())
    })
    .await;
    verified().await;
    let blocks = "SELECT count(*), sum(failed), sum(ready) FROM grid_read.task_blocks";
    assert_eq!(grid.psql(blocks), "6|3000|0");
    let last = grid
        .get(&format!("/api/v1/jobs/{id}/tasks?state=FAILED&page=59&size=50"))
        .await;
    assert_eq!((ids(&last).len(), &last["total"]), (50, &serde_json::json!(3000)));
    grid.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_found_soon_is_refused() {
    let grid = Fixture::new().await;
    let job = grid.submit("tasks: [{ externalId: t, executor: noop }]").await;
    grid.psql("UPDATE grid_read.jobs SET task_count = 100001, completed = 100001, ready = 0");
    for path in ["/api/v1/tasks?worker=w1", "/api/v1/tasks?worker=w1&state=COMPLETED"] {
        let refused = grid.json(Method::GET, path, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["code"], "FILTER_TOO_BROAD");
        assert!(text(&refused["detail"]).contains("100001"), "{refused}");
    }
    let narrow = format!("/api/v1/tasks?worker=w1&jobId={}&state=FAILED", text(&job["jobId"]));
    assert_eq!(grid.get(&narrow).await["total"], 0);
    grid.stop().await;
}
