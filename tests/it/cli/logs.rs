//! `grid logs` and a real `grid standalone`: what tasks wrote, searched, followed and as a file.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::grid;
use super::server::Standalone;
use crate::support::wait_for;

const SPEAKING: &str = r#"
externalId: speaking
tasks:
  - externalId: a
    command: [sh, -c, "echo one; echo 'ERROR: two [x]' >&2; echo '{\"message\": \"three\", \"level\": \"debug\", \"user\": 7}'"]
  - externalId: b
    command: [sh, -c, "echo 'four'"]
"#;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn what_tasks_wrote_is_searched_followed_and_written_into_a_file() {
    let server = Standalone::start();
    server.write("speaking.yaml", SPEAKING);
    let mut following = grid(
        server.path(),
        &["logs", "-f", "--lines", "0", "--grep", "o", "--output", "json"],
    )
    .env("GRID_SERVER", &server.url)
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    // Lines of this job may come before the stream begins: it is begun when those of an earlier one are seen.
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::sync_channel(100);
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if sender.send(serde_json::from_str::<Value>(&line).unwrap()).is_err() {
                break;
            }
        }
    });
    let submit = || {
        let (code, job) = server.json(&["submit", "speaking.yaml", "--wait"]);
        assert_eq!(code, 0, "{job}");
        job["jobId"].as_str().unwrap().to_owned()
    };
    wait_for("the stream to begin", SOON, || {
        submit();
        receiver.recv_timeout(Duration::from_millis(500)).ok()
    });
    let job = submit();
    let mut of_job = Vec::new();
    while of_job.len() < 3 {
        let line = receiver.recv_timeout(SOON).expect("a line in time");
        if line["job_id"] == job.as_str() {
            of_job.push(line["message"].as_str().unwrap().to_owned());
        }
    }
    of_job.sort_unstable();
    // Without `three`, in which there is no o.
    assert_eq!(of_job, ["ERROR: two [x]", "four", "one"]);
    following.kill().unwrap();
    following.wait().unwrap();
    drop(receiver);
    reader.join().unwrap();

    let all = |arguments: &[&str]| {
        let (code, out, err) = server.run(&[&["logs", "--job", &job], arguments].concat());
        assert_eq!(code, 0, "{err}");
        (out, err)
    };
    let (out, err) = all(&[]);
    assert_eq!((out.lines().count(), err.as_str()), (4, ""), "{out}");
    let two = out.lines().find(|line| line.contains("two")).unwrap();
    let task = format!("task-{}-1", job.trim_start_matches("job-"));
    assert!(two.ends_with(&format!("Z  ERROR  {task}  ERROR: two [x]")), "{two}");
    let (out, _) = all(&["--task", &task, "--level", "error,debug"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(!out.contains("task-"), "all are of one task: {out}");
    assert_eq!(all(&["--grep", r"two \[x\]$"]).0.lines().count(), 1);
    assert_eq!(
        all(&["--query", "user:7 or four", "--since", "-1h"]).0.lines().count(),
        2
    );
    let (out, err) = all(&["--lines", "1"]);
    assert_eq!(
        (out.lines().count(), err.as_str()),
        (1, "the last 1 line; there are earlier ones\n")
    );
    let (found, _) = all(&["--output", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["lines"].as_array().unwrap().len(), 4);

    let none = (
        "".to_owned(),
        "no line of the last 24 hours fits; --since -7d looks further back\n".to_owned(),
    );
    assert_eq!(all(&["--grep", "nothing of the kind"]), none);
    assert_eq!(all(&["--level", "fatal", "--since", "-1h"]).1, "no line fits\n");
    assert_eq!(all(&["--level", "Warning,err"]).0.lines().count(), 1);
    let (code, out, err) = server.run(&["logs", "--level", "eror"]);
    assert!(
        code == 1 && out.is_empty() && err.contains("level: expected one of TRACE"),
        "{err}"
    );

    all(&["--export", "job.ndjson"]);
    let file = std::fs::read_to_string(server.path().join("job.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 4);
    let (code, _, err) = server.run(&["logs", "--query", "a | b"]);
    assert!(code == 1 && err.contains("QUERY_HAS_PIPES"), "{err}");
    assert_eq!(server.run(&["logs", "-f", "--since", "-1h"]).0, 2);
}
