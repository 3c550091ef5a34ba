//! The log as a feed: everything once, from any token on, and what comes while somebody waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, text};

const TASKS: &str = "tasks: [{ externalId: t, executor: noop, replicas: 40 }]";

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().unwrap().clone()
}

/// Everything after `after`, by pages of `limit`.
async fn read(grid: &Fixture, query: &str, after: Option<&str>, limit: u32) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = after.map(str::to_owned);
    loop {
        let token = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page = grid.get(&format!("/api/v1/events?limit={limit}{query}{token}")).await;
        assert!(items(&page).len() <= limit as usize);
        all.extend(items(&page));
        after = Some(text(&page["after"]).to_owned());
        if page["caughtUp"] == true {
            return all;
        }
    }
}

fn places(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(&event["position"])).collect()
}

#[actix_web::test]
async fn the_log_is_read_once_whatever_the_pages_and_wherever_one_begins() {
    let grid = Fixture::new().await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(text(&grid.submit(TASKS).await["jobId"]).to_owned());
    }
    // Submission and its fan-out: 1 + 40 + progress, for each job.
    let written = || grid.psql("SELECT count(*) FROM events").parse::<usize>().unwrap();
    crate::support::eventually("the jobs to be written out", Duration::from_secs(20), async || {
        (written() >= 6 * 42).then_some(())
    })
    .await;
    let whole = read(&grid, "", None, 5_000).await;
    assert_eq!(whole.len(), written());
    let mut by_small_pages = read(&grid, "", None, 7).await;
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for event in &by_small_pages {
        let version = versions.entry(text(&event["subject"]).to_owned()).or_default();
        *version += 1;
        assert_eq!(event["streamVersion"], *version, "a history is in order: {event}");
    }
    // From the token of any event, exactly the others come that were not before it.
    for at in [0, 1, 50, whole.len() - 2, whole.len() - 1] {
        let rest = read(&grid, "", Some(text(&whole[at]["after"])), 11).await;
        let mut all = [places(&whole[..=at]), places(&rest)].concat();
        all.sort_unstable();
        let mut expected = places(&whole);
        expected.sort_unstable();
        assert_eq!(all, expected, "after event {at}");
    }
    by_small_pages.sort_by_key(|event| text(&event["position"]).to_owned());
    let mut sorted = whole.clone();
    sorted.sort_by_key(|event| text(&event["position"]).to_owned());
    let without_tokens = |events: Vec<Value>| -> Vec<Value> {
        events
            .into_iter()
            .map(|mut event| {
                event["after"].take();
                event
            })
            .collect()
    };
    assert_eq!(without_tokens(by_small_pages), without_tokens(sorted));

    let of_job = read(&grid, &format!("&jobId={}", jobs[2]), None, 10).await;
    let belongs = |event: &&Value| text(&event["subject"]).contains(&jobs[2]["job-".len()..]);
    assert_eq!(of_job.len(), whole.iter().filter(belongs).count());
    assert!(of_job.iter().all(|event| belongs(&event)));
    let first = &of_job[0];
    assert_eq!((&first["type"], &first["version"]), (&json!("JobSubmitted"), &json!(1)));
    assert_eq!(first["subject"], jobs[2].as_str());
    assert!(first["commandId"].is_string() && first["data"]["spec"]["taskCount"] == 40);
    grid.stop().await;
}

#[actix_web::test]
async fn who_waits_is_answered_when_something_comes_and_at_the_end_of_the_time() {
    let grid = Fixture::new().await;
    let end = grid.get("/api/v1/events?after=end").await;
    assert_eq!((&end["items"], &end["caughtUp"]), (&json!([]), &json!(true)));
    let after = text(&end["after"]).to_owned();
    let begun = Instant::now();
    let nothing = grid.get(&format!("/api/v1/events?after={after}&wait=1")).await;
    assert_eq!((&nothing["items"], &nothing["after"]), (&json!([]), &end["after"]));
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let path = format!("/api/v1/events?after={after}&wait=30");
    let begun = Instant::now();
    let (page, job) = futures::future::join(grid.get(&path), grid.submit("tasks: []")).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(items(&page)[0]["subject"], job["jobId"]);

    // A job that nothing happens to: others do not wake who waits for it, and the token goes on all the same.
    let job = text(&job["jobId"]).to_owned();
    let query = format!("/api/v1/events?jobId={job}&limit=100");
    let page = grid.get(&query).await;
    assert_eq!(items(&page).len(), 2);
    for _ in 0..200 {
        grid.submit("tasks: []").await;
        let more = grid.get(&format!("{query}&after={}", text(&page["after"]))).await;
        assert_eq!(more["items"], json!([]));
        if more["after"] != page["after"] {
            return grid.stop().await;
        }
    }
    panic!("the token stands still");
}

#[actix_web::test]
async fn what_is_wrong_with_the_question_is_told() {
    let grid = Fixture::new().await;
    let refused = async |query: &str, status: StatusCode| {
        grid.json(Method::GET, &format!("/api/v1/events?{query}"), status).await["code"].clone()
    };
    for query in ["after=nonsense", "limit=0", "limit=5001", "wait=31", "wait=x"] {
        assert_eq!(
            refused(query, StatusCode::BAD_REQUEST).await,
            "INVALID_PARAMETER",
            "{query}"
        );
    }
    // A token of another log.
    let other = "after=AQGYwqB8AHAAgAAAAAAAAAEdrAI";
    assert_eq!(refused(other, StatusCode::BAD_REQUEST).await, "INVALID_PARAMETER");
    assert_eq!(refused("since=1", StatusCode::BAD_REQUEST).await, "UNKNOWN_PARAMETER");
    assert_eq!(refused("jobId=7", StatusCode::BAD_REQUEST).await, "INVALID_ID");
    let job = uuid::Uuid::now_v7();
    assert_eq!(
        refused(&format!("jobId={job}"), StatusCode::NOT_FOUND).await,
        "NOT_FOUND"
    );
    grid.stop().await;
}
