//! Workers in the simulated world: the real machine, and attempts that take a random time and end in a random way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::trace;
use super::world::{Happening, SHARDS, TIMELINE, World};
use crate::domain::{Failure, FailureReason, Incarnation, Labels, Timestamp, WorkerHistory, WorkerName};
use crate::event::{AssignmentMessage, AttemptRef, Beat, Outcome};
use crate::worker::WorkerOptions;
use crate::worker::machine::{ExitReason, Identity, Input, Output, WorkerMachine};

/// How many attempts a worker runs at a time, and how many more may wait in it.
const SLOTS: u32 = 3;
const PREFETCH: u32 = 4;

pub struct SimWorker {
    pub name: WorkerName,
    labels: Labels,
    pub process: Option<Process>,
    /// By how much the clock of its machine is ahead of the clients'.
    pub ahead: Duration,
    /// Nothing reaches or leaves its machine before this time.
    pub cut_until_ms: i64,
}

pub struct Process {
    pub incarnation: Incarnation,
    machine: WorkerMachine,
    timer_at: Option<Timestamp>,
    /// Attempts that were started and have not ended, with whether they go on for ever when nobody ends them.
    pub running: BTreeMap<AttemptRef, bool>,
    offset: i64,
    /// It stands still, and what it is told waits.
    pub paused: bool,
    pub held: Vec<Input>,
    /// What has not reached it yet.
    pub late: Vec<Input>,
    /// When it sent the last heartbeat that was acknowledged.
    pub heard_at: Timestamp,
}

impl SimWorker {
    pub fn new(number: usize) -> Self {
        let zone = if number == 1 { "b" } else { "a" };
        Self {
            name: format!("w{number}").parse().expect("a name"),
            labels: Labels::from([("zone".into(), zone.into())]),
            process: None,
            ahead: Duration::ZERO,
            cut_until_ms: 0,
        }
    }

    pub fn incarnation(&self) -> Option<Incarnation> {
        self.process.as_ref().map(|process| process.incarnation)
    }
}

impl World {
    pub fn start_worker(&mut self, number: usize) {
        if self.workers[number].process.is_some() {
            return;
        }
        let now = self.worker_now(number);
        let incarnation = Incarnation(self.fresh_uuid(now));
        self.trace(|| format!("worker {number} {incarnation}: starts"));
        let inventory_interval = self.inventory_interval;
        let worker = &mut self.workers[number];
        let identity = Identity {
            worker: worker.name.clone(),
            incarnation,
            timeline: TIMELINE,
            shards: SHARDS,
            endpoint_url: String::new(),
        };
        let options = WorkerOptions {
            slots: SLOTS,
            prefetch_max: PREFETCH,
            labels: worker.labels.clone(),
            inventory_interval,
            ..WorkerOptions::default()
        };
        worker.process = Some(Process {
            incarnation,
            machine: WorkerMachine::new(identity, options, now).expect("good options"),
            timer_at: None,
            running: BTreeMap::new(),
            offset: 0,
            paused: false,
            held: Vec::new(),
            late: Vec::new(),
            heard_at: now,
        });
        self.worker_turn(number, Input::Tick);
    }

    pub fn worker_turn(&mut self, number: usize, input: Input) {
        let now = self.worker_now(number);
        let cut_off = self.time_ms < self.workers[number].cut_until_ms;
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        if cut_off && is_from_outside(&input) {
            return process.late.push(input);
        }
        if process.paused {
            return process.held.push(input);
        }
        if let Input::BeatAcknowledged { sent_at } = &input {
            process.heard_at = process.heard_at.max(*sent_at);
        }
        let incarnation = process.incarnation;
        let heard = self.trace.is_on().then(|| trace::worker_input(&input)).flatten();
        let outputs = process.machine.step(input, now);
        if let Some(heard) = heard {
            self.trace(|| format!("worker {number} {incarnation}: {heard}"));
        }
        for output in outputs {
            self.worker_output(number, incarnation, output);
        }
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        if process.running.len() > SLOTS as usize {
            let what = format!("worker {number} runs {} attempts at a time", process.running.len());
            self.check.wrong.push(what);
        }
        if let Some(due) = process.machine.next_wakeup()
            && process.timer_at.is_none_or(|at| due < at || at <= now)
        {
            process.timer_at = Some(due);
            self.at_time(
                due,
                now,
                Happening::WorkerTimer {
                    worker: number,
                    incarnation,
                    due,
                },
            );
        }
    }

