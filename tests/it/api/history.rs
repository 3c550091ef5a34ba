//! Looking back, and histories: of jobs, tasks and workers, as clients ask for them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, Options, text};
use crate::support::eventually;

const TWO: &str = "
externalId: pair
labels: { team: seismology }
tasks:
  - { externalId: a, executor: noop, retry: { maxRetries: 1 } }
  - { externalId: b, executor: noop }
";

async fn finished(grid: &Fixture, id: &str) -> Value {
    eventually("the job has finished", Duration::from_secs(20), async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (!job["finishedAt"].is_null()).then_some(job)
    })
    .await
}

/// The object without what only a question about the past adds.
fn object(mut answer: Value) -> (Value, String, bool) {
    let fields = answer.as_object_mut().unwrap();
    let at = text(&fields.remove("asOf").unwrap()).to_owned();
    let provisional = fields.remove("provisional").unwrap().as_bool().unwrap();
    (answer, at, provisional)
}

#[actix_web::test]
async fn jobs_and_tasks_are_shown_as_they_were() {
    let grid = Fixture::new().await;
    let mut submitted = grid.submit(TWO).await;
    submitted.as_object_mut().unwrap().remove("position");
    let id = text(&submitted["jobId"]).to_owned();
    let task = format!("{}-2", id.strip_prefix("job-").unwrap());
    let before = grid.get(&format!("/api/v1/tasks/{task}")).await;
    eventually("all tasks are written out", Duration::from_secs(20), async || {
        let events = grid.get(&format!("/api/v1/tasks/{task}/events")).await;
        (events["total"] == 1).then_some(())
    })
    .await;
    // Event time has milliseconds: what follows is in a later one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    let killed = finished(&grid, &id).await;
    let killed_task = grid.get(&format!("/api/v1/tasks/{task}")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    grid.json(Method::POST, &format!("/api/v1/jobs/{id}/retry"), StatusCode::OK)
        .await;
    let newest = grid.get(&format!("/api/v1/jobs/{id}/events?size=1")).await;
    let newest = text(&newest["items"][0]["at"]).to_owned();

    let (created, finished) = (text(&submitted["createdAt"]), text(&killed["finishedAt"]));
    let as_of = async |path: &str, at: &str| grid.get(&format!("/api/v1/{path}?asOf={at}")).await;
    let job = format!("jobs/{id}");
    assert_eq!(
        object(as_of(&job, created).await),
        (submitted.clone(), created.to_owned(), false)
    );
    assert_eq!(
        object(as_of(&job, finished).await),
        (killed.clone(), finished.to_owned(), false)
    );
    let of_task = format!("tasks/{task}");
    assert_eq!(object(as_of(&of_task, created).await).0, before);
    assert_eq!(object(as_of(&of_task, finished).await).0, killed_task);
    assert_eq!(killed_task["failure"]["reason"], "KILLED");

    // The last commit's own time, and the future, are not over yet.
    let (_, _, provisional) = object(as_of(&job, &newest).await);
    assert!(provisional);
    let (now, _, provisional) = object(as_of(&job, "2999-01-01T00:00:00Z").await);
    assert!(provisional);
    assert_eq!(now, grid.get(&format!("/api/v1/{job}")).await);
    // In any zone.
    let zoned = as_of(&job, "2999-01-01T01:00:00%2B01:00").await;
    assert_eq!(zoned["asOf"], "2999-01-01T00:00:00.000Z");
    grid.stop().await;
}

#[actix_web::test]
async fn before_its_submission_a_job_did_not_exist() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let (id, created) = (text(&job["jobId"]), text(&job["createdAt"]));
    let bare = id.strip_prefix("job-").unwrap();
    for path in [format!("jobs/{id}"), format!("tasks/{bare}-1")] {
        let path = format!("/api/v1/{path}?asOf=2020-01-01T00:00:00Z");
        let problem = grid.json(Method::GET, &path, StatusCode::NOT_FOUND).await;
        assert!(text(&problem["detail"]).contains(created), "{problem}");
        assert_eq!(problem["code"], "NOT_FOUND");
    }
    for path in [
        format!("tasks/{bare}-3?asOf=2999-01-01T00:00:00Z"),
        "jobs/0198c2a0-7c00-7000-8000-000000000001?asOf=2999-01-01T00:00:00Z".to_owned(),
        "tasks/0198c2a0-7c00-7000-8000-000000000001-1?asOf=2999-01-01T00:00:00Z".to_owned(),
    ] {
        let path = format!("/api/v1/{path}");
        assert_eq!(
            grid.json(Method::GET, &path, StatusCode::NOT_FOUND).await["code"],
            "NOT_FOUND"
        );
    }
    for wrong in ["", "yesterday", "2026-13-31", "1769853600"] {
        let path = format!("/api/v1/jobs/{id}?asOf={wrong}");
        let problem = grid.json(Method::GET, &path, StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["parameter"], "asOf", "{problem}");
    }
    grid.stop().await;
}

