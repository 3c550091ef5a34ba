//! One sample of each type with all its fields, one with as few as possible; numbers at their limits.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::event::*;
use crate::domain::*;
use crate::event::*;

fn uuid(low: u64) -> Uuid {
    Uuid::from_u128((0x0198_c2a0_7c00_7000 << 64) | (0x8000 << 48) | u128::from(low))
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(1_755_600_000_000 + ms)
}

fn job() -> JobId {
    JobId(uuid(1))
}

fn task() -> TaskId {
    TaskId {
        job: job(),
        number: 1_000_000,
    }
}

fn worker() -> WorkerName {
    "a.b_c-1".parse().unwrap()
}

fn incarnation() -> Incarnation {
    Incarnation(uuid(2))
}

fn labels() -> Labels {
    [("team", "seismology"), ("zone", "ä \"quoted\"\n")]
        .map(|(key, value)| (key.into(), value.into()))
        .into()
}

fn spec() -> JobSpec {
    let plain = Policy::default();
    let special = Policy {
        retry: RetryPolicy {
            max_retries: u16::MAX,
            base_ms: 1,
            factor: 1.1,
            max_delay_ms: u64::MAX,
            jitter: true,
        },
        timeouts: Timeouts {
            start_ms: Some(300_000),
            run_ms: Some(60_000),
        },
        requires: labels(),
    };
    let group = |external_id: &str, replicas, executor, policy| TaskGroup {
        external_id: external_id.into(),
        replicas,
        executor,
        policy,
    };
    JobSpec {
        external_id: Some("strong-earthquakes".into()),
        labels: labels(),
        document_hash: "0123456789abcdef".repeat(4),
        task_count: 6,
        max_parallel: Some(100),
        deadline_ms: Some(7_200_000),
        policies: vec![plain, special],
        groups: vec![
            group("filter", 4, ExecutorKind::Pipeline, 0),
            group("host-facts", 1, ExecutorKind::Process, 1),
            group("nothing", 1, ExecutorKind::Noop, 0),
        ],
    }
}

fn failure() -> Failure {
    Failure {
        reason: FailureReason::Error,
        message: "exit code 3 — „fertig“".into(),
        causes: vec!["the disk is full".into(), "no space left on device".into()],
        exit_code: Some(-2_147_483_648),
        last_log_lines: vec!["one\ttab".into(), "two \u{1F30B} \u{0}".into()],
    }
}

fn bare_meta() -> Meta {
    Meta {
        at: at(0),
        principal: Arc::from("system"),
        command: None,
        causation: None,
        traceparent: None,
    }
}

