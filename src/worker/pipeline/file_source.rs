//! A source that reads this replica's records of a file.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::str;

use bytes::Bytes;
use nix::fcntl::OFlag;
use vrl::value::{KeyString, ObjectMap, Value};

use super::checkpoint::{FileIdentity, SourceState};
use super::config::{Encoding, FileSourceConfig};
use super::context::RunContext;
use super::engine::{Engine, Partial};
use super::file_sink::refuse;
use super::framing::{Frame, Framing, MAX_RECORD_BYTES, ReadError, Records};
use super::projection::Projection;
use super::report::{PipelineFailure, PipelineFailureReason};
use super::{csv, json, paths, split};

pub(super) struct FileSource {
    id: String,
    path: String,
    records: Records,
    decoder: Decoder,
    /// The first chunk begins with a byte order mark that is not part of its record.
    after_mark: bool,
    identity: FileIdentity,
}

/// A file that is open.
pub(super) struct Input {
    pub file: File,
    /// What it is called in messages.
    pub shown: String,
    pub encoding: Encoding,
    pub delimiter: u8,
}

enum Decoder {
    Ndjson(Json),
    Text,
    Csv {
        delimiter: u8,
        names: Vec<KeyString>,
        fields: Vec<Bytes>,
    },
}

/// Which fields to build of each JSON record, and whether it pays.
struct Json {
    /// What the first nodes read; the rest is read again only for records that get past them.
    projection: Projection,
    /// For so many chunks to come everything is built at once, because most records get past.
    whole_chunks: u32,
}

/// After a chunk of which most records had to be read twice, so many are read whole before trying again.
const WHOLE_CHUNKS: u32 = 32;

impl FileSource {
    pub fn open(
        id: &str,
        config: &FileSourceConfig,
        projection: Projection,
        resume_at: Option<u64>,
        context: &RunContext,
    ) -> Result<Self, PipelineFailure> {
        let path = paths::resolve(&config.path, context).map_err(|refusal| refuse(id, refusal))?;
        let shown = path.display().to_string();
        let failure = |error: &dyn std::error::Error| PipelineFailure::error(id, format!("cannot read {shown}"), error);
        // Without O_NONBLOCK, opening a named pipe would wait for a writer.
        let file = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .map_err(|error| failure(&error))?;
        let input = Input {
            file,
            shown,
            encoding: config.encoding,
            delimiter: config.delimiter,
        };
        Self::over(id, input, projection, resume_at, context)
    }

    /// Of a file that is open, and of which this replica reads its part.
    pub fn over(
        id: &str,
        input: Input,
        projection: Projection,
        resume_at: Option<u64>,
        context: &RunContext,
    ) -> Result<Self, PipelineFailure> {
        let Input {
            file,
            shown,
            encoding,
            delimiter,
        } = input;
        let failure = |error: &dyn std::error::Error| PipelineFailure::error(id, format!("cannot read {shown}"), error);
        let metadata = file.metadata().map_err(|error| failure(&error))?;
        if !metadata.is_file() {
            let message = format!("{shown} is no regular file");
            return Err(PipelineFailure::new(PipelineFailureReason::Error, id, message));
        }
        let size = metadata.len();
        let (from, end) = split::share(size, context.replica_index, context.replica_count);
        let marked = split::has_mark(&file).map_err(|error| failure(&error))?;
        let (records, decoder) = match encoding {
            Encoding::Csv => {
                let (names, begin) = header(&file, delimiter, marked, size).map_err(|error| failure(&error))?;
                let start = split::first_csv_record(&file, begin, from, delimiter);
                let start = resume_at.map_or(start, Ok).map_err(|error| failure(&error))?;
                let records = Records::new(file, Framing::Csv { delimiter }, start, end);
                (
                    records,
                    Decoder::Csv {
                        delimiter,
                        names,
                        fields: Vec::new(),
                    },
                )
            }
            Encoding::Ndjson | Encoding::Text => {
                // A byte order mark alone is an empty file, not an empty line.
                let empty = marked && size == split::BYTE_ORDER_MARK.len() as u64;
                let start = if empty {
                    Ok(size)
                } else {
                    split::first_line(&file, from)
                };
                let start = resume_at.map_or(start, Ok).map_err(|error| failure(&error))?;
                let decoder = match encoding {
                    Encoding::Text => Decoder::Text,
                    _ => Decoder::Ndjson(Json {
                        projection,
                        whole_chunks: 0,
                    }),
                };
                (Records::new(file, Framing::Lines, start, end), decoder)
            }
        };
        let records = records.map_err(|error| failure(&error))?;
        let at_the_mark = from == 0 && resume_at.is_none_or(|at| at == 0);
        let after_mark = marked && at_the_mark && !matches!(decoder, Decoder::Csv { .. });
        Ok(Self {
            id: id.to_owned(),
            path: shown,
            records,
            decoder,
            after_mark,
            identity: FileIdentity::of(&metadata),
        })
    }

