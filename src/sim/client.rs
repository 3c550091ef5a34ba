//! Clients in the simulated world: they submit jobs, kill, stop and retry them, repeat themselves, and keep the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::world::{Happening, SHARDS, World};
use crate::domain::{
    ExecutorKind, Incarnation, JobId, JobSpec, Labels, Policy, Refusal, RetryPolicy, TaskGroup, TaskId, Timeouts,
};
use crate::event::{Accepted, Command, CommandMessage, Reply, ReplyAddress, Version};

#[derive(Default)]
pub struct Client {
    pub submitted: Vec<JobId>,
    specs: BTreeMap<JobId, JobSpec>,
    answers: BTreeMap<Uuid, Result<Accepted, Refusal>>,
    questions: BTreeMap<Uuid, CommandMessage>,
}

impl Client {
    pub fn on_reply(&mut self, reply: Reply) {
        self.answers.insert(reply.correlation, reply.result);
    }

    /// The command, with its id, whose answer has this name.
    pub fn asked(&self, correlation: Uuid) -> Option<(Uuid, &Command)> {
        self.questions.get(&correlation).map(|it| (it.id, &it.command))
    }

    pub fn spec(&self, job: JobId) -> Option<&JobSpec> {
        self.specs.get(&job)
    }

    /// Jobs whose submission was accepted, as their clients know.
    pub fn acknowledged(&self) -> impl Iterator<Item = JobId> + '_ {
        self.questions.iter().filter_map(|(correlation, question)| {
            match (&question.command, self.answers.get(correlation)) {
                (Command::SubmitJob { job, .. }, Some(Ok(_))) => Some(*job),
                _ => None,
            }
        })
    }
}

impl World {
    pub fn client_acts(&mut self) {
        if !self.is_stormy() {
            return;
        }
        let next = self.between(20, 3_000);
        self.at(next, Happening::Client);
        let submitted = &self.client.submitted;
        let old = (!submitted.is_empty()).then_some(submitted.len());
        match (self.between(0, 100), old) {
            (0..44, _) | (_, None) => {
                let large = self.chance(8);
                self.submit(large);
            }
            (44..50, Some(_)) => self.submit_and_end(),
            (50..58, Some(_)) => self.repeat(),
            (58..66, Some(_)) => self.meddle_with_a_retry(),
            (act, Some(count)) => {
                let index = self.between(0, count as i64) as usize;
                let job = self.client.submitted[index];
                let number = self.between(1, 6) as u32;
                let task = TaskId { job, number };
                let command = match act {
                    66..77 => Command::KillJob { job },
                    77..84 => Command::StopJob { job },
                    84..96 => Command::RetryJob { job },
                    96..98 => Command::CancelRetry { task },
                    _ => Command::BringForwardRetry { task },
                };
                self.wish(command);
            }
        }
    }

    fn submit(&mut self, large: bool) -> JobId {
        let now = self.now();
        let job = JobId(self.fresh_uuid(now));
        let replicas = if large { 10..60 } else { 1..5 };
        let spec = self.spec(replicas);
        self.client.specs.insert(job, spec.clone());
        self.client.submitted.push(job);
        let spec = Box::new(spec);
        self.wish(Command::SubmitJob { job, spec });
        job
    }

    /// A large job that is killed, stopped or tried again while what was asked before is being written out, and whose
    /// shard may lose its owner meanwhile.
    fn submit_and_end(&mut self) {
        let job = self.submit(true);
        let mut delay = 0;
        for _ in 0..self.between(1, 5) {
            delay += self.between(0, 80);
            let command = match self.between(0, 10) {
                0..5 => Command::KillJob { job },
                5..7 => Command::StopJob { job },
                _ => Command::RetryJob { job },
            };
            self.at(delay, Happening::Wish(command));
            if self.chance(25) {
                let delay = delay + self.between(0, 60);
                self.at(delay, Happening::CrashOwner(job.shard(SHARDS)));
            }
        }
        // Whatever was asked last: it must not run for ever.
        self.at(delay + 2_000, Happening::Wish(Command::KillJob { job }));
    }

