//! Points in an InfluxDB v2: written as line protocol, asked for in Flux.
//!
//! Must stay true: Flux is made of typed literals only; a client's text is always inside of a string literal, escaped
//! (the open source server has no bound parameters).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header;

use super::{Keeping, MetricStore, StoreError};
use crate::causes::chain;
use crate::config::Secret;
use crate::domain::Timestamp;
use crate::metrics::options::InfluxOptions;
use crate::metrics::point::Point;
use crate::metrics::query::{Answer, Query, Sample};
use crate::metrics::table::{Aggregation, Kind, Measurement, Metric, TAGS};

/// More than the largest answer takes: 10,000 points of two results.
const MOST_BYTES: usize = 64 << 20;

/// The store in an InfluxDB.
pub struct Influx {
    http: reqwest::Client,
    url: String,
    org: String,
    bucket: String,
    token: Secret,
    keeping: Keeping,
}

impl Influx {
    /// `None`: there is none by these options.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new(options: &InfluxOptions, keeping: Keeping) -> Result<Option<Self>, StoreError> {
        let Some(url) = &options.url else { return Ok(None) };
        let http = reqwest::Client::builder().timeout(options.timeout).build();
        Ok(Some(Self {
            http: http.map_err(|error| unavailable(&error))?,
            url: url.trim_end_matches('/').to_owned(),
            org: options.org.clone(),
            bucket: options.bucket.clone(),
            token: options.token.clone().unwrap_or_default(),
            keeping,
        }))
    }

    async fn post(&self, path: &str, request: Request) -> Result<Vec<u8>, StoreError> {
        let mut call = self
            .http
            .post(format!("{}{path}", self.url))
            .query(&request.query)
            .header(header::AUTHORIZATION, format!("Token {}", self.token.reveal()))
            .header(header::CONTENT_TYPE, request.content_type)
            .header(header::ACCEPT, "application/csv")
            .body(request.body);
        if request.gzip {
            call = call.header(header::CONTENT_ENCODING, "gzip");
        }
        let mut response = call.send().await.map_err(|error| unavailable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(StoreError::Unavailable("InfluxDB's answer is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let text: String = text.chars().take(300).collect();
        let said = format!("InfluxDB says {status}: {text}");
        Err(match status.as_u16() {
            // It will say the same the next time.
            400 | 413 | 422 => StoreError::Refused(said),
            _ => StoreError::Unavailable(said),
        })
    }
}

struct Request {
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    gzip: bool,
    body: Vec<u8>,
}

fn unavailable(error: &reqwest::Error) -> StoreError {
    StoreError::Unavailable(chain(error))
}

#[async_trait]
impl MetricStore for Influx {
    async fn write(&self, points: &[Point]) -> Result<u64, StoreError> {
        let (kept, left_out) = self.keeping.sift(points, crate::clock::now());
        let mut text = String::new();
        kept.iter().for_each(|point| line(&mut text, point));
        if text.is_empty() {
            return Ok(left_out);
        }
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        let zipped = body.write_all(text.as_bytes()).and_then(|()| body.finish());
        let request = Request {
            query: vec![
                ("org", self.org.clone()),
                ("bucket", self.bucket.clone()),
                ("precision", "ms".to_owned()),
            ],
            content_type: "text/plain; charset=utf-8",
            gzip: true,
            body: zipped.map_err(|error| StoreError::Unavailable(error.to_string()))?,
        };
        self.post("/api/v2/write", request).await?;
        Ok(left_out)
    }

    async fn query(&self, query: &Query) -> Result<Answer, StoreError> {
        let request = Request {
            query: vec![("org", self.org.clone())],
            content_type: "application/vnd.flux",
            gzip: false,
            body: flux(&self.bucket, query).into_bytes(),
        };
        let body = self.post("/api/v2/query", request).await?;
        let mut points = read(query, &body).map_err(StoreError::Unavailable)?;
        // The newest first, as far as the limit lets them through.
        points.sort_by(|a, b| (b.timestamp, a.metric, &a.tags).cmp(&(a.timestamp, b.metric, &b.tags)));
        let truncated = points.len() > query.limit as usize;
        points.truncate(query.limit as usize);
        points.sort_by(|a, b| (a.timestamp, a.metric, &a.tags).cmp(&(b.timestamp, b.metric, &b.tags)));
        Ok(Answer { points, truncated })
    }

    fn place(&self) -> &'static str {
        "influxdb"
    }

    /// `POST /api/v2/delete` (<https://docs.influxdata.com/influxdb/v2/write-data/delete-data/>). The token must have the
    /// right to write to the bucket, which it needs for points as well.
    async fn erase(&self, job_id: &str) -> Result<(), StoreError> {
        let body = serde_json::json!({
            "start": "1970-01-01T00:00:00Z",
            // Points of clocks that are ahead.
            "stop": (crate::clock::now() + AHEAD).to_string(),
            "predicate": format!("job_id={}", predicate(job_id)),
        });
        let request = Request {
            query: vec![("org", self.org.clone()), ("bucket", self.bucket.clone())],
            content_type: "application/json",
            gzip: false,
            body: body.to_string().into_bytes(),
        };
        self.post("/api/v2/delete", request).await.map(drop)
    }
}

/// How far ahead the times of points may be.
const AHEAD: std::time::Duration = std::time::Duration::from_secs(2 * 24 * 60 * 60);

/// A text in a predicate of a deletion.
fn predicate(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `measurement,tag=value field=1.5 1700000000000` and the end of the line
/// (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/); a line for each measurement.
fn line(text: &mut String, point: &Point) {
    let mut by_measurement: BTreeMap<Measurement, Vec<(&'static Metric, f64)>> = BTreeMap::new();
    for (metric, value) in point.values() {
        by_measurement
            .entry(metric.measurement)
            .or_default()
            .push((metric, *value));
    }
    for (measurement, values) in by_measurement {
        text.push_str(measurement.name());
        for (name, value) in point.tags.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, ",{name}=");
            for sign in value.chars() {
                if matches!(sign, ',' | '=' | ' ') {
                    text.push('\\');
                }
                text.push(sign);
            }
        }
        for (index, (metric, value)) in values.into_iter().enumerate() {
            let _ = write!(text, "{}{}={value:?}", if index == 0 { ' ' } else { ',' }, metric.name);
        }
        let _ = writeln!(text, " {}", point.at.as_ms());
    }
}

/// A string literal, whatever the text.
fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' | '"' => quoted.extend(['\\', sign]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' if signs.peek() == Some(&'{') => quoted.push_str("\\$"),
            _ => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

/// `r.column == "a" or r.column == "b"`
fn one_of<'a>(column: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let each = values
        .into_iter()
        .map(|value| format!("r[\"{column}\"] == {}", literal(value)));
    let each = each.collect::<Vec<_>>().join(" or ");
    format!("  |> filter(fn: (r) => {each})\n")
}

