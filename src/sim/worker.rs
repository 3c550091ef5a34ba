//! Workers in the simulated world: the real machine, and attempts that take a random time and end in a random way.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Happening, SHARDS, TIMELINE, World};
use crate::domain::{Failure, FailureReason, Incarnation, Labels, Timestamp, WorkerName};
use crate::event::{AssignmentMessage, AttemptRef, Beat, Outcome, Reply};
use crate::worker::WorkerOptions;
use crate::worker::machine::{ExitReason, Identity, Input, Output, WorkerMachine};

pub struct SimWorker {
    name: WorkerName,
    labels: Labels,
    process: Option<Process>,
}

struct Process {
    incarnation: Incarnation,
    machine: WorkerMachine,
    timer_at: Option<Timestamp>,
    /// Attempts that were started and have not ended, with what they do when nobody ends them.
    running: BTreeMap<AttemptRef, bool>,
    /// Of those, the ones that said that they run.
    said: BTreeSet<AttemptRef>,
    offset: i64,
}

impl SimWorker {
    pub fn new(number: usize) -> Self {
        let zone = if number == 1 { "b" } else { "a" };
        Self {
            name: format!("w{number}").parse().expect("a name"),
            labels: Labels::from([("zone".into(), zone.into())]),
            process: None,
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
        let (incarnation, now) = (Incarnation(self.fresh_uuid()), self.now());
        let worker = &mut self.workers[number];
        let identity = Identity {
            worker: worker.name.clone(),
            incarnation,
            timeline: TIMELINE,
            shards: SHARDS,
            endpoint_url: String::new(),
            reply_partition: 0,
        };
        let options = WorkerOptions {
            slots: 3,
            prefetch_max: 4,
            labels: worker.labels.clone(),
            ..WorkerOptions::default()
        };
        worker.process = Some(Process {
            incarnation,
            machine: WorkerMachine::new(identity, options, now).expect("good options"),
            timer_at: None,
            running: BTreeMap::new(),
            said: BTreeSet::new(),
            offset: 0,
        });
        self.worker_turn(number, Input::Tick);
    }

    pub fn worker_turn(&mut self, number: usize, input: Input) {
        let now = self.now();
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        let incarnation = process.incarnation;
        let outputs = process.machine.step(input, now);
        for output in outputs {
            self.worker_output(number, incarnation, output);
        }
        let now = self.now();
        let Some(process) = &mut self.workers[number].process else {
            return;
        };
        if let Some(due) = process.machine.next_wakeup()
            && process.timer_at.is_none_or(|at| due < at || at <= now)
        {
            process.timer_at = Some(due);
            self.at_time(
                due,
                Happening::WorkerTimer {
                    worker: number,
                    incarnation,
                },
            );
        }
    }

    fn worker_output(&mut self, number: usize, incarnation: Incarnation, output: Output) {
        let sender = incarnation.0.as_u128();
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
                if self.is_stormy() && self.chance(4) {
                    let again = Box::new(message.clone());
                    self.send(5, sender ^ u128::from(shard.0), Happening::Report(shard, again));
                }
                self.send(
                    5,
                    sender ^ u128::from(shard.0),
                    Happening::Report(shard, Box::new(message)),
                );
            }
            Output::Beat(beat) => {
                let sent_at = beat.sent_at;
                self.send(6, sender, Happening::Beat(Beat::Worker(beat)));
                self.send(
                    6,
                    sender,
                    Happening::BeatAcknowledged {
                        worker: number,
                        incarnation,
                        sent_at,
                    },
                );
            }
            Output::Command { message, .. } => self.send_command(message),
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
        let commands = self.commands.values().flatten();
        let spec = commands.into_iter().find_map(|message| match &message.command {
            crate::event::Command::SubmitJob { job, spec } if *job == attempt.task.job => Some(spec),
            _ => None,
        });
        let Some(spec) = spec else { return false };
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
        process.said.insert(attempt);
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
        process.said.remove(&attempt);
        self.check.rests(attempt, incarnation);
        self.worker_turn(number, Input::AttemptEnded(attempt, outcome));
    }

    pub fn deliver_assignment(&mut self, message: AssignmentMessage) {
        for number in 0..self.workers.len() {
            let Some(process) = &mut self.workers[number].process else {
                continue;
            };
            process.offset += 1;
            let offset = process.offset;
            self.worker_turn(
                number,
                Input::Assignments {
                    offset,
                    message: message.clone(),
                },
            );
        }
    }

    pub fn worker_replies(&mut self, reply: &Reply) {
        for number in 0..self.workers.len() {
            self.worker_turn(number, Input::Reply(reply.clone()));
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

    pub fn worker_timer(&mut self, number: usize, incarnation: Incarnation) {
        if !self.lives(number, incarnation) {
            return;
        }
        if let Some(process) = &mut self.workers[number].process {
            process.timer_at = None;
        }
        self.worker_turn(number, Input::Tick);
    }

    pub fn crash_worker(&mut self, number: usize) {
        let Some(incarnation) = self.workers[number].incarnation() else {
            return;
        };
        self.check.died(incarnation);
        self.workers[number].process = None;
        let back = self.between(100, 90_000);
        self.at(back, Happening::StartWorker { worker: number });
    }

    pub fn drain_worker(&mut self, number: usize) {
        self.worker_turn(number, Input::Drain);
    }
}
