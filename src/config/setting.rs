//! The types a value may have, how each is read and shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::Secret;

/// How a value is written in the environment and in flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One text.
    One,
    /// `a,b,c`
    List,
    /// `name=value,…`, or one variable an entry: `GRID__SECTION__KEY__NAME`.
    Map,
    /// As [`Shape::Map`]; the names have dots, written `_` in the name of a variable.
    Properties,
}

/// A type of value: reads itself from a layer and shows itself with secrets hidden.
pub trait Setting: Sized {
    const SHAPE: Shape = Shape::One;
    /// What may be written, in words.
    fn expected() -> String;
    /// # Errors
    /// Says what was found and what was expected.
    fn read(value: &Value) -> Result<Self, String>;
    fn show(&self) -> serde_json::Value;
}

/// The text of a scalar: what the environment gives, or the file's value written out.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, char) => Some(char.to_string()),
        Value::Bool(_, bool) => Some(bool.to_string()),
        Value::Num(..) => value
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| value.to_u128().map(|number| number.to_string()))
            .or_else(|| value.to_f64().map(|number| number.to_string())),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        _ => text(value).map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}")),
    }
}

fn refuse<T: Setting>(value: &Value) -> String {
    format!("found {}, expected {}", found(value), T::expected())
}

/// A duration as people write it: `1m 30s`.
pub(crate) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

macro_rules! scalar {
    ($($ty:ty, $expected:expr, $parse:expr, $show:expr;)+) => {$(
        impl Setting for $ty {
            fn expected() -> String {
                $expected.to_string()
            }
            fn read(value: &Value) -> Result<Self, String> {
                let parse: fn(&str) -> Option<Self> = $parse;
                text(value).and_then(|text| parse(text.trim())).ok_or_else(|| refuse::<Self>(value))
            }
            fn show(&self) -> serde_json::Value {
                let show: fn(&Self) -> serde_json::Value = $show;
                show(self)
            }
        }
    )+};
}

scalar! {
    bool, "true or false", |text| text.parse().ok(), |value| (*value).into();
    u16, "a whole number from 0 to 65535", |text| text.parse().ok(), |value| (*value).into();
    u32, "a whole number from 0", |text| text.parse().ok(), |value| (*value).into();
    u64, "a whole number from 0", |text| text.parse().ok(), |value| (*value).into();
    SocketAddr, "an address and port such as 127.0.0.1:8080", |text| text.parse().ok(),
        |value| value.to_string().into();
    Duration, "a duration such as 500ms, 30s or 1h 30m", |text| humantime::parse_duration(text).ok(),
        |value| duration_text(*value).into();
}

impl Setting for String {
    fn expected() -> String {
        "a text".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        text(value)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| refuse::<Self>(value))
    }
    fn show(&self) -> serde_json::Value {
        self.as_str().into()
    }
}

impl Setting for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        let text = text(value).filter(|text| !text.is_empty());
        text.map(Self::from).ok_or_else(|| refuse::<Self>(value))
    }
    fn show(&self) -> serde_json::Value {
        self.to_string_lossy().into()
    }
}

impl Setting for Secret {
    fn expected() -> String {
        "a secret text".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        // What was found is not repeated: it may be most of the secret.
        text(value).map(Self::new).ok_or_else(|| "expected a text".to_owned())
    }
    fn show(&self) -> serde_json::Value {
        "***".into()
    }
}

/// Absent, or an empty text: none.
impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    fn expected() -> String {
        format!("{}, or nothing", T::expected())
    }
    fn read(value: &Value) -> Result<Self, String> {
        if value.as_str() == Some("") {
            Ok(None)
        } else {
            T::read(value).map(Some)
        }
    }
    fn show(&self) -> serde_json::Value {
        self.as_ref().map_or(serde_json::Value::Null, T::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List;
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(_, items) => items.iter().map(T::read).collect(),
            Value::String(_, text) => split(text).map(|item| T::read(&Value::from(item))).collect(),
            _ => Err(refuse::<Self>(value)),
        }
    }
    fn show(&self) -> serde_json::Value {
        self.iter().map(T::show).collect()
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn entries(value: &Value) -> Option<BTreeMap<String, String>> {
    match value {
        Value::Dict(_, entries) => entries
            .iter()
            .map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect::<Option<_>>(),
        Value::String(_, text) => {
            let pair = |item: &str| {
                item.split_once('=')
                    .map(|(name, value)| (name.trim().into(), value.trim().into()))
            };
            split(text).map(pair).collect::<Option<_>>()
        }
        _ => None,
    }
}

/// A text of entries as a table; anything else, also a text of something else, as it is.
pub(super) fn as_table(value: Value) -> Value {
    match (&value, entries(&value)) {
        (Value::String(..), Some(entries)) => Value::from(entries),
        _ => value,
    }
}

impl Setting for BTreeMap<String, String> {
    const SHAPE: Shape = Shape::Map;
    fn expected() -> String {
        "a table of texts: name=value,…".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        entries(value).ok_or_else(|| refuse::<Self>(value))
    }
    fn show(&self) -> serde_json::Value {
        self.iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// Properties handed through to librdkafka by their own names; values of secret ones are hidden.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// For a property that no layer has set.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.into());
    }

    pub fn is_secret(name: &str) -> bool {
        ["password", "secret", "key.pem", "token", "oauthbearer.config", "jaas"]
            .iter()
            .any(|word| name.contains(word))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.show())
    }
}

impl Setting for Properties {
    const SHAPE: Shape = Shape::Properties;
    fn expected() -> String {
        "a table of librdkafka properties: name=value,…".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        // What was found is not repeated: it may hold a password.
        entries(value)
            .map(Self)
            .ok_or_else(|| format!("expected {}", Self::expected()))
    }
    fn show(&self) -> serde_json::Value {
        let shown = |name: &str, value: &str| {
            if Self::is_secret(name) {
                "***".into()
            } else {
                value.into()
            }
        };
        let entries = self.iter().map(|(name, value)| (name.to_owned(), shown(name, value)));
        entries.collect::<serde_json::Map<_, _>>().into()
    }
}
