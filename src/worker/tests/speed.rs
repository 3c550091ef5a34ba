//! How many no-ops a second go through one worker: run by hand with `--ignored --nocapture`.

use std::time::Instant;

use uuid::Uuid;

use super::bus::SHARDS;
use super::jobmaster::{TIMELINE, noop};
use super::whole::Bench;
use crate::domain::{Epoch, Incarnation};
use crate::event::{
    AssignmentItem, AssignmentMessage, AttemptRef, Outcome, ReportItem, ReportKind, ReportMessage, Version, Wire,
};
use crate::worker::WorkerOptions;
use crate::worker::machine::{Identity, Input, Output, WorkerMachine};

#[tokio::test]
#[ignore = "a measurement: prints, and its number depends on the machine"]
async fn no_ops_a_second() {
    const TASKS: u32 = 200_000;
    let bench = Bench::new().await;
    let (worker, mut jobmaster) = bench.worker(WorkerOptions::default()).await;
    jobmaster.beat(true);
    let cpu = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let (begun, cpu_before) = (Instant::now(), cpu());
    let (mut next, mut ended, mut most) = (1, 0, 0);
    let mut beaten = Instant::now();
    while ended < TASKS {
        if beaten.elapsed().as_secs() >= 1 {
            jobmaster.beat(true);
            beaten = Instant::now();
        }
        let count = (TASKS - next + 1).min(jobmaster.credits() as u32);
        most = most.max(count);
        jobmaster.assign((next..next + count).map(noop).collect());
        next += count;
        jobmaster.listen().await;
        let fresh: Vec<AttemptRef> = jobmaster
            .items
            .drain(..)
            .filter_map(|item| match item {
                ReportItem::Ended { attempt, .. } => Some(attempt),
                _ => None,
            })
            .collect();
        ended += fresh.len() as u32;
        jobmaster.acknowledge(&fresh, ReportKind::Ended);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:.0} no-ops/s, {:.1} µs of CPU each (with the jobmaster's half), at most {most} at once, {:?}",
        f64::from(TASKS) / seconds,
        (cpu() - cpu_before) * 1e6 / f64::from(TASKS),
        worker.state().unwrap().totals,
    );
}

/// CPU time of this thread, in µs for each of `TASKS`.
struct Stopwatch {
    begun: f64,
    tasks: f64,
}

impl Stopwatch {
    fn start(tasks: u32) -> Self {
        Self {
            begun: Self::now(),
            tasks: f64::from(tasks),
        }
    }

    fn now() -> f64 {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
        let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
        micros(usage.user_time()) + micros(usage.system_time())
    }

    fn lap(&mut self) -> f64 {
        let each = (Self::now() - self.begun) / self.tasks;
        self.begun = Self::now();
        each
    }
}

#[test]
#[ignore = "a measurement: prints, and its number depends on the machine"]
fn where_the_time_goes() {
    const BATCH: u32 = 200;
    const BATCHES: u32 = 500;
    let now = crate::domain::Timestamp::from_ms(1_000_000);
    let me = Incarnation(Uuid::from_u128(1));
    let identity = Identity {
        worker: "a".parse().unwrap(),
        incarnation: me,
        timeline: TIMELINE,
        shards: SHARDS,
        endpoint_url: String::new(),
    };
    let options = WorkerOptions {
        slots: 10_000,
        ..WorkerOptions::default()
    };
    let mut machine = WorkerMachine::new(identity, options, now).unwrap();
    let mut laps = [0.0; 6];
    for batch in 0..BATCHES {
        let now = now + std::time::Duration::from_millis(u64::from(batch) * 10);
        machine.step(Input::BeatAcknowledged { sent_at: now }, now);
        let ids: Vec<u32> = (0..BATCH).map(|n| (batch * BATCH + n + 1) * 16).collect();
        let message = |items| AssignmentMessage {
            v: Version,
            timeline: TIMELINE,
            shard: noop(0).attempt.task.job.shard(SHARDS),
            epoch: Epoch(1),
            jobmaster: Incarnation(Uuid::from_u128(2)),
            incarnation: me,
            items,
        };
        let items = ids.iter().map(|n| AssignmentItem::Assign { assignment: noop(*n) });
        let message_out = message(items.collect());
        let mut watch = Stopwatch::start(BATCH * BATCHES);
        let bytes = message_out.encode();
        laps[0] += watch.lap();
        let read = AssignmentMessage::decode(&bytes).unwrap();
        laps[1] += watch.lap();
        let mut outputs = Vec::new();
        let offset = i64::from(batch) * 2;
        machine.handle(Input::Assignments { offset, message: read }, now, &mut outputs);
        let started: Vec<AttemptRef> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Start { assignment, .. } => Some(assignment.attempt),
                _ => None,
            })
            .collect();
        for attempt in &started {
            let outcome = Outcome::Completed {
                counters: std::collections::BTreeMap::new(),
            };
            machine.handle(Input::AttemptEnded(*attempt, outcome), now, &mut outputs);
        }
        machine.end_turn(now, &mut outputs);
        laps[2] += watch.lap();
        let reports: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Report { message, .. } => Some(message.encode()),
                _ => None,
            })
            .collect();
        laps[3] += watch.lap();
        for report in &reports {
            ReportMessage::decode(report).unwrap();
        }
        laps[4] += watch.lap();
        let ack = message(vec![AssignmentItem::Ack {
            kind: ReportKind::Ended,
            attempts: started,
        }]);
        let read = AssignmentMessage::decode(&ack.encode()).unwrap();
        machine.step(
            Input::Assignments {
                offset: offset + 1,
                message: read,
            },
            now,
        );
        laps[5] += watch.lap();
    }
    assert_eq!(machine.totals().completed, u64::from(BATCH * BATCHES));
    println!("µs a task: assignment encode, decode; machine; report encode, decode; ack whole: {laps:.2?}");
}
