//! Scalars: times, JSON.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use crate::domain::Timestamp;

/// A time: RFC 3339, UTC, milliseconds, such as `2026-01-29T09:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

#[Scalar(
    name = "DateTime",
    specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html"
)]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text
                .parse()
                .map(Self)
                .map_err(|error| InputValueError::custom(format!("{error}"))),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// Any JSON value.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(pub Value);

#[Scalar(
    name = "JSON",
    specified_by_url = "https://ecma-international.org/publications-and-standards/standards/ecma-404/"
)]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

impl Json {
    /// What is not JSON becomes null; there is nothing such in views.
    pub fn of(value: &impl serde::Serialize) -> Self {
        let json = serde_json::to_value(value).unwrap_or_default();
        Self(Value::from_json(json).unwrap_or_default())
    }
}
