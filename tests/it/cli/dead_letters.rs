//! `grid dead-letters` with a real `grid standalone`: listed, exported, replayed with a mended document.

use std::time::Duration;

use serde_json::{Value, json};

use super::run;
use super::server::Standalone;
use crate::support::wait_for;

fn document(condition: &str) -> String {
    let dag = json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 10, "fields": {"mag": "4"}}, "outputs": ["odd"]},
        {"id": "odd", "commandName": "eval", "config": {"source": "if mod!(.index, 5) == 0 { .mag = \"four\" }"}, "outputs": ["keep"]},
        {"id": "keep", "commandName": "filter", "config": {"condition": condition}, "outputs": ["out"]},
        {"id": "out", "commandName": "filesink", "config": {"path": "out.ndjson"}},
    ]);
    json!({"externalId": "odd-numbers", "tasks": [{"externalId": "keep", "dag": dag}]}).to_string()
}

#[test]
fn records_that_failed_are_seen_taken_away_and_replayed() {
    let server = Standalone::start();
    let path = server.path();
    let run = |arguments: &[&str]| run(path, &[arguments, &["--server", &server.url]].concat());
    let json = |arguments: &[&str]| -> Value {
        let (code, out, err) = run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        serde_json::from_str(&out).unwrap()
    };
    server.write("job.json", &document("to_float!(.mag) >= 4"));
    server.write("mended.json", &document("(to_float(.mag) ?? 4.0) >= 4"));
    let job = json(&["submit", "job.json", "--wait"]);
    assert_eq!(job["status"], "COMPLETED", "{job}");
    let job = job["jobId"].as_str().unwrap();
    let list = wait_for("the letters are kept", Duration::from_secs(20), || {
        let list = json(&["dead-letters", job]);
        (list["failed"] == 2).then_some(list)
    });
    let records: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["record"])
        .collect();
    assert_eq!(
        records,
        [&json!({"index": 0, "mag": "four"}), &json!({"index": 5, "mag": "four"})]
    );
    let (_, out, _) = run(&["dead-letters", job, "--node", "keep", "--size", "1"]);
    assert!(
        out.contains("NODE") && out.contains("1 of 2; 2 failed, 2 kept"),
        "{out}"
    );

    assert_eq!(run(&["dead-letters", job, "--export", "--file", "letters.ndjson"]).0, 0);
    let exported = std::fs::read_to_string(path.join("letters.ndjson")).unwrap();
    let exported: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(exported), list["items"]);

    let replay = json(&["dead-letters", job, "--replay", "--document", "mended.json"]);
    assert_eq!((&replay["replayed"], &replay["leftOut"]), (&json!(2), &json!(0)));
    let again = replay["jobId"].as_str().unwrap();
    wait_for("the replay is completed", Duration::from_secs(30), || {
        (json(&["job", again])["status"] == "COMPLETED").then_some(())
    });
    assert_eq!(json(&["dead-letters", again])["failed"], 0);
    let files: Vec<String> = std::fs::read_dir(path.join("data/files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("out."))
        .collect();
    let beside = files
        .iter()
        .find(|name| name.contains(".replay-"))
        .unwrap_or_else(|| panic!("{files:?}"));
    let written = std::fs::read_to_string(path.join("data/files").join(beside)).unwrap();
    assert_eq!(
        written,
        "{\"index\":0,\"mag\":\"four\"}\n{\"index\":5,\"mag\":\"four\"}\n"
    );
    let first = std::fs::read_to_string(path.join("data/files/out.ndjson")).unwrap();
    assert_eq!(first.lines().count(), 8);

    let (code, _, err) = run(&["dead-letters", job, "--replay", "--node", "nowhere"]);
    assert!(code == 1 && err.contains("no such dead letters"), "{err}");
    assert_eq!(run(&["dead-letters", job, "--replay", "--export"]).0, 2);
}