fn full_meta() -> Meta {
    Meta {
        at: at(42),
        principal: Arc::from("api:ada"),
        command: Some(uuid(3)),
        causation: Some(uuid(4)),
        traceparent: Some(Arc::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    }
}

pub fn events() -> Vec<EventRecord> {
    let on_job = StreamId::Job(job());
    let on_task = StreamId::Task(task());
    let on_worker = StreamId::Worker(incarnation());
    let submitted = |spec, deadline_at| {
        (
            on_job,
            Event::JobSubmitted(Box::new(JobSubmitted { spec, deadline_at })),
        )
    };
    let ready = |cause| (on_task, Event::TaskReady(TaskReady { cause }));
    let attempt = Attempt(u32::MAX);
    let failed = |from, r#final, attempt_open, failure| {
        (
            on_task,
            Event::TaskFailed(Box::new(TaskFailed {
                attempt,
                from,
                r#final,
                attempt_open,
                failure,
            })),
        )
    };
    let mut events = vec![
        submitted(
            JobSpec {
                policies: vec![],
                ..JobSpec::default()
            },
            None,
        ),
        submitted(spec(), Some(at(7_200_000))),
        (on_job, Event::JobKillRequested(JobKillRequested {})),
        (on_job, Event::JobStopRequested(JobStopRequested {})),
        (
            on_job,
            Event::JobRetryRequested(JobRetryRequested {
                tasks: 1,
                deadline_at: None,
            }),
        ),
        (
            on_job,
            Event::JobRetryRequested(JobRetryRequested {
                tasks: 6,
                deadline_at: Some(Timestamp::MAX),
            }),
        ),
        (on_job, Event::JobDeadlineReached(JobDeadlineReached {})),
        (
            on_job,
            Event::FanOutAdvanced(FanOutAdvanced {
                request: 1,
                next_task: 1_000_001,
            }),
        ),
        ready(ReadyCause::Submission),
        ready(ReadyCause::Retry { retry: 3 }),
        ready(ReadyCause::HandedBack),
        ready(ReadyCause::JobRetry {
            was: FailureReason::Killed,
        }),
        (
            on_task,
            Event::TaskStarted(TaskStarted {
                attempt: Attempt(1),
                run_by: None,
            }),
        ),
        (
            on_task,
            Event::TaskStarted(TaskStarted {
                attempt,
                run_by: Some(at(60_000)),
            }),
        ),
        (
            on_task,
            Event::TaskCompleted(TaskCompleted {
                attempt: Attempt(1),
                counters: [].into(),
            }),
        ),
        (
            on_task,
            Event::TaskCompleted(TaskCompleted {
                attempt,
                counters: [
                    ("records_in".into(), u64::MAX),
                    ("records_out".into(), 9_007_199_254_740_993),
                ]
                .into(),
            }),
        ),
        failed(TaskState::Ready, true, false, Failure::new(FailureReason::Killed, "")),
        failed(TaskState::Running, false, true, failure()),
    ];
    for start_by in [None, Some(at(300_000))] {
        let scheduled = TaskScheduled {
            attempt: Attempt(1),
            worker: worker(),
            incarnation: incarnation(),
            start_by,
        };
        events.push((on_task, Event::TaskScheduled(scheduled)));
    }
    for status in JobStatus::ALL {
        events.push((on_job, Event::JobFinished(JobFinished { status })));
    }
    for budget in [Budget::Retries, Budget::Losses, Budget::Restarts, Budget::Paid] {
        events.push((
            on_task,
            Event::RetryScheduled(RetryScheduled {
                retry: 1,
                due_at: at(1_000),
                budget,
            }),
        ));
    }
    for reason in FailureReason::ALL {
        events.push((on_task, Event::RetryCancelled(RetryCancelled { reason })));
    }
    for outcome in [LateEnd::Completed, LateEnd::Failed, LateEnd::WorkerLost] {
        events.push((
            on_task,
            Event::AttemptEnded(AttemptEnded {
                attempt: Attempt(2),
                outcome,
            }),
        ));
    }
    for labels in [Labels::new(), labels()] {
        let registered = WorkerRegistered {
            worker: worker(),
            incarnation: incarnation(),
            endpoint_url: "http://10.0.0.1:9000".into(),
            max_capacity: 8,
            labels,
        };
        events.push((on_worker, Event::WorkerRegistered(Box::new(registered))));
    }
    for cause in [WorkerEnd::Drained, WorkerEnd::Lost, WorkerEnd::Superseded] {
        let left = WorkerLeft {
            worker: worker(),
            incarnation: incarnation(),
            cause,
        };
        events.push((on_worker, Event::WorkerLeft(left)));
    }
    events.extend(standings().map(|event| (on_worker, event)));
    let metas = [bare_meta(), full_meta()].into_iter().cycle();
    let record = |((stream, event), meta)| EventRecord {
        stream,
        version: 7,
        meta,
        event,
    };
    events.into_iter().zip(metas).map(record).collect()
}

fn standings() -> [Event; 4] {
    let cordoned = |inherited| {
        Event::WorkerCordoned(WorkerCordoned {
            worker: worker(),
            incarnation: incarnation(),
            inherited,
        })
    };
    [
        cordoned(false),
        cordoned(true),
        Event::WorkerUncordoned(WorkerUncordoned {
            worker: worker(),
            incarnation: incarnation(),
        }),
        Event::WorkerDrainRequested(WorkerDrainRequested {
            worker: worker(),
            incarnation: incarnation(),
        }),
    ]
}

pub fn registration() -> Registration {
    Registration {
        worker: worker(),
        incarnation: incarnation(),
        endpoint_url: "http://10.0.0.1:9000".into(),
        max_capacity: 8,
        labels: labels(),
    }
}

