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

#[tokio::test]
async fn output_comes_as_lines_of_valid_text() {
    let bench = Bench::new();
    let (outcome, lines) = bench
        .sh(r"printf 'a\r\n\nb\377\000c\n'; printf 'no end'; printf 'e' >&2")
        .await;
    let Outcome::Completed(completion) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((completion.lines, completion.bytes), (5, 16));
    let mut lines = lines;
    lines.sort();
    assert_eq!(lines, ["err:e", "out:", "out:a", "out:b\u{fffd}\0c", "out:no end"]);
}

#[tokio::test]
async fn a_huge_line_is_cut_and_the_next_ones_are_whole() {
    let bench = Bench::new();
    let (outcome, lines) = bench
        .sh("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo after; echo ü >&2; exit 4")
        .await;
    assert_eq!(lines.len(), 3);
    let long = lines.iter().find(|line| line.contains("xxx")).unwrap();
    assert!(long.len() < 33_000 && long.ends_with("x… [cut]"), "{}", long.len());
    assert!(lines.contains(&"out:after".to_owned()));
    let failure = failure(outcome);
    assert!(
        failure.last_log_lines.iter().all(|line| line.len() <= 2_048),
        "{failure:?}"
    );
}

#[tokio::test]
async fn the_environment_is_the_documents_and_the_attempts() {
    let bench = Bench::new();
    let mut task = sh(
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $GRID_JOB_ID $GRID_TASK_ID $GRID_WORKER_ID $GRID_ATTEMPT \
        $REPLICA_INDEX/$REPLICA_COUNT $A; pwd",
    );
    task.env.insert("A".into(), EnvValue::Text("b c".into()));
    let (_, lines) = bench.run(task).await;
    let names: Vec<&str> = lines[0][4..]
        .split_whitespace()
        .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
        .collect();
    let allowed = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL"];
    let own: Vec<&&str> = names.iter().filter(|name| !allowed.contains(name)).collect();
    assert_eq!(
        own,
        [
            &"A",
            &"GRID_ATTEMPT",
            &"GRID_JOB_ID",
            &"GRID_TASK_ID",
            &"GRID_WORKER_ID",
            &"REPLICA_COUNT",
            &"REPLICA_INDEX"
        ]
    );
    assert_eq!(
        lines[1],
        format!("out:{JOB} {}-7 worker-w1 3 1/4 b c", JOB.replace("job-", "task-"))
    );
    assert_eq!(
        lines[2],
        format!("out:{}", bench.folder.path().canonicalize().unwrap().display())
    );
}

#[tokio::test]
async fn a_secret_reaches_the_program_and_nothing_else() {
    let bench = Bench::new();
    let secrets = bench.folder.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("TOKEN"), "hush-hush\n").unwrap();
    std::fs::write(bench.folder.path().join("outside"), "x").unwrap();
    let mut task = sh("printf %s \"$T\" | wc -c; echo \"a $T b\"; echo \"GRID_FAIL: UNRECOVERABLE $T\" >&2; exit 1");
    task.env.insert("T".into(), EnvValue::Secret("TOKEN".into()));
    let (outcome, lines) = bench.run(task.clone()).await;
    assert_eq!(
        lines
            .iter()
            .filter(|line| *line == "out:9" || *line == "out:a *** b")
            .count(),
        2,
        "{lines:?}"
    );
    let outcome = failure(outcome);
    assert_eq!(outcome.message, "***");
    assert!(!format!("{outcome:?}").contains("hush"));
    for (name, message) in [
        ("MISSING", "cannot be read on this worker"),
        ("../outside", "is not a secret's name"),
    ] {
        task.env.insert("T".into(), EnvValue::Secret(name.into()));
        let failure = failure(bench.run(task.clone()).await.0);
        assert_eq!(failure.reason, FailureReason::Unrecoverable);
        assert!(failure.message.contains(message), "{failure:?}");
    }
    std::fs::write(secrets.join("BIN"), b"a\0b").unwrap();
    assert!(Secrets::new(Some(secrets)).read("BIN").is_err());
    assert!(
        Secrets::new(None)
            .read("TOKEN")
            .unwrap_err()
            .to_string()
            .contains("--secrets-dir")
    );
}

