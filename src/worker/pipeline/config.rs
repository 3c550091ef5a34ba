//! What each node's `config` may say, read from JSON into types.

use super::dag::{DagError, DagNode};
use super::fields::Fields;
use super::generate::MAX_COUNT;
use super::letter_source::{self, LetterSourceConfig};
use super::paths::PathTemplate;
use super::remote_config::{self, HttpSinkConfig, HttpSourceConfig, KafkaSinkConfig, KafkaSourceConfig};
use vrl::path::OwnedValuePath;

/// How records stand in a file or on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Ndjson,
    Csv,
    Text,
}

const ENCODINGS: &[(&str, Encoding)] = &[
    ("ndjson", Encoding::Ndjson),
    ("csv", Encoding::Csv),
    ("text", Encoding::Text),
];

#[derive(Debug, Clone)]
pub(super) struct NodeConfig {
    pub kind: NodeKind,
    /// A record that fails here fails the whole task instead of being counted and put aside.
    pub fail_on_error: bool,
    /// This sink takes the records that failed anywhere, and no others.
    pub deadletter: bool,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    FileSource(FileSourceConfig),
    GenerateSource(GenerateSourceConfig),
    Filter { condition: String },
    Eval { source: String },
    Assertion { condition: String, message: Option<String> },
    Parser(ParserConfig),
    Stdout(EncoderConfig),
    FileSink(FileSinkConfig),
    HttpSource(HttpSourceConfig),
    HttpSink(HttpSinkConfig),
    KafkaSource(KafkaSourceConfig),
    KafkaSink(KafkaSinkConfig),
    LetterSource(LetterSourceConfig),
}

#[derive(Debug, Clone)]
pub(super) struct FileSourceConfig {
    pub path: PathTemplate,
    pub encoding: Encoding,
    pub delimiter: u8,
}

#[derive(Debug, Clone)]
pub(super) struct GenerateSourceConfig {
    /// Over all replicas; `None` goes on until the task is stopped.
    pub count: Option<u64>,
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Records a second over all replicas.
    pub rate: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct ParserConfig {
    pub format: ParserFormat,
    /// Where the text stands in the record.
    pub field: OwnedValuePath,
    /// Where the result goes; `None` makes it the record.
    pub target: Option<OwnedValuePath>,
}

#[derive(Debug, Clone)]
pub(super) enum ParserFormat {
    Json,
    Csv { columns: Vec<String>, delimiter: u8 },
    Logfmt,
    Grok { pattern: String },
}

#[derive(Debug, Clone)]
pub(super) struct EncoderConfig {
    pub encoding: Encoding,
    pub delimiter: u8,
    /// csv: the columns in order; `None` takes the names of the first record.
    pub columns: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct FileSinkConfig {
    pub path: PathTemplate,
    pub encoder: EncoderConfig,
}

impl NodeKind {
    pub fn is_source(&self) -> bool {
        matches!(
            self,
            Self::FileSource(_)
                | Self::GenerateSource(_)
                | Self::HttpSource(_)
                | Self::KafkaSource(_)
                | Self::LetterSource(_)
        )
    }

