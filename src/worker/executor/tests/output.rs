//! What a process is given and what it writes.

use super::*;

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
    let running = crate::task::spawn("test", {
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
