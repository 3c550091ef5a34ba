//! The command line as the client of a server that a context names: find, explain, steer.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use super::server::Standalone;
use super::{grid, run, told};
use crate::support::wait_for;

const NIGHTLY: &str = r#"
externalId: nightly
labels: { team: ingest }
tasks:
  - externalId: long
    command: [sleep, "600"]
  - externalId: again
    command: [sh, -c, "exit 3"]
    retry: { baseSeconds: 600 }
"#;

const LATER: &str = "externalId: later\ntasks:\n  - externalId: waits\n    executor: noop\n";

#[test]
fn a_server_is_known_by_its_context_and_jobs_are_found_explained_and_steered() {
    let server = Standalone::start();
    let path = server.path();
    // No GRID_SERVER from here on.
    let run = |arguments: &[&str]| run(path, arguments);
    let json = |arguments: &[&str]| -> Value {
        let (code, out, err) = run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        serde_json::from_str(&out).unwrap()
    };
    server.write("token", "hush\n");
    let nowhere = ["context", "add", "gone", "--server", "http://127.0.0.1:1"];
    assert_eq!(run(&[&nowhere[..], &["--token-file", "token"]].concat()).0, 0);
    assert_eq!(run(&nowhere).0, 2, "it is there already");
    assert_eq!(run(&["context", "add", "here", "--server", &server.url]).0, 0);
    let file = path.join("config/grid/contexts.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The first is in use; then a flag, a variable, the choice.
    let (code, _, err) = run(&["jobs"]);
    assert!(code == 1 && err.contains("cannot reach http://127.0.0.1:1"), "{err}");
    assert_eq!(run(&["jobs", "--context", "here"]).0, 0);
    let by_variable = grid(path, &["jobs"]).env("GRID_CONTEXT", "here").output();
    assert_eq!(told(by_variable.unwrap()).0, 0);
    let (code, _, err) = run(&["jobs", "--context", "her"]);
    assert!(code == 2 && err.contains("there are: gone, here"), "{err}");
    assert_eq!(json(&["context", "use", "here"])["items"][1]["current"], true);

    server.write("nightly.yaml", NIGHTLY);
    let job = json(&["submit", "nightly.yaml"])["jobId"].as_str().unwrap().to_owned();
    let found = |filters: &[&str]| json(&[&["jobs"][..], filters].concat())["total"].as_u64();
    let fitting = [
        "--status",
        "running,mixed",
        "--label",
        "team=ingest",
        "--external-id",
        "nightly",
    ];
    assert_eq!(found(&[&fitting[..], &["--sort", "createdAt,asc"]].concat()), Some(1));
    assert_eq!(found(&["--status", "FAILED"]), Some(0));
    assert_eq!(found(&["--label", "team=other"]), Some(0));
    assert_eq!(
        found(&["--created-to", "2026-01-31T00:00:00Z", "--external-id", "x"]),
        Some(0)
    );
    assert_eq!(run(&["jobs", "--status", "ill"]).0, 2);
    let (code, _, err) = run(&["jobs", "--sort", "colour"]);
    assert!(code == 1 && err.contains("finishedAt"), "{err}");

    let task = format!("task-{}-2", job.trim_start_matches("job-"));
    wait_for("the second task waits for its retry", Duration::from_secs(60), || {
        (json(&["retries", &job])["items"][0]["taskId"] == task.as_str()).then_some(())
    });
    assert_eq!(json(&["explain", &task])["reason"], "RETRY_WAIT");
    let (code, out, _) = run(&["explain", &job]);
    assert!(
        code == 0 && out.contains("because:") && out.contains("RETRY_WAIT"),
        "{out}"
    );
    assert_eq!(json(&["retries"])["items"][0]["taskId"], task.as_str());
    let (_, out, _) = run(&["retries", &job]);
    assert!(
        out.contains("DUE") && out.contains("again") && out.contains("1/3"),
        "{out}"
    );
    let only = |filters: &[&str]| {
        let list = json(&[&["tasks"][..], filters].concat());
        let only = (list["total"] == 1).then(|| list["items"][0]["externalId"].as_str().unwrap().to_owned());
        only.unwrap_or_else(|| format!("{list}"))
    };
    assert_eq!(only(&[&job, "--state", "failed"]), "again");
    assert_eq!(
        only(&[
            "--state",
            "RUNNING,SCHEDULED",
            "--worker",
            "local",
            "--label",
            "team=ingest"
        ]),
        "long"
    );
    let last = json(&["tasks", &job, "--sort", "number,desc", "--size", "1"]);
    assert_eq!(
        (&last["items"][0]["externalId"], &last["total"]),
        (&"again".into(), &2.into())
    );
    assert_eq!(run(&["tasks", &job, "--label", "team=ingest"]).0, 2);
    assert_eq!(json(&["search", "team=ing"])["items"][0]["id"], job.as_str());
    let (code, out, _) = run(&["search", "nightly"]);
    assert!(code == 0 && out.contains("externalId") && out.contains(&job), "{out}");
    assert_eq!(json(&["retries", "cancel", &task])["state"], "FAILED");
    assert_eq!(json(&["retries", &job])["total"], 0);
    let (code, _, err) = run(&["retries", "bring-forward", &task]);
    assert!(code == 1 && err.contains("(409 "), "{err}");

    // A cordoned worker gets no work, and that is what the task says.
    assert_eq!(json(&["workers", "cordon", "local"])["cordoned"], true);
    server.write("later.yaml", LATER);
    let later = json(&["submit", "later.yaml"])["jobId"].as_str().unwrap().to_owned();
    wait_for(
        "the job says that the worker is cordoned",
        Duration::from_secs(60),
        || (json(&["explain", &later])["tasks"][0]["reason"] == "WORKERS_CORDONED").then_some(()),
    );
    let (_, out, _) = run(&["workers", "--state", "active", "--sort", "workerId,asc"]);
    assert!(out.contains("ACTIVE, cordoned"), "{out}");
    assert_eq!(json(&["workers", "--state", "INACTIVE,PENDING"])["total"], 0);
    assert_eq!(json(&["workers", "--label", "no=where"])["total"], 0);
    assert_eq!(json(&["workers", "uncordon", "local"])["cordoned"], false);
    wait_for("the job has completed", Duration::from_secs(60), || {
        (json(&["job", &later])["status"] == "COMPLETED").then_some(())
    });
    // It runs the long task still, so it does not leave yet.
    assert_eq!(json(&["workers", "drain", "local"])["draining"], true);
    assert_eq!(run(&["workers", "drain", "nobody"]).0, 1);
    assert_eq!(run(&["kill", &job]).0, 0);

    assert_eq!(run(&["context", "remove", "here"]).0, 0);
    let (_, out, _) = run(&["context", "list"]);
    assert!(out.lines().count() == 2 && !out.contains("hush"), "{out}");
}

const MANY: &str = "labels: { team: bulk }\ntasks:\n  - { externalId: a, command: [sleep, '600'] }\n";

#[test]
fn jobs_are_exported_and_steered_by_filter_once_somebody_agrees() {
    let server = Standalone::start();
    server.write("many.yaml", MANY);
    server.write("later.yaml", LATER);
    for document in ["many.yaml", "many.yaml", "many.yaml", "later.yaml"] {
        assert_eq!(server.run(&["submit", document]).0, 0);
    }
    let running = |label: &str| server.json(&["jobs", "--status", "RUNNING", "--label", label]).1["total"].clone();

    // Nobody agreed: nothing is done, and it is said to how many it would have been.
    let (code, out, err) = server.run(&["kill", "--label", "team=bulk"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("3 jobs fit") && err.contains("--yes"), "{err}");
    assert_eq!(running("team=bulk"), 3);
    assert_eq!(server.run(&["kill", "--yes"]).0, 2);
    assert_eq!(
        server
            .run(&["kill", "job-0198c2a0-7c00-7000-8000-000000000001", "--yes"])
            .0,
        2
    );
    let (code, out, err) = server.run(&["kill", "--label", "team=bulk", "--yes"]);
    assert_eq!((code, out.as_str()), (0, "kill: accepted for 3 of 3 jobs\n"), "{err}");
    assert!(err.contains("kill 3 jobs"), "{err}");
    wait_for("all are killed", Duration::from_secs(60), || {
        (server.json(&["jobs", "--status", "FAILED", "--label", "team=bulk"]).1["total"] == 3).then_some(())
    });
    let (code, out, _) = server.run(&["stop", "--label", "team=bulk", "--yes"]);
    assert!(
        code == 0 && out.starts_with("nothing to stop: no RUNNING job fits"),
        "{out}"
    );
    let (code, report) = server.json(&["retry", "--label", "team=bulk", "--yes"]);
    assert_eq!(
        (code, &report["succeeded"], &report["failed"]),
        (0, &3.into(), &0.into())
    );
    wait_for("they run again", Duration::from_secs(60), || {
        (running("team=bulk") == 3).then_some(())
    });
    // What they refuse is named, job by job.
    let (code, out, _) = server.run(&["retry", "--label", "team=bulk", "--status", "RUNNING", "--yes"]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.starts_with("retry: accepted for 0 of 3 jobs\n") && out.lines().count() == 5,
        "{out}"
    );

    let (code, out, err) = server.run(&["export", "--format", "ndjson", "--label", "team=bulk"]);
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 3, ""), "{out}");
    let (code, out, _) = server.run(&["export"]);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, all.as_array().unwrap().len()), (0, 4));
    let (code, out, err) = server.run(&["export", "--format", "csv", "--file", "jobs.csv"]);
    assert!(
        code == 0 && out.is_empty() && err.contains("written to jobs.csv"),
        "{out}{err}"
    );
    let csv = std::fs::read_to_string(server.path().join("jobs.csv")).unwrap();
    assert!(csv.starts_with("jobId,") && csv.lines().count() == 5, "{csv}");
    let (code, _, err) = server.run(&["export", "--file", "no/such/folder/jobs.json"]);
    assert!(
        code == 1 && err.contains("cannot write no/such/folder/jobs.json"),
        "{err}"
    );
    let (code, out, err) = server.run(&["export", "--created-from", "soon", "--file", "none.json"]);
    assert!(code == 1 && out.is_empty() && err.contains("createdFrom"), "{err}");
    assert!(!server.path().join("none.json").exists());
    let parts = std::fs::read_dir(server.path()).unwrap();
    let names = parts.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.contains(".part-")).count(), 0);
}

const WIDE: &str = r#"
tasks:
  - { externalId: good, executor: noop, replicas: 600 }
  - externalId: bad
    command: [sh, -c, "echo last words; exit 3"]
    retry: { maxRetries: 0 }
"#;

#[test]
fn the_failed_task_is_found_behind_many() {
    let server = Standalone::start();
    server.write("wide.yaml", WIDE);
    let (code, out, err) = server.run(&["submit", "wide.yaml", "--wait"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("bad: ERROR after 1 attempt (exit code 3)"), "{out}");
    assert!(out.contains("    | last words"), "{out}");
}
