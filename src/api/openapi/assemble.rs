//! Puts the description together: operations, who may use them, and the schemas that they refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::jobs::DOCUMENT;
use super::operation::{Operation, Tag};
use super::{UNDESCRIBED, operations};
use crate::api::routes::{Rule, rules};
use crate::document;

/// Of these an absent field is left out; of all others every field is there, if need be as null.
const SPARSE: [&str; 5] = ["ExplanationDetails", "LogLine", "Mistake", "Problem", "WorkerSeen"];

const ABOUT: &str = "Jobs, tasks, workers, and everything that happened to them.\n\nEvery error is a problem document (RFC \
                     9457) whose `code` is stable. Unknown parameters and fields are refused by name. Times are RFC 3339 \
                     in UTC with milliseconds. Wherever GET is possible, HEAD is too, and answers the same without a body. \
                     A token is shown as `Authorization: Bearer …`; `x-grid-role` says which role an operation needs: \
                     viewer, operator and admin each include the ones before.";

/// The description, and what is wrong with it: for its test.
pub struct Description {
    pub openapi: Value,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds it against being empty"))]
    pub mistakes: Vec<String>,
}

/// A path of the table of routes as OpenAPI writes it: without the patterns of its parameters.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    let mut in_pattern = false;
    for c in path.chars() {
        match c {
            ':' => in_pattern = true,
            '}' => in_pattern = false,
            _ => {}
        }
        if !in_pattern {
            plain.push(c);
        }
    }
    plain
}

pub fn description() -> Description {
    describe(&rules(), operations(), UNDESCRIBED)
}

/// Of these routes by these operations.
pub fn describe(rules: &[Rule], operations: Vec<Operation>, undescribed: &[(&str, &str)]) -> Description {
    let mut mistakes = Vec::new();
    let mut left: BTreeMap<(String, &str), Operation> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for operation in operations {
        if !ids.insert(operation.id) {
            mistakes.push(format!("{} is described twice", operation.id));
        }
        left.insert((plain(operation.path), operation.method), operation);
    }
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = schemas_of_document();
    // A HEAD comes with its GET and is said once, for all.
    for rule in rules.iter().filter(|rule| rule.method != "HEAD") {
        let path = plain(rule.path);
        let excepted = undescribed.iter().any(|(excepted, _)| plain(excepted) == path);
        let operation = left.remove(&(path.clone(), rule.method));
        match (operation, excepted) {
            (Some(operation), false) => {
                schemas.extend(
                    operation
                        .schemas
                        .iter()
                        .map(|(name, schema)| (name.clone(), complete(name, schema))),
                );
                let written = operation.written(rule.access);
                paths
                    .entry(path)
                    .or_default()
                    .insert(rule.method.to_lowercase(), written);
            }
            (None, true) => {}
            (Some(_), true) => mistakes.push(format!("{} {path} is described, and excepted from it", rule.method)),
            (None, false) => mistakes.push(format!(
                "{} {path} has no description: add one to its group in src/api/openapi",
                rule.method
            )),
        }
    }
    mistakes.extend(
        left.keys()
            .map(|(path, method)| format!("{method} {path} is described and not served")),
    );
    let served = |excepted: &str| rules.iter().any(|rule| plain(rule.path) == plain(excepted));
    let stale = undescribed.iter().filter(|(excepted, _)| !served(excepted));
    mistakes.extend(stale.map(|(excepted, _)| format!("{excepted} is excepted and not served")));
    let openapi = whole(&json!(paths), &json!(schemas));
    mistakes.extend(loose_ends(&openapi));
    Description { openapi, mistakes }
}

fn whole(paths: &Value, schemas: &Value) -> Value {
    let tags: Vec<Value> = Tag::ALL
        .iter()
        .map(|tag| json!({"name": tag.name(), "description": tag.about()}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Grid",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this came from."}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token of a role."}},
        },
    })
}

/// An answer has all its fields.
fn complete(name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object)
        && !SPARSE.contains(&name)
    {
        let required: Vec<&String> = properties.keys().collect();
        schema["required"] = json!(required);
    }
    drop_widths(&mut schema);
    schema
}

/// The formats of integers say less than their bounds, and something else of those without a sign.
fn drop_widths(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let is_width = |format: &Value| {
                format
                    .as_str()
                    .is_some_and(|it| it.starts_with("int") || it.starts_with("u-int"))
            };
            if object.get("format").is_some_and(is_width) {
                object.remove("format");
            }
            object.values_mut().for_each(drop_widths);
        }
        Value::Array(array) => array.iter_mut().for_each(drop_widths),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of the job document and its parts, as components.
fn schemas_of_document() -> BTreeMap<String, Value> {
    let mut schema = document::schema();
    let mut parts = Map::new();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        if let Some(Value::Object(found)) = object.remove("$defs") {
            parts = found;
        }
    }
    let mut schemas: BTreeMap<String, Value> = parts.into_iter().map(|(name, part)| (part_name(&name), part)).collect();
    schemas.insert(DOCUMENT.to_owned(), schema);
    schemas.values_mut().for_each(refer_to_components);
    schemas
}

fn part_name(name: &str) -> String {
    let (first, rest) = name.split_at(1.min(name.len()));
    format!("{DOCUMENT}{}{rest}", first.to_uppercase())
}

fn refer_to_components(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/components/schemas/{}", part_name(name));
            }
            object.values_mut().for_each(refer_to_components);
        }
        Value::Array(array) => array.iter_mut().for_each(refer_to_components),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|part| references(part, found));
        }
        Value::Array(array) => array.iter().for_each(|part| references(part, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// References to nothing, schemas that nothing refers to, links to operations that there are not.
fn loose_ends(openapi: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    references(openapi, &mut found);
    let missing = found.iter().filter(|target| openapi.pointer(&target[1..]).is_none());
    let mut loose: Vec<String> = missing.map(|target| format!("{target} is not there")).collect();
    let schemas = openapi["components"]["schemas"].as_object();
    let unused = schemas.into_iter().flat_map(Map::keys).filter(|name| {
        let target = format!("#/components/schemas/{name}");
        !found.contains(target.as_str())
    });
    loose.extend(unused.map(|name| format!("nothing refers to the schema {name}")));
    let operations = || {
        let paths = openapi["paths"].as_object().into_iter().flat_map(Map::values);
        paths.filter_map(Value::as_object).flat_map(Map::values)
    };
    let ids: BTreeSet<&str> = operations().filter_map(|it| it["operationId"].as_str()).collect();
    let answers = operations()
        .filter_map(|it| it["responses"].as_object())
        .flat_map(Map::values);
    let links = answers
        .filter_map(|it| it.get("links")?.as_object())
        .flat_map(Map::keys);
    loose.extend(
        links
            .filter(|id| !ids.contains(id.as_str()))
            .map(|id| format!("a link leads to {id}, which is not there")),
    );
    loose
}
