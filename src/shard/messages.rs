//! What a shard does with commands, reports, the death of workers, and the passing of time.

use std::sync::Arc;
use std::time::Duration;

use super::machine::{HomeWorker, Poisoned, Shard, WorkerGone};
use super::staging::{Output, WorkerAnswer};
use super::turn::{assignment, cancellation, stop};
use crate::domain::event::WorkerEnd;
use crate::domain::{
    AttemptOutcome, Decision, Event, Incarnation, Job, JobId, LossCause, Refusal, RefusalCode, Registration, TaskState,
    Timestamp, WorkerHistory, WorkerName,
};
use crate::event::{Accepted, AttemptRef, Command, CommandMessage, Meta, ReportItem, ReportKind, ReportMessage};
use crate::failpoint;
use crate::log::Format;

impl Shard {
    pub(super) fn on_command(&mut self, offset: i64, message: CommandMessage, now: Timestamp) -> Result<(), Poisoned> {
        if let Some(job) = message.command.job() {
            let submits = matches!(message.command, Command::SubmitJob { .. });
            if let Some(behind) = self.loading.get_mut(&job) {
                behind.push(offset);
                self.parked.insert(offset, Arc::new(message));
                return Ok(());
            }
            let may_be_known = !self.closing.covers(job) && !self.is_surely_unknown(job, now);
            if !submits && !self.jobs.contains_key(&job) && may_be_known {
                self.loading.insert(job, vec![offset]);
                self.loads.push(job);
                self.parked.insert(offset, Arc::new(message));
                return Ok(());
            }
        }
        self.decide(&message, now)
    }

    pub(super) fn on_activated(&mut self, id: JobId, found: Option<Box<Job>>, now: Timestamp) -> Result<(), Poisoned> {
        let waiting = self.loading.remove(&id).unwrap_or_default();
        let parked = |shard: &Self, offset| Some((offset, Arc::clone(shard.parked.get(&offset)?)));
        // If taking the job in fails, the first is to blame: it asked for it.
        self.unparked = waiting.first().and_then(|offset| parked(self, *offset));
        if let Some(job) = found
            && !self.jobs.contains_key(&id)
        {
            self.host(*job);
        }
        for offset in waiting {
            if let Some((offset, message)) = parked(self, offset) {
                self.unparked = Some((offset, Arc::clone(&message)));
                self.decide(&message, now)?;
                self.parked.remove(&offset);
            }
        }
        // Unchanged, it may leave again; a change makes it dirty, and then a snapshot comes first.
        if !self.dirty.contains(&id) && self.jobs.get(&id).is_some_and(Job::is_at_rest) {
            self.jobs.remove(&id);
        }
        Ok(())
    }

    /// Whoever asks something of a job whose history cannot be read is told so; the job stays as it is in the log.
    pub(super) fn on_not_activated(&mut self, id: JobId, why: &str) {
        for offset in self.loading.remove(&id).unwrap_or_default() {
            let message = self.parked.remove(&offset);
            if let Some(to) = message.and_then(|message| message.reply_to) {
                let text = format!("the history of {id} cannot be read, see `grid events --quarantine`: {why}");
                let result = Err(Refusal::new(RefusalCode::Quarantined, text));
                self.staged.outputs.push(Output::Reply { to, result });
            }
        }
    }

    /// The ids of recent jobs are all known; older ones must be looked up.
    fn is_surely_unknown(&self, job: JobId, now: Timestamp) -> bool {
        is_recent(job, now) && !self.finished.contains(&job)
    }

    fn decide(&mut self, message: &CommandMessage, now: Timestamp) -> Result<(), Poisoned> {
        failpoint::hit("shard.decide", || format!("{:?}", message.command));
        let result = if now > message.not_after {
            let late = format!("it arrived after {}, up to which it was wanted", message.not_after);
            Err(Refusal::new(RefusalCode::Expired, late))
        } else {
            self.wish(message, now)?
        };
        if let Some(to) = message.reply_to {
            let result = result.map(|()| Accepted {
                position: self.position(),
                standing: self.standing_to_answer(&message.command),
            });
            self.staged.outputs.push(Output::Reply { to, result });
        }
        Ok(())
    }

