//! `GET /api/v1/metrics` over a store with known points.

use std::time::Duration;

use grid::domain::Timestamp;
use grid::metrics::{Point, Tags};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::{Fixture, text};

#[actix_web::test]
async fn the_answer_has_the_printed_shape() {
    let grid = Fixture::new().await;
    let minute = Timestamp::from_ms(grid::clock::now().as_ms() / 60_000 * 60_000 - 600_000);
    let tags = Tags::from([
        ("job_id", "job-12345".to_owned()),
        ("task_id", "task-67890".to_owned()),
        ("worker_id", "worker-a".to_owned()),
    ]);
    let point = |second| Point::new(minute + Duration::from_secs(second), tags.clone());
    let points = [
        point(1).with("input_events", 6_000.0).with("rss_bytes", 10.0),
        point(31).with("input_events", 69_030.0).with("rss_bytes", 20.0),
    ];
    grid.parts.metric_store.write(&points).await.unwrap();
    let answer = grid
        .get("/api/v1/metrics?from=-1h&to=now&interval=1m&tag.job_id=job-12345")
        .await;
    let tags = json!({"job_id": "job-12345", "task_id": "task-67890", "worker_id": "worker-a"});
    let expected = json!({
        "dataPoints": [
            {"timestamp": minute, "metric": "rss_bytes", "value": 15.0, "tags": tags},
            {"timestamp": minute, "metric": "task_throughput", "value": 1250.5, "tags": tags},
        ],
        "aggregation": "mean",
        "interval": "1m",
        "truncated": false,
    });
    assert_eq!(answer, expected, "what was counted comes when it is named");
    let answer = grid
        .get("/api/v1/metrics?metric=input_events&aggregation=sum&tag.job_id=job-12345&groupBy=job_id&interval=1h&limit=5")
        .await;
    assert_eq!(
        (&answer["aggregation"], &answer["interval"]),
        (&json!("sum"), &json!("1h"))
    );
    assert_eq!(answer["dataPoints"][0]["value"], 75_030.0);
    assert_eq!(answer["dataPoints"][0]["tags"], json!({"job_id": "job-12345"}));
    let answer = grid
        .get("/api/v1/metrics?metric=input_events&tag.job_id=job-12345&interval=1h")
        .await;
    assert_eq!(answer["aggregation"], "mean", "unless another is asked for");
    assert_eq!(answer["dataPoints"][0]["value"], 37_515.0);
    // Ids may come without their prefix, as everywhere.
    let job = "0198c2a0-7c00-7000-8000-000000000001";
    let tags = Tags::from([
        ("job_id", format!("job-{job}")),
        ("task_id", format!("task-{job}-2")),
        ("worker_id", "worker-b".to_owned()),
    ]);
    let points = [Point::new(minute, tags).with("rss_bytes", 7.0)];
    grid.parts.metric_store.write(&points).await.unwrap();
    for filter in [
        format!("tag.job_id={job}"),
        format!("tag.task_id={job}-2"),
        "tag.worker_id=b".to_owned(),
    ] {
        let answer = grid.get(&format!("/api/v1/metrics?metric=rss_bytes&{filter}")).await;
        assert_eq!(answer["dataPoints"][0]["value"], 7.0, "{filter}: {answer}");
    }
    let answer = grid.get("/api/v1/metrics?tag.job_id=job-unknown").await;
    assert_eq!(
        (&answer["dataPoints"], &answer["interval"]),
        (&json!([]), &json!("10s"))
    );
    grid.stop().await;
}

#[actix_web::test]
async fn bad_parameters_are_refused_by_name() {
    let grid = Fixture::new().await;
    for (query, parameter, says) in [
        ("from=yesterday", "from", "expected a time"),
        ("from=2026-01-31T10:00:00+02:00", "from", "+ is written %2B"),
        ("from=now&to=-1h", "from", "before to"),
        ("to=1h", "to", "expected a time"),
        ("interval=0s", "interval", "like 5m"),
        ("interval=1", "interval", "like 5m"),
        ("from=-30d&interval=1m", "interval", "multiple of 5m"),
        ("limit=0", "limit", "1 to 10000"),
        ("limit=10001", "limit", "1 to 10000"),
        ("metric=nothing", "metric", "task_throughput"),
        ("aggregation=median", "aggregation", "mean, sum"),
        ("metric=task_throughput&aggregation=max", "aggregation", "by second"),
        ("groupBy=colour", "groupBy", "job_id, task_id"),
        ("tag.colour=red", "tag.colour", "unknown parameter"),
        ("job_id=a", "job_id", "unknown parameter"),
        ("from=-1h&from=-2h", "from", "twice"),
    ] {
        let path = format!("/api/v1/metrics?{query}");
        let refused = grid.json(Method::GET, &path, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["errors"][0]["parameter"], parameter, "{query}: {refused:#}");
        assert!(text(&refused["detail"]).contains(says), "{query}: {refused:#}");
    }
    grid.stop().await;
}
