//! Reads a node's `config` object field by field, so that every mistake is told with its own JSON pointer and all at
//! once: a derived deserializer would stop at the first and not say where.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::dag::DagError;
use super::secret::Text;

/// The configuration of one node while it is being read. [`Fields::finish`] refuses what nobody asked for.
pub(super) struct Fields<'a> {
    index: usize,
    id: &'a str,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    errors: &'a mut Vec<DagError>,
}

impl<'a> Fields<'a> {
    /// `None` when `config` is no object; that is recorded as an error.
    pub fn new(index: usize, id: &'a str, config: &'a Value, errors: &'a mut Vec<DagError>) -> Option<Self> {
        match config {
            Value::Object(map) => Some(Self {
                index,
                id,
                map,
                known: Vec::new(),
                errors,
            }),
            other => {
                let message = format!("must be an object, not {}", kind_of(other));
                errors.push(DagError::at(index, id, "/config", message));
                None
            }
        }
    }

    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(DagError::at(
            self.index,
            self.id,
            &format!("/config/{}", escape(name)),
            message,
        ));
    }

    pub fn optional(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn string(&mut self, name: &'static str) -> Option<&'a str> {
        match self.optional(name)? {
            Value::String(text) => Some(text),
            other => {
                self.error(name, format!("must be a string, not {}", kind_of(other)));
                None
            }
        }
    }

    pub fn required_string(&mut self, name: &'static str) -> Option<&'a str> {
        if !self.map.contains_key(name) {
            self.known.push(name);
            self.error(name, "is missing");
            return None;
        }
        let text = self.string(name)?;
        if text.trim().is_empty() {
            self.error(name, "must not be empty");
            return None;
        }
        Some(text)
    }

    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.optional(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.error(name, format!("must be true or false, not {}", kind_of(other)));
                false
            }
        }
    }

    /// One of a few words; `default` when absent, or when it is wrong (the error is recorded).
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&'static str, T)], default: T) -> T {
        let Some(word) = self.string(name) else {
            return default;
        };
        match choices.iter().find(|(choice, _)| *choice == word) {
            Some((_, value)) => *value,
            None => {
                let words: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
                self.error(name, format!("`{word}` is not known; one of: {}", words.join(", ")));
                default
            }
        }
    }

    pub fn count(&mut self, name: &'static str) -> Option<u64> {
        let value = self.optional(name)?;
        let count = value.as_u64();
        if count.is_none() {
            self.error(name, "must be a whole number of at least 0");
        }
        count
    }

    pub fn positive_number(&mut self, name: &'static str) -> Option<f64> {
        let value = self.optional(name)?;
        match value.as_f64().filter(|number| *number > 0.0 && number.is_finite()) {
            Some(number) => Some(number),
            None => {
                self.error(name, "must be a number above 0");
                None
            }
        }
    }

    /// A list of distinct, non-empty strings.
    pub fn names(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.optional(name)?;
        let names: Option<Vec<String>> = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            self.error(name, "must be a list of at least one string");
            return None;
        };
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("names `{}` twice", pair[0]);
            self.error(name, message);
            return None;
        }
        Some(names)
    }

    /// Texts by name; each may be a secret of the worker.
    pub fn texts(&mut self, name: &'static str) -> BTreeMap<String, Text> {
        let mut texts = BTreeMap::new();
        let given = match self.optional(name) {
            None => return texts,
            Some(Value::Object(given)) => given,
            Some(other) => {
                self.error(name, format!("must be an object of strings, not {}", kind_of(other)));
                return texts;
            }
        };
        for (key, value) in given {
            let secret = value.as_object().filter(|fields| fields.len() == 1);
            let secret = secret.and_then(|fields| fields.get("secret")?.as_str());
            match (value, secret) {
                (Value::String(text), _) => drop(texts.insert(key.clone(), Text::Plain(text.clone()))),
                (_, Some(secret)) => drop(texts.insert(key.clone(), Text::Secret(secret.to_owned()))),
                _ => self.error(name, format!("`{key}` must be a string, or {{\"secret\": \"NAME\"}}")),
            }
        }
        texts
    }

    /// One ASCII character that can separate csv fields.
    pub fn delimiter(&mut self, name: &'static str) -> u8 {
        match self.string(name) {
            None => b',',
            Some(text) => match text.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => *byte,
                _ => {
                    self.error(name, "must be one ASCII character, and neither a quote nor a line end");
                    b','
                }
            },
        }
    }

    /// Refuses every field that no call above asked for.
    pub fn finish(self) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let message = format!("unknown field `{name}`; known here: {}", self.known.join(", "));
            self.errors.push(DagError::at(
                self.index,
                self.id,
                &format!("/config/{}", escape(name)),
                message,
            ));
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// RFC 6901: `~` and `/` inside a name.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
