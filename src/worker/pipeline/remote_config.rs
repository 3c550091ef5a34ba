//! What the `config` of a node says that speaks to another server.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use vrl::path::OwnedValuePath;

use super::config::{EncoderConfig, Encoding, delimiter, value_path};
use super::fields::Fields;
use super::secret::Text;

const MOST_SECONDS: u64 = 3_600;
const MOST_BATCH_RECORDS: u64 = 100_000;

/// Records that one message or line holds: csv needs a header, which neither has.
const LINES: &[(&str, Encoding)] = &[("ndjson", Encoding::Ndjson), ("text", Encoding::Text)];
const ALL: &[(&str, Encoding)] = &[
    ("ndjson", Encoding::Ndjson),
    ("csv", Encoding::Csv),
    ("text", Encoding::Text),
];

/// Properties of librdkafka that a pipeline may set: how to reach the brokers and how to show who it is. None of them
/// names a file or a program of the worker.
const KAFKA_PROPERTIES: &[&str] = &[
    "client.id",
    "compression.type",
    "message.max.bytes",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    "ssl.key.pem",
];

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub(super) struct HttpConfig {
    pub url: Url,
    pub headers: BTreeMap<String, Text>,
    /// A source: of silence. A sink: of a request.
    pub timeout: Duration,
}

impl HttpConfig {
    pub fn has_secrets(&self) -> bool {
        self.headers.values().any(|text| matches!(text, Text::Secret(_)))
    }
}

#[derive(Debug, Clone)]
pub(super) struct HttpSourceConfig {
    pub http: HttpConfig,
    pub encoding: Encoding,
    pub delimiter: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Put,
}

#[derive(Debug, Clone)]
pub(super) struct HttpSinkConfig {
    pub http: HttpConfig,
    pub method: Method,
    pub encoder: EncoderConfig,
    /// Of one request, at most.
    pub batch_records: usize,
}

#[derive(Debug, Clone)]
pub(super) struct KafkaConfig {
    pub brokers: String,
    pub topic: String,
    pub properties: BTreeMap<String, Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Earliest,
    Latest,
}

#[derive(Debug, Clone)]
pub(super) struct KafkaSourceConfig {
    pub kafka: KafkaConfig,
    pub encoding: Encoding,
    pub begin: Begin,
    /// Beyond what is there when the run begins, until it is stopped.
    pub follow: bool,
}

#[derive(Debug, Clone)]
pub(super) struct KafkaSinkConfig {
    pub kafka: KafkaConfig,
    pub encoder: EncoderConfig,
    /// Where a record has its message's key.
    pub key: Option<OwnedValuePath>,
}

pub(super) fn http_source(fields: &mut Fields<'_>) -> Option<HttpSourceConfig> {
    let http = http(fields);
    let encoding = fields.choice("encoding", ALL, Encoding::Ndjson);
    let delimiter = delimiter(fields, encoding);
    http.map(|http| HttpSourceConfig {
        http,
        encoding,
        delimiter,
    })
}

pub(super) fn http_sink(fields: &mut Fields<'_>) -> Option<HttpSinkConfig> {
    let http = http(fields);
    let method = fields.choice("method", &[("POST", Method::Post), ("PUT", Method::Put)], Method::Post);
    let encoder = lines(fields);
    let batch = fields.count("batchRecords").unwrap_or(500);
    if !(1..=MOST_BATCH_RECORDS).contains(&batch) {
        fields.error("batchRecords", format!("must be 1 to {MOST_BATCH_RECORDS}"));
    }
    http.map(|http| HttpSinkConfig {
        http,
        method,
        encoder,
        batch_records: usize::try_from(batch).unwrap_or(1),
    })
}

pub(super) fn kafka_source(fields: &mut Fields<'_>) -> Option<KafkaSourceConfig> {
    let kafka = kafka(fields);
    let encoding = fields.choice("encoding", LINES, Encoding::Ndjson);
    let begins = [("earliest", Begin::Earliest), ("latest", Begin::Latest)];
    let begin = fields.choice("from", &begins, Begin::Earliest);
    let follow = fields.flag("follow");
    if begin == Begin::Latest && !follow {
        fields.error("from", "`latest` without `follow: true` would read nothing");
    }
    kafka.map(|kafka| KafkaSourceConfig {
        kafka,
        encoding,
        begin,
        follow,
    })
}

pub(super) fn kafka_sink(fields: &mut Fields<'_>) -> Option<KafkaSinkConfig> {
    let kafka = kafka(fields);
    let encoder = lines(fields);
    let key = value_path(fields, "key");
    kafka.map(|kafka| KafkaSinkConfig { kafka, encoder, key })
}

fn lines(fields: &mut Fields<'_>) -> EncoderConfig {
    EncoderConfig {
        encoding: fields.choice("encoding", LINES, Encoding::Ndjson),
        delimiter: b',',
        columns: None,
    }
}

fn http(fields: &mut Fields<'_>) -> Option<HttpConfig> {
    let url = fields.required_string("url").and_then(|text| match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            fields.error("url", "must begin with http:// or https://");
            None
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            fields.error("url", "must not hold credentials: put them into `headers`, as a secret");
            None
        }
        Ok(url) => Some(url),
        Err(error) => {
            fields.error("url", format!("is no URL: {error}"));
            None
        }
    });
    let headers = fields.texts("headers");
    for (name, value) in &headers {
        let good = match value {
            Text::Plain(text) => HeaderValue::from_str(text).is_ok(),
            Text::Secret(_) => true,
        };
        if HeaderName::from_bytes(name.as_bytes()).is_err() || !good {
            fields.error("headers", format!("`{name}` and its value are no header"));
        }
    }
    let seconds = fields.count("timeoutSeconds").unwrap_or(30);
    if !(1..=MOST_SECONDS).contains(&seconds) {
        fields.error("timeoutSeconds", format!("must be 1 to {MOST_SECONDS}"));
    }
    url.map(|url| HttpConfig {
        url,
        headers,
        timeout: Duration::from_secs(seconds),
    })
}

fn kafka(fields: &mut Fields<'_>) -> Option<KafkaConfig> {
    let brokers = fields.required_string("brokers").map(str::to_owned);
    let topic = fields.required_string("topic").map(str::to_owned);
    let properties = fields.texts("properties");
    for name in properties
        .keys()
        .filter(|name| !KAFKA_PROPERTIES.contains(&name.as_str()))
    {
        let known = KAFKA_PROPERTIES.join(", ");
        fields.error(
            "properties",
            format!("`{name}` cannot be set here; what can be: {known}"),
        );
    }
    Some(KafkaConfig {
        brokers: brokers?,
        topic: topic?,
        properties,
    })
}
