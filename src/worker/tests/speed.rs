//! How many no-ops a second go through one worker: run by hand with `--ignored --nocapture`.

use std::time::Instant;

use super::jobmaster::noop;
use super::whole::Bench;
use crate::event::{AttemptRef, ReportItem, ReportKind};
use crate::worker::WorkerOptions;

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
                ReportItem::Started { .. } | ReportItem::Inventory { .. } => None,
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
