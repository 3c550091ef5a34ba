//! Shards as they run: the actors under their supervisor, over a real log.

mod lost_topic;
mod poison;
mod takeover;
mod unreadable;

use grid::domain::{JobId, ShardId};
use serde_json::Value;

use crate::api::{Fixture, SHARDS, text};

const JOB: &str = "tasks: [{ externalId: a, executor: noop, replicas: 3 }]";

fn id(job: &Value) -> JobId {
    text(&job["jobId"]).parse().unwrap()
}

fn shard(job: JobId) -> ShardId {
    job.shard(SHARDS)
}

/// A new job in that shard.
async fn job_in(grid: &Fixture, wanted: ShardId) -> JobId {
    loop {
        let job = id(&grid.submit(JOB).await);
        if shard(job) == wanted {
            return job;
        }
    }
}

async fn assert_the_log_is_whole(grid: &Fixture) {
    let report = grid.log.verify(Default::default(), None).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.differences);
}
