//! Runs that go on where an earlier attempt stood.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use super::super::{Keeper, PipelineFailureReason, Resume};
use super::{Control, DagNode, Pipeline, PipelineFailure, PipelineReport, Place, RunContext, multiset, node};

/// Some ten batches of records, of which every hundredth is no JSON.
fn input() -> String {
    let mut text = String::new();
    for n in 0..30_000 {
        let end = if n % 100 == 7 { "" } else { "}" };
        let _ = writeln!(text, "{{\"n\":{n},\"text\":\"{:060}\"{end}", n * 7);
    }
    text
}

/// Files to a csv without chosen columns, dead letters beside it, and lines by which the test sees where the run is.
fn dag() -> Vec<DagNode> {
    vec![
        node("in", "filesource", json!({"path": "in.ndjson"}), &["out", "seen"]),
        node(
            "made",
            "generatesource",
            json!({"count": 20_000, "fields": {"text": "made"}}),
            &["name"],
        ),
        node(
            "name",
            "eval",
            json!({"source": ". = {\"n\": .index, \"text\": .text}"}),
            &["other", "seen"],
        ),
        node("out", "filesink", json!({"path": "out.csv", "encoding": "csv"}), &[]),
        node("other", "filesink", json!({"path": "other.ndjson"}), &[]),
        node("seen", "stdout", json!({}), &[]),
        node(
            "letters",
            "filesink",
            json!({"path": "letters.ndjson", "deadletter": true}),
            &[],
        ),
    ]
}

/// A run with checkpoints, cancelled when the `stop_at`-th is there; `None`: never.
fn attempt(
    place: &Place,
    dag: &[DagNode],
    number: u32,
    resume: Option<Resume>,
    stop_at: Option<usize>,
) -> (Result<PipelineReport, PipelineFailure>, Vec<String>) {
    let (keeper, mut taken) = Keeper::every(Duration::ZERO);
    let control = Control::default();
    let context = RunContext {
        attempt: number,
        resume,
        keeper: Some(keeper),
        control: control.clone(),
        ..place.context(0, 1)
    };
    let pipeline = Pipeline::compile(dag, &context).unwrap();
    let mut kept = Vec::new();
    let result = pipeline.run(&mut |_| {
        while let Ok(one) = taken.try_recv() {
            one.sync().unwrap();
            kept.push(one.data);
            if Some(kept.len()) == stop_at {
                control.cancel();
            }
        }
    });
    while let Ok(one) = taken.try_recv() {
        kept.push(one.data);
    }
    (result, kept)
}

fn counted(report: &PipelineReport, id: &str) -> u64 {
    report.nodes.iter().find(|counts| counts.node == id).unwrap().events_in
}

fn resume(attempt: u32, data: &str) -> Option<Resume> {
    let data = data.to_owned();
    Some(Resume { attempt, data })
}

struct Results {
    csv: String,
    letters: Vec<String>,
    other: String,
}

fn results(place: &Place) -> Results {
    Results {
        csv: place.read("out.csv"),
        letters: multiset([place.read("letters.ndjson").as_str()]),
        other: place.read("other.ndjson"),
    }
}

fn undisturbed() -> Results {
    let place = Place::new();
    place.write("in.ndjson", input());
    place.run(&dag()).unwrap();
    results(&place)
}

fn same(found: &Results, expected: &Results) {
    assert!(found.csv == expected.csv, "the csv differs");
    assert!(found.letters == expected.letters, "the dead letters differ");
    assert!(found.other == expected.other, "the other file differs");
}

/// A place where attempt 1 was cancelled after its second checkpoint.
fn interrupted() -> (Place, String) {
    let place = Place::new();
    place.write("in.ndjson", input());
    let (result, kept) = attempt(&place, &dag(), 1, None, Some(2));
    assert_eq!(result.unwrap_err().reason, PipelineFailureReason::Cancelled);
    assert!(place.path("out.csv.part-1").exists() && !place.path("out.csv").exists());
    // Not the last one: what was written after it must not count.
    (place, kept[1].clone())
}

#[test]
fn a_later_attempt_gives_the_same_files_and_reads_only_the_rest() {
    let (place, kept) = interrupted();
    let expected = undisturbed();
    let before: Vec<Vec<u8>> = ["out.csv", "other.ndjson", "letters.ndjson"]
        .map(|name| fs::read(place.path(&format!("{name}.part-1"))).unwrap())
        .into();

    // The second one is cancelled too, and takes a checkpoint of its own.
    let (second, further) = attempt(&place, &dag(), 2, resume(1, &kept), Some(1));
    assert_eq!(second.unwrap_err().reason, PipelineFailureReason::Cancelled);
    let after = ["out.csv", "other.ndjson", "letters.ndjson"]
        .map(|name| fs::read(place.path(&format!("{name}.part-1"))).unwrap());
    assert!(
        before == after,
        "the part files of the earlier attempt are as they were"
    );

    let (third, _) = attempt(&place, &dag(), 3, resume(2, &further[0]), None);
    let report = third.unwrap();
    assert_eq!(report.resumed_from, Some(2));
    let (read, made) = (counted(&report, "in"), counted(&report, "made"));
    assert!(read > 0 && read < 25_000, "{read} records were read");
    assert!(made < 20_000, "{made} records were made");
    same(&results(&place), &expected);
    let parts: Vec<String> = place
        .files()
        .into_iter()
        .filter(|name| name.contains(".part-"))
        .collect();
    assert_eq!(parts, Vec::<String>::new(), "nobody needs them any more");
}