    /// Whether what was kept of the file still tells of it: it is as it was.
    pub fn is_unchanged(config: &FileSourceConfig, identity: FileIdentity, context: &RunContext) -> bool {
        let path = paths::resolve(&config.path, context);
        let metadata = path.ok().and_then(|path| path.metadata().ok());
        metadata.is_some_and(|metadata| FileIdentity::of(&metadata) == identity)
    }

    /// Between two chunks; `None` when no run could go on from here.
    pub fn state(&self) -> Option<SourceState> {
        let offset = self.records.resumable_offset()?;
        let identity = self.identity;
        Some(SourceState::File { identity, offset })
    }

    /// Reads one chunk and hands on its records. `false` when there are no more.
    pub fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<bool, PipelineFailure> {
        let more = self.records.next_chunk().map_err(|error| self.failure(&error.into()))?;
        if !more {
            return Ok(false);
        }
        let twice_before = engine.records_read_twice();
        let mut in_chunk = 0;
        while let Some(frame) = self.records.next_in_chunk().map_err(|error| self.failure(&error))? {
            in_chunk += 1;
            self.record(frame, node, engine)?;
        }
        if let Decoder::Ndjson(json) = &mut self.decoder {
            json.after_chunk(in_chunk, engine.records_read_twice() - twice_before);
        }
        engine.counts(node).bytes_in = self.records.bytes_read();
        Ok(true)
    }

    fn failure(&self, error: &ReadError) -> PipelineFailure {
        PipelineFailure::error(&self.id, format!("cannot read {}", self.path), error)
    }

    fn record(&mut self, frame: Frame, node: usize, engine: &mut Engine<'_>) -> Result<(), PipelineFailure> {
        let whole = self.records.chunk();
        let Frame {
            mut from,
            mut to,
            too_long,
        } = frame;
        if std::mem::take(&mut self.after_mark) {
            from = to.min(from + split::BYTE_ORDER_MARK.len());
        }
        if !matches!(self.decoder, Decoder::Csv { .. }) && to > from && whole[to - 1] == b'\r' {
            to -= 1;
        }
        if too_long {
            let message = format!("the record is longer than {MAX_RECORD_BYTES} bytes");
            let beginning = Value::Bytes(Bytes::copy_from_slice(&whole[from..to.min(from + 1024)]));
            engine.counts(node).events_in += 1;
            return engine.fail_cut(node, message, beginning);
        }
        let decoded = match &mut self.decoder {
            Decoder::Ndjson(json) => {
                if whole[from..to].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                    return Ok(());
                }
                return json.record(whole, from, to, node, engine);
            }
            Decoder::Text => Ok(text_record(whole.slice(from..to))),
            Decoder::Csv { .. } if from == to => return Ok(()),
            Decoder::Csv {
                delimiter,
                names,
                fields,
            } => {
                csv::split(whole, from, to, *delimiter, fields);
                csv_record(names, fields)
            }
        };
        engine.counts(node).events_in += 1;
        match decoded {
            Ok(record) => engine.emit(node, record, None),
            Err(message) => {
                let raw = Value::Bytes(whole.slice(from..to));
                engine.fail(node, message, raw)
            }
        }
    }
}