#[tokio::test]
async fn failures_keep_exit_code_reason_and_last_lines() {
    let bench = Bench::new();
    let failure = bench.fails("for i in $(seq 100); do echo $i; done; exit 3").await;
    assert_eq!(
        (failure.reason, failure.exit_code, failure.message.as_str()),
        (FailureReason::Error, Some(3), "exit code 3")
    );
    let expected: Vec<String> = (81..=100).map(|n| n.to_string()).collect();
    assert_eq!(failure.last_log_lines, expected);
    assert_eq!(bench.fails("exit 78").await.reason, FailureReason::Unrecoverable);
    let failure = bench
        .fails("printf 'GRID_FAIL: AUTHENTICATION bad key\\n\\n  \\n' >&2; echo later; exit 1")
        .await;
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (FailureReason::Authentication, "bad key")
    );
    let failure = bench
        .fails("printf 'GRID_FAIL: UNRECOVERABLE no end' >&2; exit 1")
        .await;
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (FailureReason::Unrecoverable, "no end")
    );
    let failure = bench
        .fails("echo 'GRID_FAIL: UNRECOVERABLE x' >&2; echo y >&2; exit 1")
        .await;
    assert_eq!(failure.reason, FailureReason::Error);
    let failure = bench.fails("kill -SEGV $$").await;
    assert_eq!(
        (failure.exit_code, failure.message.as_str()),
        (None, "ended by signal 11 (SIGSEGV)")
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_unrecoverable() {
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("plain"), "x").unwrap();
    for (program, message) in [
        ("no-such-program", "no such program"),
        ("./plain", "may not execute it"),
    ] {
        let failure = failure(bench.run(command(&[program])).await.0);
        assert_eq!(failure.reason, FailureReason::Unrecoverable);
        assert!(
            failure.message.contains(message) && failure.message.contains(program),
            "{failure:?}"
        );
        assert_eq!((failure.causes.len(), failure.exit_code), (1, None));
    }
}

#[tokio::test]
async fn a_stop_completes_with_exit_code_0_alone() {
    for (on_term, completes) in [("exit 0", true), ("exit 5", false), ("", true)] {
        let bench = Arc::new(Bench::new());
        let running = tokio::spawn({
            let bench = Arc::clone(&bench);
            let script =
                format!("trap '{on_term}' TERM; echo up > up; for i in $(seq 400); do sleep 0.01; done; exit 0");
            async move { bench.sh(&script).await.0 }
        });
        bench.written("up").await;
        bench.control.send_replace(ControlState::Stop);
        match running.await.unwrap() {
            Outcome::Completed(_) => assert!(completes, "{on_term}"),
            Outcome::Failed(failure) => {
                // An empty trap ignores the signal, and the grace is shorter than the script.
                assert_eq!(failure.reason, FailureReason::Killed, "{on_term}");
                assert!(!completes || on_term.is_empty());
            }
        }
    }
}

/// A script whose processes ignore SIGTERM, one in a group of its own, and whose ids are in `pids`.
const STUBBORN: &str = "trap '' TERM; sleep 600 & a=$!; timeout 600 sleep 601 & b=$!; sh -c 'trap \"\" TERM; sleep 602 & echo $! > grand; wait' & \
    while [ ! -s grand ]; do sleep 0.01; done; echo $$ $a $b $! $(cat grand) > pids; wait";

