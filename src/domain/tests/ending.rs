//! Kill, stop, deadline and retry of a job, and what follows for its tasks.

use super::given::*;
use crate::domain::event::{
    AttemptEnded, Budget, Event, FailureReason, JobDeadlineReached, JobFinished, JobKillRequested, JobRetryRequested,
    JobStopRequested, LateEnd, ReadyCause, RetryCancelled, TaskState,
};
use crate::domain::{Attempt, ExecutorKind, JobSpec, JobStatus, NextReady, Policy, RefusalCode, TaskGroup, Timestamp};

use FailureReason::{Error, Killed, Timeout};
use TaskState::{Ready, Running, Scheduled};

const ALL: Input = Input::FanOut { most: 1_000 };

fn kill() -> (u32, Event) {
    (0, Event::JobKillRequested(JobKillRequested {}))
}

fn stop() -> (u32, Event) {
    (0, Event::JobStopRequested(JobStopRequested {}))
}

fn finished(status: JobStatus) -> (u32, Event) {
    (0, Event::JobFinished(JobFinished { status }))
}

fn cancelled(reason: FailureReason) -> Event {
    Event::RetryCancelled(RetryCancelled { reason })
}

/// Tasks: 1 READY, 2 SCHEDULED, 3 RUNNING, 4 waiting for its retry, 5 COMPLETED, 6 finally FAILED, 7 and 8 not written.
fn mixed() -> Given {
    let submission = (1..=6).map(|task| (task, ready(ReadyCause::Submission)));
    let run = |task| [(task, scheduled(1, 1)), (task, started(1))];
    let no = |task| failed(1, Running, Error, &format!("no {task}"));
    let events = submission
        .chain([(0, advanced(1, 7)), (2, scheduled(1, 1))])
        .chain([3, 4, 5, 6].into_iter().flat_map(run))
        .chain([(4, no(4).not_final().event()), (4, retry(1, 1_000, Budget::Retries))])
        .chain([(5, completed(1)), (6, no(6).event())]);
    let mut spec = spec(8, Policy::default());
    spec.deadline_ms = Some(60_000);
    given_spec(spec, events)
}

#[test]
fn a_kill_ends_every_task_whatever_its_state() {
    let message = "the job was killed";
    let never = |from| failed(0, from, Killed, message).event();
    let open = |from| failed(1, from, Killed, message).open().event();
    let given = mixed()
        .when(&Input::Kill)
        .then([kill()])
        .when(&Input::Kill)
        .then_nothing()
        .when(&Input::Stop)
        .then_nothing()
        .when(&Input::Retry)
        .then_refused(RefusalCode::BeingEnded)
        .when(&ALL)
        .then([
            (1, never(Ready)),
            (2, open(Scheduled)),
            (3, open(Running)),
            (4, cancelled(Killed)),
            (7, never(Ready)),
            (8, never(Ready)),
            (0, advanced(3, 9)),
        ])
        .when(&Input::Kill)
        .then_nothing()
        .when(&Input::Finish)
        .then([finished(JobStatus::Failed)]);
    assert!(!given.job.is_at_rest(), "two attempts may still run");
    let late = |outcome| {
        Event::AttemptEnded(AttemptEnded {
            attempt: Attempt(1),
            outcome,
        })
    };
    let given = given
        .when(&ended_well(3, 1))
        .then([(3, late(LateEnd::Completed))])
        .when(&ended_well(3, 1))
        .then_nothing()
        .when(&Input::Lost {
            task: 2,
            attempt: 1,
            cause: crate::domain::LossCause::Lost,
        })
        .then([(2, late(LateEnd::WorkerLost))]);
    assert!(given.job.is_at_rest());
    assert_eq!(given.job.counters().finally_failed_for(Killed), 6);
}

