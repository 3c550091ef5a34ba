//! The command line and a real `grid standalone`: jobs from submission to result, and what a user sees of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{grid, told};
use crate::support::{free_port, wait_for};

/// A standalone in a folder of its own, ended on drop.
pub struct Standalone {
    folder: tempfile::TempDir,
    process: Child,
    pub url: String,
}

impl Standalone {
    pub fn start() -> Self {
        Self::start_with(&["--slots", "4"])
    }

    /// One with more flags, which serves.
    pub fn start_with(more: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let flags = ["standalone", "--data-dir", "data", "--listen", &address];
        let standalone = Self::spawned(Self::folder(), &[&flags[..], more].concat(), &address);
        standalone.await_ready(&address);
        standalone
    }

    /// A folder for one.
    pub fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        // The private Postgres runs as another user when the tests run as root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// One with flags of its own; it is not waited for.
    pub fn spawned(folder: tempfile::TempDir, flags: &[&str], address: &str) -> Self {
        let process = Self::run_with(folder.path(), flags);
        Self {
            folder,
            process,
            url: format!("http://{address}"),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until its log says so.
    pub fn await_line(&self, what: &str, deadline: Duration) {
        wait_for(what, deadline, || {
            let log = std::fs::read_to_string(self.folder.path().join("log")).ok()?;
            log.contains(what).then_some(())
        });
    }

    fn run_with(folder: &Path, flags: &[&str]) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .unwrap();
        grid(folder, flags).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Returns once it serves.
    pub fn await_ready(&self, address: &str) {
        wait_for("standalone is ready", Duration::from_secs(120), || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n").ok()?;
            let status = BufReader::new(stream).lines().next()?.ok()?;
            status.contains(" 200 ").then_some(())
        });
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        told(
            grid(self.folder.path(), arguments)
                .env("GRID_SERVER", &self.url)
                .output()
                .unwrap(),
        )
    }

    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.run(&[arguments, &["--output", "json"]].concat());
        (
            code,
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")),
        )
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.process.wait().unwrap();
    }

    /// Ends it as an operator does, and starts it in the same folder with these flags; ready.
    pub fn restart(&mut self, flags: &[&str], address: &str) {
        self.stop();
        self.process = Self::run_with(self.folder.path(), flags);
        self.url = format!("http://{address}");
        self.await_ready(address);
    }

    /// What it answers to a GET.
    pub fn get(&self, path: &str) -> Value {
        let output = std::process::Command::new("curl")
            .args(["-sS", "--fail-with-body", &format!("{}{path}", self.url)])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::SIGTERM);
            let _ = self.process.wait();
        }
    }
}

/// Whole, in two parts that fit together, of one job, and as it grows.
fn the_log_is_exported_in_parts_and_followed(server: &Standalone, job: &str) {
    let (code, out, err) = server.run(&["events", "--export", "all.ndjson"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let all = std::fs::read_to_string(server.folder.path().join("all.ndjson")).unwrap();
    let lines: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(err.starts_with(&format!("{} events written", lines.len())), "{err}");
    let (first, rest) = lines.split_at(lines.len() / 2);
    let after = first.last().unwrap()["after"].as_str().unwrap();
    let (code, out, _) = server.run(&["events", "--export", "-", "--after", after]);
    let places = |lines: &[Value]| -> Vec<String> { lines.iter().map(|line| line["position"].to_string()).collect() };
    let exported: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, places(&exported)), (0, places(rest)));
    let (_, of_job, _) = server.run(&["events", job, "--export", "-"]);
    let uuid = job.trim_start_matches("job-");
    assert_eq!(
        of_job.lines().count(),
        all.lines().filter(|line| line.contains(&format!("-{uuid}"))).count()
    );

    let end = lines.last().unwrap()["after"].as_str().unwrap();
    let mut following = grid(
        server.folder.path(),
        &["events", "--follow", "--output", "json", "--after", end],
    )
    .env("GRID_SERVER", &server.url)
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let (_, submitted) = server.json(&["submit", "job.yaml", "--wait"]);
    let mut followed = Vec::new();
    for line in BufReader::new(following.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let is_last = event["type"] == "JobFinished";
        followed.push(event);
        if is_last {
            break;
        }
    }
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(followed[0]["type"], "JobSubmitted");
    assert_eq!(followed.last().unwrap()["subject"], submitted["jobId"]);
    assert_eq!(server.run(&["events", "worker-local", "--follow"]).0, 2);
    assert_eq!(server.run(&["events", "--after", end]).0, 2);
}

const FAILING: &str = r#"
externalId: failing
tasks:
  - externalId: bad
    command: [sh, -c, "echo out; echo last words >&2; exit 3"]
    retry: { maxRetries: 0 }
  - externalId: good
    executor: noop
