//! Attempts, failures, retries and timers of one task.

use super::given::*;
use crate::domain::event::{
    AttemptEnded, Budget, Event, FailureReason, LateEnd, ReadyCause, RetryCancelled, TaskScheduled, TaskStarted,
    TaskState,
};
use crate::domain::{
    Attempt, AttemptOutcome, LossCause, MOST_FREE_RETURNS, Policy, RefusalCode, RetryPolicy, TaskRecord, Timeouts,
};

use FailureReason::{Authentication, Error, HandedBack, InvalidDag, Killed, Timeout, Unrecoverable, WorkerLost};
use TaskState::{Completed, Failed, Ready, Running, Scheduled};

const TASK: u32 = 1;

fn running(attempt: u32) -> [(u32, Event); 2] {
    [(TASK, scheduled(attempt, 1)), (TASK, started(attempt))]
}

fn record(given: &Given) -> TaskRecord {
    *given.job.task(TASK).unwrap()
}

#[test]
fn a_submission_is_written_out_in_chunks_and_counts_as_ready_before() {
    let given = given(3, []);
    assert_eq!(given.job.counters().ready, 3);
    assert_eq!(given.job.written(), 0);
    let submission = || ready(ReadyCause::Submission);
    let given = given
        .when(&Input::FanOut { most: 2 })
        .then([(1, submission()), (2, submission()), (0, advanced(1, 3))])
        .when(&Input::FanOut { most: 2 })
        .then([(3, submission()), (0, advanced(1, 4))])
        .when(&Input::FanOut { most: 2 })
        .then_nothing();
    assert_eq!(given.job.counters().ready, 3);
}

#[test]
fn an_empty_job_finishes_at_once() {
    let given = given(0, []);
    let finished = given.job.decide_finished();
    assert!(matches!(&finished[..], [(0, Event::JobFinished(it))] if it.status == crate::domain::JobStatus::Empty));
    let given = given
        .when(&Input::Finish)
        .then(finished)
        .when(&Input::Finish)
        .then_nothing();
    assert!(given.job.is_at_rest());
    given
        .when(&Input::Kill)
        .then_nothing()
        .when(&Input::Retry)
        .then_refused(RefusalCode::NothingFailed);
}

#[test]
fn the_happy_path() {
    let given = given_ready(1, [])
        .when(&Input::Schedule { task: TASK, worker: 1 })
        .then([(TASK, scheduled(1, 1))])
        .when(&Input::Schedule { task: TASK, worker: 2 })
        .then_nothing()
        .when(&Input::Started { task: TASK, attempt: 1 })
        .then([(TASK, started(1))])
        .when(&Input::Started { task: TASK, attempt: 1 })
        .then_nothing()
        .when(&ended_well(TASK, 1))
        .then([(TASK, completed(1))])
        .when(&ended_well(TASK, 1))
        .then_nothing();
    assert_eq!(record(&given).state(), Completed);
}

#[test]
fn a_completion_while_scheduled_starts_and_ends_and_a_later_start_is_a_repeat() {
    given_ready(1, [(TASK, scheduled(1, 1))])
        .when(&ended_well(TASK, 1))
        .then([(TASK, started(1)), (TASK, completed(1))])
        .when(&Input::Started { task: TASK, attempt: 1 })
        .then_nothing();
}

#[test]
fn reports_of_another_attempt_change_nothing() {
    for attempt in [0, 2] {
        given_ready(1, running(1))
            .when(&Input::Started { task: TASK, attempt })
            .then_nothing()
            .when(&ended_well(TASK, attempt))
            .then_nothing()
            .when(&Input::Lost {
                task: TASK,
                attempt,
                cause: LossCause::Lost,
            })
            .then_nothing();
    }
    // A task that does not exist, or is not written out.
    given(2, [])
        .when(&ended_well(1, 0))
        .then_nothing()
        .when(&ended_well(9, 1))
        .then_nothing();
}

#[test]
fn failures_are_retried_after_1_2_and_4_seconds_and_then_no_more() {
    let mut given = given_ready(1, running(1));
    let mut due_ms = 0;
    for retry_number in 1..=3_u16 {
        let attempt = u32::from(retry_number);
        due_ms += 1_000 << (retry_number - 1);
        given = given.when(&ended(TASK, attempt, Error, "no")).then([
            (TASK, failed(attempt, Running, Error, "no").not_final().event()),
            (TASK, retry(retry_number, due_ms, Budget::Retries)),
        ]);
        let (due, version) = record(&given).timer().unwrap();
        assert_eq!(due.since(given.now).as_millis(), 1_000 << (retry_number - 1));
        let due_in = due.since(given.now).as_millis() as u64;
        given = given
            .after_ms(due_in - 1)
            .when(&Input::Timer { task: TASK, version })
            .then_nothing()
            .after_ms(1)
            .when(&Input::Timer {
                task: TASK,
                version: version + 1,
            })
            .then_nothing()
            .when(&Input::Timer { task: TASK, version })
            .then([(TASK, ready(ReadyCause::Retry { retry: retry_number }))])
            .when(&Input::Timer { task: TASK, version })
            .then_nothing();
        for (task, event) in running(attempt + 1) {
            apply(&mut given.job, task, &event, given.now);
        }
    }
    given
        .when(&ended(TASK, 4, Error, "no"))
        .then([(TASK, failed(4, Running, Error, "no").event())]);
}

