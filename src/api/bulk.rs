//! One command for many jobs: named one by one, or by a filter.
//!
//! Must stay true: every job that the call acts on has its own outcome in the answer, in the order in which they were
//! named or listed; what a filter lets through beyond the limit is said, and reached by the cursor.
//!
//! There is no `Idempotency-Key` here: a key keeps the one effect of one call, and this call has an outcome a job, on jobs
//! that a filter chooses anew each time. Sent again, a kill or a stop changes nothing that it did before; a retry that
//! must count once is sent job by job, with a key each.

use std::collections::{BTreeSet, HashSet};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body;
use super::idempotency::IdempotencyKey;
use super::jobs::list_id;
use super::page::PageQuery;
use super::params::{Params, read_time, without_nul};
use super::problem::{Mistake, Problem};
use crate::domain::{JobId, JobStatus, Position};
use crate::event::Command;
use crate::projection::{JobFilter, JobKey, JobOrder, LabelPair, PositionToken, Span, Start};

/// What is done to each job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BulkAction {
    Kill,
    Stop,
    /// Its finally failed tasks are tried anew.
    Retry,
}

impl BulkAction {
    const fn command(self, job: JobId) -> Command {
        match self {
            Self::Kill => Command::KillJob { job },
            Self::Stop => Command::StopJob { job },
            Self::Retry => Command::RetryJob { job },
        }
    }
}

/// Which jobs.
#[derive(Clone, Debug)]
pub(super) enum BulkTarget {
    /// Each once.
    Jobs(Vec<JobId>),
    /// The newest first; at most `limit` of those behind `after`.
    Filter {
        filter: JobFilter,
        limit: u32,
        after: Option<JobKey>,
    },
}

/// What has become of it.
#[derive(Debug)]
pub(super) struct BulkAnswer {
    /// How many jobs the filter lets through, or are named.
    pub matched: u64,
    pub outcomes: Vec<(JobId, Outcome)>,
    /// The last job that was acted on, when the filter lets others through behind it.
    pub next: Option<JobKey>,
}

/// What has become of one job.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It would be acted on.
    Chosen,
    Done(Position),
    Refused(Problem),
}