#[actix_web::test]
async fn after_retention_the_past_is_gone() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let id = text(&job["jobId"]);
    // What a retention that took this day would leave behind.
    let archived = "0198c2a0-7c00-7000-8000-000000000001";
    grid.psql("INSERT INTO retired_days (day, events) VALUES (20319, 1)");
    for path in [format!("jobs/{archived}"), format!("tasks/{archived}-1")] {
        let path = format!("/api/v1/{path}?asOf=2025-08-19T12:00:00Z");
        assert_eq!(grid.json(Method::GET, &path, StatusCode::GONE).await["code"], "GONE");
    }
    assert_eq!(grid.get(&format!("/api/v1/jobs/{id}")).await["jobId"], job["jobId"]);
    grid.stop().await;
}

#[actix_web::test]
async fn a_question_that_costs_too_much_is_refused() {
    let mut options = Options::default();
    options.api.as_of_events = 20;
    let grid = Fixture::with(options).await;
    let job = grid
        .submit("tasks: [{ externalId: t, executor: noop, replicas: 100 }]")
        .await;
    let id = text(&job["jobId"]);
    let path = format!("/api/v1/jobs/{id}/tasks?size=1");
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    finished(&grid, id).await;
    assert_eq!(grid.get(&path).await["total"], 100);
    let path = format!("/api/v1/jobs/{id}?asOf=2999-01-01T00:00:00Z");
    let problem = grid.json(Method::GET, &path, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(problem["code"], "AS_OF_TOO_LONG");
    assert!(text(&problem["detail"]).contains("20 events"), "{problem}");
    // Single tasks are cheap at any time.
    let task = id.replace("job-", "task-");
    let path = format!("/api/v1/tasks/{task}-77?asOf=2999-01-01T00:00:00Z");
    assert_eq!(grid.get(&path).await["failure"]["reason"], "KILLED");
    grid.stop().await;
}

#[actix_web::test]
async fn histories_are_filtered_by_type_and_time() {
    let grid = Fixture::new().await;
    let job = grid.submit(TWO).await;
    let id = text(&job["jobId"]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    let done = finished(&grid, id).await;
    let path = format!("/api/v1/jobs/{id}/events");
    let kinds = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|event| text(&event["type"]).to_owned()).collect()
    };
    let list = grid.get(&format!("{path}?type=JobFinished&type=JobSubmitted")).await;
    assert_eq!(kinds(&list), ["JobFinished", "JobSubmitted"]);
    assert_eq!(list["total"], 2);
    // One a page, by cursor and by number, in both orders.
    for (order, expected) in [
        ("asc", ["JobSubmitted", "JobFinished"]),
        ("desc", ["JobFinished", "JobSubmitted"]),
    ] {
        let first = format!("{path}?type=JobFinished&type=JobSubmitted&size=1&order={order}");
        let page = grid.get(&first).await;
        assert_eq!(kinds(&page), expected[..1]);
        let cursor = text(&page["nextCursor"]);
        let second = grid.get(&format!("{first}&cursor={cursor}")).await;
        assert_eq!(
            (kinds(&second), &second["page"]),
            (vec![expected[1].to_owned()], &json!(1))
        );
        assert!(second["nextCursor"].is_null());
        assert_eq!(kinds(&grid.get(&format!("{first}&page=1")).await), expected[1..]);
    }
    let all = grid.get(&path).await;
    let kill = all["items"].as_array().unwrap().iter();
    let kill = kill.clone().find(|event| event["type"] == "JobKillRequested").unwrap();
    let (at, end) = (text(&kill["at"]), text(&done["finishedAt"]));
    let late = kinds(&grid.get(&format!("{path}?from={at}")).await);
    assert!(late.contains(&"JobKillRequested".to_owned()) && !late.contains(&"JobSubmitted".to_owned()));
    let early = kinds(&grid.get(&format!("{path}?to={at}")).await);
    assert!(early.contains(&"JobSubmitted".to_owned()) && !early.contains(&"JobKillRequested".to_owned()));
    assert_eq!(early.len() + late.len(), all["items"].as_array().unwrap().len());
    assert_eq!(
        grid.get(&format!("{path}?from={end}&to={end}")).await["items"],
        json!([])
    );

    let task = id.replace("job-", "task-");
    let list = grid
        .get(&format!("/api/v1/tasks/{task}-1/events?type=TaskFailed"))
        .await;
    assert_eq!(
        (kinds(&list), &list["total"]),
        (vec!["TaskFailed".to_owned()], &json!(1))
    );
    for (query, parameter) in [("type=Nonsense", "type"), ("from=now", "from"), ("to=x", "to")] {
        let path = format!("{path}?{query}");
        let problem = grid.json(Method::GET, &path, StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{problem}");
    }
    // None fits: that is not the same as not being there.
    assert_eq!(grid.get(&format!("{path}?type=JobStopRequested")).await["total"], 0);
    grid.stop().await;
}
