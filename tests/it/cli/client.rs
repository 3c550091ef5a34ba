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
    assert_eq!(json(&["retries", "cancel", &task])["state"], "FAILED");
    assert_eq!(json(&["retries", &job])["total"], 0);
    let (code, _, err) = run(&["retries", "now", &task]);
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
    let (_, out, _) = run(&["workers"]);
    assert!(out.contains("ACTIVE, cordoned"), "{out}");
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

#[test]
fn shells_learn_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, out, err) = run(folder.path(), &["completion", shell]);
        assert!(code == 0 && err.is_empty(), "{shell}: {err}");
        for word in ["uncordon", "retries", "external-id", "context"] {
            assert!(out.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(folder.path(), &["completion", "dos"]).0, 2);
}