"#;

const WAITING: &str = r#"
externalId: waiting
tasks:
  - externalId: long
    command: [sleep, "600"]
  - externalId: again
    command: [sh, -c, 'test "$GRID_ATTEMPT" -ge 2']
    retry: { baseSeconds: 600 }
"#;

#[test]
fn jobs_go_from_submission_to_result_and_outlive_a_kill() {
    let mut server = Standalone::start();

    // The job of `grid init`: exit code 0 and one line, since stderr is no terminal.
    assert_eq!(server.run(&["init"]).0, 0);
    let (code, out, err) = server.run(&["submit", "job.yaml", "--watch"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with("job-") && out.contains(" COMPLETED in ") && out.lines().count() == 1,
        "{out}"
    );
    let id = out.split(' ').next().unwrap();
    let (code, job) = server.json(&["job", id]);
    assert_eq!((code, job["taskCounters"]["completed"].as_u64()), (0, Some(5)));
    let (_, events) = server.json(&["events", id, "--oldest-first"]);
    assert_eq!(events["items"][0]["type"], "JobSubmitted", "{events}");
    let (_, out, _) = server.run(&["tasks", id]);
    assert!(out.lines().count() == 6 && out.contains("squares-3"), "{out}");

    the_log_is_exported_in_parts_and_followed(&server, id);

    // A failure is exit code 1 and its last words.
    server.write("failing.yaml", FAILING);
    let (code, out, _) = server.run(&["submit", "failing.yaml", "--wait"]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains(" FAILED in ") && out.contains("bad: ERROR after 1 attempt (exit code 3)"),
        "{out}"
    );
    assert!(out.contains("    | last words"), "{out}");

    // A mistake is shown in its line, and nothing is submitted.
    server.write("wrong.yaml", "tasks:\n  - externalId: a\n    executor: nope\n");
    let (code, out, err) = server.run(&["submit", "wrong.yaml"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("wrong.yaml:3:15: ") && err.contains("\n    |               ^"),
        "{err}"
    );
    assert_eq!(server.run(&["submit", "failing.yaml", "--dry-run"]).0, 0);
    let (_, jobs) = server.json(&["jobs"]);
    assert_eq!(jobs["total"], 3, "{jobs}");

    // A wait outlives the server.
    server.write("waiting.yaml", WAITING);
    let (_, submitted) = server.json(&["submit", "waiting.yaml"]);
    let waiting = submitted["jobId"].as_str().unwrap().to_owned();
    let task = format!("task-{}-2", waiting.trim_start_matches("job-"));
    wait_for("the second task waits for its retry", Duration::from_secs(30), || {
        (server.json(&["job", &waiting]).1["retriesPending"] == 1).then_some(())
    });
    server.signal(Signal::SIGKILL);
    server.process.wait().unwrap();
    let address = server.url.trim_start_matches("http://").to_owned();
    let flags = ["standalone", "--data-dir", "data", "--slots", "4", "--listen", &address];
    server.process = Standalone::run_with(server.folder.path(), &flags);
    server.await_ready(&address);

    // Brought forward, it runs; the other one is killed.
    let (code, _) = server.json(&["retry", &task]);
    assert_eq!(code, 0);
    wait_for("the retry has run", Duration::from_secs(30), || {
        (server.json(&["job", &waiting]).1["taskCounters"]["completed"] == 1).then_some(())
    });
    assert_eq!(server.run(&["kill", &waiting]).0, 0);
    let finished = wait_for("the kill has ended the job", Duration::from_secs(60), || {
        let (_, job) = server.json(&["job", &waiting]);
        (job["status"] != "RUNNING").then_some(job)
    });
    assert_eq!(finished["failureSummary"]["KILLED"], 1, "{finished}");

    // What is not there, and what cannot be.
    let (code, _, err) = server.run(&["job", "0198c2a0-7c00-7000-8000-000000000001"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("404"), "{err}");
    let (code, workers) = server.json(&["workers"]);
    assert_eq!((code, workers["items"][0]["maxCapacity"].as_u64()), (0, Some(4)));
    assert_eq!(server.run(&["events", "--quarantine"]).1, "nothing\n");

    // The log is in order while the server runs, and after it has ended.
    assert_eq!(server.run(&["verify", "--data-dir", "data"]).0, 0);
    server.signal(Signal::SIGTERM);
    assert!(server.process.wait().unwrap().success());
    let (code, out, err) = server.run(&["verify", "--data-dir", "data"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(server.run(&["verify", "--data-dir", "/no/such/folder"]).0, 3);
    assert_eq!(server.run(&["verify", "--no-such-flag"]).0, 3);
}
