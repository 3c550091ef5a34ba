//! A version that was released may only gain optional fields. `schema/released/` has what readers count on.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{folder, names, read_json};

/// What a schema says, without what is only said to people, and with its references followed.
fn plain(schema: &Value, root: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let mut all = Map::new();
    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(target.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("nothing is at {schema}"));
        if let Value::Object(fields) = plain(target, root) {
            all = fields;
        }
    }
    for (key, value) in fields {
        let value = match key.as_str() {
            "$ref" | "$defs" | "$schema" | "$id" | "title" | "description" | "examples" => continue,
            "properties" => {
                let properties = value.as_object().unwrap().iter();
                properties.map(|(name, it)| (name.clone(), plain(it, root))).collect()
            }
            "const" => {
                all.insert("enum".into(), json!([value]));
                continue;
            }
            "oneOf" | "anyOf" | "allOf" => choices(value, root),
            _ => plain(value, root),
        };
        all.insert(key.clone(), value);
    }
    // Values with a comment each are written as a choice of constants.
    if let Some(Value::Array(choices)) = all.get("oneOf")
        && choices.iter().all(|choice| choice.get("enum").is_some())
    {
        let values = choices.iter().flat_map(|choice| choice["enum"].as_array().unwrap());
        let values: Vec<Value> = values.cloned().collect();
        all.remove("oneOf");
        all.insert("type".into(), "string".into());
        all.insert("enum".into(), values.into());
    }
    all.into()
}

/// Those that are texts are one.
fn choices(value: &Value, root: &Value) -> Value {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    for choice in value.as_array().unwrap() {
        let mut choice = plain(choice, root);
        match choice.get_mut("enum").and_then(Value::as_array_mut) {
            Some(values) => texts.append(values),
            None => others.push(choice),
        }
    }
    if !texts.is_empty() {
        texts.sort_by_key(Value::to_string);
        others.insert(0, json!({ "type": "string", "enum": texts }));
    }
    others.into()
}

fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(Value::to_string).collect()
}

/// How `new` is not what readers of `old` count on, each with its place.
fn broken(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(&plain(old, old), &plain(new, new), "", &mut found);
    found
}

fn compare(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            found.push(format!("{at}: was {old}, is {new}"));
        }
        return;
    };
    let keywords: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for keyword in keywords {
        let (was, is) = (&old[keyword], &new[keyword]);
        match keyword.as_str() {
            "properties" => properties(old, new, at, found),
            "required" => {
                found.extend(
                    set(was)
                        .difference(&set(is))
                        .map(|name| format!("{at}: {name} was required")),
                );
                let added = set(is);
                let added = added.difference(&set(was)).cloned().collect::<Vec<_>>();
                found.extend(
                    added
                        .iter()
                        .map(|name| format!("{at}: {name} was not required, and the log has events without it")),
                );
            }
            "enum" => {
                found.extend(
                    set(was)
                        .difference(&set(is))
                        .map(|value| format!("{at}: {value} is gone")),
                );
                found.extend(
                    set(is)
                        .difference(&set(was))
                        .map(|value| format!("{at}: {value} is new, and no reader knows it")),
                );
            }
            "items" | "additionalProperties" => compare(was, is, &format!("{at}/{keyword}"), found),
            _ if was != is => found.push(format!("{at}: {keyword} was {was}, is {is}")),
            _ => {}
        }
    }
}

fn properties(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
    for (name, was) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            None => found.push(format!("{at}: {name} is gone")),
            Some(is) => compare(was, is, &format!("{at}/{name}"), found),
        }
    }
}

#[test]
fn a_released_version_has_only_gained_optional_fields() {
    let released = names(&folder().join("released"), ".json");
    assert!(released.len() > 17 && released.contains("headers"));
    let today = names(&folder().join("events"), ".json");
    let mut found = Vec::new();
    for name in released.intersection(&today) {
        let of = |place: &str| read_json(&folder().join(format!("{place}/{name}.json")));
        let wrong = broken(&of("released"), &of("events"));
        found.extend(wrong.into_iter().map(|wrong| format!("{name}{wrong}")));
    }
    assert!(
        found.is_empty(),
        "readers count on what was released; make it a new version instead:\n{}",
        found.join("\n")
    );
    // What is not written any more has a successor.
    for gone in released.difference(&today) {
        let (kind, version) = gone.rsplit_once(".v").unwrap_or_else(|| panic!("{gone} is nobody's"));
        let next: u16 = version.parse::<u16>().unwrap() + 1;
        let is_newer = |name: &String| name.starts_with(&format!("{kind}.v")) && *name >= format!("{kind}.v{next}");
        assert!(
            today.iter().any(is_newer),
            "{gone} was released, and nobody writes it or a newer one"
        );
    }
}

#[test]
fn every_way_to_break_a_version_is_found() {
    let old = json!({
        "type": "object",
        "properties": {
            "attempt": { "$ref": "#/$defs/Attempt" },
            "from": { "oneOf": [{ "const": "READY", "description": "Waits." }, { "const": "FAILED" }] },
            "lines": { "type": "array", "items": { "type": "string" } },
            "counters": { "type": "object", "additionalProperties": { "type": "integer" } },
            "deep": { "type": "object", "properties": { "at": { "type": "string", "format": "date-time" } } },
        },
        "required": ["attempt"],
        "$defs": { "Attempt": { "type": "integer", "minimum": 0, "maximum": 9 } },
    });
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        new.pointer_mut(parent).unwrap()[key] = value;
        broken(&old, &new)
    };
    let mut gone = old.clone();
    gone["properties"].as_object_mut().unwrap().remove("lines");
    assert_eq!(broken(&old, &gone), [": lines is gone"]);
    for (pointer, value) in [
        ("/properties/attempt", json!({ "type": "string" })),
        ("/$defs/Attempt/maximum", json!(10)),
        ("/$defs/Attempt/minimum", json!(1)),
        ("/required", json!([])),
        ("/required", json!(["attempt", "lines"])),
        ("/properties/from", json!({ "type": "string", "enum": ["READY"] })),
        (
            "/properties/from",
            json!({ "type": "string", "enum": ["READY", "FAILED", "LOST"] }),
        ),
        ("/properties/lines/items", json!({ "type": "integer" })),
        ("/properties/counters/additionalProperties", json!({ "type": "number" })),
        ("/properties/deep/properties/at/format", json!("uuid")),
        ("/properties/deep/properties", json!({})),
        ("/type", json!("array")),
        ("/additionalProperties", json!(false)),
    ] {
        let found = change(pointer, value.clone());
        assert!(!found.is_empty(), "{pointer}: {value} was not found");
    }
    // What readers do not notice.
    for (pointer, value) in [
        ("/properties/more", json!({ "type": "string" })),
        ("/properties/deep/properties/more", json!({ "type": "string" })),
        (
            "/properties/from",
            json!({ "type": "string", "enum": ["FAILED", "READY"] }),
        ),
        (
            "/properties/attempt",
            json!({ "type": "integer", "minimum": 0, "maximum": 9, "description": "New words." }),
        ),
        ("/description", json!("New words.")),
    ] {
        let found = change(pointer, value.clone());
        assert!(found.is_empty(), "{pointer}: {value}: {found:?}");
    }
}
