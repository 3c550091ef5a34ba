//! Parameters of operations: each with its type, its bounds, its default and an example.

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::forms::schema_of;

/// A parameter, as OpenAPI writes it.
#[derive(Clone, Debug)]
pub struct Parameter(pub Value);

impl Parameter {
    fn new(place: &str, name: &str, schema: Value, about: &str) -> Self {
        Self(json!({"name": name, "in": place, "description": about, "schema": schema}))
    }

    /// In the query, at most once.
    pub fn query(name: &str, schema: Value, about: &str) -> Self {
        Self::new("query", name, schema, about)
    }

    /// In the query, up to 50 times; what any of them says holds.
    pub fn repeated(name: &str, item: &Value, about: &str) -> Self {
        let schema = json!({"type": "array", "items": item, "maxItems": 50});
        let mut parameter = Self::new("query", name, schema, about);
        parameter.0["style"] = json!("form");
        parameter.0["explode"] = json!(true);
        parameter
    }

    /// In the path.
    pub fn path<T: ToSchema>(name: &str, about: &str) -> Self {
        Self::path_of(name, schema_of::<T>(), about)
    }

    pub fn path_of(name: &str, schema: Value, about: &str) -> Self {
        let mut parameter = Self::new("path", name, schema, about);
        parameter.0["required"] = json!(true);
        parameter
    }

    pub fn header(name: &str, schema: Value, about: &str) -> Self {
        Self::new("header", name, schema, about)
    }

    #[must_use]
    pub fn example(mut self, example: impl Into<Value>) -> Self {
        self.0["example"] = example.into();
        self
    }
}

/// A whole number.
pub fn whole(minimum: u32, maximum: u32, default: u32) -> Value {
    json!({"type": "integer", "minimum": minimum, "maximum": maximum, "default": default})
}

pub fn flag() -> Value {
    json!({"type": "boolean", "default": false})
}

/// One of some texts.
pub fn one_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    json!({"type": "string", "enum": texts.into_iter().collect::<Vec<_>>()})
}

/// A text of any form. A NUL is in no text that is kept.
pub fn text() -> Value {
    text_like("^[^\\x00]*$")
}

/// A text of a form.
pub fn text_like(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// A point in time, or a day.
pub fn time() -> Value {
    json!({
        "type": "string",
        "anyOf": [{"format": "date-time"}, {"format": "date"}],
        "examples": ["2026-01-31T10:00:00Z", "2026-01-31"],
    })
}