impl Json {
    fn record(
        &self,
        whole: &Bytes,
        from: usize,
        to: usize,
        node: usize,
        engine: &mut Engine<'_>,
    ) -> Result<(), PipelineFailure> {
        engine.counts(node).events_in += 1;
        let projection = if self.whole_chunks > 0 {
            &Projection::Whole
        } else {
            &self.projection
        };
        match read_object(whole, from, to, projection) {
            Ok(record) => {
                let partial = Partial {
                    whole,
                    from,
                    to,
                    is_built: projection.is_whole(),
                };
                engine.emit(node, record, Some(partial))
            }
            Err(message) => {
                let raw = Value::Bytes(whole.slice(from..to));
                engine.fail(node, message, raw)
            }
        }
    }

    fn after_chunk(&mut self, records: u64, read_twice: u64) {
        if self.whole_chunks > 0 {
            self.whole_chunks -= 1;
        } else if read_twice * 2 > records {
            self.whole_chunks = WHOLE_CHUNKS;
        }
    }
}

/// A JSON object as a record; lines that are no object are refused.
pub(super) fn read_object(whole: &Bytes, from: usize, to: usize, projection: &Projection) -> Result<Value, String> {
    if str::from_utf8(&whole[from..to]).is_err() {
        return Err("not valid JSON: not UTF-8".to_owned());
    }
    match json::read(whole, from, to, projection) {
        Ok(record @ Value::Object(_)) => Ok(record),
        Ok(other) => Err(format!("a record must be a JSON object, this is {}", kind(&other))),
        Err(error) => Err(error.to_string()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        Value::Bytes(_) | Value::String(_) => "a string",
        Value::Boolean(_) => "a boolean",
        Value::Null => "null",
        _ => "a number",
    }
}

/// A line of text as a record.
pub(super) fn text_record(line: Bytes) -> Value {
    Value::Object(ObjectMap::from([(KeyString::from("message"), Value::Bytes(line))]))
}

/// A row under its header as a record.
pub(super) fn csv_record(names: &[KeyString], fields: &mut Vec<Bytes>) -> Result<Value, String> {
    if names.len() != fields.len() {
        return Err(format!(
            "the row has {} fields, the header {}",
            fields.len(),
            names.len()
        ));
    }
    let record: ObjectMap = names.iter().cloned().zip(fields.drain(..).map(Value::Bytes)).collect();
    Ok(Value::Object(record))
}

/// The column names, and where the first row begins.
fn header(file: &File, delimiter: u8, marked: bool, size: u64) -> Result<(Vec<KeyString>, u64), HeaderError> {
    let begin = if marked { split::BYTE_ORDER_MARK.len() as u64 } else { 0 };
    let mut records = Records::new(file.try_clone()?, Framing::Csv { delimiter }, begin, size)?;
    let mut fields = Vec::new();
    while records.next_chunk()? {
        while let Some(frame) = records.next_in_chunk()? {
            if frame.from == frame.to {
                continue;
            }
            csv::split(records.chunk(), frame.from, frame.to, delimiter, &mut fields);
            let mut names = Vec::with_capacity(fields.len());
            for field in &fields {
                let name = String::from_utf8_lossy(field).into_owned();
                if names.iter().any(|known: &KeyString| known.as_str() == name) {
                    return Err(HeaderError::Repeated(name));
                }
                names.push(KeyString::from(name));
            }
            return Ok((names, records.offset()));
        }
    }
    Ok((Vec::new(), size))
}

#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the header names the column `{0}` twice")]
    Repeated(String),
}
