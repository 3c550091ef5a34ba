//! Lines of tasks in a real Postgres and a real VictoriaLogs: what is found, and what is dropped.

mod cluster;
mod conformance;
mod erase;
mod follower;
mod outages;
mod standalone;
mod store;
mod tail;
mod tasks;
mod vector;
mod vector_config;
mod victoria;

use std::path::PathBuf;

use grid::logs::{Embedded, Line, LogsOptions};
use sqlx::PgPool;

use crate::support::Postgres;

/// A migrated database and its service role's pool.
pub async fn database() -> (String, PgPool) {
    let url = Postgres::shared().fresh_database();
    grid::log::migrate(&grid::config::Secret::new(&*url), 1).await.unwrap();
    let pool = service(&url).await;
    (url, pool)
}

/// As the service itself may use it.
pub async fn service(url: &str) -> PgPool {
    PgPool::connect(&url.replace("postgres://postgres@", "postgres://grid@"))
        .await
        .unwrap()
}

pub async fn store(options: LogsOptions) -> (String, Embedded) {
    let (url, pool) = database().await;
    (url, Embedded::new(pool, options))
}

pub fn line(at: &str, message: &str) -> Line {
    Line {
        at: at.parse().unwrap(),
        message: message.to_owned(),
        level: "INFO".to_owned(),
        logger_name: "stdout".to_owned(),
        job_id: "job-1".to_owned(),
        task_id: "task-1".to_owned(),
        worker_id: "worker-a".to_owned(),
        attempt: Some(1),
        source: "task".to_owned(),
        service: "grid".to_owned(),
        stream: "stdout".to_owned(),
        position: 0,
        fields: Default::default(),
    }
}

pub fn data() -> PathBuf {
    let given = std::env::var_os("GRID_TEST_LOGSQL_DIR");
    given.map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/logsql").into(),
        PathBuf::from,
    )
}
