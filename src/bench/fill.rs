//! Fills a server with jobs.

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::server::Server;

/// Requests under way at a time.
const SIDE_BY_SIDE: usize = 64;

/// Submits `count` jobs of `replicas` tasks each.
///
/// # Errors
/// When one is refused.
pub async fn submit(server: &Server, count: u32, task: &Value) -> anyhow::Result<Vec<String>> {
    let document = json!({"externalId": "filled", "labels": {"team": "bench"}, "tasks": [task]});
    submit_each(server, count, |_| document.clone()).await
}

/// Submits `count` jobs, each of its own document; gives their ids in that order.
///
/// # Errors
/// When one is refused.
pub async fn submit_each(server: &Server, count: u32, document: impl Fn(u32) -> Value) -> anyhow::Result<Vec<String>> {
    let submissions = (0..count).map(|number| {
        let document = document(number);
        async move { server.submit(&document).await }
    });
    futures::stream::iter(submissions)
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

/// No-op tasks that any worker takes.
pub fn finishing(replicas: u32) -> Value {
    json!({"externalId": "noop", "replicas": replicas, "executor": "noop"})
}

/// Tasks that stay READY.
pub fn waiting(replicas: u32) -> Value {
    json!({"externalId": "noop", "replicas": replicas, "executor": "noop", "requires": {"bench": "nobody has this label"}})
}
