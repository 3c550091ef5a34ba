//! What a turn does to jobs: stage decisions, follow up on them, write out fan-outs, place READY tasks.

use std::collections::HashSet;
use std::sync::Arc;

use super::credits::{CreditPool, Hunger, Wanted, Wants};
use super::machine::{Poisoned, Shard};
use super::staging::{Output, Staged};
use super::timers::{Timer, Timers};
use crate::domain::event::StreamId;
use crate::domain::{Decision, Event, Fact, IllegalTransition, Job, JobId, NextReady, Seq, TaskState, Timestamp};
use crate::event::{Assignment, AttemptRef, EventRecord, Meta};

/// Where the events of one job go while they are staged.
struct Stage<'a> {
    staged: &'a mut Staged,
    timers: &'a mut Timers,
    next_seq: &'a mut Seq,
    last_at: &'a mut Timestamp,
}

impl Stage<'_> {
    /// Applies one event and stages it with what it implies.
    fn event(&mut self, job: &mut Job, task: u32, event: Event, meta: &Meta) -> Result<(), IllegalTransition> {
        let version = if task == 0 {
            job.version()
        } else {
            job.task_version(task)
        } + 1;
        job.apply(Fact {
            task,
            version,
            at: meta.at,
            command: meta.command,
            event: &event,
        })?;
        self.imply(job, task, version, &event);
        let stream = if task == 0 {
            StreamId::Job(job.id())
        } else {
            StreamId::Task(job.task_id(task))
        };
        self.record(EventRecord {
            stream,
            version,
            meta: meta.clone(),
            event,
        });
        Ok(())
    }

    fn record(&mut self, record: EventRecord) {
        *self.last_at = record.meta.at.max(*self.last_at);
        self.next_seq.0 += 1;
        self.staged.events.push(record);
    }

    fn imply(&mut self, job: &Job, task: u32, version: u32, event: &Event) {
        let id = job.id();
        let due = match event {
            Event::TaskScheduled(scheduled) => scheduled.start_by,
            Event::TaskStarted(started) => started.run_by,
            Event::RetryScheduled(retry) => Some(retry.due_at),
            Event::JobRetryRequested(retry) => retry.deadline_at,
            _ => None,
        };
        if let Some(due) = due {
            self.timers.set(Timer {
                due,
                job: id,
                task,
                version,
            });
        }
        match event {
            Event::TaskScheduled(_) => self.staged.outputs.extend(assignment(job, task, true)),
            Event::TaskFailed(failed) if failed.attempt_open => self.staged.outputs.extend(cancellation(job, task)),
            Event::JobStopRequested(_) => {
                let running = |number: &u32| job.task(*number).is_some_and(|it| it.state() == TaskState::Running);
                let mut numbers: Vec<u32> = job.active().filter(running).collect();
                numbers.sort_unstable();
                self.staged
                    .outputs
                    .extend(numbers.into_iter().filter_map(|number| stop(job, number)));
            }
            _ => {}
        }
    }
}

/// The order to run the task's present attempt.
pub(super) fn assignment(job: &Job, number: u32, charged: bool) -> Option<Output> {
    let (worker, incarnation) = job.worker_of(number)?.clone();
    let place = job.place(number)?;
    let assignment = Assignment {
        attempt: attempt_ref(job, number)?,
        executor: place.group.executor,
        document_hash: job.spec().document_hash.clone(),
        external_id: place.external_id(),
        group_index: place.group_index as u32,
        replica_index: place.replica_index,
        replica_count: place.group.replicas,
        charged,
        traceparent: None,
    };
    Some(Output::Assign {
        worker,
        incarnation,
        assignment,
    })
}

pub(super) fn cancellation(job: &Job, number: u32) -> Option<Output> {
    let (worker, incarnation) = job.worker_of(number)?.clone();
    Some(Output::Cancel {
        worker,
        incarnation,
        attempt: attempt_ref(job, number)?,
    })
}

pub(super) fn stop(job: &Job, number: u32) -> Option<Output> {
    let (worker, incarnation) = job.worker_of(number)?.clone();
    Some(Output::Stop {
        worker,
        incarnation,
        attempt: attempt_ref(job, number)?,
    })
}

fn attempt_ref(job: &Job, number: u32) -> Option<AttemptRef> {
    Some(AttemptRef {
        task: job.task_id(number),
        attempt: job.task(number)?.attempt(),
    })
}

impl Shard {
    fn stage(&mut self) -> (Stage<'_>, &mut std::collections::HashMap<JobId, Job>) {
        let stage = Stage {
            staged: &mut self.staged,
            timers: &mut self.timers,
            next_seq: &mut self.next_seq,
            last_at: &mut self.last_at,
        };
        (stage, &mut self.jobs)
    }

    /// Stages a decision on a job in memory, and what follows from it at once.
    pub(super) fn carry_out(&mut self, id: JobId, decision: Decision, meta: &Meta) -> Result<(), Poisoned> {
        if decision.is_empty() {
            return Ok(());
        }
        let (mut stage, jobs) = self.stage();
        let Some(job) = jobs.get_mut(&id) else { return Ok(()) };
        for (task, event) in decision {
            stage.event(job, task, event, meta)?;
        }
        self.follow_up(id, meta)
    }