    pub fn is_sink(&self) -> bool {
        matches!(
            self,
            Self::Stdout(_) | Self::FileSink(_) | Self::HttpSink(_) | Self::KafkaSink(_)
        )
    }
}

/// `None` for each node that could not be read; the errors say why.
pub(super) fn read_all(dag: &[DagNode], errors: &mut Vec<DagError>) -> Vec<Option<NodeConfig>> {
    dag.iter()
        .enumerate()
        .map(|(index, node)| read(index, node, errors))
        .collect()
}

/// Whether a command makes records.
pub fn is_source(command: &str) -> bool {
    matches!(
        command,
        "filesource" | "generatesource" | "kafkasource" | "httpsource" | "deadlettersource"
    )
}

const COMMANDS: &[&str] = &[
    "filesource",
    "generatesource",
    "kafkasource",
    "httpsource",
    "deadlettersource",
    "filter",
    "eval",
    "assertion",
    "parser",
    "stdout",
    "filesink",
    "kafkasink",
    "httpsink",
];

fn read(index: usize, node: &DagNode, errors: &mut Vec<DagError>) -> Option<NodeConfig> {
    if !COMMANDS.contains(&node.command_name.as_str()) {
        let message = format!("`{}` is not known; one of: {}", node.command_name, COMMANDS.join(", "));
        errors.push(DagError::at(index, &node.id, "/commandName", message));
        return None;
    }
    let mut fields = Fields::new(index, &node.id, &node.config, errors)?;
    let kind = match node.command_name.as_str() {
        "filesource" => file_source(&mut fields).map(NodeKind::FileSource),
        "generatesource" => Some(NodeKind::GenerateSource(generate_source(&mut fields))),
        "filter" => fields.required_string("condition").map(|condition| NodeKind::Filter {
            condition: condition.to_owned(),
        }),
        "eval" => fields.required_string("source").map(|source| NodeKind::Eval {
            source: source.to_owned(),
        }),
        "assertion" => {
            let condition = fields.required_string("condition").map(str::to_owned);
            let message = fields.string("message").map(str::to_owned);
            condition.map(|condition| NodeKind::Assertion { condition, message })
        }
        "parser" => parser(&mut fields).map(NodeKind::Parser),
        "stdout" => Some(NodeKind::Stdout(encoder(&mut fields, Encoding::Ndjson))),
        "httpsource" => remote_config::http_source(&mut fields).map(NodeKind::HttpSource),
        "deadlettersource" => letter_source::read(&mut fields).map(NodeKind::LetterSource),
        "httpsink" => remote_config::http_sink(&mut fields).map(NodeKind::HttpSink),
        "kafkasource" => remote_config::kafka_source(&mut fields).map(NodeKind::KafkaSource),
        "kafkasink" => remote_config::kafka_sink(&mut fields).map(NodeKind::KafkaSink),
        _ => file_sink(&mut fields).map(NodeKind::FileSink),
    };
    let fail_on_error = fields.flag("failOnError");
    let deadletter = match &kind {
        Some(kind) if !kind.is_sink() => false,
        _ => fields.flag("deadletter"),
    };
    if deadletter && encoder_of(kind.as_ref()).is_some_and(|encoder| encoder.encoding != Encoding::Ndjson) {
        fields.error(
            "encoding",
            "a dead letter sink writes ndjson: its records are {error, node, record}",
        );
    }
    fields.finish();
    kind.map(|kind| NodeConfig {
        kind,
        fail_on_error,
        deadletter,
    })
}

fn encoder_of(kind: Option<&NodeKind>) -> Option<&EncoderConfig> {
    match kind? {
        NodeKind::Stdout(encoder) => Some(encoder),
        NodeKind::FileSink(sink) => Some(&sink.encoder),
        NodeKind::HttpSink(sink) => Some(&sink.encoder),
        NodeKind::KafkaSink(sink) => Some(&sink.encoder),
        _ => None,
    }
}

fn path(fields: &mut Fields<'_>) -> Option<PathTemplate> {
    let text = fields.required_string("path")?;
    PathTemplate::parse(text)
        .map_err(|message| fields.error("path", message))
        .ok()
}

fn file_source(fields: &mut Fields<'_>) -> Option<FileSourceConfig> {
    let path = path(fields);
    let encoding = fields.choice("encoding", ENCODINGS, Encoding::Ndjson);
    let delimiter = delimiter(fields, encoding);
    path.map(|path| FileSourceConfig {
        path,
        encoding,
        delimiter,
    })
}

pub(super) fn delimiter(fields: &mut Fields<'_>, encoding: Encoding) -> u8 {
    // Asked for only where it means something, so that elsewhere it is an unknown field rather than silently ignored.
    if encoding == Encoding::Csv {
        fields.delimiter("delimiter")
    } else {
        b','
    }
}

fn generate_source(fields: &mut Fields<'_>) -> GenerateSourceConfig {
    let count = fields.count("count");
    if count.is_some_and(|count| count > MAX_COUNT) {
        fields.error("count", format!("must be at most {MAX_COUNT}"));
    }
    let rate = fields.positive_number("rate");
    let constant = match fields.optional("fields") {
        None => serde_json::Map::new(),
        Some(serde_json::Value::Object(map)) => map.clone(),
        Some(_) => {
            fields.error("fields", "must be an object: the fields that every record has");
            serde_json::Map::new()
        }
    };
    GenerateSourceConfig {
        count,
        fields: constant,
        rate,
    }
}

fn parser(fields: &mut Fields<'_>) -> Option<ParserConfig> {
    #[derive(Clone, Copy)]
    enum Type {
        Json,
        Csv,
        Logfmt,
        Grok,
    }
    const TYPES: &[(&str, Type)] = &[
        ("json", Type::Json),
        ("csv", Type::Csv),
        ("logfmt", Type::Logfmt),
        ("grok", Type::Grok),
    ];
    fields.required_string("type")?;
    let of_type = fields.choice("type", TYPES, Type::Json);
    let field = value_path(fields, "field").unwrap_or_else(|| OwnedValuePath::single_field("message"));
    let target = value_path(fields, "target");
    let format = match of_type {
        Type::Json => ParserFormat::Json,
        Type::Csv => {
            let columns = fields.names("columns");
            if columns.is_none() {
                fields.error("columns", "csv text needs the names of its columns");
            }
            ParserFormat::Csv {
                columns: columns?,
                delimiter: fields.delimiter("delimiter"),
            }
        }
        Type::Logfmt => ParserFormat::Logfmt,
        Type::Grok => ParserFormat::Grok {
            pattern: fields.required_string("pattern")?.to_owned(),
        },
    };
    Some(ParserConfig { format, field, target })
}

pub(super) fn value_path(fields: &mut Fields<'_>, name: &'static str) -> Option<OwnedValuePath> {
    let text = fields.string(name)?;
    match vrl::path::parse_value_path(text) {
        Ok(path) if !path.is_root() => Some(path),
        Ok(_) => {
            fields.error(name, "must name a field, not the whole record");
            None
        }
        Err(error) => {
            fields.error(name, format!("is no path to a field: {error}"));
            None
        }
    }
}

fn encoder(fields: &mut Fields<'_>, default: Encoding) -> EncoderConfig {
    let encoding = fields.choice("encoding", ENCODINGS, default);
    let delimiter = delimiter(fields, encoding);
    let columns = if encoding == Encoding::Csv {
        fields.names("columns")
    } else {
        None
    };
    EncoderConfig {
        encoding,
        delimiter,
        columns,
    }
}

fn file_sink(fields: &mut Fields<'_>) -> Option<FileSinkConfig> {
    let path = path(fields);
    if path.as_ref().is_some_and(PathTemplate::is_part_name) {
        fields.error(
            "path",
            "names ending in `.part-<number>` are those of files that are being written",
        );
    }
    let encoder = encoder(fields, Encoding::Ndjson);
    path.map(|path| FileSinkConfig { path, encoder })
}
