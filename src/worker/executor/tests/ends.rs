//! How processes end, and that nothing of them is left.

use super::*;

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
        let running = crate::task::spawn("test", {
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

#[tokio::test]
async fn a_kill_ends_every_process_of_the_attempt() {
    let bench = Arc::new(Bench::new());
    let running = crate::task::spawn("test", {
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
    let running = crate::task::spawn("test", {
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
    let (outcome, lines) = bench.sh("setsid sh -c 'echo $$ > pids; printf part; exec sleep 600' & while [ ! -s pids ]; do sleep 0.01; done; sleep 0.1").await;
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
async fn limits_hold_and_name_themselves() {
    let bench = Bench::new();
    let limited = |script: &str, limits: Limits| TaskSpec { limits, ..sh(script) };
    let (outcome, lines) = bench
        .run(limited(
            "ulimit -c; ulimit -v; ulimit -n; ulimit -t; nproc",
            Limits {
                memory_mib: Some(512),
                open_files: Some(99),
                cpu_seconds: Some(60),
                cpus: Some(1),
                processes: None,
            },
        ))
        .await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    assert_eq!(lines, ["out:0", "out:524288", "out:99", "out:60", "out:1"]);
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
    let running = crate::task::spawn("test", async move { executor.run(attempt, control).await });
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
            crate::task::spawn(
                "test",
                async move { (n, bench.sh(&format!("echo {n}; exit {n}")).await) },
            )
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

/// On a machine where this process may make cgroups; elsewhere it says so.
#[tokio::test]
async fn a_cgroup_limits_the_whole_task_and_names_what_it_exceeded() {
    let configured = std::env::var_os("GRID_TEST_CGROUP").map(std::path::PathBuf::from);
    let cgroups = match Cgroups::find(configured.as_deref()) {
        Ok(cgroups) => cgroups,
        Err(why) => {
            println!("NOT TESTED: there is no cgroup that this process may use (GRID_TEST_CGROUP names one): {why}");
            return;
        }
    };
    let bench = Bench::new();
    let run = async |script: &str, limits: Limits| {
        let (attempt, _lines) = bench.attempt(TaskSpec { limits, ..sh(script) });
        let executors = Executors::new(bench.options.clone(), bench.guardian.clone()).within(Some(cgroups.clone()));
        failure(executors.run(attempt, bench.control.subscribe()).await)
    };
    let memory = Limits {
        memory_mib: Some(32),
        ..Limits::default()
    };
    let failed = run("head -c 500000000 /dev/zero | tail", memory).await;
    assert!(
        failed.message.starts_with("the limit memoryMiB = 32 was exceeded"),
        "{failed:?}"
    );
    let processes = Limits {
        processes: Some(4),
        ..Limits::default()
    };
    let failed = run("for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; exit 3", processes).await;
    assert!(
        failed.message.starts_with("the limit processes = 4 was exceeded"),
        "{failed:?}"
    );
}

/// In a folder that plays one: a program enters its group before it begins, and what the group tells is in the failure.
#[tokio::test]
async fn a_program_begins_in_its_group_and_fails_by_what_that_tells() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("cgroup.controllers"), "memory pids").unwrap();
    let cgroups = Cgroups::find(Some(root.path())).unwrap();
    let (attempt, mut lines) = bench.attempt(TaskSpec {
        limits: Limits {
            memory_mib: Some(64),
            processes: Some(9),
            ..Limits::default()
        },
        ..sh(&format!(
            "cd $(dirname {}/grid-task-*/memory.max); for file in cgroup.procs memory.max pids.max; do echo $(cat $file); done; \
             ulimit -v; echo 'oom_kill 1' > memory.events; kill -9 $$",
            root.path().display()
        ))
    });
    let executors = Executors::new(bench.options.clone(), bench.guardian.clone()).within(Some(cgroups));
    let failed = failure(executors.run(attempt, bench.control.subscribe()).await);
    let mut said = Vec::new();
    while let Some(line) = lines.recv().await {
        said.push(line.text);
    }
    // Its address space is not limited besides.
    assert_eq!(said, ["0", "67108864", "9", "unlimited"]);
    assert!(
        failed
            .message
            .starts_with("the limit memoryMiB = 64 was exceeded, and the system killed the task"),
        "{failed:?}"
    );
}
