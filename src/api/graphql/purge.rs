//! Erasing what is known of a job beside the log.

use async_graphql::{ID, SimpleObject};

use super::scalar::DateTime;
use crate::api::purge::PurgeView;

/// What a purge removed, or would remove.
#[derive(SimpleObject)]
pub struct PurgePayload {
    pub job_id: ID,
    /// Nothing was removed: it is what would be.
    pub dry_run: bool,
    pub purged_by: String,
    /// When it was done. Null: not yet.
    pub purged_at: Option<DateTime>,
    /// SHA-256 of the normalised document. Null: an earlier purge has removed it.
    pub document_hash: Option<String>,
    /// Other jobs have the same document, so that only the one that was submitted goes.
    pub document_shared: bool,
    /// Lines in Postgres.
    pub log_lines: i64,
    /// `postgres`, or `victorialogs`, which does not tell how many it removes.
    pub log_store: String,
    /// Points of metrics in Postgres.
    pub metric_points: i64,
    /// `postgres`, or `influxdb`, which does not tell how many it removes.
    pub metric_store: String,
    pub dead_letters: i64,
    pub checkpoints: i64,
    /// What is not removed, for people.
    pub keeps: Vec<String>,
}

impl From<PurgeView> for PurgePayload {
    fn from(view: PurgeView) -> Self {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            job_id: ID(view.job_id.to_string()),
            dry_run: view.dry_run,
            purged_by: view.purged_by,
            purged_at: view.purged_at.map(DateTime),
            document_hash: view.document_hash,
            document_shared: view.document_shared,
            log_lines: count(view.log_lines),
            log_store: view.log_store,
            metric_points: count(view.metric_points),
            metric_store: view.metric_store,
            dead_letters: count(view.dead_letters),
            checkpoints: count(view.checkpoints),
            keeps: view.keeps,
        }
    }
}
