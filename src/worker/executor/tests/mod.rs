//! Executors with real processes. The guardian is this test program itself, called for one test alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::document::{EnvValue, Limits, TaskKind, TaskSpec};
use crate::domain::{Attempt, Failure, FailureReason, RetryPolicy, TaskId, Timeouts};
use crate::worker::{Checkpoints, Reported};

mod ends;
mod guardian;
mod output;
mod pipelines;

const AS_GUARDIAN: &str = "GRID_TEST_IS_GUARDIAN";
const AS_WORKER: &str = "GRID_TEST_IS_WORKER";

/// This test program, running one test of this module alone.
fn this_test(name: &str) -> GuardianOptions {
    GuardianOptions {
        program: "/proc/self/exe".into(),
        arguments: [
            "--exact",
            &format!("worker::executor::tests::{name}"),
            "--nocapture",
            "--quiet",
        ]
        .map(Into::into)
        .to_vec(),
        environment: vec![(AS_GUARDIAN.into(), "1".into())],
    }
}

/// No test: the guardian of the others.
#[test]
fn guardian_entry() {
    if std::env::var_os(AS_GUARDIAN).is_some() {
        // Its exit code is of no interest to anybody.
        let _ = guardian_main();
        std::process::exit(0);
    }
}

fn guardian() -> Guardian {
    Guardian::start(this_test("guardian_entry")).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    guardian: Guardian,
    options: ProcessOptions,
    control: watch::Sender<ControlState>,
}

impl Bench {
    fn new() -> Self {
        let options = ProcessOptions {
            kill_grace_ms: 300,
            stop_grace_ms: 2_000,
            drain_ms: 500,
            stuck_ms: 5_000,
        };
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            guardian: guardian(),
            options,
            control: watch::Sender::new(ControlState::Run),
        }
    }

    fn attempt(&self, task: TaskSpec) -> (AttemptContext, mpsc::Receiver<LogLine>) {
        let (lines, received) = LineSink::bounded(10_000, Duration::from_millis(200));
        let secrets = self.folder.path().join("secrets");
        let context = AttemptContext {
            job: JOB.parse().unwrap(),
            task: Arc::new(task),
            task_id: TaskId {
                job: JOB.parse().unwrap(),
                number: 7,
            },
            attempt: Attempt(3),
            worker: "w1".parse().unwrap(),
            replica_index: 1,
            replica_count: 4,
            data_dir: self.folder.path().to_owned(),
            allow_paths: Vec::new(),
            secrets: Secrets::new(secrets.exists().then_some(secrets)),
            lines,
            live: LiveCounters::default(),
            checkpoints: Checkpoints::nowhere(),
            traceparent: None,
            reported: Reported::nowhere(),
            letters: crate::worker::LetterPost::default(),
        };
        (context, received)
    }

    async fn run(&self, task: TaskSpec) -> (Outcome, Vec<String>) {
        let (attempt, mut received) = self.attempt(task);
        let executors = Executors::new(self.options.clone(), self.guardian.clone());
        let outcome = executors.run(attempt, self.control.subscribe()).await;
        let mut lines = Vec::new();
        while let Some(line) = received.recv().await {
            lines.push(format!("{}:{}", &line.stream.name()[3..], line.text));
        }
        (outcome, lines)
    }

    async fn sh(&self, script: &str) -> (Outcome, Vec<String>) {
        self.run(sh(script)).await
    }

    async fn fails(&self, script: &str) -> Failure {
        failure(self.sh(script).await.0)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Waits for a file that a script writes whole (`echo x > f.new; mv f.new f` or one `echo`).
    async fn written(&self, name: &str) -> String {
        eventually(name, || self.read(name).ends_with('\n')).await;
        self.read(name)
    }
}

const JOB: &str = "job-0198c2a0-7c00-7000-8000-000000000001";

fn command(argv: &[&str]) -> TaskSpec {
    TaskSpec {
        external_id: "t".into(),
        replicas: 4,
        requires: BTreeMap::new(),
        retry: RetryPolicy::default(),
        timeouts: Timeouts::default(),
        env: BTreeMap::new(),
        limits: Limits::default(),
        kind: TaskKind::Command {
            argv: argv.iter().map(ToString::to_string).collect(),
        },
    }
}

fn sh(script: &str) -> TaskSpec {
    command(&["sh", "-c", script])
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Completed(completion) => panic!("{completion:?}"),
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pids(text: &str) -> Vec<i32> {
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Whether the process still runs; one that has ended and only waits to be reaped does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// A script whose processes ignore SIGTERM, one in a group of its own, and whose ids are in `pids`.
const STUBBORN: &str = "trap '' TERM; sleep 600 & a=$!; timeout 600 sleep 601 & b=$!; sh -c 'trap \"\" TERM; sleep 602 & echo $! > grand; wait' & \
    while [ ! -s grand ]; do sleep 0.01; done; echo $$ $a $b $! $(cat grand) > pids; wait";
