//! The layers above the defaults: file, environment, flags.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::{Error, Problem, Schema, Shape};

const PREFIX: &str = "GRID__";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    /// The variable's name.
    Env(String),
    /// The flag as typed.
    Flag(String),
}

impl Origin {
    pub(super) fn of(metadata: &Metadata) -> Self {
        match &metadata.source {
            Some(Source::File(path)) => Self::File(path.clone()),
            Some(Source::Custom(text)) => match text.strip_prefix("environment ") {
                Some(name) => Self::Env(name.to_owned()),
                None => Self::Flag(text.strip_prefix("flag ").unwrap_or(text).to_owned()),
            },
            _ => Self::Default,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A flag that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed: `--listen`.
    pub flag: String,
    /// `section.key`, or `section.key.entry` of a table.
    pub key: String,
    pub value: Value,
}

/// Everything that may override the defaults, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Variables of the environment; those without the prefix are passed over.
    pub env: Vec<(String, String)>,
    pub flags: Vec<Flag>,
}

impl Sources {
    /// The layers of this process.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os()
            .map(|(name, value)| (lossy(name), lossy(value)))
            .collect();
        Self { file, env, flags }
    }

    pub(super) fn merge(&self, schema: &Schema) -> Result<(Figment, Vec<Problem>), Error> {
        let mut layers = Layers {
            schema,
            figment: Figment::new(),
            problems: Vec::new(),
        };
        if let Some(path) = &self.file {
            layers.file(path)?;
        }
        let mut variables: Vec<_> = self.env.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        for (name, value) in variables {
            let key = name[PREFIX.len()..].replace("__", ".").to_lowercase();
            layers.set(&key, Value::from(value.as_str()), Origin::Env(name.clone()));
        }
        for flag in &self.flags {
            layers.set(&flag.key, flag.value.clone(), Origin::Flag(flag.flag.clone()));
        }
        Ok((layers.figment, layers.problems))
    }
}

/// One layer with its values already checked to be of known keys.
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// The layers so far, and what was wrong with them.
struct Layers<'a> {
    schema: &'a Schema,
    figment: Figment,
    problems: Vec<Problem>,
}

impl Layers<'_> {
    fn add(&mut self, metadata: Metadata, dict: Dict) {
        let below = std::mem::take(&mut self.figment);
        self.figment = below.merge(Layer { metadata, dict });
    }

    /// Adds the values of a file.
    fn file(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let mut dict = parse_toml(&text).map_err(|message| Error::Syntax {
            path: path.to_owned(),
            message,
        })?;
        let origin = Origin::File(path.to_owned());
        let (schema, problems) = (self.schema, &mut self.problems);
        let mut wrong = |key: String, what: String| {
            problems.push(Problem {
                key,
                origin: origin.clone(),
                what,
            })
        };
        dict.retain(|section, value| {
            if !schema.sections.iter().any(|(name, _)| name == section) {
                wrong(section.clone(), unknown(schema, section));
                return false;
            }
            let Value::Dict(_, keys) = value else {
                wrong(
                    section.clone(),
                    format!("found a value, expected a section: [{section}]"),
                );
                return false;
            };
            keys.retain(|key, value| match schema.shape(section, key) {
                None => {
                    let key = format!("{section}.{key}");
                    let what = unknown(schema, &key);
                    wrong(key, what);
                    false
                }
                Some(shape) => {
                    if shape == Shape::Properties {
                        flatten(value);
                    }
                    true
                }
            });
            true
        });
        self.add(Metadata::from("TOML file", path), dict);
        Ok(())
    }

    /// Adds one value from the environment or a flag.
    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let mut parts = key.splitn(3, '.');
        let (section, name, entry) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next());
        let shape = self.schema.shape(section, name);
        let value = match (shape, entry) {
            // As a table, so that variables of single entries add to it, as they add to that of the file.
            (Some(Shape::Map | Shape::Properties), None) => super::setting::as_table(value),
            (Some(Shape::One | Shape::List), None) => value,
            (Some(Shape::Map), Some(entry)) => Value::from(Dict::from([(entry.to_owned(), value)])),
            (Some(Shape::Properties), Some(entry)) => {
                // The name of a variable cannot have a dot.
                let entry = if matches!(origin, Origin::Env(_)) {
                    entry.replace('_', ".")
                } else {
                    entry.to_owned()
                };
                Value::from(Dict::from([(entry, value)]))
            }
            (Some(Shape::One | Shape::List) | None, _) => {
                self.problems.push(Problem {
                    key: key.to_owned(),
                    origin,
                    what: unknown(self.schema, key),
                });
                return;
            }
        };
        let section_dict = Value::from(Dict::from([(name.to_owned(), value)]));
        let source = match &origin {
            Origin::Env(name) => format!("environment {name}"),
            Origin::Flag(flag) => format!("flag {flag}"),
            Origin::Default | Origin::File(_) => origin.to_string(),
        };
        let metadata = Metadata::from("override", Source::Custom(source));
        self.add(metadata, Dict::from([(section.to_owned(), section_dict)]));
    }
}

fn parse_toml(text: &str) -> Result<Dict, String> {
    let map = Toml::string(text).data().map_err(|error| error.kind.to_string())?;
    Ok(map.into_iter().next().map(|(_, dict)| dict).unwrap_or_default())
}

/// `security.protocol = "ssl"` is a nested table to TOML; librdkafka means one name.
fn flatten(value: &mut Value) {
    fn walk(prefix: &str, dict: &Dict, out: &mut Dict) {
        for (name, value) in dict {
            let name = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Dict(_, inner) => walk(&name, inner, out),
                _ => {
                    out.insert(name, value.clone());
                }
            }
        }
    }
    if let Value::Dict(_, dict) = value {
        let mut flat = Dict::new();
        walk("", dict, &mut flat);
        *dict = flat;
    }
}

/// Says that `key` is unknown, and which was probably meant.
fn unknown(schema: &Schema, key: &str) -> String {
    let known: Vec<String> = if key.contains('.') {
        schema
            .keys
            .iter()
            .map(|(section, key)| format!("{section}.{}", key.name))
            .collect()
    } else {
        schema.sections.iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    let same_name = |candidate: &&String| {
        key.split_once('.')
            .is_some_and(|(_, name)| candidate.ends_with(&format!(".{name}")))
    };
    let nearest = known.iter().min_by_key(|candidate| distance(key, candidate));
    let near = if key.contains('.') { 3 } else { 2 };
    let nearest = nearest
        .filter(|candidate| distance(key, candidate) <= near)
        .or_else(|| known.iter().find(same_name));
    match nearest {
        Some(candidate) => format!("unknown key; did you mean {candidate}?"),
        None => "unknown key; `grid config --reference` lists all".to_owned(),
    }
}

/// Levenshtein's: how many letters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
