//! Looking back: at every point in time, what the log gives is what was lived through then.

use std::time::Duration;

use grid::domain::event::{Event, StreamId};
use grid::domain::{Fact, Incarnation, Job, JobId, TaskId, TaskState, Timestamp, WorkerName};
use grid::event::EventRecord;
use grid::log::{JobAsOf, JobAt, TaskAsOf, TasksAsOf};

use super::loading::Living;
use super::{Fixture, SHARDS, run};

/// The job as it was lived through up to a time, and when it had finished.
fn lived(records: &[EventRecord], id: JobId, at: Timestamp) -> Option<(Job, Option<Timestamp>)> {
    let mut lived: Option<(Job, Option<Timestamp>)> = None;
    for record in records.iter().filter(|record| record.meta.at <= at) {
        let task = match record.stream {
            StreamId::Job(job) if job == id => 0,
            StreamId::Task(task) if task.job == id => task.number,
            StreamId::Job(_) | StreamId::Task(_) | StreamId::Worker(_) => continue,
        };
        match (&mut lived, &record.event) {
            (None, Event::JobSubmitted(submitted)) => {
                lived = Some((Job::submitted(id, submitted, record.meta.at, record.meta.command), None));
            }
            (None, other) => panic!("{other:?} comes first"),
            (Some((job, finished_at)), event) => {
                let fact = Fact {
                    task,
                    version: record.version,
                    at: record.meta.at,
                    command: record.meta.command,
                    event,
                };
                job.apply(fact).unwrap();
                match event {
                    Event::JobFinished(_) => *finished_at = Some(record.meta.at),
                    Event::JobRetryRequested(_) => *finished_at = None,
                    _ => {}
                }
            }
        }
    }
    lived
}

