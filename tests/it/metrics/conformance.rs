//! What every store of points must do.

use std::collections::BTreeMap;
use std::time::Duration;

use grid::config::Secret;
use grid::domain::Timestamp;
use grid::log::{Log, migrate};
use grid::metrics::{Aggregation, Answer, Embedded, Keeping, MetricStore, Point, Query, Tags, Wanted, find};

use crate::log::service;
use crate::support::{InfluxDb, Postgres};

const KEEPING: Keeping = Keeping {
    raw_days: 7,
    rollup_days: 90,
};

/// A minute that is past, and does not end while a test runs; also the begin of a rollup.
fn base() -> Timestamp {
    let hour = 3_600_000;
    Timestamp::from_ms(grid::clock::now().as_ms() / hour * hour - 2 * hour)
}

fn tags(tags: &[(&'static str, &str)]) -> Tags {
    tags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn of_task(job: &str, task: &str) -> Tags {
    tags(&[("job_id", job), ("task_id", task), ("worker_id", "worker-a")])
}

fn after(seconds: u64) -> Timestamp {
    base() + Duration::from_secs(seconds)
}

/// Everything of the 10 minutes after [`base`].
fn wanted(metrics: &[&str], interval: &str, tags: &[(&'static str, &[&str])]) -> Wanted {
    let tags = tags
        .iter()
        .map(|(name, values)| (*name, values.iter().map(ToString::to_string).collect()));
    Wanted {
        from: base(),
        to: after(600),
        interval: Some(interval.parse().unwrap()),
        limit: 10_000,
        tags: tags.collect(),
        metrics: metrics.iter().map(|name| find(name).unwrap()).collect(),
        aggregation: None,
        group_by: None,
        now: grid::clock::now(),
        raw_from: KEEPING.raw_from(grid::clock::now()),
    }
}

fn by(aggregation: Aggregation, wanted: Wanted) -> Query {
    let aggregation = Some(aggregation);
    Wanted { aggregation, ..wanted }.check().unwrap()
}

/// Seconds after [`base`], and value.
fn seen(answer: &Answer) -> Vec<(u64, f64)> {
    let points = answer.points.iter();
    points
        .map(|point| (point.timestamp.since(base()).as_secs(), point.value))
        .collect()
}

/// The whole suite, over an empty store.
async fn conforms(store: &dyn MetricStore) {
    windows_are_made_by_every_aggregation(store).await;
    rates_are_sums_by_second(store).await;
    tags_choose_and_groups_join(store).await;
    tags_that_points_lack_are_left_out(store).await;
    text_of_any_kind_is_only_text(store).await;
    the_newest_are_kept(store).await;
    what_is_given_twice_counts_once(store).await;
    the_times_of_a_question_are_exact(store).await;
    what_is_too_old_is_counted_and_left_out(store).await;
}

async fn windows_are_made_by_every_aggregation(store: &dyn MetricStore) {
    let job = "job-windows";
    let points: Vec<Point> = [(0, 4.0), (30, 2.0), (59, 6.0), (120, 7.0), (400, 1.0)]
        .into_iter()
        .map(|(second, value)| Point::new(after(second), of_task(job, "task-1")).with("rss_bytes", value))
        .collect();
    assert_eq!(store.write(&points).await.unwrap(), 0);
    // A window of whole rollups gives the same as one of points.
    for (aggregation, by_minute, by_five) in [
        (Aggregation::Mean, [4.0, 7.0, 1.0], [4.75, 1.0]),
        (Aggregation::Sum, [12.0, 7.0, 1.0], [19.0, 1.0]),
        (Aggregation::Min, [2.0, 7.0, 1.0], [2.0, 1.0]),
        (Aggregation::Max, [6.0, 7.0, 1.0], [7.0, 1.0]),
        (Aggregation::Last, [6.0, 7.0, 1.0], [7.0, 1.0]),
        (Aggregation::Count, [3.0, 1.0, 1.0], [4.0, 1.0]),
    ] {
        let ask = |interval| by(aggregation, wanted(&["rss_bytes"], interval, &[("job_id", &[job])]));
        let minutes = store.query(&ask("1m")).await.unwrap();
        assert!(!minutes.truncated);
        let expected: Vec<_> = [0, 120, 360].into_iter().zip(by_minute).collect();
        assert_eq!(seen(&minutes), expected, "{aggregation}: empty windows are left out");
        let fives = store.query(&ask("5m")).await.unwrap();
        let expected: Vec<_> = [0, 300].into_iter().zip(by_five).collect();
        assert_eq!(seen(&fives), expected, "{aggregation}");
    }
}

async fn rates_are_sums_by_second(store: &dyn MetricStore) {
    let job = "job-rates";
    let point = |second, task| Point::new(after(second), of_task(job, task)).with("input_events", 300.0);
    let points = [point(10, "task-1"), point(20, "task-1"), point(10, "task-2")];
    store.write(&points).await.unwrap();
    let ask = |interval| wanted(&["task_throughput"], interval, &[("job_id", &[job])]);
    let answer = store.query(&ask("1m").check().unwrap()).await.unwrap();
    assert_eq!(seen(&answer), [(0, 10.0), (0, 5.0)]);
    assert_eq!(answer.points[0].metric, "task_throughput");
    assert_eq!(answer.points[0].tags["task_id"], "task-1");
    let joined = Wanted {
        group_by: Some(vec!["job_id"]),
        ..ask("1m")
    };
    let answer = store.query(&joined.check().unwrap()).await.unwrap();
    assert_eq!(seen(&answer), [(0, 15.0)]);
    assert_eq!(
        answer.points[0].tags,
        BTreeMap::from([("job_id".to_owned(), job.to_owned())])
    );
    // Both what it is made of and what it makes, in one answer.
    let both = Wanted {
        group_by: Some(vec!["job_id"]),
        aggregation: Some(Aggregation::Sum),
        ..wanted(&["task_throughput", "input_events"], "5m", &[("job_id", &[job])])
    };
    let answer = store.query(&both.check().unwrap()).await.unwrap();
    let found: Vec<_> = answer.points.iter().map(|point| (point.metric, point.value)).collect();
    assert_eq!(found, [("input_events", 900.0), ("task_throughput", 3.0)]);
}

async fn tags_choose_and_groups_join(store: &dyn MetricStore) {
    let point = |job, task, value| Point::new(after(5), of_task(job, task)).with("rss_bytes", value);
    let points = [
        point("job-tags-a", "task-1", 1.0),
        point("job-tags-a", "task-2", 2.0),
        point("job-tags-b", "task-1", 4.0),
    ];
    store.write(&points).await.unwrap();
    let sum = async |tags: &[(&'static str, &[&str])]| {
        let query = by(Aggregation::Sum, wanted(&["rss_bytes"], "1m", tags));
        store
            .query(&query)
            .await
            .unwrap()
            .points
            .iter()
            .map(|point| point.value)
            .sum::<f64>()
    };
    assert_eq!(sum(&[("job_id", &["job-tags-a"])]).await, 3.0);
    assert_eq!(
        sum(&[("job_id", &["job-tags-a", "job-tags-b"])]).await,
        7.0,
        "the same key: or"
    );
    let both: &[(&'static str, &[&str])] = &[("job_id", &["job-tags-a", "job-tags-b"]), ("task_id", &["task-1"])];
    assert_eq!(sum(both).await, 5.0, "different keys: and");
    assert_eq!(sum(&[("job_id", &["job-tags"])]).await, 0.0, "the whole value");
    assert_eq!(sum(&[("job_id", &["job-12345"])]).await, 0.0, "nobody's");
    assert_eq!(sum(&[("node_id", &["a"]), ("job_id", &["job-tags-a"])]).await, 0.0);
    let grouped = Wanted {
        group_by: Some(vec!["task_id"]),
        ..wanted(&["rss_bytes"], "1m", &[("job_id", &["job-tags-a", "job-tags-b"])])
    };
    let answer = store.query(&grouped.check().unwrap()).await.unwrap();
    let found: Vec<_> = answer
        .points
        .iter()
        .map(|point| (point.tags["task_id"].as_str(), point.value))
        .collect();
    assert_eq!(found, [("task-1", 2.5), ("task-2", 2.0)]);
}

async fn tags_that_points_lack_are_left_out(store: &dyn MetricStore) {
    let job = "job-lacking";
    let report = |dimensions: Option<&str>, value| {
        let mut tags = of_task(job, "task-1");
        tags.insert("name", "training.loss".to_owned());
        tags.extend(dimensions.map(|dimensions| ("dimensions", dimensions.to_owned())));
        Point::new(after(10), tags).with("reported", value)
    };
    let untold = tags(&[("job_id", job), ("worker_id", "worker-a")]);
    let points = [
        Point::new(after(10), of_task(job, "task-1")).with("log_lines", 1.0),
        Point::new(after(10), untold).with("log_lines", 2.0),
        report(None, 3.0),
        report(Some("host=a b,layer=\"3\""), 4.0),
    ];
    assert_eq!(store.write(&points).await.unwrap(), 0);
    let found = async |metric: &str, tags: &[(&'static str, &[&str])]| {
        let jobs = [job];
        let tags = [&[("job_id", &jobs[..])], tags].concat();
        let answer = store.query(&by(Aggregation::Sum, wanted(&[metric], "1m", &tags))).await;
        let points = answer.unwrap().points;
        let of = |point: &grid::metrics::Sample, tag: &str| point.tags.get(tag).cloned().unwrap_or_default();
        let mut found: Vec<_> = points
            .iter()
            .map(|point| (of(point, "task_id"), of(point, "dimensions"), point.value))
            .collect();
        found.sort_by(|a, b| a.2.total_cmp(&b.2));
        found
    };
    let row = |task: &str, dimensions: &str, value| (task.to_owned(), dimensions.to_owned(), value);
    assert_eq!(
        found("log_lines", &[]).await,
        [row("task-1", "", 1.0), row("", "", 2.0)]
    );
    assert_eq!(
        found("log_lines", &[("task_id", &["task-1"])]).await,
        [row("task-1", "", 1.0)]
    );
    let both = [row("task-1", "", 3.0), row("task-1", "host=a b,layer=\"3\"", 4.0)];
    assert_eq!(found("reported", &[("name", &["training.loss"])]).await, both);
    let dimensions: (&'static str, &[&str]) = ("dimensions", &["host=a b,layer=\"3\""]);
    assert_eq!(found("reported", &[dimensions]).await, both[1..]);
}

async fn text_of_any_kind_is_only_text(store: &dyn MetricStore) {
    let odd = [
        "a\" or true or r.job_id == \"",
        "${1 + 1}",
        "back\\slash",
        "'; DROP TABLE metric_points; --",
        "comma, and=equals \\,",
        "ünïcödé 🦀",
        "%_",
    ];
    let point = |job: &&str| Point::new(after(7), of_task(job, "task-odd")).with("rss_bytes", 1.0);
    store.write(&odd.iter().map(point).collect::<Vec<_>>()).await.unwrap();
    let cleaned = [point(&"new\nline"), point(&"end\\")];
    store.write(&cleaned).await.unwrap();
    for job in odd.into_iter().chain(["new line", "end/"]) {
        let query = by(Aggregation::Count, wanted(&["rss_bytes"], "1m", &[("job_id", &[job])]));
        let answer = store.query(&query).await.unwrap();
        let jobs: Vec<_> = answer
            .points
            .iter()
            .map(|point| point.tags["job_id"].as_str())
            .collect();
        assert_eq!(jobs, [job]);
    }
}

async fn the_newest_are_kept(store: &dyn MetricStore) {
    let job = "job-newest";
    let point = |second| Point::new(after(second), of_task(job, "task-1")).with("rss_bytes", second as f64);
    store.write(&[point(0), point(60), point(120)]).await.unwrap();
    let ask = |limit| Wanted {
        limit,
        ..wanted(&["rss_bytes"], "1m", &[("job_id", &[job])])
    };
    let answer = store.query(&ask(2).check().unwrap()).await.unwrap();
    assert_eq!(
        (seen(&answer), answer.truncated),
        (vec![(60, 60.0), (120, 120.0)], true)
    );
    let answer = store.query(&ask(3).check().unwrap()).await.unwrap();
    assert_eq!((answer.points.len(), answer.truncated), (3, false));
}

async fn what_is_given_twice_counts_once(store: &dyn MetricStore) {
    let job = "job-twice";
    let point = |second| Point::new(after(second), of_task(job, "task-1")).with("input_events", 10.0);
    store.write(&[point(1), point(2)]).await.unwrap();
    store.write(&[point(2), point(3), point(3)]).await.unwrap();
    for interval in ["1m", "5m"] {
        let query = by(
            Aggregation::Sum,
            wanted(&["input_events"], interval, &[("job_id", &[job])]),
        );
        assert_eq!(seen(&store.query(&query).await.unwrap()), [(0, 30.0)], "{interval}");
    }
}

async fn the_times_of_a_question_are_exact(store: &dyn MetricStore) {
    let job = "job-times";
    let point = |second| Point::new(after(second), of_task(job, "task-1")).with("rss_bytes", second as f64);
    store.write(&[point(9), point(10), point(69), point(70)]).await.unwrap();
    let ask = Wanted {
        from: after(10),
        to: after(70),
        ..wanted(&["rss_bytes"], "1m", &[("job_id", &[job])])
    };
    let answer = store.query(&ask.check().unwrap()).await.unwrap();
    assert_eq!(seen(&answer), [(0, 10.0), (60, 69.0)], "from is in it, to is not");
}

async fn what_is_too_old_is_counted_and_left_out(store: &dyn MetricStore) {
    let day = Duration::from_secs(86_400);
    let point = |at| Point::new(at, of_task("job-old", "task-1")).with("rss_bytes", 1.0);
    let now = grid::clock::now();
    let points = [point(now - day * 10), point(now - day), point(now + day * 3)];
    assert_eq!(store.write(&points).await.unwrap(), 2);
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    let url = Postgres::shared().fresh_database();
    migrate(&Secret::new(url.clone()), 4).await.unwrap();
    let log = Log::connect(service(&url)).await.unwrap();
    let store = Embedded::new(log.pool().clone(), KEEPING);
    store.tidy(grid::clock::now()).await.unwrap();
    conforms(&store).await;
    log.close().await;
}

#[tokio::test]
async fn influxdb_conforms() {
    let Some(influx) = InfluxDb::shared() else { return };
    let bucket = influx.bucket("conformance").await;
    conforms(&super::influx::store(&influx.url, &bucket)).await;
}

#[tokio::test]
async fn days_that_were_kept_long_enough_are_dropped() {
    let url = Postgres::shared().fresh_database();
    migrate(&Secret::new(url.clone()), 4).await.unwrap();
    let log = Log::connect(service(&url)).await.unwrap();
    let store = Embedded::new(log.pool().clone(), KEEPING);
    let now = grid::clock::now();
    store.tidy(now).await.unwrap();
    let point = Point::new(now, of_task("job-kept", "task-1")).with("rss_bytes", 1.0);
    store.write(&[point]).await.unwrap();
    let count = |table: &str| Postgres::shared().psql(&url, &format!("SELECT count(*) FROM {table}"));
    let counts = || [count("metric_points"), count("metric_rollups"), count("metric_series")];
    assert_eq!(counts(), ["1", "1", "1"]);
    let day = Duration::from_secs(86_400);
    store.tidy(now + day * 8).await.unwrap();
    assert_eq!(counts(), ["0", "1", "1"], "raw points go first");
    store.tidy(now + day * 91).await.unwrap();
    assert_eq!(counts(), ["0", "0", "0"]);
    log.close().await;
}
