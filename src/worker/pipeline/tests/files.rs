//! Files appear whole or not at all, and only where they may.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use super::super::{DagNode, Pipeline, PipelineFailure, PipelineFailureReason};
use super::{Place, node, run_in, through};

fn copy() -> Vec<DagNode> {
    through("filter", json!({"condition": "true"}))
}

/// Fails at the third record.
fn failing() -> Vec<DagNode> {
    through(
        "assertion",
        json!({"condition": ".n != 3", "message": "three", "failOnError": true}),
    )
}

const FIVE: &str = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n";

#[test]
fn a_failed_run_leaves_no_file() {
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    let failure = place.run(&failing()).unwrap_err();
    assert_eq!(failure.reason, PipelineFailureReason::Unrecoverable);
    assert_eq!(failure.node.as_deref(), Some("it"));
    assert_eq!(failure.message, "a record failed: three");
    assert_eq!(place.files(), ["in.ndjson"]);
}

#[test]
fn a_failed_run_leaves_the_earlier_file_as_it_was() {
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    place.write("out.ndjson", "earlier\n");
    place.run(&failing()).unwrap_err();
    assert_eq!(place.read("out.ndjson"), "earlier\n");
    place.run(&copy()).unwrap();
    assert_eq!(place.read("out.ndjson"), FIVE);
    assert_eq!(place.files(), ["in.ndjson", "out.ndjson"]);
}

#[test]
fn what_a_crash_left_is_ignored() {
    let place = Place::new();
    place.write("in.ndjson", "{\"n\":1}\n");
    place.write("out.ndjson.part-1", "{\"half\":tr\nand much more than will be written");
    place.write("out.ndjson.part-7", "{\"half\":tr");
    place.run(&copy()).unwrap();
    assert_eq!(place.read("out.ndjson"), "{\"n\":1}\n");
    assert_eq!(place.files(), ["in.ndjson", "out.ndjson", "out.ndjson.part-7"]);
}

#[test]
fn two_runs_never_mix_their_records_in_one_part_file() {
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    let part = fs::File::create(place.path("out.ndjson.part-1")).unwrap();
    let held = Flock::lock(part, FlockArg::LockExclusiveNonblock).unwrap();
    let failure = place.run(&copy()).unwrap_err();
    assert_eq!(failure.reason, PipelineFailureReason::Error);
    assert!(failure.message.contains("another run is writing"), "{failure}");
    assert!(place.path("out.ndjson.part-1").exists(), "it is the other's to remove");
    drop(held);
    place.run(&copy()).unwrap();
}

#[test]
fn folders_of_a_sink_are_made() {
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    let mut dag = copy();
    dag[2] = node("out", "filesink", json!({"path": "a/b/out.ndjson"}), &[]);
    place.run(&dag).unwrap();
    assert_eq!(place.read("a/b/out.ndjson"), FIVE);
}

#[test]
fn an_empty_result_is_a_file_too() {
    let place = Place::new();
    place.write("in.ndjson", "");
    place.write("out.ndjson", "earlier\n");
    place.run(&copy()).unwrap();
    assert_eq!(place.read("out.ndjson"), "");
}

fn failure_of(place: &Place, source: &str, sink: &str) -> PipelineFailure {
    let mut dag = copy();
    dag[0] = node("in", "filesource", json!({"path": source}), &["it"]);
    dag[2] = node("out", "filesink", json!({"path": sink}), &[]);
    place.run(&dag).unwrap_err()
}