pub fn commands() -> Vec<CommandMessage> {
    let reply_to = ReplyAddress {
        partition: 65_535,
        node: incarnation(),
        correlation: uuid(5),
    };
    let bare = |command| CommandMessage {
        v: Version,
        id: uuid(3),
        principal: Arc::from("anonymous"),
        not_after: at(10_000),
        traceparent: None,
        reply_to: None,
        command,
    };
    let full = |command| CommandMessage {
        traceparent: full_meta().traceparent,
        reply_to: Some(reply_to),
        ..bare(command)
    };
    let removed = |cause| Command::RemoveWorker {
        worker: worker(),
        incarnation: incarnation(),
        cause,
    };
    vec![
        full(Command::SubmitJob {
            job: job(),
            spec: Box::new(spec()),
        }),
        bare(Command::KillJob { job: job() }),
        full(Command::StopJob { job: job() }),
        bare(Command::RetryJob { job: job() }),
        full(Command::CancelRetry { task: task() }),
        bare(Command::BringForwardRetry { task: task() }),
        full(Command::RegisterWorker {
            registration: registration(),
        }),
        bare(removed(WorkerEnd::Drained)),
        bare(removed(WorkerEnd::Lost)),
        bare(removed(WorkerEnd::Superseded)),
        full(Command::CordonWorker { worker: worker() }),
        bare(Command::UncordonWorker { worker: worker() }),
        full(Command::DrainWorker { worker: worker() }),
    ]
}

pub fn replies() -> Vec<Reply> {
    // A new code does not compile here: add it to the list below.
    let _all = |code| match code {
        RefusalCode::NotFound
        | RefusalCode::IdTaken
        | RefusalCode::IdOutOfRange
        | RefusalCode::Gone
        | RefusalCode::NothingFailed
        | RefusalCode::BeingEnded
        | RefusalCode::NoRetryPending
        | RefusalCode::Superseded
        | RefusalCode::Expired
        | RefusalCode::Quarantined
        | RefusalCode::WorkerLeft
        | RefusalCode::UpgradeUnfinished => {}
    };
    let position = Position {
        shard: ShardId(63),
        seq: Seq(9_007_199_254_740_993),
    };
    let codes = [
        RefusalCode::NotFound,
        RefusalCode::IdTaken,
        RefusalCode::IdOutOfRange,
        RefusalCode::Gone,
        RefusalCode::NothingFailed,
        RefusalCode::BeingEnded,
        RefusalCode::NoRetryPending,
        RefusalCode::Superseded,
        RefusalCode::Expired,
        RefusalCode::Quarantined,
        RefusalCode::WorkerLeft,
    ];
    let refused = |code| Err(Refusal::new(code, "said in words"));
    let refusals = codes.map(refused);
    let standing = Some(standing());
    let told = Ok(Accepted { position, standing });
    let results = std::iter::once(Ok(Accepted::at(position)))
        .chain(refusals)
        .chain([told, refused(RefusalCode::UpgradeUnfinished)]);
    results
        .map(|result| Reply {
            v: Version,
            node: incarnation(),
            correlation: uuid(5),
            result,
        })
        .collect()
}

fn standing() -> Standing {
    Standing {
        cordoned: true,
        draining: false,
    }
}

fn attempt_ref() -> AttemptRef {
    AttemptRef {
        task: task(),
        attempt: Attempt(4),
    }
}

fn grant() -> Grant {
    Grant {
        jobmaster: Incarnation(uuid(6)),
        granted: u64::MAX,
    }
}