fn found(answer: JobAsOf) -> JobAt {
    match answer {
        JobAsOf::At(found) => *found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_found_as_it_was_at_every_time() {
    run(async {
        let fixture = Fixture::new().await;
        let mut living = Living::new(&fixture, 3, 41).await;
        let (mut all, mut compared) = (Vec::new(), 0);
        for _ in 0..250 {
            let events = living.histories.step();
            all.extend(events.iter().cloned());
            if !events.is_empty() {
                living.commit(&fixture, events).await;
            }
        }
        let shard = living.claimed.shard;
        let ids: Vec<JobId> = living.histories.jobs.keys().copied().take(14).collect();
        for id in ids {
            let own = |record: &&EventRecord| match record.stream {
                StreamId::Job(job) => job == id,
                StreamId::Task(task) => task.job == id,
                StreamId::Worker(_) => false,
            };
            let mut times: Vec<Timestamp> = all.iter().filter(own).map(|record| record.meta.at).collect();
            times.dedup();
            // Each time at which something happened, and the moment before.
            for at in times.iter().flat_map(|at| [*at, *at - Duration::from_millis(1)]) {
                let Some((expected, finished_at)) = lived(&all, id, at) else {
                    let answer = fixture.log.job_as_of(shard, id, at, 10_000).await.unwrap();
                    assert!(
                        matches!(answer, JobAsOf::NotYet { submitted_at } if submitted_at == times[0]),
                        "{answer:?}"
                    );
                    continue;
                };
                let back = found(fixture.log.job_as_of(shard, id, at, 10_000).await.unwrap());
                assert_eq!(back.job.to_snapshot(), expected.to_snapshot(), "{id} at {at}");
                assert_eq!(back.finished_at, finished_at, "{id} at {at}");
                tasks_are_those_of(&fixture, &expected, at).await;
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared}");
    });
}

/// Every task by itself, and among others, is what it is in its job.
async fn tasks_are_those_of(fixture: &Fixture, job: &Job, at: Timestamp) {
    let all = fixture.log.tasks_as_of(job.id(), (1, u32::MAX), at, 10_000).await;
    let TasksAsOf::At { tasks: all, .. } = all.unwrap() else {
        panic!("the tasks of {} are not there at {at}", job.id());
    };
    assert_eq!(all.len(), job.spec().task_count as usize);
    for number in 1..=job.spec().task_count {
        let id = TaskId { job: job.id(), number };
        let TaskAsOf::At { task, .. } = fixture.log.task_as_of(id, at).await.unwrap() else {
            panic!("{id} is not there at {at}");
        };
        assert_eq!(*task, all[number as usize - 1], "{id} at {at}");
        let expected = job.task(number);
        assert_eq!(task.version(), job.task_version(number));
        assert_eq!(task.state(), expected.map_or(TaskState::Ready, |it| it.state()));
        let Some((record, expected)) = task.record().zip(expected) else {
            continue;
        };
        assert_eq!(record.attempt(), expected.attempt());
        assert_eq!(record.timer(), expected.timer());
        assert_eq!(record.reason(), expected.reason());
        let budgets = |it: &grid::domain::TaskRecord| (it.retries_used(), it.losses_used(), it.handed_back());
        assert_eq!(budgets(record), budgets(expected));
        let flags = |it: &grid::domain::TaskRecord| (it.is_final(), it.retry_pending(), it.attempt_open());
        assert_eq!(flags(record), flags(expected));
        // These lives give several names to one process, of which a job keeps the first.
        let process = |worker: Option<&(WorkerName, Incarnation)>| worker.map(|(_, incarnation)| *incarnation);
        assert_eq!(process(task.last_worker()), process(job.worker_of(number)));
    }
}

/// A job of more events than may be read is found by its place, as far as that reaches, and refused beyond.
#[test]
fn a_long_job_is_found_near_its_beginning_and_refused_beyond() {
    run(async {
        let fixture = Fixture::new().await;
        let mut living = Living::new(&fixture, 3, 42).await;
        let (other, events) = living.histories.submit(3);
        living.commit(&fixture, events).await;
        let mut all = Vec::new();
        living.histories.now = living.histories.now + Duration::from_millis(10);
        let (id, events) = living.histories.submit(200);
        all.extend(events.iter().cloned());
        living.commit(&fixture, events).await;
        let submitted = living.histories.now;
        // Another job's events lie between.
        living.histories.now = submitted + Duration::from_secs(1);
        let events = living.histories.complete(other);
        living.commit(&fixture, events).await;
        living.histories.now = submitted + Duration::from_secs(2);
        let events = living.histories.complete(id);
        all.extend(events.iter().cloned());
        living.commit(&fixture, events).await;
        let finished = living.histories.now;

        let shard = living.claimed.shard;
        let as_of = async |at, most| fixture.log.job_as_of(shard, id, at, most).await.unwrap();
        assert!(all.len() > 800, "{}", all.len());
        for most in [300, 500] {
            let back = found(as_of(submitted + Duration::from_millis(1_500), most).await);
            let (expected, _) = lived(&all, id, submitted).unwrap();
            assert_eq!(back.job.to_snapshot(), expected.to_snapshot(), "{most}");
            assert!(matches!(as_of(finished, most).await, JobAsOf::TooLong), "{most}");
        }
        let back = found(as_of(finished, 100_000).await);
        assert_eq!((back.job.counters().completed, back.finished_at), (200, Some(finished)));
        let before = as_of(submitted - Duration::from_millis(1), 300).await;
        assert!(matches!(before, JobAsOf::NotYet { .. }), "{before:?}");
        let unknown = JobId(uuid::Uuid::now_v7());
        // Some of its tasks are found at any time, unless they alone have too many events.
        let tasks = async |id, numbers, at, most| fixture.log.tasks_as_of(id, numbers, at, most).await.unwrap();
        let TasksAsOf::At { tasks: some, .. } = tasks(id, (151, 160), finished, 100).await else {
            panic!("ten tasks of {id} are not there");
        };
        assert!(some.len() == 10 && some.iter().all(|it| it.state() == TaskState::Completed));
        assert!(matches!(tasks(id, (151, 160), finished, 20).await, TasksAsOf::TooLong));
        let early = tasks(id, (1, 2), submitted - Duration::from_millis(1), 20).await;
        assert!(matches!(early, TasksAsOf::NotYet { submitted_at } if submitted_at == submitted));
        assert!(matches!(tasks(unknown, (1, 2), finished, 20).await, TasksAsOf::Unknown));
        let nothing = fixture
            .log
            .job_as_of(unknown.shard(SHARDS), unknown, finished, 300)
            .await;
        assert!(matches!(nothing.unwrap(), JobAsOf::Unknown));
    });
}
