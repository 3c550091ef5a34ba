//! Workers killed, and paused for longer than they may be silent.

use std::time::Duration;

use rand::RngExt;

use super::cluster::{Cluster, Patience};
use super::load::{Load, submitted};
use super::process::{no_stray_processes, task_processes};
use super::times;
use crate::support::{Kafka, Postgres, eventually};

/// Processes below processes, some of them leaders of groups of their own, none of which hears SIGTERM.
const TREE: &str = "trap '' TERM; timeout 60 sh -c 'trap \"\" TERM; sleep 2 & sleep 2.1; wait' & \
                    (sh -c 'sleep 2 & wait' & wait) & set -m; sleep 2 & wait";

/// A job of trees runs on all workers.
async fn trees(cluster: &Cluster<'_>, load: &Load) {
    let workers = cluster.workers.len() as u32;
    let document = serde_json::json!({ "tasks": [cluster.programs.group("trees", 3 * workers, TREE)] });
    load.note(&submitted(&cluster.jobmasters[0].url, &document).await);
    let processes = || task_processes(cluster.programs.marker()).len();
    eventually("trees of processes to run", Duration::from_secs(60), async || {
        (processes() > 8).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_leave_nothing_behind() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 1).await;
    let load = cluster.load();
    for _ in 0..times("WORKERS", 2, 50) {
        load.goes_on().await;
        trees(&cluster, &load).await;
        cluster.workers[0].kill();
        no_stray_processes(cluster.programs.marker());
        cluster.workers[0].restart();
        cluster.workers[0].ready().await;
    }
    cluster.finish(load, "TIMEOUT,KILLED").await;
}

/// One that hangs, and one that never comes back: their tasks end there, and run elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_worker_loses_its_tasks_to_others() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 2).await;
    let load = cluster.load();
    for _ in 0..times("SILENT_WORKERS", 1, 10) {
        load.goes_on().await;
        trees(&cluster, &load).await;
        let silent = rand::rng().random_range(0..2);
        cluster.workers[silent].pause();
        // Its guardian kills what runs there before anybody else begins it: no attempt finds another beside it. Longer
        // than `worker.lost_after`.
        tokio::time::sleep(Duration::from_secs(14)).await;
        cluster.workers[silent].resume();
        load.goes_on().await;
        cluster.workers[silent].ready().await;
    }
    cluster.finish(load, "TIMEOUT,KILLED").await;
}