impl Api {
    /// Does it to each of the jobs, some at a time; or tells which they are.
    pub(super) async fn bulk(
        &self,
        action: BulkAction,
        target: BulkTarget,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<BulkAnswer, Problem> {
        let (jobs, matched, next) = self.choose(target).await?;
        if dry_run {
            let outcomes = self.foretell(jobs).await?;
            return Ok(BulkAnswer {
                matched,
                outcomes,
                next,
            });
        }
        let side_by_side = usize::from(self.parts.options.bulk_side_by_side.max(1));
        let outcomes = futures::stream::iter(jobs).map(|job| async move {
            let asked = async {
                if action == BulkAction::Retry {
                    self.refuse_purged(job).await?;
                }
                self.commands.command(action.command(job), job, caller).await
            };
            match asked.await {
                Ok(position) => (job, Outcome::Done(position)),
                Err(problem) => (job, Outcome::Refused(problem)),
            }
        });
        let outcomes = outcomes.buffered(side_by_side).collect().await;
        Ok(BulkAnswer {
            matched,
            outcomes,
            next,
        })
    }

    async fn choose(&self, target: BulkTarget) -> Result<(Vec<JobId>, u64, Option<JobKey>), Problem> {
        let (filter, limit, after) = match target {
            BulkTarget::Jobs(jobs) => {
                let matched = jobs.len() as u64;
                return Ok((jobs, matched, None));
            }
            BulkTarget::Filter { filter, limit, after } => (filter, limit, after),
        };
        let order = JobOrder::default();
        let (offset, total) = (0, None);
        let start = after.map_or(Start::Offset { offset, total }, Start::After);
        let matched = self.count_jobs(&filter, true).await?;
        let slice = self.slice_of_jobs(&filter, order, &start, limit).await?;
        let next = slice.rows.last().filter(|_| slice.more);
        let next = next.map(|row| JobKey::of(row, order.by));
        Ok((slice.rows.into_iter().map(|row| row.id).collect(), matched, next))
    }

    /// Which of the jobs are there.
    async fn foretell(&self, jobs: Vec<JobId>) -> Result<Vec<(JobId, Outcome)>, Problem> {
        let there = self.reading.jobs_there(&jobs).await;
        let there: HashSet<JobId> = there.map_err(|error| Problem::database(&error))?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let outcome = if there.contains(&job) {
                Outcome::Chosen
            } else {
                Outcome::Refused(self.missing_job(job).await)
            };
            outcomes.push((job, outcome));
        }
        Ok(outcomes)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    action: BulkAction,
    job_ids: Option<Vec<String>>,
    filter: Option<AskedFilter>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// As the parameters of the list of jobs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedFilter {
    #[serde(default)]
    status: BTreeSet<JobStatus>,
    #[serde(default)]
    external_id: BTreeSet<String>,
    #[serde(default)]
    label: Vec<String>,
    created_from: Option<String>,
    created_to: Option<String>,
}

/// What has become of many jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
#[serde(rename_all = "camelCase")]
pub struct BulkView {
    action: BulkAction,
    dry_run: bool,
    matched: u64,
    succeeded: usize,
    failed: usize,
    items: Vec<Item>,
    next_cursor: Option<String>,
}

/// What the call for this one job alone would have been answered with.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkItem)]
#[serde(rename_all = "camelCase")]
struct Item {
    job_id: JobId,
    /// `null` in a dry run, when the job is there.
    status: Option<u16>,
    code: Option<String>,
    detail: Option<String>,
    position: Option<PositionToken>,
}

fn wrong(pointer: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    let detail = format!("{pointer}: {message}");
    let mut problem = Problem::new(StatusCode::BAD_REQUEST, "INVALID_BODY", detail);
    problem.errors.push(Mistake {
        pointer: Some(pointer.to_owned()),
        message,
        ..Mistake::default()
    });
    problem
}

fn read_body(bytes: &[u8]) -> Result<Asked, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let code = if !error.is_data() {
            "SYNTAX"
        } else if message.starts_with("unknown field") {
            "UNKNOWN_FIELD"
        } else {
            "INVALID_BODY"
        };
        let mut problem = Problem::new(StatusCode::BAD_REQUEST, code, message.clone());
        problem.errors.push(Mistake {
            line: u32::try_from(error.line()).ok(),
            column: u32::try_from(error.column()).ok(),
            message,
            ..Mistake::default()
        });
        problem
    })
}

impl AskedFilter {
    fn read(self) -> Result<JobFilter, Problem> {
        let label = |(index, text): (usize, &String)| {
            let wrong = |message: String| wrong(&format!("/filter/label/{index}"), message);
            let pair = without_nul(text)
                .map_err(|error| wrong(error.to_owned()))?
                .parse::<LabelPair>();
            pair.map_err(|error| wrong(error.to_string()))
        };
        for (index, name) in self.external_id.iter().enumerate() {
            without_nul(name).map_err(|error| wrong(&format!("/filter/externalId/{index}"), error))?;
        }
        let time = |name: &str, text: Option<&str>| {
            let time = text.map(|text| read_time(text).map_err(|message| wrong(&format!("/filter/{name}"), message)));
            time.transpose()
        };
        let created = Span::between(
            time("createdFrom", self.created_from.as_deref())?,
            time("createdTo", self.created_to.as_deref())?,
        );
        let filter = JobFilter {
            ids: BTreeSet::new(),
            statuses: self.status,
            external_ids: self.external_id,
            labels: self.label.iter().enumerate().map(label).collect::<Result<_, _>>()?,
            created: created.map_err(|error| wrong("/filter/createdTo", error.to_string()))?,
        };
        if filter.is_all() {
            let message =
                "it lets every job through: say at least one of status, externalId, label, createdFrom, createdTo";
            return Err(wrong("/filter", message));
        }
        Ok(filter)
    }
}