#[tokio::test]
async fn a_kill_ends_every_process_of_the_attempt() {
    let bench = Arc::new(Bench::new());
    let running = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.sh(STUBBORN).await.0 }
    });
    let pids = pids(&bench.written("pids").await);
    assert!(pids.len() == 5 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    let before = Instant::now();
    bench.control.send_replace(ControlState::Kill);
    let failure = failure(running.await.unwrap());
    assert!(
        before.elapsed() >= Duration::from_millis(300),
        "SIGKILL came before the grace"
    );
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (FailureReason::Killed, "killed: ended by signal 9 (SIGKILL)")
    );
    // Not eventually: when the attempt is over, they are gone.
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[tokio::test]
async fn sigterm_comes_first_and_a_stopped_process_hears_it() {
    let bench = Arc::new(Bench::new());
    let running = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move {
            bench
                .sh("trap 'echo bye; exit 0' TERM; echo $$ > up; while :; do sleep 0.01; done")
                .await
        }
    });
    let leader = pids(&bench.written("up").await)[0];
    kill(Pid::from_raw(leader), nix::sys::signal::Signal::SIGSTOP).unwrap();
    bench.control.send_replace(ControlState::Kill);
    let (outcome, lines) = running.await.unwrap();
    assert_eq!(failure(outcome).message, "killed: exit code 0");
    assert!(lines.contains(&"out:bye".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn what_stays_behind_in_the_session_is_killed_and_does_not_hold_the_attempt() {
    let bench = Bench::new();
    let before = Instant::now();
    let (outcome, lines) = bench
        .sh("sleep 600 & echo $! > pids; timeout 600 sleep 601 & echo $! >> pids; sleep 0.1; echo done")
        .await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    assert_eq!(lines, ["out:done"]);
    assert!(before.elapsed() < Duration::from_secs(10));
    let pids = pids(&bench.read("pids"));
    assert!(pids.len() == 2 && pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipe_delays_the_end_by_the_drain_time_alone() {
    let bench = Bench::new();
    let before = Instant::now();
    let (outcome, lines) = bench.sh("setsid sh -c 'echo $$ > pids; printf part; sleep 600' & while [ ! -s pids ]; do sleep 0.01; done; sleep 0.1").await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    assert_eq!(lines, ["out:part"]);
    assert!(before.elapsed() < Duration::from_secs(5));
    kill(
        Pid::from_raw(pids(&bench.read("pids"))[0]),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
}

#[tokio::test]
async fn a_log_that_is_not_read_does_not_hold_the_attempt_for_ever() {
    let bench = Bench::new();
    let (mut attempt, _) = bench.attempt(sh("seq 100000"));
    let (lines, mut received) = LineSink::bounded(10, Duration::from_millis(50));
    attempt.lines = lines;
    let executor = ProcessExecutor::new(bench.options.clone(), bench.guardian.clone());
    let outcome = executor.run(attempt, bench.control.subscribe()).await;
    let Outcome::Completed(completion) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(completion.lines, 100_000);
    let mut count = 0;
    while received.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 10);
}

#[tokio::test]
async fn a_slow_log_loses_nothing_and_one_that_wakes_up_is_told_what_it_lost() {
    let bench = Bench::new();
    let (mut attempt, _) = bench.attempt(sh("seq 3000; while [ ! -e go ]; do sleep 0.01; done; echo last"));
    let (lines, mut received) = LineSink::bounded(1_000, Duration::from_millis(50));
    attempt.lines = lines;
    let executor = ProcessExecutor::new(bench.options.clone(), bench.guardian.clone());
    let running = tokio::spawn({
        let control = bench.control.subscribe();
        async move { executor.run(attempt, control).await }
    });
    let mut told = Vec::new();
    tokio::time::sleep(Duration::from_millis(500)).await;
    while told.len() < 1_000 {
        told.push(received.recv().await.unwrap().text);
    }
    std::fs::write(bench.folder.path().join("go"), "").unwrap();
    while let Some(line) = received.recv().await {
        told.push(line.text);
    }
    assert!(matches!(running.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(told[..1_000], (1..=1_000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(
        told[told.len() - 2..],
        ["… [2000 lines dropped: the log could not keep up]", "last"]
    );
}

#[tokio::test]
async fn limits_hold_and_name_themselves() {
    let bench = Bench::new();
    let limited = |script: &str, limits: Limits| TaskSpec { limits, ..sh(script) };
    let (outcome, lines) = bench
        .run(limited(
            "ulimit -c; ulimit -v; ulimit -n; ulimit -t",
            Limits {
                memory_mib: Some(512),
                open_files: Some(99),
                cpu_seconds: Some(60),
                cpus: Some(1.0),
            },
        ))
        .await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    assert_eq!(lines, ["out:0", "out:524288", "out:99", "out:60"]);
    let memory = Limits {
        memory_mib: Some(64),
        ..Limits::default()
    };
    let failed = failure(
        bench
            .run(limited(
                "head -c 500000000 /dev/zero | sort | tail -c 1 2>&1 || exit 1; exit 9",
                memory,
            ))
            .await
            .0,
    );
    assert!(
        failed
            .message
            .starts_with("the limit memoryMiB = 64 was probably exceeded"),
        "{failed:?}"
    );
    let cpu = Limits {
        cpu_seconds: Some(1),
        ..Limits::default()
    };
    let failed = failure(bench.run(limited("while :; do :; done", cpu)).await.0);
    assert!(
        failed.message.starts_with("the limit cpuSeconds = 1 was exceeded"),
        "{failed:?}"
    );
    let files = Limits {
        open_files: Some(8),
        ..Limits::default()
    };
    let script = "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; cat < /dev/null";
    let failed = failure(bench.run(limited(script, files)).await.0);
    assert!(
        failed.message.starts_with("the limit openFiles = 8 was exceeded"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_dropped_attempt_leaves_no_process() {
    let bench = Bench::new();
    let (attempt, _lines) = bench.attempt(sh(STUBBORN));
    let executor = ProcessExecutor::new(bench.options.clone(), bench.guardian.clone());
    let control = bench.control.subscribe();
    let running = tokio::spawn(async move { executor.run(attempt, control).await });
    let pids = pids(&bench.written("pids").await);
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    eventually("all are gone, and reaped", || {
        pids.iter().all(|pid| !runs(*pid)) && !Path::new(&format!("/proc/{}", pids[0])).exists()
    })
    .await;
}

#[tokio::test]
async fn a_control_that_is_gone_is_a_kill() {
    let bench = Bench::new();
    let (attempt, _lines) = bench.attempt(sh("sleep 600"));
    let executor = ProcessExecutor::new(bench.options.clone(), bench.guardian.clone());
    let (sender, control) = watch::channel(ControlState::Run);
    drop(sender);
    assert_eq!(
        failure(executor.run(attempt, control).await).reason,
        FailureReason::Killed
    );
}

#[tokio::test]
async fn a_hundred_attempts_side_by_side() {
    let bench = Arc::new(Bench::new());
    let runs: Vec<_> = (0..100)
        .map(|n| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { (n, bench.sh(&format!("echo {n}; exit {n}")).await) })
        })
        .collect();
    for run in runs {
        let (n, (outcome, lines)) = run.await.unwrap();
        assert_eq!(lines, [format!("out:{n}")]);
        match outcome {
            Outcome::Completed(_) => assert_eq!(n, 0),
            Outcome::Failed(failure) => assert_eq!(failure.exit_code, Some(n)),
        }
    }
}

#[tokio::test]
async fn a_hung_worker_loses_its_processes_at_the_deadline() {
    let bench = Arc::new(Bench::new());
    bench.guardian.renew(Duration::from_millis(1_500));
    let running = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.sh(STUBBORN).await.0 }
    });
    let pids = pids(&bench.written("pids").await);
    bench.guardian.renew(Duration::from_millis(400));
    let renewed = Instant::now();
    let failure = failure(running.await.unwrap());
    assert!(renewed.elapsed() >= Duration::from_millis(399) && renewed.elapsed() < Duration::from_secs(3));
    assert_eq!(failure.reason, FailureReason::Error);
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
    // Nothing can run until the worker renews.
    assert!(matches!(bench.sh("sleep 1").await.0, Outcome::Failed(_)));
    bench.guardian.renew(Duration::from_secs(60));
    assert!(matches!(bench.sh("sleep 0.2").await.0, Outcome::Completed(_)));
}

#[tokio::test]
async fn a_guardian_that_was_killed_is_replaced_and_knows_what_runs() {
    let bench = Arc::new(Bench::new());
    let running = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.sh(STUBBORN).await.0 }
    });
    let pids = pids(&bench.written("pids").await);
    let first = bench.guardian.pid();
    kill(Pid::from_raw(first.cast_signed()), nix::sys::signal::Signal::SIGKILL).unwrap();
    // A start notices by itself, in the child.
    eventually("the guardian is dead", || !runs(first.cast_signed())).await;
    assert!(matches!(bench.sh("true").await.0, Outcome::Completed(_)));
    assert_ne!(bench.guardian.pid(), first);
    assert!(pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    bench.guardian.renew(Duration::from_millis(1));
    assert_eq!(failure(running.await.unwrap()).reason, FailureReason::Error);
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

/// No test: a worker that runs attempts until it is killed.
#[tokio::test]
async fn worker_entry() {
    let Some(folder) = std::env::var_os(AS_WORKER) else {
        return;
    };
    let mut bench = Bench::new();
    bench.folder = tempfile::tempdir_in(folder).unwrap();
    println!("{} {}", bench.guardian.pid(), bench.folder.path().display());
    let bench = Arc::new(bench);
    // One that is there, and a stream of new ones, so that the kill also meets starts and ends.
    let started = [
        "sleep 600 & echo $$ $! >> stream; kill -9 $!",
        "echo $$ >> stream; timeout 600 sleep 603 & sleep 0.01",
    ];
    let streams: Vec<_> = (0..8_usize)
        .map(|n| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                loop {
                    bench.sh(started[n % 2]).await;
                }
            })
        })
        .collect();
    bench.sh(STUBBORN).await;
    drop(streams);
}

/// Every process below `folder`, found by its environment or working folder, without the help of what is tested.
fn processes_in(folder: &Path) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let Ok(cwd) = std::fs::read_link(entry.path().join("cwd")) else {
            continue;
        };
        if cwd.starts_with(folder) && runs(pid) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

#[tokio::test]
async fn two_seconds_after_a_workers_kill_no_process_of_it_is_left() {
    for round in 0..6_u64 {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = std::process::Command::new("/proc/self/exe")
            .args([
                "--exact",
                "worker::executor::tests::worker_entry",
                "--nocapture",
                "--quiet",
            ])
            .env(AS_WORKER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = worker.id().cast_signed();
        eventually("the worker runs its tasks", || {
            std::fs::read_dir(folder.path())
                .unwrap()
                .flatten()
                .any(|entry| entry.path().join("pids").exists())
        })
        .await;
        // A different moment of the stream each time.
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        assert!(processes_in(folder.path()).len() >= 5);
        kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        worker.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && !processes_in(folder.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = processes_in(folder.path());
        assert!(left.is_empty(), "round {round}: {left:?}");
        assert_eq!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH));
    }
}

fn dag(json: serde_json::Value) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::Dag(serde_json::from_value(json).unwrap()),
        ..sh("")
    }
}

