//! InfluxDB's line protocol (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/), as far as it says
//! numbers: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.
//!
//! Must stay true: a line is taken whole or refused with its reason; nothing of a text is guessed.

use std::str::FromStr;

use crate::domain::Timestamp;
use crate::metrics::TAGS;

/// Fields of a line.
const MOST_FIELDS: usize = 64;
/// Bytes of a measurement and a field's name, joined by a point.
const MOST_NAME_BYTES: usize = 128;
/// Bytes of the tags of a line, as they are joined.
const MOST_DIMENSIONS_BYTES: usize = 512;

/// What the numbers of times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
}

impl FromStr for Precision {
    type Err = String;

    /// By the names of both versions of the API.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ns" | "n" => Ok(Self::Nanoseconds),
            "us" | "u" => Ok(Self::Microseconds),
            "ms" => Ok(Self::Milliseconds),
            "s" => Ok(Self::Seconds),
            _ => Err(format!("precision is {text:?}; expected ns, us, ms or s")),
        }
    }
}

impl Precision {
    const fn time(self, count: i64) -> Timestamp {
        Timestamp::from_ms(match self {
            Self::Nanoseconds => count.div_euclid(1_000_000),
            Self::Microseconds => count.div_euclid(1_000),
            Self::Milliseconds => count,
            Self::Seconds => count.saturating_mul(1_000),
        })
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    /// `None`: now.
    pub at: Option<Timestamp>,
    /// Its tags in the order of their keys, `a=1,b=2`; empty when it has none.
    pub dimensions: String,
    /// `measurement.field` and value.
    pub values: Vec<(String, f64)>,
}

/// A line that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// From 1.
    pub line: usize,
    pub why: String,
}

/// Every line of a text; empty ones and comments are passed over.
pub(super) fn read(text: &str, precision: Precision) -> Result<Vec<Line>, BadLine> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let said = lines.enumerate().filter(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    said.map(|(index, line)| {
        let number = index + 1;
        read_line(number, line, precision).map_err(|why| BadLine { line: number, why })
    })
    .collect()
}

/// The parts of a text between these signs, where no backslash stands before them.
fn split(text: &str, sign: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut escaped) = (0, false);
    for (at, found) in text.char_indices() {
        if found == sign && !escaped {
            parts.push(&text[begin..at]);
            begin = at + sign.len_utf8();
        }
        escaped = found == '\\' && !escaped;
    }
    parts.push(&text[begin..]);
    parts
}

/// Without the backslashes that stand before signs with a meaning.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign == '\\' && matches!(signs.peek(), Some(',' | '=' | ' ' | '\\')) {
            out.extend(signs.next());
        } else {
            out.push(sign);
        }
    }
    out
}

fn pair<'a>(text: &'a str, what: &str) -> Result<(String, &'a str), String> {
    match split(text, '=').as_slice() {
        [key, value] if !key.is_empty() && !value.is_empty() => Ok((plain(key), *value)),
        // Signs in the text of a field are not looked for: it is refused all the same.
        [key, value, ..] if value.starts_with('"') => Ok((plain(key), *value)),
        _ => Err(format!("{text:?} is no {what}=value")),
    }
}

fn read_line(number: usize, line: &str, precision: Precision) -> Result<Line, String> {
    let line = line.trim();
    let mut sections = split(line, ' ').into_iter().filter(|section| !section.is_empty());
    let mut head = split(sections.next().unwrap_or_default(), ',').into_iter();
    let measurement = plain(head.next().unwrap_or_default());
    if measurement.is_empty() {
        return Err("it has no measurement".to_owned());
    }
    let dimensions = dimensions(head)?;
    let fields = sections
        .next()
        .ok_or("it has no field: expected `measurement field=1`")?;
    let values = values(&measurement, fields)?;
    let at = sections.next().map(|text| {
        let count = text.parse::<i64>();
        count.map(|count| precision.time(count)).map_err(|_| {
            let expected = "a space outside of names divides, and the last part is a whole number";
            format!("{text:?} is no time: {expected}")
        })
    });
    if let Some(more) = sections.next() {
        return Err(format!("{more:?} comes after the time"));
    }
    Ok(Line {
        number,
        at: at.transpose()?,
        dimensions,
        values,
    })
}

fn dimensions<'a>(tags: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut pairs = Vec::new();
    for tag in tags {
        let (key, value) = pair(tag, "tag")?;
        if TAGS.contains(&key.as_str()) {
            return Err(format!("the tag {key} is not a task's to set: the worker says it"));
        }
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(format!("the tag {key} is there twice"));
        }
        pairs.push((key, plain(value)));
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let joined = pairs.join(",");
    if joined.len() > MOST_DIMENSIONS_BYTES {
        let found = joined.len();
        return Err(format!(
            "its tags have {found} bytes; at most {MOST_DIMENSIONS_BYTES} are taken"
        ));
    }
    Ok(joined)
}

