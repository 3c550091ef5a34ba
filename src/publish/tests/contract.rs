//! The files in schema/ are what the code makes; golden samples are what they say, no less and no more; and a version that
//! readers count on has not changed for them.

mod released;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::generated::{self, folder};
use crate::publish::contract::{self, TYPES};

fn read_json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a folder, without their ending.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(ending).map(str::to_owned)
        })
        .collect()
}

/// Versions that were released and are not written any more.
fn older() -> Vec<String> {
    let today: BTreeSet<String> = TYPES.iter().map(contract::EventType::versioned).collect();
    let released = names(&folder().join("released"), ".json");
    released
        .into_iter()
        .filter(|name| name != "headers" && !today.contains(name))
        .collect()
}

#[test]
fn the_committed_files_are_what_the_code_makes() {
    let files = contract::files(&older());
    for (name, text) in &files {
        generated::check(name, text);
    }
    let made: BTreeSet<String> = files
        .keys()
        .filter_map(|name| Some(name.strip_prefix("events/")?.strip_suffix(".json")?.to_owned()))
        .collect();
    assert_eq!(
        names(&folder().join("events"), ".json"),
        made,
        "nobody makes a file of schema/events"
    );
}

/// Walks a schema along a value and notes which properties and values of enums it came by.
struct Walk<'a> {
    definitions: &'a Map<String, Value>,
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn walk(&mut self, schema: &Value, name: &str, value: &Value) {
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.strip_prefix("#/$defs/").unwrap();
            self.walk(&self.definitions[target], target, value);
        }
        for allowed in schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(schema.get("const"))
        {
            if allowed == value {
                self.seen.insert(format!("{name}={value}"));
            }
        }
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            self.walk(choice, name, value);
        }
        for (key, rule) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(key) {
                self.seen.insert(format!("{name}.{key}"));
                self.walk(rule, &format!("{name}.{key}"), value);
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.walk(&schema["items"], name, item);
        }
    }
}

/// Every property and every value of an enum that the schema names.
fn said(schema: &Value, name: &str, all: &mut BTreeSet<String>) {
    let values = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(schema.get("const"));
    all.extend(values.map(|value| format!("{name}={value}")));
    for (key, rule) in schema["properties"].as_object().into_iter().flatten() {
        all.insert(format!("{name}.{key}"));
        said(rule, &format!("{name}.{key}"), all);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        said(choice, name, all);
    }
    for (key, definition) in schema["$defs"].as_object().into_iter().flatten() {
        said(definition, key, all);
    }
}

/// The data of the golden samples of events, by type and version.
fn golden_events() -> BTreeMap<String, Vec<Value>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut events = BTreeMap::new();
    for name in names(&golden, ".jsonl") {
        let text = fs::read_to_string(golden.join(format!("{name}.jsonl"))).unwrap();
        let samples = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // Messages have no data, events have.
        let data: Vec<Value> = samples
            .filter_map(|mut sample| Some(sample.get_mut("data")?.take()))
            .collect();
        if !data.is_empty() {
            events.insert(name, data);
        }
    }
    events
}

fn schema_of(versioned: &str) -> Value {
    let events = folder().join(format!("events/{versioned}.json"));
    if events.exists() {
        read_json(&events)
    } else {
        read_json(&folder().join(format!("released/{versioned}.json")))
    }
}

#[test]
fn golden_samples_are_what_the_schemas_say() {
    let (mut seen, mut all) = (BTreeSet::new(), BTreeSet::new());
    let golden = golden_events();
    for event in TYPES {
        assert!(
            golden.contains_key(&event.versioned()),
            "no sample of {}",
            event.versioned()
        );
    }
    for (name, samples) in golden {
        let schema = schema_of(&name);
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        let nothing = Map::new();
        let mut walk = Walk {
            definitions: schema["$defs"].as_object().unwrap_or(&nothing),
            seen: BTreeSet::new(),
        };
        for sample in &samples {
            let wrong: Vec<String> = validator
                .iter_errors(sample)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}: {sample}");
            walk.walk(&schema, &name, sample);
        }
        seen.append(&mut walk.seen);
        said(&schema, &name, &mut all);
    }
    // States that no event of these samples happens to carry.
    let unseen: Vec<_> = all
        .difference(&seen)
        .filter(|it| !it.starts_with("TaskState="))
        .collect();
    assert!(
        unseen.is_empty(),
        "the schemas say more than the samples show: {unseen:?}"
    );
}

#[test]
fn a_schema_tells_what_is_wrong() {
    let fits = |name: &str, data: Value| {
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        options.build(&schema_of(name)).unwrap().is_valid(&data)
    };
    assert!(fits(
        "TaskStarted.v1",
        json!({ "attempt": 1, "runBy": "2025-08-19T10:40:00.000Z", "addedLater": {} })
    ));
    for data in [
        json!({}),
        json!({ "attempt": -1 }),
        json!({ "attempt": 4_294_967_296_u64 }),
        json!({ "attempt": "1" }),
        json!({ "attempt": 1, "runBy": "2025-08-19T10:40:00Z" }),
        json!({ "attempt": 1, "runBy": null }),
    ] {
        assert!(!fits("TaskStarted.v1", data.clone()), "{data}");
    }
    assert!(!fits("TaskReady.v1", json!({ "cause": "whim" })));
    let left = json!({ "worker": "a", "incarnation": "0198c2a0-7c00-7000-8000-000000000001", "cause": "LOST" });
    assert!(!fits("WorkerLeft.v1", left));
}

#[test]
fn the_topic_is_described_with_every_type() {
    let topic = read_json(&folder().join("asyncapi.json"));
    let of_asyncapi = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/asyncapi-3.0.0.json");
    let validator = jsonschema::draft7::new(&read_json(&of_asyncapi)).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&topic).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "no AsyncAPI 3 document: {wrong:?}");
    for name in golden_events().into_keys() {
        let message = &topic["components"]["messages"][&name];
        let file = message["payload"]["$ref"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is not in asyncapi.json"));
        assert!(folder().join(file).exists(), "{name}: {file}");
        let refer = format!("#/components/messages/{name}");
        assert_eq!(topic["channels"]["events"]["messages"][&name]["$ref"], refer);
    }
}