    /// After a job has changed: says that it has finished, and gives it its places in the queues.
    fn follow_up(&mut self, id: JobId, meta: &Meta) -> Result<(), Poisoned> {
        let meta = Meta {
            command: None,
            ..meta.clone()
        };
        let (mut stage, jobs) = self.stage();
        let Some(job) = jobs.get_mut(&id) else { return Ok(()) };
        for (task, event) in job.decide_finished() {
            stage.event(job, task, event, &meta)?;
        }
        let (at_rest, fans_out, has_ready) = (job.is_at_rest(), job.fan_out().is_some(), job.counters().ready > 0);
        self.dirty.insert(id);
        if at_rest {
            self.finished.insert(id);
            self.closing.came_to_rest(id);
        }
        if fans_out && !self.fan_outs.contains(&id) {
            self.fan_outs.push_back(id);
        }
        if has_ready {
            self.ready.join(id);
        }
        Ok(())
    }

    /// A new job with its first event.
    pub(super) fn begin_job(&mut self, id: JobId, event: Event, meta: &Meta) -> Result<(), Poisoned> {
        let Event::JobSubmitted(submitted) = &event else {
            return Ok(());
        };
        let job = Job::submitted(id, submitted, meta.at, meta.command);
        if let Some((due, version)) = job.deadline() {
            self.timers.set(Timer {
                due,
                job: id,
                task: 0,
                version,
            });
        }
        self.jobs.insert(id, job);
        let (mut stage, _) = self.stage();
        stage.record(EventRecord {
            stream: StreamId::Job(id),
            version: 1,
            meta: meta.clone(),
            event,
        });
        self.follow_up(id, meta)
    }

    /// An event of a worker's own history.
    pub(super) fn record_of_worker(&mut self, stream: StreamId, version: u32, event: Event, meta: &Meta) {
        let (mut stage, _) = self.stage();
        stage.record(EventRecord {
            stream,
            version,
            meta: meta.clone(),
            event,
        });
    }

    /// What goes on by itself: a chunk of fan-outs, then the placing of READY tasks.
    pub(super) fn pump(&mut self, now: Timestamp, credits: &mut CreditPool) -> Result<(), Poisoned> {
        self.forget_old_ids(now);
        let system = Arc::clone(&self.system);
        while self.staged.events.len() < self.options.chunk_events {
            let Some(id) = self.fan_outs.pop_front() else { break };
            let room = self.options.chunk_events - self.staged.events.len();
            let decision = self
                .jobs
                .get(&id)
                .map(|job| job.decide_fan_out(room))
                .unwrap_or_default();
            let meta = self.meta(&system, None, now);
            // It takes its place behind the other fan-outs again, in the follow-up.
            self.carry_out(id, decision, &meta)?;
        }
        self.place(now, credits)
    }

    fn place(&mut self, now: Timestamp, credits: &mut CreditPool) -> Result<(), Poisoned> {
        let meta = self.meta(&Arc::clone(&self.system), None, now);
        let mut quota = credits.begin_turn(self.options.shard);
        // (job, policy) pairs for which no credit is fit in this turn.
        let mut unfit: HashSet<(JobId, u32)> = HashSet::new();
        let mut passed_over = 0;
        let most_staged = self.options.most_staged;
        while quota > 0 && passed_over < self.ready.len() && self.staged.events.len() < most_staged {
            let Some(id) = self.ready.first() else { break };
            let (mut stage, jobs) = self.stage();
            let Some(job) = jobs.get_mut(&id) else {
                self.ready.drop_first();
                continue;
            };
            match job.next_ready(&|policy| unfit.contains(&(id, policy))) {
                NextReady::Nothing => self.ready.drop_first(),
                NextReady::PassedOver => {
                    passed_over += 1;
                    self.ready.rotate();
                }
                NextReady::Task { number, policy } => {
                    let avoid = job.worker_of(number).map(|(_, incarnation)| *incarnation);
                    let requires = job.policy(number).map(|policy| &policy.requires);
                    let picked = requires.and_then(|requires| credits.take(Wanted { requires, avoid }));
                    let Some((worker, incarnation)) = picked else {
                        unfit.insert((id, policy));
                        continue;
                    };
                    if let Some(mut event) = job.decide_schedule(number, &worker, incarnation, now) {
                        if let Event::TaskScheduled(scheduled) = &mut event
                            && mutant!(AttemptReuse)
                        {
                            scheduled.attempt.0 = scheduled.attempt.0.saturating_sub(1).max(1);
                        }
                        stage.event(job, number, event, &meta)?;
                    } else {
                        credits.put_back(incarnation);
                    }
                    self.dirty.insert(id);
                    quota -= 1;
                    passed_over = 0;
                    self.ready.rotate();
                }
            }
        }
        let hunger = if self.ready.is_empty() {
            Hunger::None
        } else if passed_over >= self.ready.len() {
            Hunger::Unfit(self.wants())
        } else {
            Hunger::Quota(self.wants())
        };
        credits.end_turn(self.options.shard, hunger);
        Ok(())
    }

    /// What the READY tasks ask of a worker.
    fn wants(&mut self) -> Wants {
        if self.ready.len() > MOST_TOLD_APART {
            return None;
        }
        let mut wants = Vec::new();
        for id in self.ready.iter() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let mut policies = Vec::new();
            while let NextReady::Task { number, policy } = job.next_ready(&|policy| policies.contains(&policy)) {
                policies.push(policy);
                let requires = job.policy(number).map(|policy| &policy.requires)?;
                if requires.is_empty() || policies.len() > MOST_TOLD_APART {
                    return None;
                }
                if !wants.contains(requires) {
                    wants.push(requires.clone());
                }
            }
        }
        (wants.len() <= MOST_TOLD_APART).then_some(wants)
    }
}

/// Jobs, policies of a job, and kinds of labels that are told apart when a shard says what it waits for.
const MOST_TOLD_APART: usize = 32;
