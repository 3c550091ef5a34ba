//! A worker as it is: thread, actors, executors, guardian.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bus::FaultyBus;
use super::documents::{Api, TOKEN};
use super::jobmaster::{Jobmaster, TIMELINE, assignment, attempt, noop, within};
use crate::config::Secret;
use crate::domain::{ExecutorKind, FailureReason};
use crate::event::{AssignmentItem, AttemptRef, Outcome, ReportItem, ReportKind};
use crate::metrics::Points;
use crate::worker::executor::{Guardian, GuardianOptions};
use crate::worker::{Worker, WorkerEnded, WorkerHandle, WorkerOptions, WorkerSetup};

/// The guardian is this test program, running the one test that plays it.
fn guardian() -> Guardian {
    let arguments = [
        "--exact",
        "worker::executor::tests::guardian_entry",
        "--nocapture",
        "--quiet",
    ];
    let options = GuardianOptions {
        program: "/proc/self/exe".into(),
        arguments: arguments.map(Into::into).to_vec(),
        environment: vec![("GRID_TEST_IS_GUARDIAN".into(), "1".into())],
    };
    Guardian::start(options).unwrap()
}

pub(super) struct Bench {
    pub(super) bus: Arc<FaultyBus>,
    pub(super) api: Api,
    folder: tempfile::TempDir,
    guardian: Guardian,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self {
            bus: FaultyBus::new(),
            api: Api::start().await,
            folder: tempfile::tempdir().unwrap(),
            guardian: guardian(),
        }
    }

    pub(super) fn start(&self, options: WorkerOptions) -> WorkerHandle {
        let setup = WorkerSetup {
            name: "a".parse().unwrap(),
            options: WorkerOptions {
                data_dir: self.folder.path().join("data"),
                ..options
            },
            bus: Arc::<FaultyBus>::clone(&self.bus),
            timeline: TIMELINE,
            api_url: self.api.url.clone(),
            api_token: Secret::new(TOKEN),
            endpoint_url: "http://here".into(),
            guardian: self.guardian.clone(),
            points: Points::discard(),
            recent: Arc::new(crate::logs::recent::Recent::new(0)),
        };
        Worker::start(setup).unwrap()
    }

    /// A worker, registered, that has granted all its slots.
    pub(super) async fn worker(&self, options: WorkerOptions) -> (WorkerHandle, Jobmaster) {
        let mut jobmaster = Jobmaster::new(Arc::<FaultyBus>::clone(&self.bus), "a").await;
        let slots = u64::from(options.slots);
        let worker = self.start(options);
        jobmaster.register().await;
        // Its ears are open since before it registered.
        jobmaster.beat(false);
        while jobmaster.granted < slots {
            jobmaster.listen().await;
        }
        (worker, jobmaster)
    }
}

fn slots(slots: u32) -> WorkerOptions {
    WorkerOptions {
        slots,
        ..WorkerOptions::default()
    }
}

fn reason(outcome: &Outcome) -> Option<FailureReason> {
    match outcome {
        Outcome::Failed { failure } => Some(failure.reason),
        Outcome::Completed { .. } | Outcome::HandedBack => None,
    }
}

async fn until_exists(path: &Path) {
    within("a file", async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test]
async fn no_ops_flow_through_against_credits_and_it_leaves_with_a_goodbye() {
    let bench = Bench::new().await;
    let (worker, mut jobmaster) = bench.worker(slots(3)).await;
    jobmaster.beat(true);
    let (mut next, mut ended) = (1, Vec::new());
    while ended.len() < 500 {
        let count = (501 - next as usize).min(jobmaster.credits() as usize) as u32;
        jobmaster.assign((next..next + count).map(noop).collect());
        next += count;
        jobmaster.listen().await;
        let fresh: Vec<AttemptRef> = jobmaster
            .items
            .drain(..)
            .filter_map(|item| match item {
                ReportItem::Ended { attempt, outcome } => {
                    assert_eq!(reason(&outcome), None);
                    Some(attempt)
                }
                _ => None,
            })
            .collect();
        jobmaster.acknowledge(&fresh, ReportKind::Ended);
        ended.extend(fresh);
        ended.sort_unstable();
        ended.dedup();
    }
    let mut expected: Vec<AttemptRef> = (1..=500).map(attempt).collect();
    expected.sort_unstable();
    assert_eq!(ended, expected);
    assert_eq!(worker.state().unwrap().totals.started, 500);

    worker.drain();
    within("a goodbye", jobmaster.see_off()).await;
    assert_eq!(within("the end", worker.ended()).await, WorkerEnded::Drained);
}

const COMMANDS: &str = r#"
tasks:
  - {externalId: good, command: [sh, -c, "echo one; echo two"]}
  - {externalId: bad, command: [sh, -c, "echo no >&2; exit 3"]}
  - {externalId: long, command: [sh, -c, "echo $$ > pid; exec sleep 1000"]}
"#;

#[tokio::test]
async fn commands_run_fail_and_are_cancelled() {
    let bench = Bench::new().await;
    let hash = bench.api.add(COMMANDS);
    let (_worker, mut jobmaster) = bench.worker(slots(3)).await;
    let run = |number, group| assignment(number, ExecutorKind::Process, &hash, group);
    jobmaster.assign(vec![run(1, 0), run(2, 1), run(3, 2)]);

    let Outcome::Completed { counters } = jobmaster.end_of(attempt(1)).await else {
        panic!("it failed")
    };
    assert_eq!(counters.get("lines"), Some(&2));
    let Outcome::Failed { failure } = jobmaster.end_of(attempt(2)).await else {
        panic!("it completed")
    };
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Error, Some(3)));
    assert_eq!(failure.last_log_lines, ["no"]);
    assert_eq!(bench.api.asked.load(Ordering::SeqCst), 1);

    jobmaster.start_of(attempt(3)).await;
    let pid_file = bench.folder.path().join("data/pid");
    until_exists(&pid_file).await;
    let shard = attempt(3).task.job.shard(super::bus::SHARDS);
    jobmaster.tell(shard, vec![AssignmentItem::Cancel { attempt: attempt(3) }]);
    let outcome = jobmaster.end_of(attempt(3)).await;
    assert_eq!(reason(&outcome), Some(FailureReason::Killed));
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(!is_alive(pid.trim()));
}