#[test]
fn a_kill_ends_the_submission_and_goes_on_in_chunks() {
    let given = given(5, []).when(&Input::Kill).then([kill()]);
    let gone = || failed(0, Ready, Killed, "the job was killed").event();
    let two = Input::FanOut { most: 2 };
    let given = given
        .when(&two)
        .then([(1, gone()), (2, gone()), (0, advanced(2, 3))])
        .when(&two)
        .then([(3, gone()), (4, gone()), (0, advanced(2, 5))])
        .when(&two)
        .then([(5, gone()), (0, advanced(2, 6))]);
    given.when(&Input::Finish).then([finished(JobStatus::Failed)]);
}

#[test]
fn what_ends_during_a_kill_counts_as_killed_unless_it_completed() {
    let given = given_ready(
        2,
        [1, 2]
            .into_iter()
            .flat_map(|task| [(task, scheduled(1, 1)), (task, started(1))]),
    );
    let given = given
        .when(&Input::Kill)
        .then([kill()])
        .when(&ended(1, 1, Error, "no"))
        .then([(
            1,
            failed(1, Running, Killed, "ERROR while the job was being ended: no").event(),
        )])
        .when(&ended_well(2, 1))
        .then([(2, completed(1))])
        .when(&ALL)
        .then([(0, advanced(3, 3))]);
    given.when(&Input::Finish).then([finished(JobStatus::Mixed)]);
}

#[test]
fn a_stop_lets_running_tasks_complete_and_ends_the_others() {
    let message = "the job was stopped before the task ran";
    let never = || failed(0, Ready, Killed, message).event();
    let given = mixed()
        .when(&Input::Stop)
        .then([stop()])
        .when(&Input::Stop)
        .then_nothing()
        .when(&ALL)
        .then([
            (1, never()),
            (2, failed(1, Scheduled, Killed, message).open().event()),
            (4, cancelled(Killed)),
            (7, never()),
            (8, never()),
            (0, advanced(3, 9)),
        ])
        .when(&Input::Finish)
        .then_nothing()
        .when(&Input::Retry)
        .then_refused(RefusalCode::BeingEnded);
    given
        .when(&ended_well(3, 1))
        .then([(3, completed(1))])
        .when(&Input::Finish)
        .then([finished(JobStatus::Failed)]);
}

#[test]
fn a_process_that_is_stopped_and_fails_was_killed() {
    given_ready(1, [(1, scheduled(1, 1)), (1, started(1)), stop()])
        .when(&ALL)
        .then([(0, advanced(3, 2))])
        .when(&ended(1, 1, Error, "exit code 143"))
        .then([(
            1,
            failed(1, Running, Killed, "ERROR while the job was being ended: exit code 143").event(),
        )]);
}

#[test]
fn a_stopped_job_can_still_be_killed() {
    given_ready(1, [(1, scheduled(1, 1)), (1, started(1)), stop()])
        .when(&ALL)
        .then([(0, advanced(3, 2))])
        .when(&Input::Kill)
        .then([kill()])
        .when(&ALL)
        .then([
            (1, failed(1, Running, Killed, "the job was killed").open().event()),
            (0, advanced(5, 2)),
        ])
        .when(&Input::Finish)
        .then([finished(JobStatus::Failed)]);
}

#[test]
fn a_deadline_is_final_and_is_a_timeout() {
    let given = mixed();
    assert_eq!(
        given.job.deadline(),
        Some((Timestamp::from_ms(START.as_ms() + 60_000), 1))
    );
    let message = "the job's deadline was reached";
    let open = |from| failed(1, from, Timeout, message).open().event();
    let never = || failed(0, Ready, Timeout, message).event();
    let strike = Input::Deadline { version: 1 };
    let given = given
        .after_ms(59_999)
        .when(&strike)
        .then_nothing()
        .after_ms(1)
        .when(&Input::Deadline { version: 2 })
        .then_nothing()
        .when(&strike)
        .then([(0, Event::JobDeadlineReached(JobDeadlineReached {}))])
        .when(&strike)
        .then_nothing()
        .when(&Input::Kill)
        .then_nothing();
    let given = given.when(&ALL).then([
        (1, never()),
        (2, open(Scheduled)),
        (3, open(Running)),
        (4, cancelled(Timeout)),
        (7, never()),
        (8, never()),
        (0, advanced(3, 9)),
    ]);
    given
        .when(&Input::Finish)
        .then([finished(JobStatus::Mixed)])
        .when(&strike)
        .then_nothing();
}