    pub fn reconnect(&mut self, number: usize) {
        if self.time_ms < self.workers[number].cut_until_ms {
            return;
        }
        self.trace(|| format!("worker {number} can be reached again"));
        let late = self.workers[number]
            .process
            .as_mut()
            .map(|process| std::mem::take(&mut process.late));
        for input in late.unwrap_or_default() {
            self.worker_turn(number, input);
        }
    }

    fn worker_output(&mut self, number: usize, incarnation: Incarnation, output: Output) {
        let (sender, cut) = (incarnation.0.as_u128(), self.workers[number].cut_until_ms);
        if let Some(does) = trace::worker_output(&output) {
            self.trace(|| format!("worker {number} {incarnation}: {does}"));
        }
        match output {
            Output::Start { assignment, .. } => self.attempt_begins(number, incarnation, assignment.attempt),
            Output::Cancel { attempt } => {
                let failure = Failure::new(FailureReason::Killed, "cancelled");
                let delay = self.between(0, 400);
                let outcome = Outcome::Failed { failure };
                self.at(
                    delay,
                    Happening::AttemptEnds {
                        worker: number,
                        incarnation,
                        attempt,
                        outcome,
                    },
                );
            }
            Output::Stop { attempt } => {
                let outcome = self.outcome_of_attempt();
                let delay = self.between(0, 2_000);
                self.at(
                    delay,
                    Happening::AttemptEnds {
                        worker: number,
                        incarnation,
                        attempt,
                        outcome,
                    },
                );
            }
            Output::Report { shard, message } => {
                self.check.granted(incarnation, &message.grants);
                if self.is_stormy() && self.chance(2) {
                    return self.trace(|| format!("worker {number} {incarnation}: the report is lost"));
                }
                if self.is_stormy() && self.chance(4) {
                    let again = Box::new(message.clone());
                    self.send_after(cut, 5, sender ^ u128::from(shard.0), Happening::Report(shard, again));
                }
                let report = Happening::Report(shard, Box::new(message));
                self.send_after(cut, 5, sender ^ u128::from(shard.0), report);
            }
            Output::Beat(beat) => {
                self.check.granted(incarnation, &beat.grants);
                let sent_at = beat.sent_at;
                self.send_after(cut, 6, sender, Happening::Beat(Beat::Worker(beat)));
                let acknowledged = Happening::BeatAcknowledged {
                    worker: number,
                    incarnation,
                    sent_at,
                };
                self.send_after(cut, 6, sender, acknowledged);
            }
            Output::Exit { reason } => {
                self.check.died(incarnation);
                self.workers[number].process = None;
                let back = self.between(10, 5_000);
                // A superseded process has a successor already; its start does nothing then.
                let _: ExitReason = reason;
                self.at(back, Happening::StartWorker { worker: number });
            }
        }
    }

    /// Workers that hold something, have granted more than they have room for, or stand still.
    pub fn busy_workers(&self) -> Vec<String> {
        let busy = |worker: &SimWorker| {
            let process = worker.process.as_ref()?;
            let glance = process.machine.glance();
            let held = glance.running + glance.queued + glance.unacknowledged;
            let busy = process.paused || held > 0 || glance.outstanding > u64::from(SLOTS + PREFETCH);
            busy.then(|| format!("{}: {glance:?}", worker.name))
        };
        self.workers.iter().filter_map(busy).collect()
    }

    /// Workers that believe otherwise of themselves than their history says.
    pub fn mistaken_workers(&self) -> Vec<String> {
        let histories = self.log.values().flat_map(|log| log.workers());
        let mistaken = |(name, history, _): (WorkerName, WorkerHistory, u32)| {
            let worker = self.workers.iter().find(|worker| worker.name == name)?;
            let process = worker.process.as_ref()?;
            let cordoned = process.machine.glance().cordoned;
            let known = history.incarnation == Some(process.incarnation) && !history.left;
            (known && cordoned != history.cordoned).then(|| format!("{name}: {history:?}"))
        };
        histories.filter_map(mistaken).collect()
    }

    fn attempt_begins(&mut self, number: usize, incarnation: Incarnation, attempt: AttemptRef) {
        self.check.runs(attempt, incarnation);
        let begin = self.between(0, 300);
        let hangs = self.chance(20) && self.may_hang(attempt);
        if let Some(process) = &mut self.workers[number].process {
            process.running.insert(attempt, hangs);
        }
        self.at(
            begin,
            Happening::AttemptStarts {
                worker: number,
                incarnation,
                attempt,
            },
        );
    }