    fn wish(&mut self, message: &CommandMessage, now: Timestamp) -> Result<Result<(), Refusal>, Poisoned> {
        let meta = self.meta(&message.principal, Some(message), now);
        let (id, decision) = match &message.command {
            Command::SubmitJob { job, spec } => {
                if self.jobs.contains_key(job) || self.finished.contains(job) {
                    return Ok(Ok(()));
                }
                if !is_recent(*job, now) {
                    let text = format!("the time in {job} is not between yesterday and tomorrow");
                    return Ok(Err(Refusal::new(RefusalCode::IdOutOfRange, text)));
                }
                if self.closing.covers(*job) {
                    let text = format!("the day of {job} is closed: submit it with an id of today");
                    return Ok(Err(Refusal::new(RefusalCode::IdOutOfRange, text)));
                }
                let event = Event::JobSubmitted(Box::new(Job::decide_submit((**spec).clone(), meta.at)));
                self.begin_job(*job, event, &meta)?;
                return Ok(Ok(()));
            }
            Command::RegisterWorker { registration } => return Ok(self.register(registration, &meta)),
            Command::RemoveWorker {
                worker,
                incarnation,
                cause,
            } => {
                self.worker_left(worker, *incarnation, *cause, &meta);
                return Ok(Ok(()));
            }
            Command::CordonWorker { worker } => {
                return Ok(self.wish_of_worker(worker, WorkerHistory::decide_cordon, &meta));
            }
            Command::UncordonWorker { worker } => {
                return Ok(self.wish_of_worker(worker, WorkerHistory::decide_uncordon, &meta));
            }
            Command::DrainWorker { worker } => {
                return Ok(self.wish_of_worker(worker, WorkerHistory::decide_drain, &meta));
            }
            Command::KillJob { job } | Command::StopJob { job } | Command::RetryJob { job } => {
                (*job, self.wish_of_job(*job, message, meta.at))
            }
            Command::CancelRetry { task } | Command::BringForwardRetry { task } => {
                (task.job, self.wish_of_job(task.job, message, meta.at))
            }
        };
        let allowed = |(_, event): &(u32, Event)| Format::of_event(event).allowed_by(self.format);
        let decision = decision.and_then(|decision| decision.iter().try_for_each(allowed).map(|()| decision));
        match decision {
            Ok(decision) => {
                self.carry_out(id, decision, &meta)?;
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn wish_of_job(&self, id: JobId, message: &CommandMessage, now: Timestamp) -> Result<Decision, Refusal> {
        self.closing.refuse(id)?;
        let job = self
            .jobs
            .get(&id)
            .ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("there is no {id}")))?;
        if job.remembers(message.id) {
            return Ok(Vec::new());
        }
        match &message.command {
            Command::KillJob { .. } => Ok(job.decide_kill()),
            Command::StopJob { .. } => Ok(job.decide_stop()),
            Command::RetryJob { .. } => job.decide_retry(now),
            Command::CancelRetry { task } => job.decide_cancel_retry(task.number),
            Command::BringForwardRetry { task } => job.decide_bring_forward(task.number, now),
            Command::SubmitJob { .. }
            | Command::RegisterWorker { .. }
            | Command::RemoveWorker { .. }
            | Command::CordonWorker { .. }
            | Command::UncordonWorker { .. }
            | Command::DrainWorker { .. } => Ok(Vec::new()),
        }
    }

    pub(super) fn on_report(&mut self, message: ReportMessage, now: Timestamp) -> Result<(), Poisoned> {
        let principal: Arc<str> = Arc::from(message.worker.to_string());
        let (worker, incarnation) = (message.worker, message.incarnation);
        for item in message.items {
            failpoint::hit("shard.report", || format!("{item:?}"));
            let meta = self.meta(&principal, None, now);
            match item {
                ReportItem::Began {
                    endpoint_url,
                    max_capacity,
                    labels,
                    not_after,
                } => {
                    let registration = Registration {
                        worker: worker.clone(),
                        incarnation,
                        endpoint_url,
                        max_capacity,
                        labels,
                    };
                    // Who still wants it says it again; and a name has one home.
                    let home = worker.slot(self.options.shards) == self.options.shard.0;
                    if home && now <= not_after {
                        self.worker_began(&registration, &meta);
                    }
                }
                ReportItem::Left {} => {
                    self.worker_left(&worker, incarnation, WorkerEnd::Drained, &meta);
                    self.tell(&worker, incarnation, WorkerAnswer::Removed);
                }
                ReportItem::Started { attempt } => {
                    if self.is_of(attempt, incarnation) {
                        let decision = self.on_job(attempt, |job| {
                            job.decide_started(attempt.task.number, attempt.attempt, meta.at)
                        });
                        self.carry_out(attempt.task.job, decision, &meta)?;
                    }
                    self.acknowledge(&worker, incarnation, ReportKind::Started, attempt);
                }
                ReportItem::Ended { attempt, outcome } => {
                    if self.is_of(attempt, incarnation) {
                        let (outcome, jitter): (AttemptOutcome, f64) = (outcome.into(), self.jitter());
                        let decision = self.on_job(attempt, |job| {
                            job.decide_ended(attempt.task.number, attempt.attempt, outcome, meta.at, jitter)
                        });
                        self.carry_out(attempt.task.job, decision, &meta)?;
                    }
                    self.acknowledge(&worker, incarnation, ReportKind::Ended, attempt);
                }
                ReportItem::Inventory { attempts, standing } => {
                    self.compare_standing(&worker, incarnation, standing);
                    self.take_inventory(&worker, incarnation, &attempts, &meta)?;
                }
            }
        }
        Ok(())
    }

    fn on_job(&self, attempt: AttemptRef, decide: impl FnOnce(&Job) -> Decision) -> Decision {
        self.jobs.get(&attempt.task.job).map(decide).unwrap_or_default()
    }

    /// Whether the job is here and the task's last attempt is this one, on this worker process.
    fn is_of(&self, attempt: AttemptRef, incarnation: Incarnation) -> bool {
        let Some(job) = self.jobs.get(&attempt.task.job) else {
            return false;
        };
        let number = attempt.task.number;
        job.task(number)
            .is_some_and(|record| record.attempt() == attempt.attempt)
            && job.worker_of(number).is_some_and(|(_, of)| *of == incarnation)
    }

    fn acknowledge(&mut self, worker: &WorkerName, incarnation: Incarnation, kind: ReportKind, attempt: AttemptRef) {
        self.staged.outputs.push(Output::Ack {
            worker: worker.clone(),
            incarnation,
            kind,
            attempt,
        });
    }

    /// Compares what the worker holds with what it should hold.
    fn take_inventory(
        &mut self,
        worker: &WorkerName,
        incarnation: Incarnation,
        held: &[AttemptRef],
        meta: &Meta,
    ) -> Result<(), Poisoned> {
        let held_set: std::collections::HashSet<AttemptRef> = held.iter().copied().collect();
        for attempt in held {
            if !self.is_of(*attempt, incarnation) {
                let (worker, attempt) = (worker.clone(), *attempt);
                self.staged.outputs.push(Output::Cancel {
                    worker,
                    incarnation,
                    attempt,
                });
            } else if let Some(job) = self.jobs.get(&attempt.task.job) {
                // A cancellation or stop that was lost on its way.
                let again = ending_of(job, attempt.task.number);
                self.staged.outputs.extend(again);
            }
        }
        for attempt in self.attempts_of(incarnation) {
            if !held_set.contains(&attempt) {
                self.miss(attempt, meta)?;
            }
        }
        Ok(())
    }

    /// An attempt that should be on a worker is not in the worker's inventory.
    fn miss(&mut self, attempt: AttemptRef, meta: &Meta) -> Result<(), Poisoned> {
        let Some(job) = self.jobs.get(&attempt.task.job) else {
            return Ok(());
        };
        let number = attempt.task.number;
        let state = job.task(number).map(|record| record.state());
        // What runs was said to run before, on the way that the inventory took: it is lost. What is only SCHEDULED, or
        // was given up then, may still be on its way to the worker. Only what comes behind it, on the same way, can
        // tell whether it will run: the assignment again, or the cancellation.
        if state == Some(TaskState::Running) || (state != Some(TaskState::Scheduled) && mutant!(EarlyInventory)) {
            let jitter = self.jitter();
            let decision = self.on_job(attempt, |job| {
                job.decide_lost(number, attempt.attempt, LossCause::Lost, meta.at, jitter)
            });
            return self.carry_out(attempt.task.job, decision, meta);
        }
        let again = if state == Some(TaskState::Scheduled) {
            assignment(job, number, false).filter(|_| !mutant!(NoResend))
        } else {
            ending_of(job, number)
        };
        self.staged.outputs.extend(again);
        Ok(())
    }

    /// The attempts that should be on this worker process, in order.
    fn attempts_of(&self, incarnation: Incarnation) -> Vec<AttemptRef> {
        let mut attempts = Vec::new();
        for job in self.jobs.values().filter(|job| job.active_count() > 0) {
            for number in job.active() {
                if job.worker_of(number).is_some_and(|(_, of)| *of == incarnation)
                    && let Some(record) = job.task(number)
                {
                    attempts.push(AttemptRef {
                        task: job.task_id(number),
                        attempt: record.attempt(),
                    });
                }
            }
        }
        attempts.sort_unstable();
        attempts
    }

    pub(super) fn on_worker_gone(&mut self, gone: WorkerGone, now: Timestamp) -> Result<(), Poisoned> {
        let meta = self.meta(&Arc::clone(&self.system), None, now);
        for attempt in self.attempts_of(gone.incarnation) {
            let jitter = self.jitter();
            let decision = self.on_job(attempt, |job| {
                job.decide_lost(attempt.task.number, attempt.attempt, gone.cause, meta.at, jitter)
            });
            self.carry_out(attempt.task.job, decision, &meta)?;
        }
        let of_this = |(name, home): (&WorkerName, &HomeWorker)| {
            (home.history.incarnation == Some(gone.incarnation)).then(|| name.clone())
        };
        if let Some(name) = self.workers.iter().find_map(of_this) {
            self.worker_left(&name, gone.incarnation, gone.end, &meta);
        }
        Ok(())
    }

    /// Everything that is due, as far as one commit should hold it.
    pub(super) fn on_timer(&mut self, now: Timestamp) -> Result<(), Poisoned> {
        let system = Arc::clone(&self.system);
        while self.staged.events.len() < self.options.most_staged {
            let Some(timer) = self.timers.pop_due(now) else { break };
            let jitter = self.jitter();
            let meta = self.meta(&system, None, now);
            let decision = match self.jobs.get(&timer.job) {
                None => continue,
                Some(job) if timer.task == 0 => job.decide_deadline(timer.version, now),
                Some(job) if mutant!(StaleTimer) => {
                    let timer_now = job.task(timer.task).and_then(|record| record.timer());
                    timer_now.map_or_else(Vec::new, |(due, version)| {
                        job.decide_timer(timer.task, version, due.max(now), jitter)
                    })
                }
                Some(job) => job.decide_timer(timer.task, timer.version, now, jitter),
            };
            let decision = if mutant!(DoublePlacement) {
                without_open_attempts(decision)
            } else {
                decision
            };
            self.carry_out(timer.job, decision, &meta)?;
        }
        Ok(())
    }

    /// Ids are kept for as long as a submission may repeat them.
    pub(super) fn forget_old_ids(&mut self, now: Timestamp) {
        if self.today != now.day() {
            self.today = now.day();
            self.finished.retain(|job| is_recent(*job, now));
        }
    }

    /// After a load: whatever the job's state says that workers must know.
    pub(super) fn resend(&mut self, job: &Job) {
        let mut active: Vec<u32> = job.active().collect();
        active.sort_unstable();
        for number in active {
            let Some(record) = job.task(number) else { continue };
            let again = match record.state() {
                TaskState::Scheduled if mutant!(NoResend) => None,
                TaskState::Scheduled => assignment(job, number, false),
                TaskState::Ready | TaskState::Running | TaskState::Completed | TaskState::Failed => {
                    ending_of(job, number)
                }
            };
            self.staged.outputs.extend(again);
        }
    }
}

/// The cancellation or stop that is under way for the task's attempt.
fn ending_of(job: &Job, number: u32) -> Option<Output> {
    let record = job.task(number)?;
    match record.state() {
        TaskState::Running if job.is_stopping() => stop(job, number),
        TaskState::Ready | TaskState::Failed if record.attempt_open() && !mutant!(LostCancellation) => {
            cancellation(job, number)
        }
        TaskState::Ready | TaskState::Scheduled | TaskState::Running | TaskState::Completed | TaskState::Failed => None,
    }
}

/// Whether the id's time is between yesterday and tomorrow.
fn is_recent(job: JobId, now: Timestamp) -> bool {
    let day = Duration::from_secs(86_400);
    let (from, to) = ((now - day).day(), (now + day).day());
    (from..=to).contains(&job.day())
}

/// One of the bugs that the simulation puts in on purpose.
fn without_open_attempts(decision: Decision) -> Decision {
    let close = |(task, event)| match event {
        Event::TaskFailed(mut failed) => {
            failed.attempt_open = false;
            (task, Event::TaskFailed(failed))
        }
        other => (task, other),
    };
    decision.into_iter().map(close).collect()
}
