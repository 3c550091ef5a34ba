//! What a search finds.

use async_graphql::{ID, SimpleObject};

use crate::api::search::HitView;

/// Something that begins so.
#[derive(SimpleObject)]
pub struct SearchHit {
    /// `JOB`, `TASK` or `WORKER`.
    kind: &'static str,
    id: ID,
    /// Of a job or a task.
    job_id: Option<ID>,
    /// What begins so: `id`, `externalId` or `label`.
    field: &'static str,
    /// The whole of it; of a label `name=value`.
    value: String,
}

impl From<HitView> for SearchHit {
    fn from(hit: HitView) -> Self {
        Self {
            kind: hit.kind,
            id: ID(hit.id),
            job_id: hit.job_id.map(|job| ID(job.to_string())),
            field: hit.field,
            value: hit.value,
        }
    }
}