fn read_ids(texts: &[String], most: u32) -> Result<Vec<JobId>, Problem> {
    if texts.is_empty() || texts.len() > most as usize {
        let message = format!("expected 1 to {most} ids, found {}", texts.len());
        return Err(wrong("/jobIds", message));
    }
    let mut seen = HashSet::new();
    let id = |(index, text): (usize, &String)| {
        let pointer = format!("/jobIds/{index}");
        let id: JobId = text
            .parse()
            .map_err(|error: crate::domain::IdError| wrong(&pointer, error.to_string()))?;
        if seen.insert(id) {
            Ok(id)
        } else {
            Err(wrong(&pointer, format!("{id} is named twice")))
        }
    };
    texts.iter().enumerate().map(id).collect()
}

fn read_target(asked: Asked, most: u32) -> Result<BulkTarget, Problem> {
    match (asked.job_ids, asked.filter) {
        (Some(ids), None) => {
            if asked.limit.is_some() || asked.cursor.is_some() {
                return Err(wrong("/jobIds", "limit and cursor belong to a filter"));
            }
            Ok(BulkTarget::Jobs(read_ids(&ids, most)?))
        }
        (None, Some(filter)) => {
            let filter = filter.read()?;
            let limit = asked.limit.unwrap_or(most);
            if !(1..=most).contains(&limit) {
                return Err(wrong(
                    "/limit",
                    format!("expected a whole number from 1 to {most}, found {limit}"),
                ));
            }
            let order = JobOrder::default();
            let after = asked.cursor.as_deref().map(|cursor| {
                let (_, key) = list_id(&filter, order).read_cursor(cursor)?;
                JobKey::from_bytes(&key, order.by).ok_or_else(PageQuery::bad_cursor)
            });
            let after = after.transpose()?;
            Ok(BulkTarget::Filter { filter, limit, after })
        }
        (None, None) | (Some(_), Some(_)) => Err(wrong("", "expected either jobIds or filter")),
    }
}

/// `POST /api/v1/jobs/bulk`
pub async fn run(api: web::Data<Api>, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["dryRun"])?;
    // Never passed over in silence: who sends a key relies on it.
    if IdempotencyKey::of(&request)?.is_some() {
        let detail = "Idempotency-Key: a call for many jobs keeps none, since a filter chooses its jobs anew each time; \
             send it without (a kill or a stop may be repeated), or job by job with a key each";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_IDEMPOTENCY_KEY", detail));
    }
    let dry_run = params.flag("dryRun")?;
    let body = body::read(&request, payload, api.parts.options.body_timeout).await?;
    if body.content_type != "application/json" {
        let detail = format!("expected application/json, found {}", body.content_type);
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    let asked = read_body(&body.bytes)?;
    let action = asked.action;
    let target = read_target(asked, api.parts.options.bulk_jobs.max(1))?;
    let list = match &target {
        BulkTarget::Jobs(_) => None,
        BulkTarget::Filter { filter, .. } => Some(list_id(filter, JobOrder::default())),
    };
    let answer = api.bulk(action, target, dry_run, &Api::caller(&request)).await?;
    let is_failed = |(_, outcome): &&(JobId, Outcome)| matches!(outcome, Outcome::Refused(_));
    let failed = answer.outcomes.iter().filter(is_failed).count();
    let next = answer.next.as_ref().zip(list);
    Ok(HttpResponse::Ok().json(BulkView {
        action,
        dry_run,
        matched: answer.matched,
        succeeded: if dry_run { 0 } else { answer.outcomes.len() - failed },
        failed,
        next_cursor: next.map(|(key, list)| list.cursor(0, &key.to_bytes())),
        items: answer.outcomes.into_iter().map(|(job, it)| api.item(job, it)).collect(),
    }))
}

impl Api {
    fn item(&self, job_id: JobId, outcome: Outcome) -> Item {
        let mut item = Item {
            job_id,
            status: None,
            code: None,
            detail: None,
            position: None,
        };
        match outcome {
            Outcome::Chosen => {}
            Outcome::Done(position) => {
                item.status = Some(StatusCode::OK.as_u16());
                item.position = Some(self.token(position));
            }
            Outcome::Refused(problem) => {
                item.status = Some(problem.status.as_u16());
                item.code = Some(problem.code.into_owned());
                item.detail = Some(problem.detail);
            }
        }
        item
    }
}
