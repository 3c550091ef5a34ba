//! docker/vector/vector.yaml: its program and its own test cases, run as Vector runs them; and what it promises.

use saphyr_parser::{Event, Parser};
use serde_json::{Value as Json, json};
use vrl::compiler::runtime::Runtime;
use vrl::compiler::{TargetValue, TimeZone, compile};
use vrl::value::{Secrets, Value};

const FILE: &str = include_str!("../../../docker/vector/vector.yaml");

type Events<'a> = Box<dyn Iterator<Item = Event<'a>> + 'a>;

/// The whole file; all scalars as texts.
fn configuration() -> Json {
    let events = Parser::new_from_str(FILE).map(|event| event.unwrap().0);
    let mut events: Events<'_> = Box::new(events);
    loop {
        match events.next().unwrap() {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            first => return node(first, &mut events),
        }
    }
}

fn node<'a>(event: Event<'a>, events: &mut Events<'a>) -> Json {
    match event {
        Event::Scalar(text, ..) => Json::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Json::Array(items),
                    item => items.push(node(item, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut members = serde_json::Map::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Json::Object(members),
                    Event::Scalar(name, ..) => {
                        let value = events.next().unwrap();
                        let value = node(value, events);
                        assert!(members.insert(name.to_string(), value).is_none(), "{name} twice");
                    }
                    other => panic!("{other:?} as a name"),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Runs a program; gives what it comes to, and the event after it.
fn run(program: &str, event: Value) -> (Result<Value, String>, Value) {
    let compiled = compile(program, &vrl::stdlib::all()).unwrap_or_else(|errors| panic!("{program}\n{errors:?}"));
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    let mut target = TargetValue {
        value: event,
        metadata: Value::Object(Default::default()),
        secrets: Secrets::default(),
    };
    let ended = Runtime::default().resolve(&mut target, &compiled.program, &TimeZone::default());
    (ended.map_err(|error| format!("{error:?}")), target.value)
}

#[test]
fn its_own_tests_pass() {
    let whole = configuration();
    let program = text(&whole["transforms"]["enriched"]["source"]);
    let cases = whole["tests"].as_array().unwrap();
    for case in cases {
        let name = text(&case["name"]);
        let input = &case["inputs"][0];
        assert_eq!(
            (text(&input["insert_at"]), text(&input["type"])),
            ("enriched", "log"),
            "{name}"
        );
        let (ended, event) = run(program, Value::from(input["log_fields"].clone()));
        ended.unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = &case["outputs"][0];
        assert_eq!(text(&output["extract_from"]), "enriched", "{name}");
        for condition in output["conditions"].as_array().unwrap() {
            let (holds, _) = run(text(&condition["source"]), event.clone());
            assert_eq!(holds, Ok(Value::Boolean(true)), "{name}: {event}");
        }
    }
    assert_eq!(cases.len(), 3);
}

#[test]
fn a_case_that_is_wrong_is_found() {
    let (holds, _) = run("assert_eq!(.job_id, \"x\")", Value::from(json!({"job_id": "y"})));
    assert!(holds.is_err());
}

#[test]
fn what_it_promises_stands_in_it() {
    let whole = configuration();
    let source = &whole["sources"]["grid"];
    assert_eq!(text(&source["type"]), "logstash");
    assert_eq!(text(&source["address"]), "0.0.0.0:${VECTOR_PORT:-9000}");
    assert_eq!(whole["transforms"]["enriched"]["inputs"], json!(["grid"]));
    let sink = &whole["sinks"]["victorialogs"];
    assert_eq!((text(&sink["type"]), &sink["inputs"]), ("http", &json!(["enriched"])));
    assert_eq!(text(&sink["batch"]["max_bytes"]), "${VECTOR_BATCH_MAX_BYTES:-1048576}");
    assert_eq!(text(&sink["batch"]["timeout_secs"]), "${VECTOR_BATCH_TIMEOUT:-5}");
    assert_eq!(text(&sink["buffer"]["type"]), "disk");
    assert_eq!(text(&sink["acknowledgements"]["enabled"]), "true");
    let uri = text(&sink["uri"]);
    assert!(uri.contains("/insert/jsonline?") && uri.contains("_msg_field=message&_time_field=@timestamp"));
    assert_eq!(
        text(&sink["healthcheck"]["uri"]),
        "${VICTORIALOGS_URL:-http://victorialogs:9428}/health"
    );
}

/// With Vector's own program, where it is installed.
#[test]
fn vector_itself_agrees_where_it_is_there() {
    use std::process::Command;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/vector/vector.yaml");
    for arguments in [&["validate", "--no-environment", file][..], &["test", file]] {
        match Command::new("vector").args(arguments).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => return println!("not checked: vector is not on PATH ({error})"),
        }
    }
}

/// What Vector makes of a line by that program, and where its sink puts it, on the server at `base`.
pub fn enriched(line: Json) -> Json {
    let whole = configuration();
    let (ended, event) = run(text(&whole["transforms"]["enriched"]["source"]), Value::from(line));
    ended.unwrap();
    serde_json::to_value(event).unwrap()
}

pub fn sink(base: &str) -> String {
    let whole = configuration();
    let uri = text(&whole["sinks"]["victorialogs"]["uri"]).to_owned();
    uri.replace("${VICTORIALOGS_URL:-http://victorialogs:9428}", base)
}
