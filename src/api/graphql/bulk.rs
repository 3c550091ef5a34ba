//! One wish for many jobs: named one by one, or by a filter.
//!
//! Must stay true: it goes the way of REST's call for many; each job has its own outcome, in the order in which the jobs
//! were named or are listed.

use std::collections::{HashMap, HashSet};

use async_graphql::{Context, ID, InputObject, Object, SimpleObject, Value};

use super::fault::Answer;
use super::filter::JobFilter;
use super::job::{Job, api};
use super::list::{cursor, read_cursor, up_to};
use super::loaders::Loaders;
use super::scalar::Json;
use crate::api::bulk::{BulkAction, BulkTarget, Outcome};
use crate::api::problem::Problem;
use crate::api::{Api, Caller};
use crate::domain::JobId;
use crate::projection::{JobKey, JobOrder};

/// Jobs that a filter lets through, the newest first.
#[derive(InputObject)]
pub struct MatchingJobs {
    /// At least one of its parts is given.
    filter: JobFilter,
    /// How many at most; when nobody says, as many as one call may act on.
    first: Option<i32>,
    /// The `nextCursor` of the call before.
    after: Option<String>,
}

/// What became of one of many.
pub struct JobOutcome {
    job_id: ID,
    /// Unless it was refused.
    job: Option<JobId>,
    position: Option<String>,
    error: Option<OutcomeError>,
    next_cursor: Option<String>,
}

/// Why one of many was refused.
#[derive(SimpleObject)]
pub struct OutcomeError {
    code: String,
    status: u32,
    message: String,
    errors: Json,
}

impl From<Problem> for OutcomeError {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.into_owned(),
            status: u32::from(problem.status.as_u16()),
            message: problem.detail,
            errors: if problem.errors.is_empty() {
                Json(Value::List(Vec::new()))
            } else {
                Json::of(&problem.errors)
            },
        }
    }
}

impl JobOutcome {
    fn new(api: &Api, job_id: ID, job: Option<JobId>, outcome: Outcome) -> Self {
        let (job, position, error) = match outcome {
            Outcome::Chosen => (job, None, None),
            Outcome::Done(position) => (job, Some(api.token(position).to_string()), None),
            Outcome::Refused(problem) => (None, None, Some(problem.into())),
        };
        Self {
            job_id,
            job,
            position,
            error,
            next_cursor: None,
        }
    }
}

#[Object]
impl JobOutcome {
    /// As it was named.
    async fn job_id(&self) -> &ID {
        &self.job_id
    }

    /// As it is then. Null when it was refused.
    async fn job(&self, context: &Context<'_>) -> Answer<Option<Job>> {
        let Some(job) = self.job else { return Ok(None) };
        let job = context.data_unchecked::<Loaders>().load_one(job).await?;
        Ok(job.map(Job::from))
    }

    /// Where the command took effect. Null when it was refused, and after a dry run.
    async fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Null when it was carried out.
    async fn error(&self) -> Option<&OutcomeError> {
        self.error.as_ref()
    }

    /// Of the last one, when the filter lets other jobs through behind it: for `after`.
    async fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }
}

/// How many jobs a call may come to, as far as its cost is concerned.
pub fn how_many(ids: Option<&Vec<ID>>, matching: Option<&MatchingJobs>) -> i32 {
    const USUAL: i32 = 1_000;
    match ids {
        Some(ids) => i32::try_from(ids.len()).unwrap_or(i32::MAX),
        None => matching.and_then(|matching| matching.first).unwrap_or(USUAL),
    }
}

/// Does it to each of the jobs.
///
/// # Errors
/// 400 when it is not said which jobs, or more are than one call may act on.
pub async fn run(
    context: &Context<'_>,
    action: BulkAction,
    ids: Option<Vec<ID>>,
    matching: Option<MatchingJobs>,
    dry_run: bool,
) -> Answer<Vec<JobOutcome>> {
    let most = api(context).parts.options.bulk_jobs.max(1);
    match (ids, matching) {
        (Some(ids), None) => {
            if ids.is_empty() || ids.len() > most as usize {
                let message = format!("expected 1 to {most} ids, found {}", ids.len());
                return Err(Problem::bad_parameter("ids", message).into());
            }
            of_named(context, action, ids, dry_run).await
        }
        (None, Some(matching)) => of_matching(context, action, matching, (most, dry_run)).await,
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::bad_parameter("ids", "expected either ids or matching").into())
        }
    }
}

async fn of_named(context: &Context<'_>, action: BulkAction, ids: Vec<ID>, dry_run: bool) -> Answer<Vec<JobOutcome>> {
    let api = api(context);
    // What is no id has an outcome, too.
    let read = |id: ID| (id.parse::<JobId>().map_err(Problem::from), id);
    let named: Vec<(Result<JobId, Problem>, ID)> = ids.into_iter().map(read).collect();
    let jobs: Vec<JobId> = named.iter().filter_map(|(job, _)| job.as_ref().ok()).copied().collect();
    let mut seen = HashSet::new();
    if let Some(twice) = jobs.iter().find(|job| !seen.insert(**job)) {
        return Err(Problem::bad_parameter("ids", format!("{twice} is named twice")).into());
    }
    let caller = context.data_unchecked::<Caller>();
    let answer = api.bulk(action, BulkTarget::Jobs(jobs), dry_run, caller).await?;
    let mut outcomes: HashMap<JobId, Outcome> = answer.outcomes.into_iter().collect();
    let told = |(job, id): (Result<JobId, Problem>, ID)| match job {
        Ok(job) => Some(JobOutcome::new(api, id, Some(job), outcomes.remove(&job)?)),
        Err(problem) => Some(JobOutcome::new(api, id, None, Outcome::Refused(problem))),
    };
    Ok(named.into_iter().filter_map(told).collect())
}

async fn of_matching(
    context: &Context<'_>,
    action: BulkAction,
    matching: MatchingJobs,
    (most, dry_run): (u32, bool),
) -> Answer<Vec<JobOutcome>> {
    let api = api(context);
    let limit = match matching.first {
        None => most,
        Some(first) => up_to(most, first)?,
    };
    let mut filter = matching.filter;
    let min_position = filter.min_position.take();
    let filter = filter.read()?;
    if filter.is_all() {
        let message = "it lets every job through: say at least one of statuses, externalIds, labels, createdFrom, \
                       createdTo";
        return Err(Problem::bad_parameter("filter", message).into());
    }
    let by = JobOrder::default().by;
    let after = read_cursor(b'j', matching.after.as_deref(), |key| JobKey::from_bytes(key, by))?;
    api.wait_for(min_position.as_deref()).await?;
    let target = BulkTarget::Filter { filter, limit, after };
    let caller = context.data_unchecked::<Caller>();
    let answer = api.bulk(action, target, dry_run, caller).await?;
    let told = |(job, outcome): (JobId, Outcome)| JobOutcome::new(api, ID(job.to_string()), Some(job), outcome);
    let mut outcomes: Vec<JobOutcome> = answer.outcomes.into_iter().map(told).collect();
    if let Some(last) = outcomes.last_mut() {
        last.next_cursor = answer.next.map(|key| cursor(b'j', &key.to_bytes()));
    }
    Ok(outcomes)
}
