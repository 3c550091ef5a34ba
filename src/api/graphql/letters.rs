//! Dead letters: records that pipelines could not process.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, ID, SimpleObject};

use super::fault::Answer;
use super::job::{Job, api};
use super::list::{cursor, read_cursor, signed, size};
use super::scalar::{DateTime, Json};
use crate::api::letters::{DeadLetterView, Sought};
use crate::domain::JobId;
use crate::letters::Key;

/// The letter of their cursors.
const LETTER: u8 = b'd';

/// A record that a pipeline could not process.
#[derive(SimpleObject)]
pub struct DeadLetter {
    job_id: ID,
    task_id: ID,
    /// Counts the failed records of the task, from 1, over its attempts.
    number: i64,
    attempt: u32,
    /// When it failed.
    at: DateTime,
    /// The id of the node at which it failed.
    node: String,
    error: String,
    /// As it came into the node: an object; or the text, when it could not be read.
    record: Json,
    /// The record was too long: only its beginning is there, as a text.
    cut: bool,
}

impl From<DeadLetterView> for DeadLetter {
    fn from(view: DeadLetterView) -> Self {
        Self {
            job_id: ID(view.job_id.to_string()),
            task_id: ID(view.task_id.to_string()),
            number: signed(view.number),
            attempt: view.attempt,
            at: view.at.into(),
            record: Json::of(&view.record),
            node: view.node,
            error: view.error,
            cut: view.cut,
        }
    }
}

/// What a job has of them.
#[derive(SimpleObject)]
pub struct LetterTotals {
    /// Of the whole list.
    total_count: i64,
    /// Records of the job that failed, kept or not.
    failed: i64,
    /// Those of them that are kept.
    kept: i64,
}

pub type DeadLetters = Connection<String, DeadLetter, LetterTotals>;

/// A job that replays dead letters.
#[derive(SimpleObject)]
pub struct ReplayPayload {
    pub job: Job,
    /// Where the command took effect: a token, for `minPosition` and `after`.
    pub position: String,
    /// By an earlier call under the same key.
    pub replayed: bool,
    /// Records that it reads.
    pub letters: i64,
    /// Letters that cannot be replayed: cut ones, and rows of csv files that could not be read.
    pub left_out: i64,
}

/// Of a task and a node, or of all.
pub fn sought(task: Option<ID>, node: Option<String>) -> Answer<Sought> {
    let task = task.map(|id| id.parse()).transpose()?;
    Ok(Sought { task, node })
}

pub async fn page(
    context: &Context<'_>,
    job: JobId,
    sought: Sought,
    first: i32,
    after: Option<String>,
) -> Answer<DeadLetters> {
    let (api, limit) = (api(context), size(context, first)?);
    let key = read_cursor(LETTER, after.as_deref(), Key::from_bytes)?;
    // Before the letters: what is counted is then among them.
    let counts = api.letter_counts(job).await?;
    let (total, slice) = api.slice_of_letters(&sought.of(job)?, key, 0, limit).await?;
    let totals = LetterTotals {
        total_count: signed(total),
        failed: signed(counts.failed),
        kept: signed(counts.kept),
    };
    let mut list = Connection::with_additional_fields(after.is_some(), slice.more, totals);
    for dead in slice.letters {
        let cursor = cursor(LETTER, &dead.key.to_bytes());
        list.edges
            .push(Edge::new(cursor, DeadLetterView::new(job, dead)?.into()));
    }
    Ok(list)
}
