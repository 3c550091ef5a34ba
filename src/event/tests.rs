//! What was ever written can be read: golden samples of every type of event and message, in `tests/golden`.
//!
//! A file holds the bytes as this program writes them, one sample a line; no line is ever edited, and new ones (of a new
//! kind of item, say) come behind. A change of what is written needs a new version with a file of its own and, in the
//! reader, a step from the old version to the new. `GRID_GOLDEN=write` writes the files that are missing, and the new
//! lines.

mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{EventHeader, EventRecord, Unreadable, Wire};
use crate::domain::event::Event;

/// The version that each type is written in today.
const TODAY: u16 = 1;

/// One sample as bytes, and how its type is read. Reading gives what was written, as text, so that one type of answer
/// does for all.
struct Sample {
    name: &'static str,
    bytes: Vec<u8>,
    value: String,
    read: fn(&[u8]) -> Result<String, Unreadable>,
}

fn read_event(bytes: &[u8]) -> Result<String, Unreadable> {
    let header = EventHeader::read(bytes)?;
    Ok(format!("{:?} {:?}", header.meta(), header.event()?))
}

fn read_message<T: Wire + std::fmt::Debug>(bytes: &[u8]) -> Result<String, Unreadable> {
    T::decode(bytes).map(|message| format!("{message:?}"))
}

fn event(record: &EventRecord) -> Sample {
    Sample {
        name: record.event.type_name(),
        bytes: record.encode(),
        value: format!("{:?} {:?}", record.meta, record.event),
        read: read_event,
    }
}

fn message<T: Wire + std::fmt::Debug>(name: &'static str, message: &T) -> Sample {
    Sample {
        name,
        bytes: message.encode().to_vec(),
        value: format!("{message:?}"),
        read: read_message::<T>,
    }
}

