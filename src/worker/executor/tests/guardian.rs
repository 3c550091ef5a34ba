//! That the death of a worker, or of the guardian, leaves nothing behind.

use super::*;

#[tokio::test]
async fn a_hung_worker_loses_its_processes_at_the_deadline() {
    let bench = Arc::new(Bench::new());
    bench.guardian.renew(Duration::from_millis(1_500));
    let running = crate::task::spawn("test", {
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
    let running = crate::task::spawn("test", {
        let bench = Arc::clone(&bench);
        async move { bench.sh(STUBBORN).await.0 }
    });
    let pids = pids(&bench.written("pids").await);
    let first = bench.guardian.pid();
    kill(Pid::from_raw(first.cast_signed()), nix::sys::signal::Signal::SIGKILL).unwrap();
    // A start notices by itself, in the child.
    eventually("the guardian is dead", || !runs(first.cast_signed())).await;
    // The pipe of a dead guardian may still be open in a child that is between fork and exec.
    for _ in 0..50 {
        assert!(matches!(bench.sh("true").await.0, Outcome::Completed(_)));
        if bench.guardian.pid() != first {
            break;
        }
    }
    assert_ne!(bench.guardian.pid(), first);
    assert!(pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    bench.guardian.renew(Duration::from_millis(1));
    assert_eq!(failure(running.await.unwrap()).reason, FailureReason::Error);
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[test]
fn what_is_no_guardian_is_refused() {
    let start = |program: &str| {
        let options = GuardianOptions {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        Guardian::start(options).err().map(|error| error.to_string())
    };
    let error = start("/no/such/program").unwrap();
    assert!(
        error.contains("/no/such/program") && error.contains("cannot be started"),
        "{error}"
    );
    let error = start("/bin/true").unwrap();
    assert!(error.contains("does not behave as one"), "{error}");
}

#[tokio::test]
async fn a_guardian_ends_with_its_last_handle_and_needs_little_memory() {
    let guardian = super::guardian();
    let pid = guardian.pid().cast_signed();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u32 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 8 * 1024, "{kib} KiB");
    // Deaf to what ends other processes: it goes with its worker alone.
    kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    let clone = guardian.clone();
    drop(guardian);
    assert!(runs(pid));
    drop(clone);
    eventually("it has ended", || !runs(pid)).await;
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
            crate::task::spawn("test", async move {
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
                "worker::executor::tests::guardian::worker_entry",
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
