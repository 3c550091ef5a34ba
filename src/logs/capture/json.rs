//! Lines that are JSON objects: message, level and logger by the names that loggers use; all else becomes fields.
//!
//! Fields are texts, and those of objects within have names with dots: so every store knows them alike.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::level;
use crate::logs::line::RESERVED;

/// Most fields of a line.
pub const MOST_FIELDS: usize = 64;
/// Most bytes of their names and values together.
pub const MOST_BYTES: usize = 16 * 1024;
/// Told in this field: how many were left out.
const LEFT_OUT: &str = "fields_left_out";

/// What a line says.
#[derive(Debug, Default)]
pub struct Read {
    pub message: Option<String>,
    pub level: Option<String>,
    pub logger_name: Option<String>,
    pub fields: BTreeMap<String, String>,
}

#[derive(Default)]
struct Fields {
    fields: BTreeMap<String, String>,
    bytes: usize,
    left_out: u64,
}

/// Reads a line that is an object; `None` for any other.
pub fn read(text: &str) -> Option<Read> {
    let trimmed = text.trim();
    if !trimmed.starts_with('{') || !trimmed.ends_with('}') {
        return None;
    }
    let mut object: Map<String, Value> = serde_json::from_str(trimmed).ok()?;
    let mut read = Read {
        message: take_text(&mut object, &["message", "msg"]),
        level: take_level(&mut object),
        logger_name: take_text(&mut object, &["logger_name", "logger"]),
        fields: BTreeMap::new(),
    };
    let mut fields = Fields::default();
    for (name, value) in object {
        // What would say whose the line is, is kept under another name.
        let name = if RESERVED.contains(&name.as_str()) {
            format!("task.{name}")
        } else {
            name
        };
        fields.add(name, value);
    }
    if fields.left_out > 0 {
        fields.fields.insert(LEFT_OUT.to_owned(), fields.left_out.to_string());
    }
    read.fields = fields.fields;
    Some(read)
}

fn take_text(object: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    let name = names
        .iter()
        .find(|name| object.get(**name).is_some_and(Value::is_string))?;
    match object.remove(*name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn take_level(object: &mut Map<String, Value>) -> Option<String> {
    let found = match object.get("level")? {
        Value::String(word) => level::named(word.trim()),
        Value::Number(number) => level::numbered(number.as_u64()?),
        _ => None,
    };
    // One that means nothing is kept beside the level that is made.
    let found = found?.to_owned();
    object.remove("level");
    Some(found)
}

impl Fields {
    fn add(&mut self, name: String, value: Value) {
        let text = match value {
            Value::Null => return,
            Value::Object(inner) if !inner.is_empty() => {
                for (inner_name, value) in inner {
                    self.add(format!("{name}.{inner_name}"), value);
                }
                return;
            }
            Value::String(text) => text,
            other => other.to_string(),
        };
        if text.is_empty() {
            // As a field that is not there.
            return;
        }
        let bytes = name.len() + text.len();
        let is_reserved = RESERVED.contains(&name.as_str()) || name == LEFT_OUT;
        if is_reserved || self.fields.len() == MOST_FIELDS - 1 || self.bytes + bytes > MOST_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.fields.insert(name, text);
    }
}