fn all() -> Vec<Sample> {
    let mut all: Vec<Sample> = samples::events().iter().map(event).collect();
    all.extend(samples::commands().iter().map(|it| message("CommandMessage", it)));
    all.extend(samples::replies().iter().map(|it| message("Reply", it)));
    all.extend(samples::reports().iter().map(|it| message("ReportMessage", it)));
    all.extend(samples::assignments().iter().map(|it| message("AssignmentMessage", it)));
    all.extend(samples::beats().iter().map(|it| message("Beat", it)));
    all
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn what_is_written_today_is_the_newest_golden_sample() {
    let mut today: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for sample in all() {
        let file = today.entry(sample.name).or_default();
        file.extend_from_slice(&sample.bytes);
        file.push(b'\n');
    }
    for (name, bytes) in today {
        let path = folder().join(format!("{name}.v{TODAY}.jsonl"));
        let known = fs::read(&path).unwrap_or_default();
        if bytes.starts_with(&known) && std::env::var("GRID_GOLDEN").is_ok_and(|value| value == "write") {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let same = String::from_utf8_lossy(&bytes) == String::from_utf8_lossy(&golden);
        assert!(
            same,
            "{name} is not written as it was:\n{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn every_golden_sample_can_be_read() {
    let readers: BTreeMap<_, _> = all().into_iter().map(|sample| (sample.name, sample.read)).collect();
    let mut files = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (kind, _version) = name.trim_end_matches(".jsonl").rsplit_once(".v").unwrap();
        let read = readers
            .get(kind)
            .unwrap_or_else(|| panic!("{name}: nobody reads {kind} any more"));
        for line in fs::read(&path)
            .unwrap()
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            read(line).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        files += 1;
    }
    assert!(files >= readers.len());
}

#[test]
fn what_is_read_is_what_was_written_to_the_last_digit() {
    for Sample {
        name,
        bytes,
        value,
        read,
    } in all()
    {
        assert_eq!(read(&bytes).unwrap(), value, "{name}");
    }
}

#[test]
fn every_type_of_event_has_a_sample() {
    // A new type does not compile here: add it, and its sample.
    let number = |event: &Event| match event {
        Event::JobSubmitted(_) => 0,
        Event::JobKillRequested(_) => 1,
        Event::JobStopRequested(_) => 2,
        Event::JobRetryRequested(_) => 3,
        Event::JobDeadlineReached(_) => 4,
        Event::FanOutAdvanced(_) => 5,
        Event::JobFinished(_) => 6,
        Event::TaskReady(_) => 7,
        Event::TaskScheduled(_) => 8,
        Event::TaskStarted(_) => 9,
        Event::TaskCompleted(_) => 10,
        Event::TaskFailed(_) => 11,
        Event::RetryScheduled(_) => 12,
        Event::RetryCancelled(_) => 13,
        Event::AttemptEnded(_) => 14,
        Event::WorkerRegistered(_) => 15,
        Event::WorkerLeft(_) => 16,
        Event::WorkerCordoned(_) => 17,
        Event::WorkerUncordoned(_) => 18,
        Event::WorkerDrainRequested(_) => 19,
    };
    let seen: std::collections::BTreeSet<_> = samples::events().iter().map(|record| number(&record.event)).collect();
    assert_eq!(seen, (0..=19).collect());
    let names: std::collections::BTreeSet<_> = samples::events().iter().map(|it| it.event.type_name()).collect();
    assert_eq!(names, Event::TYPE_NAMES.into_iter().collect());
}

/// Maps and enums whose keys are data; a field that a newer program added cannot stand in them.
const OPEN_KEYS: [&str; 5] = ["labels", "requires", "counters", "cause", "result"];

fn add_unknown_fields(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(key, value)| add_unknown_fields(value, key));
            if !OPEN_KEYS.contains(&key) {
                fields.insert("addedLater".into(), serde_json::json!({ "deep": [1, null, "x"] }));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| add_unknown_fields(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn unknown_fields_are_tolerated_everywhere() {
    for Sample {
        name,
        bytes,
        value,
        read,
    } in all()
    {
        let mut newer: Value = serde_json::from_slice(&bytes).unwrap();
        add_unknown_fields(&mut newer, "");
        let newer = serde_json::to_vec(&newer).unwrap();
        assert!(newer.len() > bytes.len());
        assert_eq!(read(&newer).unwrap_or_else(|error| panic!("{name}: {error}")), value);
    }
}

#[test]
fn unknown_versions_are_refused_by_number() {
    for Sample { name, bytes, read, .. } in all() {
        for version in [0, 2, 65_535] {
            let mut newer: Value = serde_json::from_slice(&bytes).unwrap();
            newer["v"] = version.into();
            let error = read(&serde_json::to_vec(&newer).unwrap()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("version {version}")) && error.contains("version 1"),
                "{name}: {error}"
            );
        }
    }
}

/// A newer version may look quite different; what is said is still that it is newer.
#[test]
fn a_newer_version_of_another_shape_is_refused_by_number_too() {
    for Sample { name, read, .. } in all() {
        for newer in [r#"{"things":[],"v":7}"#, r#"{"v":7,"type":"Quite new","items":{}}"#] {
            let error = read(newer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("version 7"), "{name}: {error}");
        }
    }
}

#[test]
fn unknown_types_are_refused_by_name() {
    for Sample { name, bytes, read, .. } in all() {
        let text = String::from_utf8(bytes).unwrap();
        let Some(start) = text.find(r#""type":""#) else {
            continue;
        };
        let end = start + 8 + text[start + 8..].find('"').unwrap();
        let newer = format!("{}\"type\":\"Teleport{}", &text[..start], &text[end..]);
        let error = read(newer.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("Teleport"), "{name}: {error}");
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_an_error_that_says_what_it_should_have_been() {
    for Sample { name, bytes, read, .. } in all() {
        for end in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let error = read(&bytes[..end]).unwrap_err().to_string();
            assert!(error.starts_with("not a readable "), "{name}: {error}");
        }
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] = 0xff;
        assert!(read(&damaged).is_err(), "{name}");
        assert!(
            read(&[&bytes[..], b"{}"].concat()).is_err(),
            "{name}: something follows"
        );
    }
}