/// The question: a result of rates' sums, and one of all else.
fn flux(bucket: &str, query: &Query) -> String {
    let (rates, others): (Vec<&Metric>, Vec<&Metric>) = query
        .metrics
        .iter()
        .copied()
        .partition(|metric| matches!(metric.kind, Kind::Rate { .. }));
    let mut text = String::new();
    for (name, metrics, by) in [
        ("rates", rates, Aggregation::Sum),
        ("values", others, query.aggregation),
    ] {
        if !metrics.is_empty() {
            result(&mut text, bucket, query, (name, &metrics, by));
        }
    }
    text
}

fn result(text: &mut String, bucket: &str, query: &Query, (name, metrics, by): (&str, &[&Metric], Aggregation)) {
    let columns: Vec<&str> = query.group_by.as_ref().map_or(TAGS.to_vec(), Clone::clone);
    let columns: Vec<String> = ["_field"].into_iter().chain(columns).map(literal).collect();
    let columns = columns.join(", ");
    let _ = writeln!(text, "from(bucket: {})", literal(bucket));
    let _ = writeln!(text, "  |> range(start: {}, stop: {})", query.from, query.to);
    text.push_str(&one_of(
        "_measurement",
        metrics.iter().map(|metric| metric.measurement.name()),
    ));
    text.push_str(&one_of("_field", metrics.iter().map(|metric| metric.stored())));
    for (tag, values) in &query.tags {
        text.push_str(&one_of(tag, values.iter().map(String::as_str)));
    }
    let _ = writeln!(text, "  |> group(columns: [{columns}])");
    if by == Aggregation::Last {
        text.push_str("  |> sort(columns: [\"_time\"])\n");
    }
    let _ = writeln!(
        text,
        "  |> aggregateWindow(every: {}ms, fn: {by}, createEmpty: false, timeSrc: \"_start\")",
        query.interval.as_ms()
    );
    let _ = writeln!(text, "  |> keep(columns: [\"_time\", \"_value\", {columns}])");
    text.push_str("  |> group()\n  |> sort(columns: [\"_time\"], desc: true)\n");
    // A metric may make two of one.
    let _ = writeln!(
        text,
        "  |> limit(n: {})\n  |> yield(name: {})\n",
        query.limit + 1,
        literal(name)
    );
}