#[test]
fn from_every_checkpoint_the_result_is_the_same() {
    let place = Place::new();
    place.write("in.ndjson", input());
    let (result, kept) = attempt(&place, &dag(), 1, None, Some(9));
    assert!(result.is_err() && kept.len() >= 9, "{}", kept.len());
    let expected = undisturbed();
    for (index, data) in kept.iter().enumerate() {
        let there = Place::new();
        fs::copy(place.path("in.ndjson"), there.path("in.ndjson")).unwrap();
        let modified = fs::metadata(place.path("in.ndjson")).unwrap().modified().unwrap();
        fs::File::options()
            .write(true)
            .open(there.path("in.ndjson"))
            .unwrap()
            .set_modified(modified)
            .unwrap();
        for name in ["out.csv", "other.ndjson", "letters.ndjson"] {
            let part = format!("{name}.part-1");
            fs::copy(place.path(&part), there.path(&part)).unwrap();
        }
        let (report, _) = attempt(&there, &dag(), 5, resume(1, data), None);
        assert_eq!(report.unwrap().resumed_from, Some(1), "checkpoint {index}");
        same(&results(&there), &expected);
    }
}

#[test]
fn what_does_not_fit_makes_it_start_over() {
    let expected = undisturbed();
    let shorter = |place: &Place| {
        let part = place.path("out.csv.part-1");
        fs::File::options().write(true).open(part).unwrap().set_len(10).unwrap();
    };
    let missing = |place: &Place| fs::remove_file(place.path("letters.ndjson.part-1")).unwrap();
    let a_folder = |place: &Place| {
        missing(place);
        fs::create_dir(place.path("letters.ndjson.part-1")).unwrap();
    };
    let changed = |place: &Place| {
        let file = fs::File::options().write(true).open(place.path("in.ndjson")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    type Spoil<'a> = &'a dyn Fn(&Place);
    let cases: [(&str, Spoil<'_>); 4] = [
        ("shorter", &shorter),
        ("missing", &missing),
        ("a folder", &a_folder),
        ("another source", &changed),
    ];
    for (name, spoil) in cases {
        let (place, kept) = interrupted();
        spoil(&place);
        let (report, _) = attempt(&place, &dag(), 2, resume(1, &kept), None);
        let report = report.unwrap();
        assert_eq!(report.resumed_from, None, "{name}");
        assert_eq!(counted(&report, "made"), 20_000, "{name}");
        same(&results(&place), &expected);
    }
    for data in [
        "",
        "{}",
        "null",
        "{\"v\":2,\"sources\":{},\"sinks\":{}}",
        "{\"v\":1,\"sources\":{},\"sinks\":{}}",
    ] {
        let (place, _) = interrupted();
        let (report, _) = attempt(&place, &dag(), 2, resume(1, data), None);
        assert_eq!(report.unwrap().resumed_from, None, "{data}");
        same(&results(&place), &expected);
    }
}

#[test]
fn a_part_file_that_is_still_written_stays_its_writers() {
    let (place, kept) = interrupted();
    let zombie = fs::File::options()
        .write(true)
        .open(place.path("out.csv.part-1"))
        .unwrap();
    let held = Flock::lock(zombie, FlockArg::LockExclusiveNonblock).unwrap();
    let (report, _) = attempt(&place, &dag(), 2, resume(1, &kept), None);
    assert_eq!(report.unwrap().resumed_from, Some(1));
    same(&results(&place), &undisturbed());
    assert!(place.path("out.csv.part-1").exists());
    drop(held);
}

#[test]
fn without_another_attempt_nothing_is_left() {
    let place = Place::new();
    let mut text = input();
    text.push_str("{\"n\":-1}\n");
    place.write("in.ndjson", text);
    let mut dag = dag();
    dag[0].outputs = vec!["sure".to_owned(), "seen".to_owned()];
    let config = json!({"condition": ".n != -1", "failOnError": true});
    dag.push(node("sure", "assertion", config, &["out"]));
    let (result, kept) = attempt(&place, &dag, 1, None, None);
    assert_eq!(result.unwrap_err().reason, PipelineFailureReason::Unrecoverable);
    assert!(!kept.is_empty());
    assert_eq!(place.files(), ["in.ndjson"]);
}
