//! Points of metrics over GraphQL: the same answer as by REST, and those that come while somebody follows.

use std::time::Duration;

use grid::domain::Timestamp;
use grid::metrics::{Point, Tags};
use serde_json::{Value, json};

use crate::api::Fixture;
use crate::graphql::stream::Stream;

fn point(at: Timestamp, job: &str, value: f64) -> Point {
    let tags = Tags::from([
        ("job_id", job.to_owned()),
        ("task_id", "task-67890".to_owned()),
        ("worker_id", "worker-a".to_owned()),
    ]);
    Point::new(at, tags).with("rss_bytes", value)
}

#[actix_web::test]
async fn a_query_answers_what_rest_answers() {
    let grid = Fixture::new().await;
    let at = grid::clock::now() - Duration::from_secs(600);
    let points = [point(at, "job-12345", 10.0), point(at, "job-other", 20.0)];
    grid.parts.metric_store.write(&points).await.unwrap();
    let query = "query($filter: MetricFilter) { metrics(filter: $filter, interval: \"1h\") {
        dataPoints { timestamp metric value tags } aggregation interval truncated } }";
    let filter = json!({
        "metrics": ["rss_bytes"], "aggregation": "MAX", "groupBy": ["job_id"],
        "tags": [{"key": "job_id", "values": ["job-12345", "job-none"]}],
    });
    let mut answer = grid.data(query, &json!({"filter": filter})).await["metrics"].take();
    assert_eq!(answer["aggregation"], "MAX");
    answer["aggregation"] = json!("max");
    let path = "/api/v1/metrics?metric=rss_bytes&aggregation=max&groupBy=job_id&interval=1h&tag.job_id=job-12345";
    assert_eq!(answer, grid.get(path).await);
    assert_eq!(answer["dataPoints"][0]["value"], 10.0);
    for (arguments, parameter) in [
        ("from: \"yesterday\"", "from"),
        ("interval: \"1\"", "interval"),
        ("limit: 10001", "limit"),
        ("filter: {metrics: [\"nothing\"]}", "metric"),
        ("filter: {tags: [{key: \"colour\", values: [\"red\"]}]}", "tags"),
        ("filter: {groupBy: [\"colour\"]}", "groupBy"),
    ] {
        let query = format!("{{ metrics({arguments}) {{ interval }} }}");
        let answer = grid.graphql(&query, &Value::Null).await;
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "INVALID_PARAMETER", "{answer}");
        assert_eq!(extensions["errors"][0]["parameter"], parameter, "{answer}");
    }
    grid.stop().await;
}

#[actix_web::test]
async fn what_comes_is_told_to_who_follows() {
    let grid = Fixture::new().await;
    let now = grid::clock::now();
    let window = Timestamp::from_ms(now.as_ms() / 86_400_000 * 86_400_000);
    let write = async |milliseconds: u64, job, value| {
        let point = point(now + Duration::from_millis(milliseconds), job, value);
        grid.parts.metric_store.write(&[point]).await.unwrap();
    };
    let subscription =
        "subscription($filter: MetricFilter) { metrics(filter: $filter, from: \"-1h\", interval: \"1d\") {
        dataPoints { timestamp metric value tags } interval } }";
    let filter = json!({"metrics": ["rss_bytes"], "aggregation": "SUM", "groupBy": ["job_id"],
        "tags": [{"key": "job_id", "values": ["job-a", "job-b"]}]});
    let mut stream = Stream::open(
        &format!("http://{}", grid.address),
        subscription,
        &json!({"filter": filter}),
    )
    .await;
    let mut next = async || {
        let item = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
        item.expect("an item comes").unwrap()["metrics"].take()
    };
    let first = next().await;
    assert_eq!(first, json!({"dataPoints": [], "interval": "1d"}), "what there is");
    let is = |job: &str, value: f64| json!([{"timestamp": window, "metric": "rss_bytes", "value": value, "tags": {"job_id": job}}]);
    write(1, "job-a", 4.0).await;
    assert_eq!(next().await["dataPoints"], is("job-a", 4.0));
    write(1, "job-b", 7.0).await;
    assert_eq!(
        next().await["dataPoints"],
        is("job-b", 7.0),
        "the other is told already"
    );
    write(2, "job-a", 1.0).await;
    write(2, "job-nobody-asked-for", 1.0).await;
    assert_eq!(
        next().await["dataPoints"],
        is("job-a", 5.0),
        "in the place of the earlier"
    );
    grid.stop().await;
}