pub fn reports() -> Vec<ReportMessage> {
    let report = |grants, items| ReportMessage {
        v: Version,
        worker: worker(),
        incarnation: incarnation(),
        timeline: None,
        sent_at: at(1),
        grants,
        items,
    };
    let ended = |outcome| ReportItem::Ended {
        attempt: attempt_ref(),
        outcome,
    };
    let inventory = |attempts, standing| ReportItem::Inventory { attempts, standing };
    let began = |labels| ReportItem::Began {
        endpoint_url: "http://10.0.0.1:9000".into(),
        max_capacity: 8,
        labels,
        not_after: at(30_000),
    };
    let items = vec![
        ReportItem::Started { attempt: attempt_ref() },
        ended(Outcome::Completed { counters: [].into() }),
        ended(Outcome::Completed {
            counters: [("records_in".into(), 1_707)].into(),
        }),
        ended(Outcome::Failed { failure: failure() }),
        ended(Outcome::HandedBack),
        inventory(vec![attempt_ref()], Standing::default()),
    ];
    vec![
        report(vec![], vec![inventory(vec![], Standing::default())]),
        report(vec![grant()], items),
        report(vec![], vec![inventory(vec![], standing())]),
        report(vec![], vec![began(labels()), ReportItem::Left {}]),
        report(vec![], vec![began(Labels::new())]),
        ReportMessage {
            timeline: Some(uuid(7)),
            ..report(vec![], vec![ReportItem::Left {}])
        },
    ]
}

pub fn assignments() -> Vec<AssignmentMessage> {
    let assignment = |executor, charged| AssignmentItem::Assign {
        assignment: Assignment {
            attempt: attempt_ref(),
            executor,
            document_hash: "0123456789abcdef".repeat(4),
            external_id: "filter-3".into(),
            group_index: 1,
            replica_index: 3,
            replica_count: 4,
            charged,
            traceparent: None,
        },
    };
    let ack = |kind| AssignmentItem::Ack {
        kind,
        attempts: vec![attempt_ref()],
    };
    let items = vec![
        assignment(ExecutorKind::Noop, true),
        assignment(ExecutorKind::Process, false),
        assignment(ExecutorKind::Pipeline, true),
        AssignmentItem::Cancel { attempt: attempt_ref() },
        AssignmentItem::Stop { attempt: attempt_ref() },
        ack(ReportKind::Started),
        ack(ReportKind::Ended),
    ];
    let message = |items| AssignmentMessage {
        v: Version,
        timeline: uuid(7),
        shard: ShardId(63),
        epoch: Epoch(1_000_001),
        jobmaster: Incarnation(uuid(6)),
        incarnation: incarnation(),
        items,
    };
    let told = AssignmentItem::Standing { standing: standing() };
    let of_worker = vec![
        AssignmentItem::Registered {
            standing: Standing::default(),
        },
        AssignmentItem::Registered { standing: standing() },
        AssignmentItem::Superseded {},
        AssignmentItem::Removed {},
    ];
    vec![message(vec![]), message(items), message(vec![told]), message(of_worker)]
}

pub fn beats() -> Vec<Beat> {
    let worker_beat = |cordoned| WorkerBeat {
        v: Version,
        worker: worker(),
        incarnation: incarnation(),
        timeline: None,
        sent_at: at(2_000),
        clock: None,
        endpoint_url: "http://10.0.0.1:9000".into(),
        max_capacity: 8,
        running: 3,
        queued: 1,
        labels: labels(),
        draining: false,
        cordoned,
        leaving: true,
        cpu_cores: 0.1 + 0.2,
        memory_bytes: u64::MAX,
        grants: vec![grant()],
    };
    let jobmaster = |hungry, returned| JobmasterBeat {
        v: Version,
        jobmaster: Incarnation(uuid(6)),
        timeline: None,
        sent_at: at(2_000),
        hungry,
        leaving: false,
        returned,
    };
    vec![
        Beat::Worker(worker_beat(false)),
        Beat::Jobmaster(jobmaster(false, vec![])),
        Beat::Jobmaster(jobmaster(
            true,
            vec![ReturnedCredits {
                used: 0,
                worker: incarnation(),
                returned: 12,
                unwanted: false,
            }],
        )),
        Beat::Worker(worker_beat(true)),
        Beat::Jobmaster(jobmaster(
            true,
            vec![ReturnedCredits {
                used: 3,
                worker: incarnation(),
                returned: 12,
                unwanted: true,
            }],
        )),
        Beat::Worker(WorkerBeat {
            clock: Some(at(2_010)),
            ..worker_beat(false)
        }),
        Beat::Worker(WorkerBeat {
            timeline: Some(uuid(7)),
            ..worker_beat(false)
        }),
        Beat::Jobmaster(JobmasterBeat {
            timeline: Some(uuid(7)),
            ..jobmaster(false, vec![])
        }),
    ]
}
