//! The node that turns text inside a record into fields.

use bytes::Bytes;
use vrl::path::OwnedValuePath;
use vrl::value::{KeyString, Value};

use super::config::{ParserConfig, ParserFormat};
use super::dag::DagError;
use super::file_source::csv_record;
use super::program::{Interpreter, Ran, TextProgram};
use super::projection::Projection;
use super::{csv, json};

/// Pairs of name and value as logfmt has them; a name alone is true.
const LOGFMT: &str = "parse_logfmt!(string!(.text))";

pub(super) struct Parser {
    format: Format,
    field: OwnedValuePath,
    target: Option<OwnedValuePath>,
}

enum Format {
    Json,
    Csv {
        names: Vec<KeyString>,
        delimiter: u8,
        fields: Vec<Bytes>,
    },
    Logfmt(Box<TextProgram>),
    Grok(Box<grok::Pattern>),
}

impl Parser {
    /// # Errors
    /// When the pattern is none.
    pub fn compile(index: usize, id: &str, config: &ParserConfig) -> Result<Self, Vec<DagError>> {
        let format = match &config.format {
            ParserFormat::Json => Format::Json,
            ParserFormat::Csv { columns, delimiter } => Format::Csv {
                names: columns.iter().map(|name| KeyString::from(name.as_str())).collect(),
                delimiter: *delimiter,
                fields: Vec::new(),
            },
            ParserFormat::Logfmt => Format::Logfmt(Box::new(TextProgram::compile(index, id, LOGFMT)?)),
            ParserFormat::Grok { pattern } => {
                let compiled = grok::Grok::with_default_patterns().compile(pattern, true);
                let wrong = |error: grok::Error| {
                    let message = format!("is no grok pattern: {error}");
                    vec![DagError::at(index, id, "/config/pattern", message)]
                };
                Format::Grok(Box::new(compiled.map_err(wrong)?))
            }
        };
        Ok(Self {
            format,
            field: config.field.clone(),
            target: config.target.clone(),
        })
    }

    /// Parses the text in the record; on an error the record is as it was.
    pub fn parse(&mut self, record: &mut Value, interpreter: &mut Interpreter) -> Result<(), String> {
        let text = match record.get(&self.field) {
            Some(Value::Bytes(text)) => text.clone(),
            Some(Value::String(text)) => text.as_bytes().clone(),
            Some(other) => return Err(format!("`{}` is a {}, not text to parse", self.field, other.kind_str())),
            None => return Err(format!("the record has no field `{}` to parse", self.field)),
        };
        let parsed = match &mut self.format {
            Format::Json => parse_json(&text)?,
            Format::Csv {
                names,
                delimiter,
                fields,
            } => {
                csv::split(&text, 0, line_end(&text), *delimiter, fields);
                csv_record(names, fields).map_err(|message| message.replace("the header", "`columns`"))?
            }
            Format::Logfmt(program) => match interpreter.read(program, text.slice(..line_end(&text))) {
                Ran::Done(parsed) => parsed,
                Ran::Failed(message) => return Err(message),
                Ran::Aborted | Ran::Cancelled => return Err("reading was given up".to_owned()),
            },
            Format::Grok(pattern) => match_grok(pattern, &text)?,
        };
        match &self.target {
            Some(target) => {
                record.insert(target, parsed);
            }
            None if matches!(parsed, Value::Object(_)) => *record = parsed,
            None => {
                return Err(format!(
                    "`{}` holds a {}; only an object can become the record: set `target` to keep it in a field",
                    self.field,
                    parsed.kind_str()
                ));
            }
        }
        Ok(())
    }
}

/// The text must have the pattern; of it, the fields that the pattern names.
fn match_grok(pattern: &grok::Pattern, text: &Bytes) -> Result<Value, String> {
    let text = str::from_utf8(&text[..line_end(text)]).map_err(|_| "not UTF-8, which grok reads".to_owned())?;
    let matches = pattern
        .match_against(text)
        .ok_or_else(|| "the text does not have the pattern".to_owned())?;
    let field = |(name, value): (&str, &str)| (KeyString::from(name), Value::from(value));
    Ok(Value::Object(matches.iter().map(field).collect()))
}

fn parse_json(text: &Bytes) -> Result<Value, String> {
    if std::str::from_utf8(text).is_err() {
        return Err("not valid JSON: not UTF-8".to_owned());
    }
    json::read(text, 0, text.len(), &Projection::Whole).map_err(|error| error.to_string())
}

/// The text may still have its line end.
fn line_end(text: &[u8]) -> usize {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text).len()
}