    /// Takes back, or brings forward, a retry that is pending.
    fn meddle_with_a_retry(&mut self) {
        let pending = self.check.pending_retries();
        if pending.is_empty() {
            return;
        }
        let index = self.between(0, pending.len() as i64) as usize;
        let task = pending[index];
        let command = if self.chance(40) {
            Command::CancelRetry { task }
        } else {
            Command::BringForwardRetry { task }
        };
        self.wish(command);
    }

    /// Workers are cordoned, uncordoned and drained; when the storm is over, all may work.
    pub fn operator_acts(&mut self) {
        if !self.is_stormy() {
            let names: Vec<_> = self.workers.iter().map(|worker| worker.name.clone()).collect();
            for worker in names {
                self.wish(Command::UncordonWorker { worker });
            }
            return;
        }
        let number = self.between(0, self.workers.len() as i64) as usize;
        let worker = self.workers[number].name.clone();
        let command = match self.between(0, 100) {
            0..40 => Command::CordonWorker { worker },
            40..85 => Command::UncordonWorker { worker },
            _ => Command::DrainWorker { worker },
        };
        self.wish(command);
        let next = self.between(300, 6_000);
        self.at(next, Happening::Operator);
    }

    pub fn wish(&mut self, command: Command) {
        let now = self.now();
        let (id, correlation) = (self.fresh_uuid(now), self.fresh_uuid(now));
        let message = CommandMessage {
            v: Version,
            id,
            principal: Arc::from("client"),
            not_after: now + std::time::Duration::from_secs(3_600),
            traceparent: None,
            reply_to: Some(ReplyAddress {
                partition: 0,
                node: Incarnation(Uuid::nil()),
                correlation,
            }),
            command,
        };
        self.client.questions.insert(correlation, message.clone());
        self.send_command(message);
    }

    /// A command that arrives twice, as after a doubtful delivery.
    fn repeat(&mut self) {
        let index = self.between(0, self.client.questions.len() as i64) as usize;
        let message = self.client.questions.values().nth(index).cloned();
        if let Some(message) = message {
            self.send_command(message);
        }
    }

    pub fn send_command(&mut self, message: CommandMessage) {
        let shard = message.command.shard(SHARDS);
        // Each machine sends in its own order.
        let sender = message.reply_to.map_or(0, |to| to.node.0.as_u128());
        self.send(4, sender, Happening::Command(shard, Box::new(message)));
    }

    fn spec(&mut self, replicas: std::ops::Range<i64>) -> JobSpec {
        let mut policies = Vec::new();
        for _ in 0..self.between(1, 3) {
            let timeouts = Timeouts {
                start_ms: self.chance(40).then(|| self.between(6_000, 30_000) as u64),
                run_ms: self.chance(40).then(|| self.between(200, 20_000) as u64),
            };
            let retry = RetryPolicy {
                max_retries: self.between(0, 4) as u16,
                base_ms: self.between(10, 4_000) as u64,
                jitter: self.chance(30),
                ..RetryPolicy::default()
            };
            let requires = if self.chance(20) {
                Labels::from([("zone".into(), "b".into())])
            } else {
                Labels::new()
            };
            policies.push(Policy {
                retry,
                timeouts,
                requires,
            });
        }
        let mut groups = Vec::new();
        for number in 0..self.between(0, 4) {
            groups.push(TaskGroup {
                external_id: format!("g{number}"),
                replicas: self.between(replicas.start, replicas.end) as u32,
                executor: ExecutorKind::Noop,
                policy: self.between(0, policies.len() as i64) as u32,
            });
        }
        JobSpec {
            external_id: None,
            labels: Labels::new(),
            document_hash: "0".repeat(64),
            task_count: groups.iter().map(|group| group.replicas).sum(),
            max_parallel: self.chance(15).then_some(2),
            deadline_ms: self.chance(10).then(|| self.between(1_000, 60_000) as u64),
            policies,
            groups,
        }
    }
}
