//! schema/events.schema.json says what golden samples hold: no less, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// As much of JSON Schema as the file uses; an unknown keyword is an error. Names the properties it came by.
struct Check<'a> {
    definitions: &'a Map<String, Value>,
    seen: BTreeSet<String>,
}

impl Check<'_> {
    fn check(&mut self, schema: &Value, name: &str, value: &Value) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{name}: {what}: {value}"));
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "description" | "required" => {}
                "$ref" => {
                    let target = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(&self.definitions[target], target, value)?;
                }
                "type" => {
                    let fits = match rule.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "number" => value.is_number(),
                        "integer" => value.is_i64() || value.is_u64(),
                        other => panic!("type {other}"),
                    };
                    if !fits {
                        return wrong("another type");
                    }
                }
                "enum" => {
                    self.seen.insert(format!("{name}={value}"));
                    if !rule.as_array().unwrap().contains(value) {
                        return wrong("not among the values");
                    }
                }
                "minimum" if value.as_i64().is_some_and(|number| number < rule.as_i64().unwrap()) => {
                    return wrong("too small");
                }
                "maximum" if value.as_u64().is_some_and(|number| number > rule.as_u64().unwrap()) => {
                    return wrong("too large");
                }
                "minimum" | "maximum" => {}
                "pattern" if !matches(rule.as_str().unwrap(), value.as_str().unwrap()) => return wrong("another form"),
                "pattern" => {}
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.check(rule, name, item)?;
                    }
                }
                "properties" => self.properties(schema, rule, name, value)?,
                "additionalProperties" => {
                    for value in value.as_object().into_iter().flat_map(Map::values) {
                        self.check(rule, name, value)?;
                    }
                }
                "oneOf" => {
                    let mut tries = rule.as_array().unwrap().iter().map(|one| self.check(one, name, value));
                    if !tries.any(|tried| tried.is_ok()) {
                        return wrong("none of the forms");
                    }
                }
                other => panic!("{name}: keyword {other}"),
            }
        }
        Ok(())
    }

    fn properties(&mut self, schema: &Value, rules: &Value, name: &str, value: &Value) -> Result<(), String> {
        let Some(fields) = value.as_object() else { return Ok(()) };
        for required in schema["required"].as_array().unwrap() {
            if !fields.contains_key(required.as_str().unwrap()) {
                return Err(format!("{name}: {required} is missing: {value}"));
            }
        }
        for (key, value) in fields {
            // Readers must ignore such a field; what this program writes must be said.
            let Some(rule) = rules.get(key) else {
                return Err(format!("{name}: {key} is not in the schema"));
            };
            self.check(rule, &format!("{name}.{key}"), value)?;
            self.seen.insert(format!("{name}.{key}"));
        }
        Ok(())
    }
}

/// The few patterns there are: classes, literals and counts, from end to end.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest: Vec<char> = text.chars().rev().collect();
    let mut pattern = pattern.trim_start_matches('^').trim_end_matches('$').chars().peekable();
    while let Some(sign) = pattern.next() {
        let class: String = match sign {
            '[' => pattern.by_ref().take_while(|sign| *sign != ']').collect(),
            '\\' => pattern.next().unwrap().to_string(),
            literal => literal.to_string(),
        };
        let counts: String = match pattern.next_if_eq(&'{') {
            Some(_) => pattern.by_ref().take_while(|sign| *sign != '}').collect(),
            None => "1".to_owned(),
        };
        let (least, most) = counts.split_once(',').unwrap_or((&counts, &counts));
        let (least, most): (usize, usize) = (least.parse().unwrap(), most.parse().unwrap());
        let fits = |sign: char| match &class.chars().collect::<Vec<_>>()[..] {
            [only] => *only == sign,
            signs => {
                signs
                    .windows(3)
                    .any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&sign))
                    || signs.contains(&sign)
            }
        };
        let taken = rest.iter().rev().take(most).take_while(|sign| fits(**sign)).count();
        if taken < least {
            return false;
        }
        rest.truncate(rest.len() - taken);
    }
    rest.is_empty()
}

/// Every property and every value of an enum that the schema names.
fn said(schema: &Value, name: &str, said_there: &mut BTreeSet<String>) {
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        said_there.insert(format!("{name}={value}"));
    }
    for (key, rule) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        said_there.insert(format!("{name}.{key}"));
        said(rule, &format!("{name}.{key}"), said_there);
    }
    for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        said(one, name, said_there);
    }
}

#[test]
fn golden_samples_are_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&file("events.schema.json")).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut check = Check {
        definitions,
        seen: BTreeSet::new(),
    };
    let mut samples = 0;
    for (name, definition) in definitions.iter().filter(|(name, _)| name.contains(".v")) {
        let golden = super::folder().join(format!("{name}.jsonl"));
        for line in fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .lines()
        {
            let event: Value = serde_json::from_str(line).unwrap();
            check.check(definition, name, &event["data"]).unwrap();
            samples += 1;
        }
    }
    assert!(samples > 17);
    for record in super::samples::events() {
        let name = format!("{}.v{}", record.event.type_name(), super::TODAY);
        assert!(definitions.contains_key(&name), "{name} is not in the schema");
    }
    let mut all = BTreeSet::new();
    definitions
        .iter()
        .for_each(|(name, definition)| said(definition, name, &mut all));
    // States and statuses that no event of these samples happens to carry.
    let unseen: Vec<_> = all
        .difference(&check.seen)
        .filter(|it| !it.starts_with("taskState="))
        .collect();
    assert!(
        unseen.is_empty(),
        "the schema says more than the samples show: {unseen:?}"
    );
}

#[test]
fn the_topic_is_described_with_every_type() {
    let topic = file("asyncapi.yaml");
    for record in super::samples::events() {
        let name = format!("{}.v{}", record.event.type_name(), super::TODAY);
        assert!(topic.contains(&format!("events.schema.json#/$defs/{name}'")), "{name}");
    }
}

#[test]
fn the_check_can_fail() {
    let schema: Value = serde_json::from_str(&file("events.schema.json")).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut check = Check {
        definitions,
        seen: BTreeSet::new(),
    };
    let mut wrong = |name: &str, data: &str| {
        let value = serde_json::from_str(data).unwrap();
        check.check(&definitions[name], name, &value).is_err()
    };
    assert!(!wrong(
        "TaskStarted.v1",
        r#"{"attempt":1,"runBy":"2025-08-19T10:40:00.000Z"}"#
    ));
    for data in [
        "{}",
        r#"{"attempt":-1}"#,
        r#"{"attempt":4294967296}"#,
        r#"{"attempt":"1"}"#,
        r#"{"attempt":1,"runBy":"2025-08-19T10:40:00Z"}"#,
        r#"{"attempt":1,"ranBy":1}"#,
    ] {
        assert!(wrong("TaskStarted.v1", data), "{data}");
    }
    assert!(wrong("TaskReady.v1", r#"{"cause":"whim"}"#));
    assert!(wrong(
        "WorkerLeft.v1",
        r#"{"worker":"a","incarnation":"x","cause":"LOST"}"#
    ));
}