#[test]
fn some_failures_are_not_retried() {
    for reason in [Killed, InvalidDag, Authentication, Unrecoverable] {
        given_ready(1, running(1))
            .when(&ended(TASK, 1, reason, "no"))
            .then([(TASK, failed(1, Running, reason, "no").event())]);
    }
}

#[test]
fn a_failure_keeps_where_it_happened() {
    given_ready(1, [(TASK, scheduled(1, 1))])
        .when(&ended(TASK, 1, Unrecoverable, "no"))
        .then([(TASK, failed(1, Scheduled, Unrecoverable, "no").event())]);
}

#[test]
fn without_retries_the_first_failure_is_final() {
    let policy = Policy {
        retry: RetryPolicy {
            max_retries: 0,
            ..RetryPolicy::default()
        },
        ..Policy::default()
    };
    given_ready_spec(spec(1, policy), running(1))
        .when(&ended(TASK, 1, Error, "no"))
        .then([(TASK, failed(1, Running, Error, "no").event())]);
}

#[test]
fn lost_workers_have_a_budget_of_their_own() {
    let mut given = given_ready(1, running(1));
    let message = "its worker was lost while it ran";
    let mut due_ms = 0;
    for (index, delay_ms) in [0, 1_000, 2_000, 4_000, 8_000].into_iter().enumerate() {
        let attempt = index as u32 + 1;
        due_ms += delay_ms;
        given = given
            .when(&Input::Lost {
                task: TASK,
                attempt,
                cause: LossCause::Lost,
            })
            .then([
                (TASK, failed(attempt, Running, WorkerLost, message).not_final().event()),
                (TASK, retry(index as u16 + 1, due_ms, Budget::Losses)),
            ]);
        let (_, version) = record(&given).timer().unwrap();
        given = given
            .after_ms(delay_ms)
            .when(&Input::Timer { task: TASK, version })
            .then([(TASK, ready(ReadyCause::Retry { retry: 0 }))]);
        for (task, event) in running(attempt + 1) {
            apply(&mut given.job, task, &event, given.now);
        }
    }
    assert_eq!((record(&given).retries_used(), record(&given).losses_used()), (0, 5));
    given
        .when(&Input::Lost {
            task: TASK,
            attempt: 6,
            cause: LossCause::Lost,
        })
        .then([(TASK, failed(6, Running, WorkerLost, message).event())]);
}

#[test]
fn restarts_of_a_standalone_are_free_but_capped() {
    let mut given = given_ready(1, running(1));
    let message = "the process was restarted while it ran";
    for attempt in 1..=u32::from(MOST_FREE_RETURNS) {
        given = given
            .when(&Input::Lost {
                task: TASK,
                attempt,
                cause: LossCause::Restart,
            })
            .then([
                (TASK, failed(attempt, Running, WorkerLost, message).not_final().event()),
                (TASK, retry(attempt as u16, 0, Budget::Restarts)),
            ]);
        let (_, version) = record(&given).timer().unwrap();
        let due = ready(ReadyCause::Retry { retry: 0 });
        given = given.when(&Input::Timer { task: TASK, version }).then([(TASK, due)]);
        for (task, event) in running(attempt + 1) {
            apply(&mut given.job, task, &event, given.now);
        }
    }
    assert_eq!(
        (record(&given).restarts(), record(&given).losses_used()),
        (MOST_FREE_RETURNS, 0)
    );
    let attempt = u32::from(MOST_FREE_RETURNS) + 1;
    given
        .when(&Input::Lost {
            task: TASK,
            attempt,
            cause: LossCause::Restart,
        })
        .then([
            (TASK, failed(attempt, Running, WorkerLost, message).not_final().event()),
            (TASK, retry(1, 0, Budget::Losses)),
        ]);
}

