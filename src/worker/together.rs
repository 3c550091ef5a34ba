//! What attempts counted whose points carry no task: one sum for each job, however many of its tasks run here.
//!
//! Must stay true: what is added is told, at the latest when the last attempt of the worker has ended; no two points of a
//! series have the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::metrics::{Kind, Point, Points, Tags};

/// The sums of a worker.
pub(super) struct Together {
    points: Points,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sums: BTreeMap<Tags, BTreeMap<&'static str, f64>>,
    /// Attempts that may still add something.
    attempts: usize,
    told: Option<(Instant, Timestamp)>,
}

/// The part of one attempt.
pub(super) struct Share(Arc<Together>);

impl Together {
    pub(super) fn new(points: Points) -> Self {
        Self {
            points,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(self: &Arc<Self>) -> Share {
        self.lock().attempts += 1;
        Share(Arc::clone(self))
    }

    fn tell(&self, state: &mut State) {
        let now = crate::clock::now();
        let after = state.told.map(|(_, at)| at + Duration::from_millis(1));
        let at = after.map_or(now, |after| now.max(after));
        state.told = Some((Instant::now(), at));
        for (tags, sums) in std::mem::take(&mut state.sums) {
            let point = sums
                .into_iter()
                .fold(Point::new(at, tags), |point, (name, sum)| point.with(name, sum));
            self.points.put(point);
        }
    }
}

impl Share {
    /// Adds what was counted since the point before; how something stands at a moment is of one task only, and is left
    /// out.
    pub(super) fn add(&self, point: &Point, every: Duration) {
        let mut state = self.0.lock();
        let sums = state.sums.entry(point.tags.clone()).or_default();
        for (metric, value) in point.values() {
            if metric.kind == Kind::Delta {
                *sums.entry(metric.name).or_default() += value;
            }
        }
        if state.told.is_none_or(|(told, _)| told.elapsed() >= every) {
            self.0.tell(&mut state);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.attempts -= 1;
        if state.attempts == 0 {
            self.0.tell(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Intake, MetricStore, MetricsOptions, Query, StoreError};

    /// What it was given.
    #[derive(Default)]
    struct Given(Mutex<Vec<Point>>);

    #[async_trait::async_trait]
    impl MetricStore for Given {
        async fn write(&self, points: &[Point]) -> Result<u64, StoreError> {
            self.0.lock().unwrap().extend_from_slice(points);
            Ok(0)
        }

        async fn query(&self, _: &Query) -> Result<crate::metrics::Answer, StoreError> {
            Ok(crate::metrics::Answer::default())
        }
    }

    #[tokio::test]
    async fn what_attempts_of_a_job_add_is_told_once_and_whole() {
        let store = Arc::new(Given::default());
        let intake = Intake::start(Arc::<Given>::clone(&store), &MetricsOptions::default(), None);
        let together = Arc::new(Together::new(intake.points.clone()));
        let point = |job: &str, lines: f64| {
            let tags = Tags::from([("job_id", job.to_owned()), ("worker_id", "worker-a".to_owned())]);
            Point::new(Timestamp::from_ms(0), tags)
                .with("log_lines", lines)
                .with("duration_seconds", 5.0)
        };
        let hour = Duration::from_secs(3_600);
        let (one, other) = (together.join(), together.join());
        one.add(&point("job-a", 1.0), hour);
        for share in [&one, &other] {
            share.add(&point("job-a", 2.0), hour);
            share.add(&point("job-b", 3.0), hour);
        }
        drop(one);
        other.add(&point("job-a", 4.0), hour);
        drop(other);
        intake.stop(hour).await;
        let given = store.0.lock().unwrap();
        let told = |job: &str| -> Vec<f64> {
            let of_job = given.iter().filter(|point| point.tags["job_id"] == job);
            of_job
                .flat_map(|point| point.values())
                .map(|(metric, value)| {
                    assert_eq!(metric.name, "log_lines", "a duration is of one task");
                    *value
                })
                .collect()
        };
        assert_eq!((told("job-a"), told("job-b")), (vec![1.0, 8.0], vec![6.0]));
        let mut times: Vec<_> = given
            .iter()
            .map(|point| (point.tags["job_id"].clone(), point.at))
            .collect();
        times.sort();
        times.dedup();
        assert_eq!(times.len(), 3, "no two of a series at one time");
    }
}
