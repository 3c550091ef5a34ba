//! How many statements a question takes: no more for a long list than for a short one.

use std::time::Duration;

use grid::api::{ApiParts, serve};
use grid::log::Log;
use serde_json::{Value, json};

use crate::api::Fixture;
use crate::log::service;
use crate::support::eventually;

const JOBS: usize = 50;
const DOCUMENT: &str = "tasks: [{ externalId: a, replicas: 3, executor: noop }]";

const QUERY: &str = "query ($first: Int!) { jobs(first: $first) { nodes {
    jobId document { text } events(first: 2, order: ASC) { nodes { type } }
    tasks(first: 2) { totalCount nodes {
        externalId job { status } events(first: 1) { nodes { type } }
        worker { workerId events(first: 1) { nodes { type } } }
        attempts { attempt worker { workerId events(first: 1) { nodes { type } } } }
    } } } } }";

/// Jobs whose tasks have had two attempts, each with another worker.
async fn fill(grid: &Fixture) {
    for _ in 0..JOBS {
        grid.submit(DOCUMENT).await;
    }
    let all = (JOBS * 3).to_string();
    eventually("all tasks are there", Duration::from_secs(30), async || {
        (grid.psql("SELECT count(*) FROM grid_read.tasks") == all).then_some(())
    })
    .await;
    grid.psql(
        "UPDATE grid_read.tasks SET state = 'RUNNING', attempt = 2, worker = 'w' || number, scheduled_at = now();
         INSERT INTO grid_read.attempts (job, number, attempt, scheduled_at, worker, reason)
         SELECT job, number, 1, now(), 'v' || number, 'ERROR' FROM grid_read.tasks;
         INSERT INTO grid_read.workers (name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at,
             created_at, seq)
         SELECT letter || n, 0, gen_random_uuid(), '', 1, '{}', now(), now(), n
         FROM generate_series(1, 3) n, unnest(ARRAY['v', 'w']) letter",
    );
}

#[actix_web::test]
async fn a_long_list_takes_no_more_statements_than_a_short_one() {
    let grid = Fixture::new().await;
    fill(&grid).await;
    // A server whose statements are told from all others by its role.
    let role = format!("counted_{}", grid.psql("SELECT current_database()"));
    grid.psql(&format!(
        "CREATE EXTENSION pg_stat_statements; CREATE ROLE {role} LOGIN IN ROLE grid"
    ));
    let url = grid.url.replace("//postgres@", &format!("//{role}@"));
    let log = Log::connect(service(&url)).await.unwrap();
    let parts = ApiParts {
        log: log.clone(),
        ..grid.parts.clone()
    };
    let server = serve("127.0.0.1:0".parse().unwrap(), parts).await.unwrap();
    let http = reqwest::Client::new();
    let ask = async |first: usize| {
        let body = json!({"query": QUERY, "variables": {"first": first}});
        let request = http.post(format!("http://{}/graphql", server.address)).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer:#}");
        let jobs = answer["data"]["jobs"]["nodes"].as_array().unwrap().clone();
        assert_eq!(jobs.len(), first);
        for job in &jobs {
            let task = &job["tasks"]["nodes"][1];
            let attempts = &task["attempts"];
            assert_eq!(job["document"]["text"], DOCUMENT);
            assert_eq!(job["events"]["nodes"][0]["type"], "JobSubmitted");
            assert_eq!(task["worker"]["workerId"], "worker-w2");
            assert_eq!(attempts[0]["worker"]["workerId"], "worker-v2", "{attempts:#}");
        }
    };
    // Those that look for what is asked for; not those of the gate and of what runs by itself.
    let count = || -> u32 {
        let sql = format!(
            "SELECT COALESCE(sum(s.calls), 0) FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
             WHERE r.rolname = '{role}' AND (s.query LIKE '%grid_read.%' OR s.query LIKE '%FROM events%')"
        );
        grid.psql(&sql).parse().unwrap()
    };
    // Plans of jobs are kept once they are read.
    ask(JOBS).await;
    let begun = count();
    assert!(begun > 5, "{begun}");
    ask(2).await;
    let few = count() - begun;
    ask(JOBS).await;
    let many = count() - begun - few;
    println!("statements for 2 jobs: {few}, for {JOBS}: {many}");
    // What is asked for within a moment goes together: a batch more or less is chance, one for each job is not.
    assert!(many <= few + 5, "{many} statements instead of {few}");
    server.stop().await;
    log.close().await;
    grid.stop().await;
}