    /// Only an attempt that somebody will end may go on for ever.
    fn may_hang(&self, attempt: AttemptRef) -> bool {
        let Some(spec) = self.client.spec(attempt.task.job) else {
            return false;
        };
        let place = crate::domain::GroupIndex::new(spec);
        let policy = place
            .place(spec, attempt.task.number)
            .map(|place| place.group.policy as usize);
        policy
            .and_then(|policy| spec.policies.get(policy))
            .is_some_and(|policy| policy.timeouts.run_ms.is_some())
    }

    fn outcome_of_attempt(&mut self) -> Outcome {
        match self.between(0, 100) {
            0..75 => Outcome::Completed {
                counters: BTreeMap::new(),
            },
            75..95 => Outcome::Failed {
                failure: Failure::new(FailureReason::Error, "bad luck"),
            },
            _ => Outcome::Failed {
                failure: Failure::new(FailureReason::Unrecoverable, "no use"),
            },
        }
    }

    fn lives(&self, number: usize, incarnation: Incarnation) -> bool {
        self.workers[number].incarnation() == Some(incarnation)
    }

    pub fn attempt_starts(&mut self, number: usize, incarnation: Incarnation, attempt: AttemptRef) {
        if !self.lives(number, incarnation) {
            return;
        }
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        let Some(hangs) = process.running.get(&attempt).copied() else {
            return;
        };
        self.worker_turn(number, Input::AttemptStarted(attempt));
        if !hangs {
            let outcome = self.outcome_of_attempt();
            let long = self.chance(10);
            let delay = if long {
                self.between(1_000, 70_000)
            } else {
                self.between(1, 2_000)
            };
            self.at(
                delay,
                Happening::AttemptEnds {
                    worker: number,
                    incarnation,
                    attempt,
                    outcome,
                },
            );
        }
    }

    pub fn attempt_ends(&mut self, number: usize, incarnation: Incarnation, attempt: AttemptRef, outcome: Outcome) {
        if !self.lives(number, incarnation) {
            return;
        }
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        if process.running.remove(&attempt).is_none() {
            return;
        }
        self.check.rests(attempt, incarnation);
        self.worker_turn(number, Input::AttemptEnded(attempt, outcome));
    }

    /// A message comes into the partition of the worker that it is meant for; all of them may share one.
    pub fn deliver_assignment(&mut self, message: &AssignmentMessage) {
        for number in 0..self.workers.len() {
            let shared = self.shared_partition;
            let again = self.is_stormy() && self.chance(3);
            let Some(process) = &mut self.workers[number].process else {
                continue;
            };
            let incarnation = process.incarnation;
            if !shared && incarnation != message.incarnation {
                continue;
            }
            process.offset += 1;
            let offset = process.offset;
            self.worker_turn(
                number,
                Input::Assignments {
                    offset,
                    message: message.clone(),
                },
            );
            if again {
                let delay = self.between(0, 4_000);
                self.at(
                    delay,
                    Happening::AssignmentAgain {
                        worker: number,
                        incarnation,
                        offset,
                        message: message.clone(),
                    },
                );
            }
        }
    }

    pub fn assignment_again(
        &mut self,
        number: usize,
        incarnation: Incarnation,
        offset: i64,
        message: AssignmentMessage,
    ) {
        if self.lives(number, incarnation) {
            self.worker_turn(number, Input::Assignments { offset, message });
        }
    }

    pub fn worker_beats(&mut self, beat: &Beat) {
        for number in 0..self.workers.len() {
            self.worker_turn(number, Input::Beat(beat.clone()));
        }
    }

    pub fn beat_acknowledged(&mut self, number: usize, incarnation: Incarnation, sent_at: Timestamp) {
        if self.lives(number, incarnation) {
            self.worker_turn(number, Input::BeatAcknowledged { sent_at });
        }
    }

    pub fn worker_timer(&mut self, number: usize, incarnation: Incarnation, due: Timestamp) {
        let process = self.workers[number].process.as_mut();
        let Some(process) = process.filter(|process| process.incarnation == incarnation) else {
            return;
        };
        if process.timer_at == Some(due) {
            process.timer_at = None;
            self.worker_turn(number, Input::Tick);
        }
    }
}

fn is_from_outside(input: &Input) -> bool {
    match input {
        Input::Assignments { .. } | Input::Beat(_) | Input::BeatAcknowledged { .. } => true,
        Input::AttemptStarted(_) | Input::AttemptEnded(..) | Input::Tick | Input::Drain => false,
    }
}