#[test]
fn a_task_handed_back_is_ready_at_once_at_no_cost_but_not_for_ever() {
    let message = "handed back by its worker";
    let hand_back = |attempt| Input::Ended {
        task: TASK,
        attempt,
        outcome: AttemptOutcome::HandedBack,
    };
    let mut given = given_ready(1, []);
    for attempt in 1..=u32::from(MOST_FREE_RETURNS) {
        apply(&mut given.job, TASK, &scheduled(attempt, 1), given.now);
        given = given
            .when(&hand_back(attempt))
            .then([
                (
                    TASK,
                    failed(attempt, Scheduled, HandedBack, message).not_final().event(),
                ),
                (TASK, ready(ReadyCause::HandedBack)),
            ])
            .when(&hand_back(attempt))
            .then_nothing();
    }
    assert_eq!(record(&given).retries_used(), 0);
    let attempt = u32::from(MOST_FREE_RETURNS) + 1;
    apply(&mut given.job, TASK, &scheduled(attempt, 1), given.now);
    given.when(&hand_back(attempt)).then([
        (
            TASK,
            failed(attempt, Scheduled, HandedBack, message).not_final().event(),
        ),
        (TASK, retry(1, 1_000, Budget::Retries)),
    ]);
}

#[test]
fn lost_before_it_started_counts_as_handed_back() {
    for cause in [LossCause::Lost, LossCause::Restart] {
        let message = "its worker was lost before the attempt started";
        given_ready(1, [(TASK, scheduled(1, 1))])
            .when(&Input::Lost {
                task: TASK,
                attempt: 1,
                cause,
            })
            .then([
                (TASK, failed(1, Scheduled, HandedBack, message).not_final().event()),
                (TASK, ready(ReadyCause::HandedBack)),
            ]);
    }
}

fn timed() -> Policy {
    Policy {
        timeouts: Timeouts {
            start_ms: Some(5_000),
            run_ms: Some(60_000),
        },
        ..Policy::default()
    }
}

#[test]
fn timeouts_stand_in_the_events_and_are_retried_once_the_attempt_has_ended() {
    let due = |ms| Some(START + std::time::Duration::from_millis(ms));
    let scheduled = Event::TaskScheduled(TaskScheduled {
        attempt: Attempt(1),
        worker: name(1),
        incarnation: incarnation(1),
        start_by: due(5_000),
    });
    let started = Event::TaskStarted(TaskStarted {
        attempt: Attempt(1),
        run_by: due(60_000),
    });
    let given = given_ready_spec(spec(1, timed()), [])
        .when(&Input::Schedule { task: TASK, worker: 1 })
        .then([(TASK, scheduled)])
        .when(&Input::Started { task: TASK, attempt: 1 })
        .then([(TASK, started)]);
    let (_, version) = record(&given).timer().unwrap();
    let given = given
        .after_ms(5_000)
        .when(&Input::Timer {
            task: TASK,
            version: version - 1,
        })
        .then_nothing()
        .after_ms(55_000)
        .when(&Input::Timer { task: TASK, version })
        .then([
            (
                TASK,
                failed(1, Running, Timeout, "it did not end within its run timeout")
                    .not_final()
                    .open()
                    .event(),
            ),
            (TASK, retry(1, 61_000, Budget::Retries)),
        ]);
    let given = given
        .after_ms(1_000)
        .when(&Input::Timer {
            task: TASK,
            version: version + 2,
        })
        .then([(TASK, ready(ReadyCause::Retry { retry: 1 }))]);
    // Its attempt may still run: it is not placed again before that has ended.
    assert!(record(&given).attempt_open());
    let mut given = given.when(&Input::Schedule { task: TASK, worker: 1 }).then_nothing();
    assert_eq!(next_ready(&mut given.job), None);
    let late = AttemptEnded {
        attempt: Attempt(1),
        outcome: LateEnd::Completed,
    };
    let mut given = given
        .when(&ended_well(TASK, 1))
        .then([(TASK, Event::AttemptEnded(late))]);
    assert_eq!(next_ready(&mut given.job), Some(TASK));
    given.when(&ended_well(TASK, 1)).then_nothing();
}

#[test]
fn a_start_timeout_is_a_failure_like_others() {
    let given = given_ready_spec(spec(1, timed()), []);
    let decided = decide(&given.job, &Input::Schedule { task: TASK, worker: 1 }, given.now, 0.5).unwrap();
    let given = given.when(&Input::Schedule { task: TASK, worker: 1 }).then(decided);
    let (_, version) = record(&given).timer().unwrap();
    let message = "it did not start within its start timeout";
    given.after_ms(5_000).when(&Input::Timer { task: TASK, version }).then([
        (TASK, failed(1, Scheduled, Timeout, message).not_final().open().event()),
        (TASK, retry(1, 6_000, Budget::Retries)),
    ]);
}