fn values(measurement: &str, fields: &str) -> Result<Vec<(String, f64)>, String> {
    let fields = split(fields, ',');
    if fields.len() > MOST_FIELDS {
        let found = fields.len();
        return Err(format!("it has {found} fields; at most {MOST_FIELDS} are taken"));
    }
    let mut values: Vec<(String, f64)> = Vec::with_capacity(fields.len());
    for field in fields {
        let (key, text) = pair(field, "field")?;
        let name = format!("{measurement}.{key}");
        if name.len() > MOST_NAME_BYTES {
            let found = name.len();
            return Err(format!(
                "{name:?} has {found} bytes; at most {MOST_NAME_BYTES} are taken"
            ));
        }
        if values.iter().any(|(other, _)| *other == name) {
            return Err(format!("the field {key} is there twice"));
        }
        values.push((name, number(&key, text)?));
    }
    Ok(values)
}

/// A float, an integer (`1i`, `1u`), or a truth as 1 or 0.
fn number(key: &str, text: &str) -> Result<f64, String> {
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(1.0),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(0.0),
        _ if text.starts_with('"') => return Err(format!("the field {key} is text; only numbers are taken")),
        _ => {}
    }
    let wrong = || format!("the field {key} is {text:?}, which is no number");
    let is_number = |sign: char| matches!(sign, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
    if let Some(digits) = text.strip_suffix(['i', 'u']) {
        let whole = digits.parse::<i128>().map_err(|_| wrong())?;
        return Ok(whole as f64);
    }
    // Not what Rust also takes for one: inf, NaN.
    let value = text.chars().all(is_number).then(|| text.parse::<f64>());
    value
        .and_then(Result::ok)
        .filter(|value| value.is_finite())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Line {
        let mut lines = read(text, Precision::Nanoseconds).unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    fn refused(text: &str) -> BadLine {
        read(text, Precision::Nanoseconds).unwrap_err()
    }

    #[test]
    fn a_line_is_read_with_its_escapes() {
        let line =
            one("my\\ loss,layer=a\\,b,host=c\\=d train=0.5,steps=12i,done=t 1700000000123456789\r\n# no line\n\n");
        assert_eq!(line.at, Some(Timestamp::from_ms(1_700_000_000_123)));
        assert_eq!(line.dimensions, "host=c=d,layer=a,b");
        let values = [("my loss.train", 0.5), ("my loss.steps", 12.0), ("my loss.done", 1.0)];
        let values: Vec<_> = values.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(line.values, values);
        assert_eq!(one("m v=-1e3").values, [("m.v".to_owned(), -1_000.0)]);
        assert_eq!((one("m v=1").at, one("m v=1").dimensions), (None, String::new()));
    }

    #[test]
    fn times_count_what_the_precision_says() {
        for (precision, count) in [
            ("ns", 1_700_000_000_123_456_789_i64),
            ("us", 1_700_000_000_123_456),
            ("ms", 1_700_000_000_123),
        ] {
            let lines = read(&format!("m v=1 {count}"), precision.parse().unwrap()).unwrap();
            assert_eq!(lines[0].at, Some(Timestamp::from_ms(1_700_000_000_123)), "{precision}");
        }
        let lines = read("m v=1 1700000000", Precision::Seconds).unwrap();
        assert_eq!(lines[0].at, Some(Timestamp::from_ms(1_700_000_000_000)));
        assert!("m".parse::<Precision>().is_err());
    }

    #[test]
    fn a_bad_line_is_named_by_number_and_reason() {
        for (text, line, why) in [
            ("m v=1\nm\n", 2, "no field"),
            ("m v=\"text, with = and space\"", 1, "text"),
            ("m v=1\n\n# x\nm v=one", 4, "no number"),
            ("m v=NaN", 1, "no number"),
            ("m v=inf", 1, "no number"),
            ("m v=1e999", 1, "no number"),
            ("m v=1 soon", 1, "no time"),
            ("m v=1 1 1", 1, "after the time"),
            ("m,job_id=job-1 v=1", 1, "the worker says it"),
            ("m,task_id=x v=1", 1, "the worker says it"),
            ("m,worker_id=x v=1", 1, "the worker says it"),
            ("m,a=1,a=2 v=1", 1, "twice"),
            ("m v=1,v=2", 1, "twice"),
            ("m,a v=1", 1, "no tag=value"),
            ("m v", 1, "no field=value"),
            (",a=1 v=1", 1, "no measurement"),
        ] {
            let bad = refused(text);
            assert_eq!(bad.line, line, "{text}: {bad:?}");
            assert!(bad.why.contains(why), "{text}: {bad:?}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let fields = |count: usize| (0..count).map(|at| format!("f{at}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(one(&format!("m {}", fields(MOST_FIELDS))).values.len(), MOST_FIELDS);
        assert!(
            refused(&format!("m {}", fields(MOST_FIELDS + 1)))
                .why
                .contains("65 fields")
        );
        let long = "x".repeat(MOST_NAME_BYTES);
        assert!(refused(&format!("{long} v=1")).why.contains("bytes"));
        let long = "x".repeat(MOST_DIMENSIONS_BYTES);
        assert!(refused(&format!("m,a={long} v=1")).why.contains("bytes"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "([mv,= \\\\\"\\n1it.]|\\PC){0,60}") {
            if let Ok(lines) = read(&text, Precision::Nanoseconds) {
                for (name, value) in lines.iter().flat_map(|line| &line.values) {
                    prop_assert!(value.is_finite() && name.contains('.'));
                }
            }
        }
    }
}
