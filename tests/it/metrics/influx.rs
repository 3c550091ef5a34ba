//! InfluxDB alone: the query of the documentation, and a server that is away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use grid::config::Secret;
use grid::domain::Timestamp;
use grid::metrics::{Influx, InfluxOptions, Intake, Keeping, MetricStore, MetricsOptions, Point, StoreError, Tags};

use crate::support::{InfluxDb, TOKEN, eventually};

const KEEPING: Keeping = Keeping {
    raw_days: 7,
    rollup_days: 90,
};
const SOON: Duration = Duration::from_secs(60);

/// As it is printed; the id is replaced.
const PRINTED: &str = r#"from(bucket: "grid-metrics")
|> range(start: -1h)
|> filter(fn: (r) => r._measurement == "task_metrics")
|> filter(fn: (r) => r.job_id == "job-12345")
|> aggregateWindow(every: 1m, fn: mean)"#;

/// The store over a bucket of that server.
pub fn store(url: &str, bucket: &str) -> Influx {
    let options = InfluxOptions {
        url: Some(url.to_owned()),
        bucket: bucket.to_owned(),
        token: Some(Secret::new(TOKEN)),
        ..InfluxOptions::default()
    };
    Influx::new(&options, KEEPING).unwrap().unwrap()
}

fn ago(milliseconds: u64) -> Timestamp {
    grid::clock::now() - Duration::from_millis(milliseconds)
}

fn point(job: &str, at: Timestamp) -> Point {
    let tags = Tags::from([
        ("job_id", job.to_owned()),
        ("task_id", "task-1".to_owned()),
        ("worker_id", "worker-a".to_owned()),
    ]);
    Point::new(at, tags).with("input_events", 600.0).with("rss_bytes", 7.0)
}

#[tokio::test]
async fn the_printed_query_runs() {
    let Some(influx) = InfluxDb::shared() else { return };
    let bucket = influx.bucket("grid-metrics").await;
    let store = store(&influx.url, &bucket);
    let job = "job-0198c0de-0000-7000-8000-000000000001";
    let points = [
        point(job, ago(100_000)),
        point(job, ago(90_000)),
        point("job-other", ago(95_000)),
    ];
    store.write(&points).await.unwrap();
    let answer = influx.flux(&PRINTED.replace("job-12345", job)).await;
    assert!(
        answer.contains("rss_bytes") && answer.contains("input_events"),
        "{answer}"
    );
    assert!(answer.contains(job) && !answer.contains("job-other"), "{answer}");
    assert!(answer.lines().any(|line| line.contains(",600,")), "{answer}");
    assert!(answer.lines().any(|line| line.contains(",7,")), "{answer}");
}

#[tokio::test]
async fn points_of_a_job_are_removed_and_no_others() {
    let Some(influx) = InfluxDb::shared() else { return };
    let bucket = influx.bucket("purged").await;
    let store = store(&influx.url, &bucket);
    let points = [
        point("job-ann", ago(100_000)),
        point("job-ann", ago(90_000)),
        point("job-bob", ago(95_000)),
    ];
    store.write(&points).await.unwrap();
    let all = format!("from(bucket: \"{bucket}\") |> range(start: -1h)");
    let answer = influx.flux(&all).await;
    assert!(answer.contains("job-ann") && answer.contains("job-bob"), "{answer}");
    store.erase("job-ann").await.unwrap();
    let answer = influx.flux(&all).await;
    assert!(!answer.contains("job-ann") && answer.contains("job-bob"), "{answer}");
    // Another time it finds nothing left to do.
    store.erase("job-ann").await.unwrap();
}

