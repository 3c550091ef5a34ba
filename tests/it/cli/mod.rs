//! The command line as a user meets it: the binary, its exit codes, its pipes.

mod access;
mod client;
mod cluster;
mod completion;
mod dead_letters;
mod logs;
mod purge;
pub mod server;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub fn grid(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grid"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    // Nothing of the one who runs the tests.
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRID_") {
            command.env_remove(name);
        }
    }
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    told(grid(folder, arguments).output().unwrap())
}

pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().expect("an exit code"),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn exit_codes_tell_success_failure_and_wrong_usage_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(run(path, &["version"]).0, 0);
    assert_eq!(run(path, &["--help"]).0, 0);
    assert_eq!(run(path, &["no-such-command"]).0, 2);
    assert_eq!(run(path, &["job", "job-1"]).0, 2);
    assert_eq!(run(path, &["jobs", "--server", "127.0.0.1:1"]).0, 2);
    let (code, out, err) = run(path, &["jobs", "--server", "http://127.0.0.1:1"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with("error: cannot reach http://127.0.0.1:1"), "{err}");
    assert_eq!(run(path, &["submit", "missing.yaml"]).0, 1);
}

#[test]
fn every_command_of_a_client_says_which_server_is_not_there_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(run(path, &["init"]).0, 0);
    let job = "job-0198c2a0-7c00-7000-8000-000000000001";
    let task = "task-0198c2a0-7c00-7000-8000-000000000001-2";
    let commands: [&[&str]; 22] = [
        &["submit", "job.yaml"],
        &["jobs"],
        &["job", job],
        &["export"],
        &["search", "a"],
        &["tasks"],
        &["tasks", job],
        &["kill", job],
        &["kill", "--label", "a=b", "--yes"],
        &["stop", job],
        &["retry", task],
        &["retries"],
        &["retries", "bring-forward", task],
        &["retries", "cancel", task],
        &["dead-letters", job],
        &["explain", task],
        &["workers"],
        &["workers", "drain", "a"],
        &["logs", "--job", job],
        &["logs", "--export", "-"],
        &["events", job],
        &["events", "--export", "-"],
    ];
    // Side by side: each waits a moment for the server.
    let started = commands.map(|command| {
        let flags = [command, &["--server", "http://127.0.0.1:1"]].concat();
        let child = grid(path, &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        (command, child.unwrap())
    });
    for (command, child) in started {
        let (code, out, err) = told(child.wait_with_output().unwrap());
        assert_eq!((code, out.as_str()), (1, ""), "{command:?}: {err}");
        assert!(
            err.starts_with("error: cannot reach http://127.0.0.1:1: "),
            "{command:?}: {err}"
        );
        assert!(
            err.contains("--server URL, GRID_SERVER or a context"),
            "{command:?}: {err}"
        );
    }
    for id in [
        &["job", "x"][..],
        &["kill", "x"],
        &["explain", "x"],
        &["workers", "cordon", "a b"],
        &["retries", "x"],
    ] {
        let (code, _, err) = run(path, id);
        assert!(code == 2 && err.starts_with("error: "), "{id:?}: {err}");
    }
}

#[test]
fn a_first_job_is_written_checked_and_its_mistakes_are_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(run(path, &["init", "--config"]).0, 0);
    assert_eq!(run(path, &["validate", "job.yaml"]).0, 0);
    assert_eq!(run(path, &["init"]).0, 2);
    assert_eq!(run(path, &["config", "--config", "grid.toml"]).0, 0);
    std::fs::write(
        path.join("bad.yaml"),
        "tasks:\n  - externalId: a\n    executor: noop\n    replicas: many\n",
    )
    .unwrap();
    let (code, _, err) = run(path, &["validate", "job.yaml", "bad.yaml"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("bad.yaml:4:15: ") && err.contains("\n  4 |     replicas: many\n    |               ^"),
        "{err}"
    );
    let (code, out, _) = run(path, &["validate", "bad.yaml", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, report[0]["errors"][0]["line"].as_u64()), (1, Some(4)));
    // The same from a pipe.
    let mut child = grid(path, &["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"tasks\": []}").unwrap();
    let (code, out, _) = told(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (0, "stdin: good, 0 tasks\n"));
}

#[test]
fn the_configuration_is_refused_by_the_name_of_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let output = grid(folder.path(), &["config", "--slots", "7"])
        .env("GRID__WORKER__GRACE", "4s")
        .env("GRID__POSTGRES__URL", "postgres://grid:hush@host/grid")
        .output();
    let (code, out, err) = told(output.unwrap());
    assert_eq!(code, 0, "{err}");
    let line = |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("grace = \"4s\"").ends_with("# environment GRID__WORKER__GRACE"));
    assert!(line("slots = 7").ends_with("# flag --slots"));
    assert!(line("url = \"***\"").ends_with("# environment GRID__POSTGRES__URL") && !out.contains("hush"));
    let output = grid(folder.path(), &["config"]).env("GRID__WORKER__SLOT", "1").output();
    let (code, out, err) = told(output.unwrap());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("worker.slot (environment GRID__WORKER__SLOT): unknown key; did you mean worker.slots?"),
        "{err}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = grid(folder.path(), &["config", "--reference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (code, _, err) = told(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}
