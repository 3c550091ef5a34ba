//! The configuration as people and programs see it: the effective one, and the reference of all keys.

use std::fmt;

use serde_json::{Value, json};

use super::{Config, Loaded};
use crate::config::Shape;

/// The effective configuration with origins. Displays as TOML, secrets hidden, the origin as a comment.
pub struct Effective<'a>(pub(super) &'a Loaded);

impl Effective<'_> {
    /// `{"section": {"key": {"value": …, "origin": "…"}}}`
    pub fn to_json(&self) -> Value {
        let mut sections = serde_json::Map::new();
        for (section, key, value) in self.0.config.show() {
            let origin = self.0.origin(&format!("{section}.{key}")).to_string();
            let entry = sections.entry(section).or_insert_with(|| json!({}));
            entry[key] = json!({"value": value, "origin": origin});
        }
        sections.into()
    }
}

impl fmt::Display for Effective<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut current = "";
        for (section, key, value) in self.0.config.show() {
            if section != current {
                let gap = if current.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{section}]")?;
                current = section;
            }
            let path = format!("{section}.{key}");
            match &value {
                Value::Object(entries) if !entries.is_empty() => {
                    for (entry, value) in entries {
                        let origin = self.0.origin(&format!("{path}.{entry}"));
                        writeln!(
                            f,
                            "{:<50} # {origin}",
                            format!("{key}.{} = {}", bare(entry), toml(value))
                        )?;
                    }
                }
                Value::Null => writeln!(f, "{:<50} # {}", format!("# {key} ="), self.0.origin(&path))?,
                _ => writeln!(
                    f,
                    "{:<50} # {}",
                    format!("{key} = {}", toml(&value)),
                    self.0.origin(&path)
                )?,
            }
        }
        Ok(())
    }
}

fn bare(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if plain { name.to_owned() } else { format!("{name:?}") }
}

/// JSON scalars and lists are TOML as they stand; the only object left is the empty one.
fn toml(value: &Value) -> String {
    value.to_string()
}

/// Every key with meaning, default and name in the environment, as a commented TOML file.
pub struct Reference;

impl Reference {
    /// `[{"key", "env", "expected", "default", "doc"}]`
    pub fn to_json() -> Value {
        Config::keys()
            .into_iter()
            .map(|(section, key)| {
                json!({
                    "key": format!("{section}.{}", key.name), "env": env_name(section, key.name),
                    "expected": (key.expected)(), "default": (key.default)(), "doc": key.doc.trim(),
                })
            })
            .collect()
    }
}

fn env_name(section: &str, key: &str) -> String {
    format!("GRID__{}__{}", section.to_uppercase(), key.to_uppercase())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Every key with its default. Layers: this file < environment < flags (--set section.key=value)."
        )?;
        let mut current = "";
        for (section, key) in Config::keys() {
            if section != current {
                let doc = Config::SECTIONS
                    .iter()
                    .find(|(name, _)| *name == section)
                    .map_or("", |(_, doc)| doc.trim());
                writeln!(f, "\n# {doc}\n[{section}]")?;
                current = section;
            }
            let env = match key.shape {
                Shape::One | Shape::List => env_name(section, key.name),
                Shape::Map | Shape::Properties => format!("{0}, or {0}__NAME", env_name(section, key.name)),
            };
            writeln!(f, "# {}\n#   {} · {env}", key.doc.trim(), (key.expected)())?;
            match (key.default)() {
                Value::Null => writeln!(f, "# {} =", key.name)?,
                value => writeln!(f, "# {} = {}", key.name, toml(&value))?,
            }
        }
        Ok(())
    }
}