#[tokio::test]
async fn pipelines_run_and_are_counted() {
    let bench = Bench::new();
    let task = dag(serde_json::json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 40}, "outputs": ["out"]},
        {"id": "out", "commandName": "stdout", "config": {}},
    ]));
    let (attempt, mut received) = bench.attempt(task);
    let live = attempt.live.clone();
    assert!(live.get().is_none());
    let outcome = PipelineExecutor.run(attempt, bench.control.subscribe()).await;
    let Outcome::Completed(completion) = outcome else {
        panic!("{outcome:?}")
    };
    let report = completion.pipeline.unwrap();
    assert_eq!((completion.lines, report.nodes[0].events_out), (10, 10));
    assert_eq!(live.get().unwrap().nodes(), report.nodes);
    assert!(received.recv().await.unwrap().text.contains("\"index\""));
}

#[tokio::test]
async fn pipelines_are_stopped_killed_and_refused() {
    let endless = || {
        dag(serde_json::json!([
            {"id": "in", "commandName": "generatesource", "config": {"rate": 50}, "outputs": ["out"]},
            {"id": "out", "commandName": "filesink", "config": {"path": "out-${REPLICA_INDEX}.ndjson"}},
        ]))
    };
    for wish in [ControlState::Stop, ControlState::Kill] {
        let bench = Bench::new();
        let (attempt, _lines) = bench.attempt(endless());
        let live = attempt.live.clone();
        let control = bench.control.subscribe();
        let running = tokio::spawn(async move { PipelineExecutor.run(attempt, control).await });
        eventually("it has begun", || {
            live.get().is_some_and(|counters| counters.nodes()[1].events_in > 0)
        })
        .await;
        bench.control.send_replace(wish);
        let file = bench.folder.path().join("out-1.ndjson");
        match running.await.unwrap() {
            Outcome::Completed(completion) => {
                assert!(wish == ControlState::Stop && completion.pipeline.unwrap().stopped && file.exists());
            }
            Outcome::Failed(failure) => {
                assert_eq!((wish, failure.reason), (ControlState::Kill, FailureReason::Killed));
                assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0);
            }
        }
    }
    let bench = Bench::new();
    let refused = dag(serde_json::json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 1}, "outputs": ["out"]},
        {"id": "out", "commandName": "filesink", "config": {"path": "/nowhere/${REPLICA_INDEX}"}},
    ]));
    assert_eq!(failure(bench.run(refused).await.0).reason, FailureReason::InvalidDag);
}

#[tokio::test]
async fn a_noop_completes() {
    let bench = Bench::new();
    let (outcome, lines) = bench
        .run(TaskSpec {
            kind: TaskKind::Noop,
            ..sh("")
        })
        .await;
    assert_eq!(
        (outcome, lines),
        (Outcome::Completed(Completion::default()), Vec::new())
    );
}