fn retry_requested(tasks: u32) -> (u32, Event) {
    (
        0,
        Event::JobRetryRequested(JobRetryRequested {
            tasks,
            deadline_at: None,
        }),
    )
}

#[test]
fn a_retry_of_a_job_gives_its_failed_tasks_new_budgets_and_higher_attempts() {
    let run = |task, attempt| [(task, scheduled(attempt, 1)), (task, started(attempt))];
    let mut given = given_ready(2, run(1, 1).into_iter().chain(run(2, 1)).chain([(1, completed(1))]));
    for attempt in 1..=3 {
        apply(
            &mut given.job,
            2,
            &failed(attempt, Running, Error, "no").not_final().event(),
            START,
        );
        apply(&mut given.job, 2, &retry(attempt as u16, 0, Budget::Retries), START);
        apply(
            &mut given.job,
            2,
            &ready(ReadyCause::Retry { retry: attempt as u16 }),
            START,
        );
        for (task, event) in run(2, attempt + 1) {
            apply(&mut given.job, task, &event, START);
        }
    }
    let given = given
        .when(&ended(2, 4, Error, "no"))
        .then([(2, failed(4, Running, Error, "no").event())])
        .when(&Input::Finish)
        .then([finished(JobStatus::Failed)])
        .when(&Input::Retry)
        .then([retry_requested(1)])
        .when(&Input::Retry)
        .then_nothing()
        .when(&ALL)
        .then([(2, ready(ReadyCause::JobRetry { was: Error })), (0, advanced(4, 3))])
        .when(&Input::Schedule { task: 2, worker: 2 })
        .then([(2, scheduled(5, 2))]);
    assert_eq!(given.job.task(2).unwrap().retries_used(), 0);
    assert_eq!(given.job.finished(), None);
    given
        .when(&Input::Started { task: 2, attempt: 5 })
        .then([(2, started(5))])
        .when(&ended(2, 5, Error, "no"))
        .then([
            (2, failed(5, Running, Error, "no").not_final().event()),
            (2, retry(1, 1_000, Budget::Retries)),
        ]);
}

#[test]
fn nothing_failed_means_nothing_to_retry() {
    given_ready(1, [])
        .when(&Input::Retry)
        .then_refused(RefusalCode::NothingFailed);
}

#[test]
fn a_retried_task_waits_for_the_end_of_its_killed_attempt() {
    let killed = failed(1, Running, Killed, "the job was killed").open().event();
    let run = [
        (1, scheduled(1, 1)),
        (1, started(1)),
        kill(),
        (1, killed),
        (0, advanced(3, 2)),
    ];
    let given = given_ready(1, run.into_iter().chain([finished(JobStatus::Failed)]))
        .when(&Input::Retry)
        .then([retry_requested(1)])
        .when(&ALL)
        .then([(1, ready(ReadyCause::JobRetry { was: Killed })), (0, advanced(6, 2))]);
    let mut given = given.when(&Input::Schedule { task: 1, worker: 2 }).then_nothing();
    assert_eq!(next_ready(&mut given.job), None);
    // Killed again while it waits: the attempt is still open.
    let given = given.when(&Input::Kill).then([kill()]).when(&ALL).then([
        (1, failed(1, Ready, Killed, "the job was killed").open().event()),
        (0, advanced(8, 2)),
    ]);
    assert!(given.job.task(1).unwrap().attempt_open());
}

/// Job 1 task, finally failed, said so.
fn failed_job() -> Given {
    let no = failed(1, Running, Error, "no").event();
    given_ready(
        1,
        [
            (1, scheduled(1, 1)),
            (1, started(1)),
            (1, no),
            finished(JobStatus::Failed),
        ],
    )
}

