//! Writes records as ndjson, csv or text.
//!
//! text writes the field `message` of each record, as the text source and other pipeline tools name it. csv takes its
//! columns from the configuration, else from the first record in the order of their names; a later record with a field
//! that is no column fails rather than lose data silently, a missing field is empty. Objects and lists inside a csv or
//! text field are written as JSON.

use std::borrow::Cow;

use vrl::value::{ObjectMap, Value};

use super::config::{EncoderConfig, Encoding};
use super::csv;

pub(super) struct Encoder {
    encoding: Encoding,
    delimiter: u8,
    columns: Option<Vec<String>>,
    /// The columns are the client's choice: what else is in a record is left out on purpose.
    chosen: bool,
    header_written: bool,
}

impl Encoder {
    pub fn new(config: &EncoderConfig) -> Self {
        Self {
            encoding: config.encoding,
            delimiter: config.delimiter,
            columns: config.columns.clone(),
            chosen: config.columns.is_some(),
            header_written: false,
        }
    }

    /// The columns, when they are known, and whether they have been written.
    pub fn state(&self) -> (Option<&[String]>, bool) {
        (self.columns.as_deref(), self.header_written)
    }

    /// Goes on where another encoder of the same configuration stood.
    pub fn restore(&mut self, columns: Option<Vec<String>>, header_written: bool) {
        if !self.chosen {
            self.columns = columns;
        }
        self.header_written = header_written;
    }

    /// Appends the record with its line end. On an error nothing was appended.
    pub fn encode(&mut self, record: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let begin = out.len();
        let result = match self.encoding {
            Encoding::Ndjson => write_json(record, out),
            Encoding::Text => write_text(record, out),
            Encoding::Csv => self.write_csv(record, out),
        };
        match result {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(begin),
        }
        result
    }

    /// What must stand in the file although there was no record: the header, when it is known.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Csv
            && !self.header_written
            && let Some(columns) = &self.columns
        {
            write_header(columns, self.delimiter, out);
            self.header_written = true;
        }
    }

    fn write_csv(&mut self, record: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let Value::Object(fields) = record else {
            return Err("a record must be an object to be written as csv".to_owned());
        };
        let columns = self
            .columns
            .get_or_insert_with(|| fields.keys().map(|name| name.as_str().to_owned()).collect());
        if columns.is_empty() {
            return Err("a record without fields cannot be written as csv".to_owned());
        }
        if !self.chosen {
            check_columns(columns, fields)?;
        }
        if !self.header_written {
            write_header(columns, self.delimiter, out);
            self.header_written = true;
        }
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                out.push(self.delimiter);
            }
            let text = fields
                .get(column.as_str())
                .map_or(Ok(Cow::Borrowed(&b""[..])), text_of)?;
            csv::write_field(out, &text, self.delimiter, columns.len() == 1);
        }
        Ok(())
    }
}

fn check_columns(columns: &[String], fields: &ObjectMap) -> Result<(), String> {
    let known = |name: &str| columns.iter().any(|column| column == name);
    match fields.keys().find(|name| !known(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the field `{name}` is no column: the columns are those of the first record; name them in `columns`"
        )),
    }
}

fn write_header(columns: &[String], delimiter: u8, out: &mut Vec<u8>) {
    for (position, column) in columns.iter().enumerate() {
        if position > 0 {
            out.push(delimiter);
        }
        csv::write_field(out, column.as_bytes(), delimiter, columns.len() == 1);
    }
    out.push(b'\n');
}

fn write_json(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, value).map_err(|error| error.to_string())
}

fn write_text(record: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let message = match record {
        Value::Object(fields) => fields.get("message"),
        _ => None,
    };
    match message {
        Some(message) if !message.is_null() => {
            out.extend_from_slice(&text_of(message)?);
            Ok(())
        }
        _ => Err("the record has no field `message`, which is what text encoding writes".to_owned()),
    }
}

/// A value as plain text: strings as they are, null as nothing, the rest as JSON.
fn text_of(value: &Value) -> Result<Cow<'_, [u8]>, String> {
    match value {
        Value::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        Value::String(text) => Ok(Cow::Borrowed(text.as_bytes())),
        Value::Null => Ok(Cow::Borrowed(&[])),
        Value::Timestamp(_) | Value::Regex(_) => Ok(Cow::Owned(value.coerce_to_bytes().to_vec())),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Object(_) | Value::Array(_) => {
            let mut text = Vec::new();
            write_json(value, &mut text).map(|()| Cow::Owned(text))
        }
    }
}
