//! Why something is not running, and what would change it.
//!
//! Must stay true: what is said is derived from the log, and of workers from what this process hears; where another
//! process decides, that is said instead of what it might decide.

pub(super) mod explanation;
mod ready;
mod task;
#[cfg(test)]
mod tests;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use self::explanation::{Explanation, Reason};
use self::ready::ending;
use self::task::Told;
use super::Api;
use super::as_of::unreadable;
use super::params::Params;
use super::problem::Problem;
use super::view::JobView;
use crate::domain::{GroupIndex, JobId, Policy, Position, TaskHistory, TaskId, TaskState};
use crate::log::JobStory;

/// Jobs of so many tasks are loaded whole to count the attempts that have not ended.
const MOST_TASKS_LOADED: u32 = 10_000;

/// Why a task is in its state.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskExplanation {
    pub task_id: TaskId,
    pub job_id: JobId,
    pub state: TaskState,
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Why a job is not further; some of its tasks stand for the others.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExplanation {
    pub job_id: JobId,
    /// The job's status.
    pub state: String,
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The first and the last task that is READY, one that is SCHEDULED, one that runs, and the one whose retry is due
    /// first, as far as there are such.
    pub tasks: Vec<TaskExplanation>,
}

pub async fn of_task(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition"])?;
    let id: TaskId = id.parse()?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.explain_task(id).await?))
}

pub async fn of_job(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition"])?;
    let id: JobId = id.parse()?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.explain_job(id).await?))
}

impl Api {
    /// Why a task is in its state, and what would change that.
    ///
    /// # Errors
    /// 404 when it is not there, 410 when its day was archived.
    pub(super) async fn explain_task(&self, id: TaskId) -> Result<TaskExplanation, Problem> {
        let Some(story) = self.story(id.job).await? else {
            return Err(match self.missing_job(id.job).await {
                problem if problem.code == "NOT_FOUND" => Problem::not_found(id),
                problem => problem,
            });
        };
        let explained = self.explain_in(&story, id).await?;
        explained.ok_or_else(|| Problem::not_found(id))
    }

    /// Why a job is not further, and what would change that.
    ///
    /// # Errors
    /// 404 when it is not there, 410 when its day was archived.
    pub(super) async fn explain_job(&self, id: JobId) -> Result<JobExplanation, Problem> {
        let Some(story) = self.story(id).await? else {
            return Err(self.missing_job(id).await);
        };
        // Its row must not say less than its history.
        let last = Position {
            shard: id.shard(self.shards),
            seq: story.last_seq,
        };
        self.commands.settle(last).await;
        let job = self.job(id).await?;
        let mut tasks = Vec::new();
        if story.finished_at.is_none() {
            let samples = self.reading.samples(id).await;
            let mut samples = samples.map_err(|error| Problem::database(&error))?;
            // A task without a row is not written out yet.
            if samples.is_empty() && job.task_counters.ready > 0 {
                let next = story
                    .requests
                    .under_way()
                    .map_or(1, |request| request.fan_out.next_task);
                samples.push(TaskId { job: id, number: next });
            }
            for sample in samples {
                let explained = self.explain_in(&story, sample).await?;
                // It may have gone on since it was picked.
                tasks.extend(explained.filter(|task| !is_over(task.explanation.reason)));
            }
        }
        let explanation = of_whole(&job, &story, &tasks);
        Ok(JobExplanation {
            job_id: id,
            state: job.status,
            explanation,
            tasks,
        })
    }

    async fn story(&self, id: JobId) -> Result<Option<JobStory>, Problem> {
        self.parts.log.job_story(id).await.map_err(|error| unreadable(&error))
    }

