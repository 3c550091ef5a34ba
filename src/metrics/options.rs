//! Options of the points of metrics.

use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use crate::config::{Secret, Setting};
use crate::domain::TaskId;
use crate::options;

/// Which points of attempts carry their task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskTag {
    On,
    Off,
    Sampled,
}

impl TaskTag {
    const ALL: [(&'static str, Self); 3] = [("on", Self::On), ("off", Self::Off), ("sampled", Self::Sampled)];
}

impl Setting for TaskTag {
    fn expected() -> String {
        "on, off or sampled".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        let found = value.as_str();
        let known = Self::ALL.into_iter().find(|(name, _)| Some(*name) == found);
        known
            .map(|(_, tag)| tag)
            .ok_or_else(|| format!("found {found:?}, expected {}", Self::expected()))
    }
    fn show(&self) -> serde_json::Value {
        let known = Self::ALL.into_iter().find(|(_, tag)| tag == self);
        known.map_or(serde_json::Value::Null, |(name, _)| name.into())
    }
}

/// The same with what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Tagging {
    tag: TaskTag,
    every: u32,
}

impl Tagging {
    pub fn of(options: &MetricsOptions) -> Self {
        Self {
            tag: options.task_tag,
            every: options.task_tag_every.max(1),
        }
    }

    /// Of every task.
    pub const fn all() -> Self {
        Self {
            tag: TaskTag::On,
            every: 1,
        }
    }

    /// Whether points of this task carry its tag; the same for all its attempts, wherever they run.
    pub const fn carries(self, task: TaskId) -> bool {
        match self.tag {
            TaskTag::On => true,
            TaskTag::Off => false,
            // Numbers of tasks begin with 1.
            TaskTag::Sampled => task.number % self.every == 1 % self.every,
        }
    }
}

options! {
    /// Options of the points of metrics.
    pub struct MetricsOptions {
        /// Whether anything is measured. Without it, only what is there already can be asked for.
        enabled: bool = true,
        /// How often running tasks, workers, jobs and processes are measured.
        sample_interval: Duration = Duration::from_secs(10),
        /// How often workers and processes are measured while no task runs and no job changes.
        idle_interval: Duration = Duration::from_secs(60),
        /// Whether points of attempts carry their task: on, off (they are sums over a job's attempts in a worker), or
        /// sampled (every task that `task_tag_every` counts carries it, the others are summed).
        task_tag: TaskTag = TaskTag::On,
        /// With `task_tag` sampled: the first task of a job carries its tag, and every one after so many.
        task_tag_every: u32 = 100,
        /// Most points that wait to be written; what comes beyond that is dropped and counted.
        queue_points: u32 = 50_000,
        /// Most points that are written at a time.
        batch_points: u32 = 5_000,
        /// How long points are gathered before they are written.
        flush_interval: Duration = Duration::from_millis(500),
        /// A folder in which points wait while the store does not answer; default: one in the folder of standalone's or
        /// the worker's data. A jobmaster has none unless it is named here.
        spill_dir: Option<PathBuf> = None,
        /// Most bytes that wait there; what comes beyond that is dropped and counted.
        spill_bytes: u64 = 67_108_864,
        /// Days for which every point is kept.
        raw_days: u32 = 7,
        /// Days for which rollups of five minutes are kept.
        rollup_days: u32 = 90,
    }
}

options! {
    /// Options of an InfluxDB v2 that keeps the points instead of Postgres.
    pub struct InfluxOptions {
        /// Its URL; without it, Postgres keeps the points.
        url: Option<String> = None,
        /// The organization.
        org: String = "grid".into(),
        /// The bucket; it must be there.
        bucket: String = "grid-metrics".into(),
        /// A token that may read and write the bucket.
        token: Option<Secret> = None,
        /// The longest time that one call may take.
        timeout: Duration = Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::JobId;

    #[test]
    fn the_first_task_of_a_job_is_in_every_sample() {
        let carried = |tag, every| -> Vec<u32> {
            let options = MetricsOptions {
                task_tag: tag,
                task_tag_every: every,
                ..MetricsOptions::default()
            };
            let job = JobId(Uuid::now_v7());
            let carries = |number: &u32| Tagging::of(&options).carries(TaskId { job, number: *number });
            (1..=7).filter(carries).collect()
        };
        assert_eq!(carried(TaskTag::Sampled, 3), [1, 4, 7]);
        assert_eq!(carried(TaskTag::Sampled, 100), [1]);
        assert_eq!(carried(TaskTag::Sampled, 1).len(), 7);
        assert_eq!(carried(TaskTag::On, 3).len(), 7);
        assert!(carried(TaskTag::Off, 1).is_empty());
    }
}