#[test]
fn what_may_be_there_tomorrow_is_an_error_to_try_again() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    nix::unistd::mkfifo(&place.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.write("in.ndjson", FIVE);
    for (source, sink, words) in [
        ("gone.ndjson", "out", "gone.ndjson"),
        ("gone/in.ndjson", "out", "gone/in.ndjson"),
        ("folder", "out", "no regular file"),
        ("pipe", "out", "no regular file"),
        ("in.ndjson", "folder", "is a folder"),
        ("in.ndjson", "in.ndjson/out", "in.ndjson"),
    ] {
        let failure = failure_of(&place, source, sink);
        assert_eq!(failure.reason, PipelineFailureReason::Error, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
    assert_eq!(
        failure_of(&place, "gone.ndjson", "out").causes,
        ["No such file or directory (os error 2)"]
    );
    assert_eq!(place.files(), ["folder", "in.ndjson", "pipe"]);
}

#[test]
fn no_path_leads_out() {
    let outside = Place::new();
    outside.write("secret.ndjson", "{\"secret\":1}\n");
    let there = outside.folder.path();
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    symlink(there, place.path("door")).unwrap();
    symlink(there.join("secret.ndjson"), place.path("window.ndjson")).unwrap();
    symlink(there.join("new.ndjson"), place.path("nowhere.ndjson")).unwrap();
    symlink(place.path("door"), place.path("door-to-door")).unwrap();
    let absolute = there.join("secret.ndjson");
    let absolute = absolute.to_str().unwrap();
    for path in [
        absolute,
        "door/secret.ndjson",
        "window.ndjson",
        "nowhere.ndjson",
        "door-to-door/secret.ndjson",
    ] {
        let source = failure_of(&place, path, "out");
        let sink = failure_of(&place, "in.ndjson", path);
        for failure in [source, sink] {
            assert_eq!(failure.reason, PipelineFailureReason::InvalidDag, "{path}: {failure:?}");
        }
    }
    assert_eq!(
        failure_of(&place, "in.ndjson", "door/new/file").reason,
        PipelineFailureReason::InvalidDag
    );
    assert_eq!(outside.files(), ["secret.ndjson"]);
    assert_eq!(outside.read("secret.ndjson"), "{\"secret\":1}\n");
    let refusal = &place.refusals(&{
        let mut dag = copy();
        dag[0] = node("in", "filesource", json!({"path": "/etc/passwd"}), &["it"]);
        dag
    })[0];
    assert_eq!(
        (refusal.pointer.as_str(), refusal.node.as_deref()),
        ("/0/config/path", Some("in"))
    );
    assert!(refusal.message.contains("--allow-path"), "{}", refusal.message);
}

#[test]
fn a_link_that_appears_after_the_check_is_refused_when_opened() {
    let outside = Place::new();
    let place = Place::new();
    place.write("in.ndjson", FIVE);
    let mut dag = copy();
    dag[2] = node("out", "filesink", json!({"path": "sub/out.ndjson"}), &[]);
    let pipeline = Pipeline::compile(&dag, &place.context(0, 1)).ok().unwrap();
    symlink(outside.folder.path(), place.path("sub")).unwrap();
    let failure = pipeline.run(&mut |_| {}).unwrap_err();
    assert_eq!(failure.reason, PipelineFailureReason::InvalidDag);
    assert!(outside.files().is_empty());
}

#[test]
fn links_that_stay_inside_and_allowed_folders_are_followed() {
    let allowed = Place::new();
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    place.write("real/in.ndjson", FIVE);
    symlink("real", place.path("link")).unwrap();
    let mut dag = copy();
    let out = allowed.path("out.ndjson");
    dag[0] = node("in", "filesource", json!({"path": "link/in.ndjson"}), &["it"]);
    dag[2] = node("out", "filesink", json!({"path": out}), &[]);
    let mut context = place.context(0, 1);
    assert!(run_in(&dag, &context).is_err());
    context.allow_paths = vec![
        Path::new("/nowhere/at/all").to_owned(),
        allowed.folder.path().to_owned(),
    ];
    run_in(&dag, &context).unwrap();
    assert_eq!(allowed.read("out.ndjson"), FIVE);
}

fn endless() -> Vec<DagNode> {
    vec![
        node("in", "generatesource", json!({}), &["out"]),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ]
}

#[test]
fn a_stop_ends_the_sources_and_completes() {
    let place = Place::new();
    let context = place.context(0, 1);
    let pipeline = Pipeline::compile(&endless(), &context).ok().unwrap();
    let counters = pipeline.counters();
    let running = thread::spawn(move || pipeline.run(&mut |_| {}));
    while counters.nodes()[1].events_in < 5_000 {
        thread::yield_now();
    }
    context.control.stop();
    let report = running.join().unwrap().unwrap();
    assert!(report.stopped);
    let written = place.records("out.ndjson");
    assert!(written.len() >= 5_000);
    assert_eq!(written.len() as u64, report.nodes[1].events_out);
    assert_eq!(counters.nodes(), report.nodes);
    assert_eq!(place.files(), ["out.ndjson"]);
}

#[test]
fn a_cancel_leaves_nothing() {
    let place = Place::new();
    place.write("out.ndjson", "earlier\n");
    let context = place.context(0, 1);
    let pipeline = Pipeline::compile(&endless(), &context).ok().unwrap();
    let counters = pipeline.counters();
    let running = thread::spawn(move || pipeline.run(&mut |_| {}));
    while counters.nodes()[1].events_in < 5_000 {
        thread::yield_now();
    }
    context.control.cancel();
    assert_eq!(
        running.join().unwrap().unwrap_err().reason,
        PipelineFailureReason::Cancelled
    );
    assert_eq!(place.read("out.ndjson"), "earlier\n");
    assert_eq!(place.files(), ["out.ndjson"]);
}

/// One record in ten minutes: only a wake-up can end it in time.
#[test]
fn a_source_that_waits_is_woken() {
    let place = Place::new();
    for cancel in [true, false] {
        let mut dag = endless();
        dag[0] = node("in", "generatesource", json!({"rate": 0.0016}), &["out"]);
        let context = place.context(0, 1);
        let pipeline = Pipeline::compile(&dag, &context).ok().unwrap();
        let counters = pipeline.counters();
        let running = thread::spawn(move || pipeline.run(&mut |_| {}));
        while counters.nodes()[0].events_out < 1 {
            thread::yield_now();
        }
        if cancel {
            context.control.cancel()
        } else {
            context.control.stop()
        }
        assert_eq!(running.join().unwrap().is_err(), cancel);
    }
    assert_eq!(place.records("out.ndjson"), [json!({"index": 0})]);
}
