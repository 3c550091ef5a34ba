//! Every reason, from lives that the domain's own decisions made.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::explanation::{Explanation, Reason};
use super::task::Told;
use crate::domain::event::{Event, Failure, FailureReason, JobSubmitted};
use crate::domain::{
    Attempt, AttemptOutcome, Decision, ExecutorKind, Fact, Incarnation, Job, JobId, JobRequests, JobSpec, Labels,
    Policy, RetryPolicy, Seq, ShardId, TaskGroup, TaskHistory, Timeouts, Timestamp,
};
use crate::log::JobStory;
use crate::shard::{Candidate, Liveness, Placing};

const START: Timestamp = Timestamp::from_ms(1_755_600_000_000);

fn job_id() -> JobId {
    JobId(Uuid::from_u128(
        (u128::from(START.as_ms().cast_unsigned()) << 80) | 0x7000_8000_0000_0000_0001,
    ))
}

fn incarnation(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn spec(tasks: u32) -> JobSpec {
    JobSpec {
        document_hash: "0".repeat(64),
        task_count: tasks,
        policies: vec![Policy {
            retry: RetryPolicy {
                max_retries: 1,
                ..RetryPolicy::default()
            },
            timeouts: Timeouts {
                start_ms: Some(300_000),
                run_ms: Some(60_000),
            },
            requires: Labels::new(),
        }],
        groups: vec![TaskGroup {
            external_id: "t".into(),
            replicas: tasks,
            executor: ExecutorKind::Noop,
            policy: 0,
        }],
        ..JobSpec::default()
    }
}

/// A worker that is heard and has two free slots and as many credits.
fn worker(number: u128) -> Candidate {
    Candidate {
        worker: format!("w{number}").parse().unwrap(),
        incarnation: incarnation(number),
        labels: Labels::new(),
        liveness: Liveness::Active,
        heard_at: START,
        draining: false,
        cordoned: false,
        running: 0,
        queued: 0,
        max_capacity: 2,
        credits: 2,
    }
}

fn placing(workers: Vec<Candidate>) -> Placing {
    Placing {
        here: true,
        stopped: None,
        failing: None,
        connected: true,
        lost_after: Duration::from_secs(45),
        workers,
    }
}

/// A job, and what its histories tell.
struct Lived {
    job: Job,
    story: JobStory,
    tasks: BTreeMap<u32, TaskHistory>,
    now: Timestamp,
}

impl Lived {
    fn begun(spec: JobSpec) -> Self {
        let submitted: JobSubmitted = Job::decide_submit(spec, START);
        let mut requests = JobRequests::default();
        requests.apply(1, START, &Event::JobSubmitted(Box::new(submitted.clone())));
        Self {
            job: Job::submitted(job_id(), &submitted, START, None),
            story: JobStory {
                submitted: Box::new(submitted),
                submitted_at: START,
                requests,
                ended_by: None,
                finished_at: None,
                last_seq: Seq(1),
            },
            tasks: BTreeMap::new(),
            now: START,
        }
    }

    fn new(spec: JobSpec) -> Self {
        let mut lived = Self::begun(spec);
        lived.settle();
        lived
    }

    fn apply(&mut self, decision: Decision) {
        for (task, event) in decision {
            let version = match task {
                0 => self.job.version() + 1,
                number => self.job.task_version(number) + 1,
            };
            let fact = Fact {
                task,
                version,
                at: self.now,
                command: None,
                event: &event,
            };
            self.job.apply(fact).unwrap();
            if task == 0 {
                self.story.requests.apply(version, self.now, &event);
            } else {
                let history = self.tasks.entry(task).or_insert(TaskHistory::new(task));
                history.apply(fact).unwrap();
                assert_eq!(
                    history.record().map(|it| it.state()),
                    self.job.task(task).map(|it| it.state())
                );
            }
            let under_way = self.story.requests.under_way().map(|request| request.fan_out);
            assert_eq!(under_way, self.job.fan_out(), "{event:?}");
        }
    }

    fn settle(&mut self) {
        while self.job.fan_out().is_some() {
            self.apply(self.job.decide_fan_out(100));
        }
        self.apply(self.job.decide_finished());
    }

    fn schedule(&mut self, number: u32) {
        let name = "w1".parse().unwrap();
        let event = self
            .job
            .decide_schedule(number, &name, incarnation(1), self.now)
            .unwrap();
        self.apply(vec![(number, event)]);
    }

    fn start(&mut self, number: u32) {
        self.schedule(number);
        let attempt = self.job.task(number).unwrap().attempt();
        self.apply(self.job.decide_started(number, attempt, self.now));
    }

    fn fail(&mut self, number: u32, reason: FailureReason) {
        let attempt: Attempt = self.job.task(number).unwrap().attempt();
        let outcome = AttemptOutcome::Failed(Failure::new(reason, "it broke"));
        self.apply(self.job.decide_ended(number, attempt, outcome, self.now, 0.0));
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn strike(&mut self, number: u32) {
        let (due, version) = self.job.task(number).unwrap().timer().unwrap();
        self.now = self.now.max(due);
        self.apply(self.job.decide_timer(number, version, self.now, 0.0));
    }

    fn explain(&self, number: u32, placing: &Placing) -> Explanation {
        let unwritten = TaskHistory::new(number);
        let spec = self.job.spec();
        let told = Told {
            task: self.tasks.get(&number).unwrap_or(&unwritten),
            story: &self.story,
            policy: &spec.policies[0],
            shard: ShardId(7),
            placing,
            active: Some(self.job.active_count() as u32),
        };
        told.explain()
    }
}

/// Of a READY task among these workers.
fn among(workers: Vec<Candidate>) -> Explanation {
    Lived::new(spec(1)).explain(1, &placing(workers))
}

#[track_caller]
fn says(explanation: &Explanation, reason: Reason, part: &str) {
    assert_eq!(explanation.reason, reason, "{explanation:#?}");
    assert!(explanation.sentence.contains(part), "{explanation:#?}");
}

#[test]
fn there_is_no_worker() {
    let explanation = among(vec![]);
    says(&explanation, Reason::NoWorker, "No worker is heard");
    assert!(explanation.remedy.unwrap().contains("grid worker"));
}

#[test]
fn no_worker_has_the_labels() {
    let mut wanted = spec(1);
    wanted.policies[0].requires = labels(&[("zone", "b"), ("disk", "ssd")]);
    let mut other = worker(1);
    other.labels = labels(&[("zone", "b")]);
    let lived = Lived::new(wanted);
    let explanation = lived.explain(1, &placing(vec![other.clone()]));
    says(&explanation, Reason::NoMatchingWorker, "disk=ssd, zone=b");
    assert!(
        explanation
            .remedy
            .as_ref()
            .unwrap()
            .contains("--labels disk=ssd,zone=b")
    );
    assert_eq!(explanation.details.workers.len(), 1);
    other.labels = labels(&[("zone", "b"), ("disk", "ssd"), ("more", "x")]);
    says(
        &lived.explain(1, &placing(vec![other])),
        Reason::Placeable,
        "disk=ssd, zone=b has room",
    );
}

#[test]
fn those_that_fit_do_not_take_work() {
    let silent = Candidate {
        liveness: Liveness::Inactive,
        heard_at: START + Duration::from_secs(3),
        ..worker(1)
    };
    let cordoned = Candidate {
        cordoned: true,
        ..worker(2)
    };
    let draining = Candidate {
        draining: true,
        cordoned: true,
        ..worker(3)
    };
    let explanation = among(vec![silent.clone()]);
    says(
        &explanation,
        Reason::WorkersSilent,
        "silent, the last since 2025-08-19T10:40:03.000Z: worker-w1",
    );
    assert_eq!(explanation.details.since, Some(silent.heard_at));
    let explanation = among(vec![cordoned.clone()]);
    says(&explanation, Reason::WorkersCordoned, "cordoned: worker-w2");
    assert!(explanation.remedy.unwrap().contains("/uncordon"));
    says(&among(vec![draining.clone()]), Reason::WorkersDraining, "worker-w3");
    let explanation = among(vec![silent, cordoned, draining]);
    says(
        &explanation,
        Reason::WorkersUnavailable,
        "worker-w1 (silent), worker-w2 (cordoned), worker-w3 (draining)",
    );
    assert_eq!(explanation.details.workers.len(), 3);
}

#[test]
fn those_that_take_work_have_no_room() {
    let full = Candidate {
        running: 2,
        queued: 1,
        credits: 0,
        ..worker(1)
    };
    says(
        &among(vec![full.clone()]),
        Reason::WorkersFull,
        "2 of 2 slots are taken, and 1 attempts wait in them",
    );
    let granted_elsewhere = Candidate {
        running: 1,
        credits: 0,
        ..worker(2)
    };
    let explanation = among(vec![full.clone(), granted_elsewhere.clone()]);
    says(&explanation, Reason::NoCredit, "3 of 4 slots are taken");
    assert_eq!(explanation.details.workers[1].credits, Some(0));
    // A credit of one that is cordoned is none.
    let cordoned = Candidate {
        cordoned: true,
        ..worker(3)
    };
    says(&among(vec![full.clone(), cordoned]), Reason::WorkersFull, "full");
    says(&among(vec![full, worker(4)]), Reason::Placeable, "jobs in turn");
}

/// Another process owns the shard: its credits are not known here, and nothing is said of them.
#[test]
fn what_another_process_decides_is_not_claimed() {
    let lived = Lived::new(spec(1));
    let elsewhere = |workers| Placing {
        here: false,
        ..placing(workers)
    };
    let without_credit = Candidate {
        credits: 0,
        ..worker(1)
    };
    let explanation = lived.explain(1, &elsewhere(vec![without_credit]));
    says(&explanation, Reason::Placeable, "Another jobmaster owns the shard");
    assert_eq!(explanation.details.decided_here, Some(false));
    assert_eq!(explanation.details.workers[0].credits, None);
    let full = Candidate {
        running: 2,
        ..worker(1)
    };
    says(&lived.explain(1, &elsewhere(vec![full])), Reason::WorkersFull, "2 of 2");
    let deaf = Placing {
        connected: false,
        ..placing(vec![])
    };
    says(
        &lived.explain(1, &deaf),
        Reason::HeartbeatsUnheard,
        "hears no heartbeats",
    );
}

#[test]
fn its_shard_is_stopped() {
    let stopped = Placing {
        stopped: Some("its cursor points at nothing".to_owned()),
        ..placing(vec![worker(1)])
    };
    let explanation = Lived::new(spec(1)).explain(1, &stopped);
    says(
        &explanation,
        Reason::ShardStopped,
        "7, cannot be opened: its cursor points at nothing",
    );
}

#[test]
fn its_job_is_not_written_out_or_is_being_ended() {
    let mut lived = Lived::begun(spec(250));
    lived.apply(lived.job.decide_fan_out(100));
    let placing = placing(vec![worker(1)]);
    says(&lived.explain(200, &placing), Reason::SubmissionUnderWay, "100 of 250");
    says(&lived.explain(50, &placing), Reason::Placeable, "room");
    lived.apply(lived.job.decide_kill());
    lived.story.ended_by = Some("ada".to_owned());
    lived.apply(lived.job.decide_fan_out(100));
    let explanation = lived.explain(200, &placing);
    says(&explanation, Reason::JobEnding, "being killed, asked for by ada");
    assert_eq!(
        (explanation.details.done, explanation.details.tasks),
        (Some(100), Some(250))
    );
}

#[test]
fn as_many_as_may_run_are_under_way() {
    let mut one = spec(3);
    one.max_parallel = Some(1);
    let mut lived = Lived::new(one);
    let placing = placing(vec![worker(1)]);
    says(&lived.explain(2, &placing), Reason::Placeable, "room");
    lived.schedule(1);
    says(&lived.explain(2, &placing), Reason::MaxParallel, "at most 1");
}

#[test]
fn an_earlier_attempt_has_not_ended() {
    let mut lived = Lived::new(spec(1));
    lived.start(1);
    lived.strike(1);
    let explanation = lived.explain(1, &placing(vec![worker(1)]));
    says(&explanation, Reason::RetryWait, "TIMEOUT");
    assert!(
        explanation.sentence.contains("has not said that it ended"),
        "{explanation:#?}"
    );
    lived.strike(1);
    let explanation = lived.explain(1, &placing(vec![worker(1)]));
    says(
        &explanation,
        Reason::EarlierAttemptOpen,
        "Attempt 1 was given up, and worker-w1 has not said",
    );
    assert_eq!(explanation.details.worker_id.as_deref(), Some("worker-w1"));
    let silent = Candidate {
        liveness: Liveness::Inactive,
        ..worker(1)
    };
    let explanation = lived.explain(1, &placing(vec![silent]));
    says(
        &explanation,
        Reason::EarlierAttemptOpen,
        "silent since 2025-08-19T10:40:00.000Z",
    );
    assert_eq!(explanation.details.due_at, Some(START + Duration::from_secs(45)));
}

#[test]
fn it_waits_for_its_retry() {
    let mut lived = Lived::new(spec(1));
    lived.start(1);
    lived.fail(1, FailureReason::Error);
    let explanation = lived.explain(1, &placing(vec![worker(1)]));
    says(
        &explanation,
        Reason::RetryWait,
        "Attempt 1 failed with ERROR (it broke); it waits for retry 1 of 1 at 2025-08-19T10:40:01.000Z",
    );
    assert_eq!(explanation.details.due_at, Some(START + Duration::from_secs(1)));
    assert!(explanation.remedy.unwrap().contains("/retry"));
    // Lost workers have a budget of their own.
    let mut lived = Lived::new(spec(1));
    lived.start(1);
    lived.fail(1, FailureReason::WorkerLost);
    says(
        &lived.explain(1, &placing(vec![])),
        Reason::RetryWait,
        "retry 1 of 5 after lost workers",
    );
}

#[test]
fn it_is_on_its_way() {
    let mut lived = Lived::new(spec(1));
    lived.schedule(1);
    let busy = Candidate {
        running: 2,
        queued: 1,
        ..worker(1)
    };
    let explanation = lived.explain(1, &placing(vec![busy]));
    says(
        &explanation,
        Reason::AwaitingStart,
        "2 of 2 slots are taken, and 1 attempts wait",
    );
    assert!(explanation.remedy.unwrap().contains("start timeout"));
    let silent = || Candidate {
        liveness: Liveness::Inactive,
        ..worker(1)
    };
    says(
        &lived.explain(1, &placing(vec![silent()])),
        Reason::WorkerSilent,
        "was given to worker-w1",
    );
    let attempt = lived.job.task(1).unwrap().attempt();
    lived.apply(lived.job.decide_started(1, attempt, lived.now));
    let explanation = lived.explain(1, &placing(vec![worker(1)]));
    says(&explanation, Reason::Running, "runs on worker-w1 since");
    assert_eq!(explanation.details.due_at, Some(START + Duration::from_secs(60)));
    let explanation = lived.explain(1, &placing(vec![silent()]));
    says(&explanation, Reason::WorkerSilent, "silent since");
    assert_eq!(explanation.details.due_at, Some(START + Duration::from_secs(45)));
    // Silence that cannot be heard is none; and of a worker that is not heard of nothing is said.
    let deaf = Placing {
        connected: false,
        ..placing(vec![silent()])
    };
    says(&lived.explain(1, &deaf), Reason::Running, "runs on");
    says(&lived.explain(1, &placing(vec![])), Reason::Running, "runs on");
    lived.apply(lived.job.decide_stop());
    lived.settle();
    says(
        &lived.explain(1, &placing(vec![worker(1)])),
        Reason::Stopping,
        "told to end in order",
    );
}

#[test]
fn it_completed() {
    let mut lived = Lived::new(spec(1));
    lived.start(1);
    let done = AttemptOutcome::Completed {
        counters: BTreeMap::new(),
    };
    lived.apply(lived.job.decide_ended(1, Attempt(1), done, lived.now, 0.0));
    says(
        &lived.explain(1, &placing(vec![])),
        Reason::Completed,
        "on attempt 1, on worker-w1",
    );
}

#[test]
fn it_was_killed_and_while_doing_what() {
    let mut lived = Lived::new(spec(4));
    lived.schedule(2);
    lived.start(3);
    lived.start(4);
    lived.fail(4, FailureReason::Error);
    lived.apply(lived.job.decide_kill());
    lived.story.ended_by = Some("ada".to_owned());
    lived.settle();
    let placing = placing(vec![worker(1)]);
    says(
        &lived.explain(1, &placing),
        Reason::Killed,
        "killed by ada at 2025-08-19T10:40:00.000Z, while it waited for a worker",
    );
    says(
        &lived.explain(2, &placing),
        Reason::Killed,
        "while attempt 1 waited on worker-w1",
    );
    let running = lived.explain(3, &placing);
    says(&running, Reason::Killed, "while attempt 1 ran on worker-w1");
    assert!(running.sentence.contains("has not said yet"), "{running:#?}");
    assert_eq!(running.details.requested_by.as_deref(), Some("ada"));
    says(
        &lived.explain(4, &placing),
        Reason::Killed,
        "while it waited for its retry",
    );
}

#[test]
fn it_failed_for_good() {
    let placing = placing(vec![worker(1)]);
    let mut lived = Lived::new(spec(3));
    lived.start(1);
    lived.fail(1, FailureReason::InvalidDag);
    says(
        &lived.explain(1, &placing),
        Reason::NotRetryable,
        "INVALID_DAG (it broke), which is never tried again",
    );
    lived.start(2);
    lived.fail(2, FailureReason::Error);
    lived.strike(2);
    lived.start(2);
    lived.fail(2, FailureReason::Error);
    let used_up = lived.explain(2, &placing);
    says(
        &used_up,
        Reason::RetriesUsedUp,
        "Attempt 2 failed with ERROR (it broke), and all 1 retries are used up",
    );
    assert_eq!(
        (used_up.details.retries_used, used_up.details.max_retries),
        (Some(1), Some(1))
    );
    lived.start(3);
    lived.fail(3, FailureReason::Error);
    lived.apply(lived.job.decide_cancel_retry(3).unwrap());
    says(
        &lived.explain(3, &placing),
        Reason::RetryCancelled,
        "its retry was cancelled",
    );

    let mut without = spec(1);
    without.policies[0].retry.max_retries = 0;
    let mut lived = Lived::new(without);
    lived.start(1);
    lived.fail(1, FailureReason::Error);
    says(
        &lived.explain(1, &placing),
        Reason::RetriesUsedUp,
        "no retries are configured.",
    );
}

#[test]
fn its_deadline_was_reached() {
    let mut timed = spec(1);
    timed.deadline_ms = Some(10_000);
    let mut lived = Lived::new(timed);
    lived.pass(11);
    let (_, version) = lived.job.deadline().unwrap();
    lived.apply(lived.job.decide_deadline(version, lived.now));
    lived.settle();
    says(&lived.explain(1, &placing(vec![])), Reason::DeadlineReached, "deadline");
    // A timeout of its own is another thing.
    let mut lived = Lived::new(spec(1));
    lived.start(1);
    lived.strike(1);
    says(&lived.explain(1, &placing(vec![])), Reason::RetryWait, "TIMEOUT");
}