/// CSV of some results, each with a head of its own; rows begin with an empty field.
fn read(query: &Query, body: &[u8]) -> Result<Vec<Sample>, String> {
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let mut head: Vec<String> = Vec::new();
    let mut points = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|error| format!("InfluxDB's answer cannot be read: {error}"))?;
        if matches!(row.get(1), Some("result" | "error")) || head.is_empty() {
            head = row.iter().map(str::to_owned).collect();
            continue;
        }
        let fields: BTreeMap<&str, &str> = head.iter().map(String::as_str).zip(row.iter()).collect();
        if let Some(error) = fields.get("error") {
            return Err(format!("InfluxDB says: {error}"));
        }
        points.extend(samples(query, &fields)?);
    }
    Ok(points)
}

/// Of one row: a value of each metric that is made of its field.
fn samples(query: &Query, fields: &BTreeMap<&str, &str>) -> Result<Vec<Sample>, String> {
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let wrong = |name: &str| format!("InfluxDB's answer has no {name} where one belongs: {:?}", field(name));
    let Ok(value) = field("_value").parse::<f64>() else {
        // An empty window.
        return if field("_value").is_empty() {
            Ok(Vec::new())
        } else {
            Err(wrong("_value"))
        };
    };
    let time: Timestamp = field("_time").parse().map_err(|_| wrong("_time"))?;
    // The first window is cut off at its begin.
    let every = query.interval.as_ms().cast_signed();
    let timestamp = Timestamp::from_ms(time.as_ms().div_euclid(every) * every);
    let of_rates = field("result") == "rates";
    let tags: BTreeMap<String, String> = TAGS
        .into_iter()
        .filter(|tag| !field(tag).is_empty())
        .map(|tag| (tag.to_owned(), field(tag).to_owned()))
        .collect();
    let made = query
        .metrics
        .iter()
        .filter(|metric| metric.stored() == field("_field") && matches!(metric.kind, Kind::Rate { .. }) == of_rates);
    let sample = |metric: &&'static Metric| Sample {
        timestamp,
        metric: metric.name,
        value: query.value_of(metric, value),
        tags: tags.clone(),
    };
    Ok(made.map(sample).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Flux makes of a literal, by its grammar; `None` where it ends early or holds an expression.
    fn unquoted(literal: &str) -> Option<String> {
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        let mut text = String::new();
        let mut signs = inner.chars().peekable();
        while let Some(sign) = signs.next() {
            match sign {
                '"' => return None,
                '$' if signs.peek() == Some(&'{') => return None,
                '\\' => text.push(match signs.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    escaped @ ('\\' | '"' | '$') => escaped,
                    _ => return None,
                }),
                other => text.push(other),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_literal_holds_any_text_and_nothing_else(text in "([\"\\\\$\\{}\\n\\r\\t) |>a]|\\PC){0,40}") {
            prop_assert_eq!(unquoted(&literal(&text)), Some(text));
        }
    }

    /// The text with each string literal made empty.
    fn skeleton(flux: &str) -> String {
        let mut out = String::new();
        let mut signs = flux.chars();
        while let Some(sign) = signs.next() {
            out.push(sign);
            if sign != '"' {
                continue;
            }
            loop {
                match signs.next().unwrap() {
                    '\\' => _ = signs.next(),
                    '"' => {
                        out.push('"');
                        break;
                    }
                    _ => {}
                }
            }
        }
        out
    }

    fn asked(value: &str) -> Query {
        let to: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let wanted = crate::metrics::Wanted {
            from: to - std::time::Duration::from_secs(3_600),
            to,
            interval: None,
            limit: 10,
            tags: BTreeMap::from([("job_id", vec![value.to_owned(), "job-b".to_owned()])]),
            metrics: Vec::new(),
            aggregation: None,
            group_by: Some(vec!["job_id"]),
            now: to,
            raw_from: to - std::time::Duration::from_secs(86_400),
        };
        wanted.check().unwrap()
    }

    proptest! {
        #[test]
        fn no_text_changes_what_is_asked(value in "([\"\\\\$\\{}\\n\\r\\t) |>a]|\\PC){0,40}") {
            let plain = flux("bucket", &asked("job-a"));
            let odd = flux("bucket", &asked(&value));
            prop_assert_eq!(skeleton(&odd), skeleton(&plain));
        }
    }

    #[test]
    fn a_point_is_a_line_for_each_measurement() {
        let tags = crate::metrics::Tags::from([("worker_id", "worker-a b,c=d".to_owned())]);
        let point = Point::new(Timestamp::from_ms(1_700_000_000_000), tags)
            .with("worker_running", 3.0)
            .with("worker_cpu_cores", 0.5);
        let mut text = String::new();
        line(&mut text, &point);
        assert_eq!(
            text,
            "worker_metrics,worker_id=worker-a\\ b\\,c\\=d worker_running=3.0,worker_cpu_cores=0.5 1700000000000\n"
        );
    }
}