    /// `None`: the job has no such task.
    async fn explain_in(&self, story: &JobStory, id: TaskId) -> Result<Option<TaskExplanation>, Problem> {
        let spec = &story.submitted.spec;
        let Some(place) = GroupIndex::new(spec).place(spec, id.number) else {
            return Ok(None);
        };
        let plain = Policy::default();
        let policy = spec.policies.get(place.group.policy as usize).unwrap_or(&plain);
        let task: TaskHistory = self.parts.log.task_now(id).await.map_err(|error| unreadable(&error))?;
        let active = match spec.max_parallel {
            Some(most) if task.state() == TaskState::Ready => self.active(id.job, most, spec.task_count).await?,
            Some(_) | None => None,
        };
        let shard = id.job.shard(self.shards);
        let told = Told {
            task: &task,
            story,
            policy,
            shard,
            placing: &(self.parts.placing)(shard),
            active,
        };
        Ok(Some(TaskExplanation {
            task_id: id,
            job_id: id.job,
            state: task.state(),
            explanation: told.explain(),
        }))
    }

    /// How many tasks of the job count towards `maxParallel`; `None`: fewer than that are known to.
    async fn active(&self, id: JobId, most: u32, tasks: u32) -> Result<Option<u32>, Problem> {
        let job = self.job(id).await?;
        let under_way = job.task_counters.scheduled + job.task_counters.running;
        if under_way >= most {
            return Ok(Some(under_way));
        }
        // Attempts that were given up and have not ended count too, and are in no row.
        if tasks > MOST_TASKS_LOADED {
            return Ok(None);
        }
        let loaded = self.parts.log.load_job(id.shard(self.shards), id).await;
        let loaded = loaded.map_err(|error| unreadable(&error))?;
        Ok(loaded.map(|job| u32::try_from(job.active_count()).unwrap_or(u32::MAX)))
    }
}

/// Nothing more happens to a task in this way.
fn is_over(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Completed
            | Reason::Killed
            | Reason::DeadlineReached
            | Reason::NotRetryable
            | Reason::RetriesUsedUp
            | Reason::RetryCancelled
    )
}

fn of_whole(job: &JobView, story: &JobStory, tasks: &[TaskExplanation]) -> Explanation {
    let all = story.submitted.spec.task_count;
    if all == 0 {
        return Explanation::new(Reason::Empty, "It has no tasks, so there is nothing to run.");
    }
    if let Some(at) = story.finished_at {
        return finished(job, at, all);
    }
    let under_way = story.requests.under_way();
    if let Some(request) = under_way.filter(|request| request.fan_out.kind.ends_tasks()) {
        return ending(request, story, all);
    }
    let counters = &job.task_counters;
    let counted = format!(
        "{} of {all} tasks completed, {} run, {} are given to workers, {} are ready, {} wait for a retry.",
        counters.completed, counters.running, counters.scheduled, counters.ready, job.retries_pending
    );
    // The one that is nearest to running stands for the job.
    let chosen = tasks.iter().min_by_key(|task| match task.state {
        TaskState::Running => 0,
        TaskState::Scheduled => 1,
        TaskState::Ready => 2,
        TaskState::Failed | TaskState::Completed => 3,
    });
    let Some(chosen) = chosen else {
        let reason = if counters.running > 0 {
            Reason::Running
        } else {
            Reason::Placeable
        };
        return Explanation::new(reason, counted);
    };
    let mut explanation = chosen.explanation.clone();
    explanation.sentence = format!("{counted} {}: {}", chosen.task_id, explanation.sentence);
    explanation
}

fn finished(job: &JobView, at: crate::domain::Timestamp, all: u32) -> Explanation {
    let failed = job.task_counters.failed;
    if failed == 0 {
        return Explanation::new(
            Reason::Completed,
            format!("All {all} tasks completed, the last at {at}."),
        );
    }
    let reasons: Vec<String> = job
        .failure_summary
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let sentence = format!(
        "It finished at {at}: {failed} of {all} tasks failed ({}).",
        reasons.join(", ")
    );
    Explanation::new(Reason::Finished, sentence)
        .remedy("POST /api/v1/jobs/{jobId}/retry tries the failed tasks again, with new budgets.")
}
