//! Why a READY task is not placed: in the order in which its shard looks at it.

use super::explanation::{Explanation, Reason, WorkerSeen, listed, named};
use crate::domain::{FanOutKind, JobSpec, Labels, Request, ShardId, TaskHistory, Timestamp};
use crate::log::JobStory;
use crate::shard::{Candidate, Placing};

/// Workers that are listed one by one.
const MOST_LISTED: usize = 20;

/// What the explanation of a READY task is made of.
pub struct Ready<'a> {
    pub task: &'a TaskHistory,
    pub story: &'a JobStory,
    pub requires: &'a Labels,
    pub shard: ShardId,
    pub placing: &'a Placing,
    /// Tasks of the job that are SCHEDULED, RUNNING or have an open attempt; `None`: not known to be so many that
    /// `maxParallel` is reached.
    pub active: Option<u32>,
}

impl Ready<'_> {
    pub fn explain(&self) -> Explanation {
        let explanation = self.of_its_job().or_else(|| self.of_itself()).unwrap_or_else(|| {
            let placing = Placeable {
                requires: self.requires,
                placing: self.placing,
            };
            placing.explain()
        });
        explanation.with(|details| {
            details.since = details.since.or(self.task.since());
            details.shard = Some(self.shard.0);
        })
    }

    fn spec(&self) -> &JobSpec {
        &self.story.submitted.spec
    }

    fn of_its_job(&self) -> Option<Explanation> {
        if let Some(why) = &self.placing.stopped {
            let sentence = format!("Its shard, {}, cannot be opened: {why}.", self.shard);
            let remedy = "Do what the sentence says, or look at /health/ready of the process that owns the shard.";
            return Some(Explanation::new(Reason::ShardStopped, sentence).remedy(remedy));
        }
        if let Some(why) = &self.placing.failing {
            let sentence = format!(
                "Its shard, {}, does not work at the moment, and is tried again: {why}.",
                self.shard
            );
            let remedy = "Do what the sentence says; nothing has to be started again.";
            return Some(Explanation::new(Reason::ShardStopped, sentence).remedy(remedy));
        }
        let under_way = self.story.requests.under_way();
        if let Some(request) = under_way.filter(|request| request.fan_out.kind.ends_tasks()) {
            return Some(ending(request, self.story, self.spec().task_count));
        }
        if self.task.record().is_none() {
            let written = under_way.filter(|request| request.fan_out.kind == FanOutKind::Submission);
            let (written, all) = (
                written.map_or(0, |request| request.fan_out.next_task - 1),
                self.spec().task_count,
            );
            let sentence = format!("Its job's tasks are still being written out: {written} of {all} are.");
            let explanation = Explanation::new(Reason::SubmissionUnderWay, sentence).with(|details| {
                details.done = Some(written);
                details.tasks = Some(all);
            });
            return Some(explanation);
        }
        None
    }

    fn of_itself(&self) -> Option<Explanation> {
        let record = self.task.record()?;
        if record.attempt_open() {
            return Some(attempt_open(self.task, self.placing));
        }
        let (most, active) = (self.spec().max_parallel?, self.active?);
        if active < most {
            return None;
        }
        let sentence =
            format!("Its job lets at most {most} tasks run at a time (maxParallel), and {active} are under way.");
        let explanation = Explanation::new(Reason::MaxParallel, sentence)
            .remedy("It is placed when one of those ends; a job with a greater maxParallel would run more at a time.")
            .with(|details| {
                details.max_parallel = Some(most);
                details.active = Some(active);
            });
        Some(explanation)
    }
}

/// A job that is being killed, stopped or ended by its deadline.
pub fn ending(request: Request, story: &JobStory, tasks: u32) -> Explanation {
    let what = match request.fan_out.kind {
        FanOutKind::Kill => "killed",
        FanOutKind::Stop => "stopped",
        FanOutKind::Deadline | FanOutKind::Submission | FanOutKind::Retry => "ended by its deadline",
    };
    let done = request.fan_out.next_task.saturating_sub(1).min(tasks);
    let by = story
        .ended_by
        .as_ref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let sentence = format!(
        "Its job is being {what}, asked for{by} at {}: {done} of {tasks} tasks are done.",
        request.at
    );
    Explanation::new(Reason::JobEnding, sentence)
        .remedy("When it has finished, POST /api/v1/jobs/{jobId}/retry tries its failed tasks again.")
        .with(|details| {
            details.requested_by.clone_from(&story.ended_by);
            details.requested_at = Some(request.at);
            details.done = Some(done);
            details.tasks = Some(tasks);
        })
}

