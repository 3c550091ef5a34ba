//! Clients in the simulated world: they submit jobs, kill, stop and retry them, repeat themselves, and keep the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::world::{Happening, SHARDS, World};
use crate::domain::{
    ExecutorKind, Incarnation, JobId, JobSpec, Labels, Policy, Refusal, RetryPolicy, ShardId, TaskGroup, TaskId,
    Timeouts,
};
use crate::event::{Accepted, Command, CommandMessage, Reply, ReplyAddress, Version};

#[derive(Default)]
pub struct Client {
    pub submitted: Vec<JobId>,
    answers: BTreeMap<Uuid, Result<Accepted, Refusal>>,
    questions: BTreeMap<Uuid, CommandMessage>,
}

impl Client {
    pub fn on_reply(&mut self, reply: Reply) {
        self.answers.insert(reply.correlation, reply.result);
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
            (0..50, _) | (_, None) => self.submit(),
            (50..60, Some(_)) => self.repeat(),
            (act, Some(count)) => {
                let index = self.between(0, count as i64) as usize;
                let job = self.client.submitted[index];
                let number = self.between(1, 6) as u32;
                let task = TaskId { job, number };
                let command = match act {
                    60..72 => Command::KillJob { job },
                    72..80 => Command::StopJob { job },
                    80..92 => Command::RetryJob { job },
                    92..96 => Command::CancelRetry { task },
                    _ => Command::BringForwardRetry { task },
                };
                self.wish(command);
            }
        }
    }

    fn submit(&mut self) {
        let job = JobId(self.fresh_uuid());
        let spec = Box::new(self.spec());
        self.client.submitted.push(job);
        self.wish(Command::SubmitJob { job, spec });
    }

    fn wish(&mut self, command: Command) {
        let (id, correlation) = (self.fresh_uuid(), self.fresh_uuid());
        let message = CommandMessage {
            v: Version,
            id,
            principal: Arc::from("client"),
            not_after: self.now() + std::time::Duration::from_secs(3_600),
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
        let shard = match &message.command {
            Command::RegisterWorker { registration } => ShardId(registration.worker.slot(SHARDS)),
            Command::RemoveWorker { worker, .. } => ShardId(worker.slot(SHARDS)),
            other => other.job().map_or(ShardId(0), |job| job.shard(SHARDS)),
        };
        self.send(4, 0, Happening::Command(shard, Box::new(message)));
    }

    fn spec(&mut self) -> JobSpec {
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
        let large = self.chance(8);
        let mut groups = Vec::new();
        for number in 0..self.between(0, 4) {
            groups.push(TaskGroup {
                external_id: format!("g{number}"),
                replicas: if large {
                    self.between(10, 60)
                } else {
                    self.between(1, 5)
                } as u32,
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