#[test]
fn a_kill_or_stop_right_after_an_accepted_retry_takes_it_back() {
    for (input, request) in [(Input::Kill, kill()), (Input::Stop, stop())] {
        let given = failed_job().when(&Input::Retry).then([retry_requested(1)]);
        let given = given
            .when(&input)
            .then([request])
            .when(&ALL)
            .then([(0, advanced(5, 2))]);
        given.when(&Input::Finish).then([finished(JobStatus::Failed)]);
    }
}

#[test]
fn a_deadline_right_after_an_accepted_retry_ends_it() {
    let mut spec = spec(1, Policy::default());
    spec.deadline_ms = Some(1_000);
    let no = failed(1, Running, Error, "no").event();
    let given = given_ready_spec(
        spec,
        [
            (1, scheduled(1, 1)),
            (1, started(1)),
            (1, no),
            finished(JobStatus::Failed),
        ],
    )
    .after_ms(10);
    let deadline_at = Some(given.now + std::time::Duration::from_secs(1));
    let given = given
        .when(&Input::Retry)
        .then([(0, Event::JobRetryRequested(JobRetryRequested { tasks: 1, deadline_at }))])
        .after_ms(1_000)
        .when(&Input::Deadline { version: 1 })
        .then_nothing();
    given
        .when(&Input::Deadline { version: 4 })
        .then([(0, Event::JobDeadlineReached(JobDeadlineReached {}))])
        .when(&ALL)
        .then([(0, advanced(5, 2))])
        .when(&Input::Finish)
        .then([finished(JobStatus::Failed)]);
}

#[test]
fn an_ending_job_places_nothing() {
    let mut given = given_ready(3, [stop()]);
    assert_eq!(next_ready(&mut given.job), None);
}

#[test]
fn at_most_max_parallel_are_placed() {
    let mut spec = spec(3, Policy::default());
    spec.max_parallel = Some(1);
    let mut given = given_ready_spec(spec, []);
    assert_eq!(next_ready(&mut given.job), Some(1));
    apply(&mut given.job, 1, &scheduled(1, 1), START);
    assert_eq!(next_ready(&mut given.job), None);
    apply(&mut given.job, 1, &started(1), START);
    apply(&mut given.job, 1, &completed(1), START);
    assert_eq!(next_ready(&mut given.job), Some(2));
}

#[test]
fn tasks_of_a_policy_that_cannot_be_placed_now_do_not_hold_up_the_others() {
    let group = |name: &str, policy| TaskGroup {
        external_id: name.into(),
        replicas: 2,
        executor: ExecutorKind::Noop,
        policy,
    };
    let spec = JobSpec {
        task_count: 6,
        policies: vec![Policy::default(); 2],
        groups: vec![group("a", 0), group("b", 1), group("c", 0)],
        ..JobSpec::default()
    };
    let mut given = given_ready_spec(spec, []);
    let job = &mut given.job;
    let task = |number, policy| NextReady::Task { number, policy };
    assert_eq!(job.next_ready(&|_| false), task(1, 0));
    assert_eq!(job.next_ready(&|policy| policy == 0), task(3, 1));
    assert_eq!(job.next_ready(&|_| true), NextReady::PassedOver);
    let mut seen = Vec::new();
    while let NextReady::Task { number, policy } = job.next_ready(&|_| false) {
        assert_eq!(policy, u32::from(number == 3 || number == 4));
        apply(job, number, &scheduled(1, 1), START);
        seen.push(number);
    }
    assert_eq!(seen, [1, 2, 5, 6, 3, 4]);
    assert_eq!(job.next_ready(&|_| true), NextReady::Nothing);
    // One that comes back goes before those that were never given out.
    apply(
        job,
        2,
        &failed(1, Scheduled, FailureReason::HandedBack, "").not_final().event(),
        START,
    );
    apply(job, 2, &ready(ReadyCause::HandedBack), START);
    assert_eq!(job.next_ready(&|_| false), task(2, 0));
}