/// An earlier attempt has been given up and may still run.
pub fn attempt_open(task: &TaskHistory, placing: &Placing) -> Explanation {
    let attempt = task.record().map_or(0, |record| record.attempt().0);
    let worker = task.last_worker();
    let name = worker.map_or_else(|| "its worker".to_owned(), |(name, _)| name.to_string());
    let seen = worker.and_then(|(_, incarnation)| placing.worker(*incarnation));
    let mut explanation = Explanation::new(
        Reason::EarlierAttemptOpen,
        format!(
            "Attempt {attempt} was given up, and {name} has not said that it ended; a task never runs twice at a time."
        ),
    );
    if let Some(silent) = seen.filter(|worker| placing.connected && worker.is_silent()) {
        let lost_at = silent.heard_at + placing.lost_after;
        explanation.sentence = format!(
            "Attempt {attempt} was given up, and {name}, silent since {}, has not said that it ended; a task never runs \
             twice at a time.",
            silent.heard_at
        );
        explanation.details.due_at = Some(lost_at);
        explanation = explanation.remedy(format!(
            "It goes on when {name} reports the end, or counts as lost at {lost_at}."
        ));
    } else {
        explanation = explanation.remedy(format!("It goes on when {name} reports the end, or counts as lost."));
    }
    explanation.with(|details| {
        details.attempt = Some(attempt);
        details.worker_id = worker.map(|(name, _)| name.to_string());
    })
}

/// A task that its shard would place if there were a worker.
struct Placeable<'a> {
    requires: &'a Labels,
    placing: &'a Placing,
}

