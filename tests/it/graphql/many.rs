//! One wish for many jobs.

use serde_json::{Value, json};

use crate::api::{Fixture, text};

const MANY: &str = "mutation ($ids: [ID!], $matching: MatchingJobs, $dry: Boolean! = false) {
    killJobs(ids: $ids, matching: $matching, dryRun: $dry) {
        jobId job { jobId status } position error { code } nextCursor } }";

async fn submitted(grid: &Fixture, count: usize, team: &str) -> Vec<String> {
    let document = format!("labels: {{ team: {team} }}\ntasks: [{{ externalId: a, executor: noop }}]");
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(text(&grid.submit(&document).await["jobId"]).to_owned());
    }
    // As they are listed.
    ids.reverse();
    ids
}

fn column<'a>(outcomes: &'a Value, name: &str) -> Vec<&'a Value> {
    outcomes.as_array().unwrap().iter().map(|item| &item[name]).collect()
}

#[actix_web::test]
async fn all_jobs_of_a_filter_are_reached_and_no_others() {
    let grid = Fixture::new().await;
    let of_a = submitted(&grid, 5, "a").await;
    let of_b = submitted(&grid, 1, "b").await;
    let mut matching = json!({"filter": {"labels": ["team=a"]}, "first": 3});
    let dry = grid.data(MANY, &json!({"matching": matching, "dry": true})).await["killJobs"].clone();
    assert_eq!(column(&dry, "jobId"), of_a[..3].iter().collect::<Vec<_>>());
    assert_eq!(column(&dry, "position"), [&Value::Null; 3]);
    assert!(
        dry.as_array()
            .unwrap()
            .iter()
            .all(|it| it["job"]["status"] == "RUNNING"),
        "{dry:#}"
    );

    let mut killed = Vec::new();
    for size in [3, 2] {
        let outcomes = grid.data(MANY, &json!({"matching": matching})).await["killJobs"].clone();
        let outcomes = outcomes.as_array().unwrap();
        assert_eq!(outcomes.len(), size, "{outcomes:#?}");
        for (place, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome["job"]["jobId"], outcome["jobId"]);
            assert_eq!(outcome["job"]["status"], "FAILED");
            assert!(outcome["position"].is_string() && outcome["error"].is_null());
            assert_eq!(
                outcome["nextCursor"].is_string(),
                size == 3 && place == 2,
                "{outcome:#}"
            );
            killed.push(text(&outcome["jobId"]).to_owned());
        }
        matching["after"] = outcomes[size - 1]["nextCursor"].clone();
    }
    assert_eq!(killed, of_a);
    let other = grid.get(&format!("/api/v1/jobs/{}", of_b[0])).await;
    assert_eq!(other["status"], "RUNNING");
    grid.stop().await;
}

#[actix_web::test]
async fn it_is_said_which_jobs() {
    let grid = Fixture::new().await;
    let ids = submitted(&grid, 1, "a").await;
    for wrong in [
        json!({}),
        json!({"ids": []}),
        json!({"ids": [ids[0], ids[0]]}),
        json!({"ids": ids, "matching": {"filter": {"labels": ["team=a"]}}}),
        // Every job.
        json!({"matching": {"filter": {}}}),
        json!({"matching": {"filter": {"externalIds": ["\0"]}}}),
        json!({"matching": {"filter": {"createdFrom": "2026-01-02T00:00:00Z", "createdTo": "2026-01-01T00:00:00Z"}}}),
        json!({"matching": {"filter": {"labels": ["team=a"]}, "first": 0}}),
    ] {
        assert_eq!(grid.code(MANY, &wrong).await, "INVALID_PARAMETER", "{wrong}");
    }
    let job = grid.get(&format!("/api/v1/jobs/{}", ids[0])).await;
    assert_eq!(job["status"], "RUNNING", "nothing was done");
    grid.stop().await;
}
