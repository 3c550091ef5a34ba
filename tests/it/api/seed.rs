//! The calls of the public documentation of monitoring, by curl and as they are printed there, with the id replaced; and
//! the fields of its example.

use std::process::Command;

use serde_json::{Value, json};

use super::fixture::{Fixture, text};

/// As it is printed.
const EXAMPLE: &str = r#"
{
"jobId": "job-12345",
"externalId": "workflow-abc",
"createdAt": "2024-01-29T09:00:00Z",
"taskCounters": {
"ready": 0,
"scheduled": 2,
"running": 5,
"completed": 100,
"failed": 3
},
"status": "RUNNING"
}"#;

/// Runs `curl -X METHOD "http://jobmaster:8080…"`; gives status and body.
async fn curl(grid: &Fixture, method: &str, path: &str) -> (u16, Value) {
    let port = grid.address.port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--connect-to", &format!("jobmaster:8080:127.0.0.1:{port}")])
        .args([
            "-w",
            "\n%{http_code}",
            "-X",
            method,
            &format!("http://jobmaster:8080{path}"),
        ]);
    let output = actix_web::web::block(move || curl.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
    (status.parse().unwrap(), body)
}

/// Every field of the example is there and of its type.
fn assert_like(example: &Value, found: &Value, place: &str) {
    match (example, found) {
        (Value::Object(example), Value::Object(found)) => {
            for (name, value) in example {
                let inner = found.get(name).unwrap_or_else(|| panic!("{place} has no {name}"));
                assert_like(value, inner, &format!("{place}.{name}"));
            }
        }
        (example, found) => assert_eq!(
            std::mem::discriminant(example),
            std::mem::discriminant(found),
            "{place}: {found}"
        ),
    }
}

#[actix_web::test]
async fn the_printed_calls_work() {
    let grid = Fixture::new().await;
    let submitted = grid
        .submit("externalId: workflow-abc\ntasks: [{ externalId: a, executor: noop, replicas: 3 }]")
        .await;
    let id = text(&submitted["jobId"]);
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();

    let (status, list) = curl(&grid, "GET", "/api/v1/jobs?page=0&size=20").await;
    assert_eq!(
        (status, &list["total"], &list["page"], &list["size"]),
        (200, &json!(1), &json!(0), &json!(20))
    );
    assert_like(&example, &list["items"][0], "items[0]");

    let (status, job) = curl(&grid, "GET", &format!("/api/v1/jobs/{id}")).await;
    assert_eq!(status, 200);
    assert_like(&example, &job, "job");
    let counters: Vec<&String> = job["taskCounters"].as_object().unwrap().keys().collect();
    let printed: Vec<&String> = example["taskCounters"].as_object().unwrap().keys().collect();
    assert_eq!(counters, printed, "exactly the five");
    assert_eq!(
        (&job["status"], &job["externalId"]),
        (&json!("RUNNING"), &json!("workflow-abc"))
    );
    assert!(text(&job["createdAt"]).ends_with('Z'));

    let (status, tasks) = curl(&grid, "GET", &format!("/api/v1/jobs/{id}/tasks?page=0&size=50")).await;
    assert_eq!((status, &tasks["total"], &tasks["size"]), (200, &json!(3), &json!(50)));
    let states = |tasks: &Value| {
        let items = tasks["items"].as_array().unwrap().iter();
        items.map(|task| text(&task["state"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&tasks), ["READY"; 3]);

    let path = format!("/api/v1/metrics?from=-1h&to=now&interval=1m&tag.job_id={id}");
    let (status, metrics) = curl(&grid, "GET", &path).await;
    let nothing_yet = json!({"dataPoints": [], "aggregation": "mean", "interval": "1m", "truncated": false});
    assert_eq!((status, metrics), (200, nothing_yet));

    let (status, killed) = curl(&grid, "DELETE", &format!("/api/v1/jobs/kill/{id}")).await;
    assert_eq!(status, 200);
    assert_like(&example, &killed, "killed");
    // The kill is a fact at once; what it does to the tasks follows.
    let path = format!("/api/v1/jobs/{id}/tasks?page=0&size=50");
    crate::support::eventually("all have failed", std::time::Duration::from_secs(20), async || {
        (states(&curl(&grid, "GET", &path).await.1) == ["FAILED"; 3]).then_some(())
    })
    .await;
    assert_eq!(
        curl(&grid, "GET", &format!("/api/v1/jobs/{id}")).await.1["status"],
        "FAILED"
    );

    let (status, problem) = curl(&grid, "GET", "/api/v1/jobs/job-12345").await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("INVALID_ID")),
        "an id of another form"
    );
    grid.stop().await;
}