impl Placeable<'_> {
    fn explain(&self) -> Explanation {
        let workers = &self.placing.workers;
        let fit: Vec<&Candidate> = workers.iter().filter(|worker| worker.has(self.requires)).collect();
        let listed_workers = if fit.is_empty() {
            workers.iter().collect()
        } else {
            fit.clone()
        };
        self.of_workers(&fit).with(|details| {
            if !self.requires.is_empty() {
                details.requires = Some(self.requires.clone());
            }
            details.decided_here = Some(self.placing.here);
            details.workers = listed_workers
                .into_iter()
                .take(MOST_LISTED)
                .map(|worker| self.seen(worker))
                .collect();
        })
    }

    fn of_workers(&self, fit: &[&Candidate]) -> Explanation {
        if !self.placing.connected {
            let sentence = "This process hears no heartbeats at the moment, so it cannot say anything of workers.";
            return Explanation::new(Reason::HeartbeatsUnheard, sentence)
                .remedy("Ask again when the bus is back, or ask another jobmaster.");
        }
        if self.placing.workers.is_empty() {
            return Explanation::new(Reason::NoWorker, "No worker is heard.")
                .remedy("Start one: grid worker --kafka BROKERS --api URL, or grid standalone with --workers.");
        }
        if fit.is_empty() {
            let required = listed(self.requires);
            let sentence = format!(
                "It requires a worker with {required}, and none of the {} that are heard has that.",
                self.placing.workers.len()
            );
            return Explanation::new(Reason::NoMatchingWorker, sentence)
                .remedy(format!("Start a worker with --labels {}.", required.replace(", ", ",")));
        }
        let open: Vec<&Candidate> = fit.iter().copied().filter(|worker| worker.is_open()).collect();
        if open.is_empty() {
            return self.closed(fit);
        }
        self.taken(&open)
    }

    /// `worker` or `worker with zone=a`.
    fn kind(&self) -> String {
        if self.requires.is_empty() {
            "worker".to_owned()
        } else {
            format!("worker with {}", listed(self.requires))
        }
    }

    /// None of those that fit takes new work.
    fn closed(&self, fit: &[&Candidate]) -> Explanation {
        let all = |is: fn(&Candidate) -> bool| fit.iter().all(|worker| is(worker));
        let (kind, names) = (self.kind(), named(fit.iter().map(|worker| &worker.worker)));
        if all(Candidate::is_silent) {
            let last = fit
                .iter()
                .map(|worker| worker.heard_at)
                .max()
                .unwrap_or(Timestamp::ZERO);
            let sentence = format!("Every {kind} is silent, the last since {last}: {names}.");
            return Explanation::new(Reason::WorkersSilent, sentence)
                .remedy("Look whether they run and reach the bus, or start another one.")
                .with(|details| details.since = Some(last));
        }
        if all(|worker| worker.cordoned && !worker.draining) {
            let sentence = format!("Every {kind} is cordoned: {names}.");
            return Explanation::new(Reason::WorkersCordoned, sentence)
                .remedy("POST /api/v1/workers/{workerId}/uncordon, or start another worker.");
        }
        if all(|worker| worker.draining) {
            let sentence = format!("Every {kind} is draining: {names}.");
            return Explanation::new(Reason::WorkersDraining, sentence)
                .remedy("Start another worker; those finish what they run and leave.");
        }
        let why = |worker: &&Candidate| {
            let why = if worker.is_silent() {
                "silent"
            } else if worker.draining {
                "draining"
            } else {
                "cordoned"
            };
            format!("{} ({why})", worker.worker)
        };
        let each: Vec<String> = fit.iter().take(MOST_LISTED).map(why).collect();
        let sentence = format!("No {kind} takes new work: {}.", each.join(", "));
        Explanation::new(Reason::WorkersUnavailable, sentence)
            .remedy("Uncordon one (POST /api/v1/workers/{workerId}/uncordon), or start another.")
    }

    /// Some take new work: whether they have room.
    fn taken(&self, open: &[&Candidate]) -> Explanation {
        let kind = self.kind();
        let sum = |of: fn(&Candidate) -> u32| open.iter().map(|worker| u64::from(of(worker))).sum::<u64>();
        let (taken, slots) = (sum(|worker| worker.running), sum(|worker| worker.max_capacity));
        let waiting = match sum(|worker| worker.queued) {
            0 => String::new(),
            waiting => format!(", and {waiting} attempts wait in them"),
        };
        let here = self.placing.here;
        if here && open.iter().any(|worker| worker.credits > 0) {
            let sentence = format!("A {kind} has room: it is placed when its job's turn comes, jobs in turn.");
            return Explanation::new(Reason::Placeable, sentence);
        }
        if open.iter().all(|worker| worker.is_full()) {
            let sentence =
                format!("Every {kind} that takes work is full: {taken} of {slots} slots are taken{waiting}.");
            return Explanation::new(Reason::WorkersFull, sentence)
                .remedy("It is placed when a slot becomes free; more workers, or more slots, would run it sooner.");
        }
        if here {
            let sentence = format!(
                "No {kind} has granted a credit to this jobmaster, which owns the shard: {taken} of {slots} slots are \
                 taken, and the others are granted to other jobmasters, or will be in a moment."
            );
            return Explanation::new(Reason::NoCredit, sentence)
                .remedy("Credits come back as tasks end; more workers, or more slots, would run it sooner.");
        }
        let sentence = format!(
            "A {kind} has room, as of its last heartbeat. Another jobmaster owns the shard and places the task; which \
             credits it holds is not known here."
        );
        Explanation::new(Reason::Placeable, sentence)
    }

    fn seen(&self, worker: &Candidate) -> WorkerSeen {
        WorkerSeen {
            worker_id: worker.worker.to_string(),
            labels: worker.labels.clone(),
            silent: worker.is_silent(),
            draining: worker.draining,
            cordoned: worker.cordoned,
            running: worker.running,
            queued: worker.queued,
            max_capacity: worker.max_capacity,
            last_heartbeat_at: worker.heard_at,
            credits: self.placing.here.then_some(worker.credits),
        }
    }
}