#[tokio::test]
async fn what_it_will_never_take_is_no_outage() {
    let Some(influx) = InfluxDb::shared() else { return };
    let wrong_bucket = store(&influx.url, "nobody's").write(&[point("job-a", ago(1))]).await;
    assert!(
        matches!(&wrong_bucket, Err(StoreError::Unavailable(why)) if why.contains("404")),
        "{wrong_bucket:?}"
    );
    let options = InfluxOptions {
        url: Some(influx.url.clone()),
        token: Some(Secret::new("wrong")),
        ..InfluxOptions::default()
    };
    let wrong_token = Influx::new(&options, KEEPING).unwrap().unwrap();
    let refused = wrong_token.write(&[point("job-a", ago(1))]).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("401")),
        "{refused:?}"
    );
    assert!(!format!("{refused:?}").contains("wrong"), "no token in an error");
}

fn options(folder: &Path, spill_bytes: u64) -> MetricsOptions {
    MetricsOptions {
        queue_points: 10_000,
        batch_points: 100,
        flush_interval: Duration::from_millis(50),
        spill_dir: Some(folder.to_owned()),
        spill_bytes,
        ..MetricsOptions::default()
    }
}

/// How many values of the job are in the bucket.
async fn count(influx: &InfluxDb, bucket: &str, job: &str) -> u64 {
    let query = format!(
        "from(bucket: \"{bucket}\") |> range(start: -1h) |> filter(fn: (r) => r.job_id == \"{job}\") |> group() |> count()"
    );
    let answer = influx.flux(&query).await;
    let mut rows = answer.lines().filter(|line| !line.trim().is_empty());
    let head = rows.next().unwrap_or_default();
    let column = head.split(',').position(|name| name == "_value");
    let value = rows
        .next()
        .zip(column)
        .and_then(|(row, column)| row.split(',').nth(column)?.parse().ok());
    value.unwrap_or(0)
}

#[tokio::test]
async fn an_outage_costs_no_point_as_long_as_there_is_room_on_disk() {
    let Some(influx) = InfluxDb::own() else { return };
    let bucket = influx.bucket("outage").await;
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), 10 << 20);
    let base = ago(10_000);
    let put = |intake: &Intake, number| {
        intake
            .points
            .put(point("job-outage", base + Duration::from_millis(number)));
    };
    let start = || Intake::start(Arc::new(store(&influx.url, &bucket)), &options, None);
    let intake = start();
    put(&intake, 0);
    eventually("it is there", SOON, async || {
        (count(&influx, &bucket, "job-outage").await == 2).then_some(())
    })
    .await;

    influx.stop();
    (1..=2_000).for_each(|number| put(&intake, number));
    eventually("they wait on disk", SOON, async || {
        (intake.points.waiting() == 0).then_some(())
    })
    .await;
    assert_eq!(intake.points.dropped(), 0);
    // What waits outlives the process.
    intake.stop(Duration::from_secs(10)).await;
    let intake = start();
    put(&intake, 2_001);
    influx.start();
    eventually("all are there", SOON, async || {
        (count(&influx, &bucket, "job-outage").await == 2 * 2_002).then_some(())
    })
    .await;
    assert_eq!(intake.points.dropped(), 0);
    intake.stop(Duration::from_secs(10)).await;
    let left = std::fs::read_dir(folder.path().join("0")).unwrap().count();
    assert_eq!(left, 1, "only the lock");
    influx.stop();
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_nobody_waits() {
    let nowhere = format!("http://127.0.0.1:{}", crate::support::free_port());
    let folder = tempfile::tempdir().unwrap();
    // A file of 100 points takes one block of the disk.
    let options = options(folder.path(), 10 * 4_096);
    let intake = Intake::start(Arc::new(store(&nowhere, "none")), &options, None);
    let begun = std::time::Instant::now();
    for number in 0..50_000 {
        intake.points.put(point("job-lost", ago(number)));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    eventually("all are kept on disk or dropped", SOON, async || {
        (intake.points.waiting() == 0).then_some(())
    })
    .await;
    // The lock as well.
    let on_disk = || std::fs::read_dir(folder.path().join("0")).unwrap().count();
    eventually("the disk is full", SOON, async || (on_disk() == 11).then_some(())).await;
    assert!(intake.points.dropped() > 2 * 30_000, "{}", intake.points.dropped());
    intake.stop(Duration::from_secs(5)).await;
    assert_eq!(on_disk(), 11);
}