fn waiting() -> Given {
    given_ready(1, running(1)).when(&ended(TASK, 1, Error, "no")).then([
        (TASK, failed(1, Running, Error, "no").not_final().event()),
        (TASK, retry(1, 1_000, Budget::Retries)),
    ])
}

#[test]
fn a_cancelled_retry_makes_the_failure_final() {
    let given = waiting();
    let (_, version) = record(&given).timer().unwrap();
    let cancelled = Event::RetryCancelled(RetryCancelled { reason: Error });
    let given = given
        .when(&Input::CancelRetry { task: TASK })
        .then([(TASK, cancelled)])
        .when(&Input::CancelRetry { task: TASK })
        .then_refused(RefusalCode::NoRetryPending)
        .after_ms(1_000)
        .when(&Input::Timer { task: TASK, version })
        .then_nothing();
    assert_eq!((record(&given).state(), record(&given).is_final()), (Failed, true));
    assert_eq!(given.job.counters().finally_failed_for(Error), 1);
}

#[test]
fn a_retry_brought_forward_is_due_now_and_costs_nothing_more() {
    let given = waiting();
    let (_, version) = record(&given).timer().unwrap();
    let given = given
        .after_ms(10)
        .when(&Input::BringForward { task: TASK })
        .then([(TASK, retry(1, 10, Budget::Paid))])
        .when(&Input::BringForward { task: TASK })
        .then_nothing()
        .after_ms(990)
        .when(&Input::Timer { task: TASK, version })
        .then_nothing()
        .when(&Input::Timer {
            task: TASK,
            version: version + 1,
        })
        .then([(TASK, ready(ReadyCause::Retry { retry: 1 }))])
        .when(&Input::BringForward { task: TASK })
        .then_refused(RefusalCode::NoRetryPending);
    assert_eq!(record(&given).retries_used(), 1);
    assert_eq!(record(&given).state(), Ready);
}

#[test]
fn delays_follow_base_factor_cap_and_jitter() {
    let policy = RetryPolicy {
        max_retries: 9,
        base_ms: 100,
        factor: 3.0,
        max_delay_ms: 1_000,
        jitter: false,
    };
    let delays: Vec<_> = (0..4).map(|used| policy.delay(used, 0.0).as_millis()).collect();
    assert_eq!(delays, [100, 300, 900, 1_000]);
    // Without a base there is no delay, however often it is multiplied.
    assert!(
        RetryPolicy {
            base_ms: 0,
            ..policy.clone()
        }
        .delay(u16::MAX, 0.0)
        .is_zero()
    );
    let drawn = RetryPolicy { jitter: true, ..policy };
    assert_eq!(
        [0.0, 0.5, 1.0].map(|jitter| drawn.delay(2, jitter).as_millis()),
        [0, 450, 900]
    );
}

#[test]
fn what_is_kept_of_a_failure_is_bounded() {
    let mut failure = crate::domain::Failure::new(Error, "é".repeat(5_000));
    failure.causes = vec!["c".repeat(5_000); 30];
    failure.last_log_lines = (0..50).map(|line| format!("{line} {}", "x".repeat(3_000))).collect();
    let given = given_ready(1, running(1));
    let input = Input::Ended {
        task: TASK,
        attempt: 1,
        outcome: AttemptOutcome::Failed(failure),
    };
    let decided = decide(&given.job, &input, given.now, 0.5).unwrap();
    let [(_, Event::TaskFailed(failed)), _] = &decided[..] else {
        panic!("{decided:?}")
    };
    let kept = &failed.failure;
    assert!(kept.message.len() <= 4_100 && kept.message.ends_with("é…"));
    assert_eq!((kept.causes.len(), kept.last_log_lines.len()), (16, 20));
    assert!(kept.last_log_lines[0].starts_with("30 ") && kept.last_log_lines[0].len() <= 2_060);
}

#[test]
fn the_newest_commands_are_remembered() {
    let mut given = given_ready(1, []);
    let id = |n: u128| uuid::Uuid::from_u128(n);
    for n in 1..=65_u128 {
        let event = if n % 2 == 1 {
            scheduled(n as u32 / 2 + 1, 1)
        } else {
            ready(ReadyCause::HandedBack)
        };
        if n % 2 == 0 {
            let failed = failed(n as u32 / 2, Scheduled, HandedBack, "").not_final().event();
            apply(&mut given.job, TASK, &failed, START);
        }
        let version = given.job.task_version(TASK) + 1;
        let fact = crate::domain::Fact {
            task: TASK,
            version,
            at: START,
            command: Some(id(n)),
            event: &event,
        };
        given.job.apply(fact).unwrap();
    }
    assert!(!given.job.remembers(id(1)) && given.job.remembers(id(2)) && given.job.remembers(id(65)));
}