#[tokio::test]
async fn an_attempt_without_its_document_is_handed_back() {
    let bench = Bench::new().await;
    // Not what its address says, which is not tried again when it cannot be read at all.
    let nonsense = b"[".to_vec();
    let hash = crate::document::NormalisedDocument::hash_of(&nonsense);
    bench.api.put(&hash, nonsense);
    let commands = bench.api.add(COMMANDS);
    let (_worker, mut jobmaster) = bench.worker(slots(3)).await;
    jobmaster.assign(vec![
        assignment(1, ExecutorKind::Process, &hash, 0),
        assignment(2, ExecutorKind::Process, &commands, 7),
        assignment(3, ExecutorKind::Pipeline, &commands, 0),
    ]);
    assert_eq!(jobmaster.end_of(attempt(1)).await, Outcome::HandedBack);
    assert_eq!(jobmaster.end_of(attempt(2)).await, Outcome::HandedBack);
    assert_eq!(reason(&jobmaster.end_of(attempt(3)).await), Some(FailureReason::Error));
}

/// Two seconds instead of forty.
fn hasty() -> WorkerOptions {
    WorkerOptions {
        slots: 1,
        heartbeat_interval: Duration::from_millis(200),
        inactive_after: Duration::from_millis(600),
        dead_after: Duration::from_secs(2),
        lost_after: Duration::from_secs(3),
        grace: Duration::from_millis(300),
        ..WorkerOptions::default()
    }
}

#[tokio::test]
async fn cut_off_it_kills_what_runs_and_begins_anew() {
    let bench = Bench::new().await;
    let hash = bench.api.add(COMMANDS);
    let (worker, mut jobmaster) = bench.worker(hasty()).await;
    jobmaster.assign(vec![assignment(1, ExecutorKind::Process, &hash, 2)]);
    jobmaster.start_of(attempt(1)).await;
    let pid_file = bench.folder.path().join("data/pid");
    until_exists(&pid_file).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(is_alive(pid.trim()));

    let first = jobmaster.incarnation.unwrap();
    bench.bus.deaf.store(true, Ordering::SeqCst);
    let mut states = worker.states();
    let anew = states.wait_for(|state| state.is_some_and(|state| state.incarnation != first));
    within("a new incarnation", anew).await.unwrap();
    assert!(!is_alive(pid.trim()));
    bench.bus.deaf.store(false, Ordering::SeqCst);
    let second = jobmaster.register().await;
    assert!(second > first);
    jobmaster.beat(false);
    jobmaster.assign(vec![noop(2)]);
    assert_eq!(reason(&jobmaster.end_of(attempt(2)).await), None);
}

#[tokio::test]
async fn a_panic_ends_the_incarnation_and_its_attempts_and_a_new_one_begins() {
    let bench = Bench::new().await;
    let hash = bench.api.add(COMMANDS);
    let (_worker, mut jobmaster) = bench.worker(hasty()).await;
    jobmaster.assign(vec![assignment(1, ExecutorKind::Process, &hash, 2)]);
    jobmaster.start_of(attempt(1)).await;
    let pid_file = bench.folder.path().join("data/pid");
    until_exists(&pid_file).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    bench.bus.explodes.store(true, Ordering::SeqCst);
    jobmaster.register().await;
    assert!(!is_alive(pid.trim()));
    jobmaster.assign(vec![noop(2)]);
    assert_eq!(reason(&jobmaster.end_of(attempt(2)).await), None);
}

#[tokio::test]
async fn a_newer_process_of_the_same_name_drives_it_out() {
    let bench = Bench::new().await;
    let (first, mut jobmaster) = bench.worker(slots(1)).await;
    let second = bench.start(slots(1));
    assert_eq!(
        within("the first one's end", first.ended()).await,
        WorkerEnded::Superseded
    );
    jobmaster.register().await;
    jobmaster.assign(vec![noop(1)]);
    assert_eq!(reason(&jobmaster.end_of(attempt(1)).await), None);
    second.halt();
    assert_eq!(
        within("the second one's end", second.ended()).await,
        WorkerEnded::Halted
    );
}

#[tokio::test]
async fn halted_or_forgotten_it_kills_what_runs() {
    let bench = Bench::new().await;
    let hash = bench.api.add(COMMANDS);
    let (worker, mut jobmaster) = bench.worker(slots(1)).await;
    jobmaster.assign(vec![assignment(1, ExecutorKind::Process, &hash, 2)]);
    let pid_file = bench.folder.path().join("data/pid");
    until_exists(&pid_file).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    drop(worker);
    within("its death", async {
        while is_alive(pid.trim()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
