//! `grid purge job` with a real `grid standalone`: what is known of a finished job beside the log is gone, and who did it is
//! known.

use std::time::Duration;

use serde_json::{Value, json};

use super::run;
use super::server::Standalone;
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(30);

/// Records that fail, a program that says something, and one that fails.
fn document() -> String {
    let dag = json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 10, "fields": {"mag": "4"}}, "outputs": ["odd"]},
        {"id": "odd", "commandName": "eval", "config": {"source": "if mod!(.index, 5) == 0 { .mag = \"four\" }"}, "outputs": ["keep"]},
        {"id": "keep", "commandName": "filter", "config": {"condition": "to_float!(.mag) >= 4"}, "outputs": ["out"]},
        {"id": "out", "commandName": "filesink", "config": {"path": "out.ndjson"}},
    ]);
    let save = r#"echo "ann@example.com asked"; curl -fsS -d '{"ts": 1, "data": "ann"}' "$CHECKPOINT_URL" >&2; exit 1"#;
    json!({"externalId": "of-a-person", "retry": {"maxRetries": 0}, "tasks": [
        {"externalId": "keep", "dag": dag},
        {"externalId": "says", "command": ["sh", "-c", save]},
    ]})
    .to_string()
}

/// `grid purge job`, as an admin. The token is made beside the server, as an operator makes it.
struct Admin<'a> {
    server: &'a Standalone,
    token: String,
}

impl<'a> Admin<'a> {
    fn of(server: &'a Standalone) -> Self {
        let create = [
            "token",
            "create",
            "--role",
            "admin",
            "--expires",
            "never",
            "--name",
            "ann",
            "--data-dir",
            "data",
        ];
        let (code, made) = server.json(&create);
        assert_eq!(code, 0, "{made}");
        let token = made["token"].as_str().unwrap().to_owned();
        Self { server, token }
    }

    fn purge(&self, job: &str, flag: &[&str]) -> (i32, String, String) {
        let purge = ["purge", "job", job, "--token", &self.token];
        self.server.run(&[&purge, flag].concat())
    }

    fn purged(&self, job: &str, flag: &str) -> Value {
        let (code, out, err) = self.purge(job, &[flag, "--output", "json"]);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }
}

fn curl(server: &Standalone, flags: &[&str], path: &str) -> (String, Value) {
    let output = std::process::Command::new("curl")
        .args(["-sS", "-w", "\n%{http_code}"])
        .args(flags)
        .arg(format!("{}{path}", server.url))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

fn submitted(server: &Standalone) -> String {
    let (code, job) = server.json(&["submit", "job.json", "--wait"]);
    assert_eq!((code, &job["status"]), (1, &json!("FAILED")), "{job}");
    job["jobId"].as_str().unwrap().to_owned()
}

/// What would be removed, once all of it has arrived.
fn arrived(admin: &Admin<'_>, job: &str) -> Value {
    wait_for("lines, points and letters to arrive", SOON, || {
        let would = admin.purged(job, "--dry-run");
        let has = |what: &str| would[what].as_u64() > Some(0);
        (has("logLines") && has("metricPoints") && would["deadLetters"] == 2 && would["checkpoints"] == 1)
            .then_some(would)
    })
}

#[test]
fn what_is_known_of_a_job_beside_the_log_is_removed_and_who_did_it_is_told() {
    let server = Standalone::start();
    server.write("job.json", &document());
    let (one, other) = (submitted(&server), submitted(&server));
    let (code, _, err) = server.run(&["purge", "job", &one, "--dry-run"]);
    assert!(code == 1 && err.contains("needs the role admin"), "{code} {err}");
    let admin = Admin::of(&server);
    let would = arrived(&admin, &one);
    assert_eq!((&would["dryRun"], &would["purgedAt"]), (&json!(true), &Value::Null));
    assert_eq!(
        (&would["documentShared"], &would["logStore"], &would["metricStore"]),
        (&json!(true), &json!("postgres"), &json!("postgres"))
    );
    let document = format!("/api/v1/jobs/{one}/document");
    assert_eq!(curl(&server, &[], &document).0, "200", "a dry run changes nothing");

    // Nobody agreed.
    let (code, _, err) = admin.purge(&one, &[]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("would be removed of") && err.contains("nothing was done; --yes does it"),
        "{err}"
    );
    // One that has not finished.
    server.write(
        "runs.json",
        r#"{"tasks": [{"externalId": "a", "command": ["sleep", "600"]}]}"#,
    );
    let (_, runs) = server.json(&["submit", "runs.json"]);
    let (code, _, err) = admin.purge(runs["jobId"].as_str().unwrap(), &["--yes"]);
    assert!(
        code == 1 && err.contains("has not finished; kill it first"),
        "{code} {err}"
    );

    let (code, out, err) = admin.purge(&one, &["--yes"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains(&format!("removed of {one}\n")) && out.contains("dead letters: 2\n"),
        "{out}"
    );
    assert!(
        out.contains("what stays:\n  - the events of the job and its tasks, in the log"),
        "{out}"
    );

    let (status, problem) = curl(&server, &[], &document);
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("410", &json!("DOCUMENT_PURGED")),
        "{problem}"
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("was purged by ann at 20") && !detail.contains("not finished"),
        "{detail}"
    );
    let (status, problem) = curl(&server, &["-X", "POST"], &format!("/api/v1/jobs/{one}/retry"));
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("409", &json!("JOB_PURGED")),
        "{problem}"
    );
    let bulk = json!({"action": "retry", "jobIds": [one]}).to_string();
    let (_, bulk) = curl(
        &server,
        &["-H", "content-type: application/json", "-d", &bulk],
        "/api/v1/jobs/bulk",
    );
    assert_eq!(bulk["items"][0]["code"], "JOB_PURGED", "{bulk}");
    assert_eq!(
        server.get(&format!("/api/v1/logs/search?job_id={one}"))["lines"],
        json!([])
    );
    assert_eq!(
        server.get(&format!("/api/v1/metrics?tag.job_id={one}"))["dataPoints"],
        json!([])
    );
    assert_eq!(server.get(&format!("/api/v1/jobs/{one}/dead-letters"))["total"], 0);
    assert_eq!(
        server.get(&format!("/api/v1/jobs/{one}"))["externalId"],
        "of-a-person",
        "the log keeps it"
    );

    // The other job has the same document, and keeps it until it is purged itself.
    assert_eq!(curl(&server, &[], &format!("/api/v1/jobs/{other}/document")).0, "200");
    arrived(&admin, &other);
    let done = admin.purged(&other, "--yes");
    assert_eq!(
        (&done["documentShared"], &done["documentHash"]),
        (&json!(false), &would["documentHash"])
    );
    assert!(!done["purgedAt"].is_null(), "{done}");
    // Once more there is nothing left; and the same document can be submitted again.
    let again = admin.purged(&other, "--yes");
    assert_eq!(
        (&again["documentHash"], &again["logLines"]),
        (&Value::Null, &json!(0)),
        "{again}"
    );
    submitted(&server);
    assert_eq!(run(server.path(), &["verify", "--data-dir", "data"]).0, 0);
}
