//! VictoriaLogs' answers: a JSON object of texts a line.
//!
//! Must stay true: as it is read, memory holds one page of lines and one line more.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::StoreError;
use crate::domain::Timestamp;
use crate::logs::line::{Line, RESERVED};
use crate::logs::nanos::NS_PER_MS;

/// A page of lines ends behind the one that takes it over this.
const PAGE_BYTES: usize = 32 * 1024 * 1024;
/// VictoriaLogs itself takes no line of 2 MiB.
const LINE_BYTES: usize = 4 * 1024 * 1024;
/// What it writes for a message that is empty.
const NO_MESSAGE: &str =
    "missing _msg field; see https://docs.victoriametrics.com/victorialogs/keyconcepts/#message-field";

/// A line, and its time to the nanosecond.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub at_ns: i64,
    pub line: Line,
}

/// An answer as it comes.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    bytes: usize,
    /// Of a line that is not whole yet.
    begun: Vec<u8>,
}

impl Rows {
    /// Takes what came; gives whether it is enough.
    ///
    /// # Errors
    /// When it is none of its lines.
    pub fn take(&mut self, chunk: &[u8]) -> Result<bool, StoreError> {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.line()?;
            if self.bytes > PAGE_BYTES {
                return Ok(true);
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LINE_BYTES {
            return Err(wrong("a line of so many bytes"));
        }
        Ok(false)
    }

    fn line(&mut self) -> Result<(), StoreError> {
        let line = std::mem::take(&mut self.begun);
        if !line.is_empty() {
            self.bytes += line.len();
            self.rows.push(read(&line)?);
        }
        Ok(())
    }

    /// What came before it was enough. `by_time`: how it must be sorted.
    ///
    /// # Errors
    /// When it is not in order: then what did not come is unknown.
    pub fn finish(self, by_time: bool) -> Result<Vec<Row>, StoreError> {
        let times = || self.rows.iter().map(|row| row.at_ns);
        if by_time && !times().is_sorted() && !times().is_sorted_by(|a, b| a >= b) {
            return Err(wrong("lines that are not sorted"));
        }
        Ok(self.rows)
    }

    /// What came, when that was all.
    ///
    /// # Errors
    /// When it ends within a line.
    pub fn end(mut self, by_time: bool) -> Result<Vec<Row>, StoreError> {
        self.line()?;
        self.finish(by_time)
    }
}

fn wrong(what: &str) -> StoreError {
    StoreError::Unavailable(format!("VictoriaLogs answers with {what}"))
}

fn read(line: &[u8]) -> Result<Row, StoreError> {
    let mut fields: BTreeMap<String, String> = serde_json::from_slice(line).map_err(|_| {
        // What it says when something fails after it has begun to answer is no JSON.
        let said: String = String::from_utf8_lossy(line).chars().take(300).collect();
        wrong(&format!("what is no line: {said}"))
    })?;
    let at_ns = fields
        .get("_time")
        .and_then(|time| DateTime::parse_from_rfc3339(time).ok())
        .and_then(|time| time.timestamp_nanos_opt())
        .ok_or_else(|| wrong("a line without a time"))?;
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let message = take("_msg");
    let mut line = Line {
        at: Timestamp::from_ms(at_ns.div_euclid(NS_PER_MS)),
        message: if message == NO_MESSAGE { String::new() } else { message },
        level: take("level"),
        logger_name: take("logger_name"),
        job_id: take("job_id"),
        task_id: take("task_id"),
        worker_id: take("worker_id"),
        attempt: take("attempt").parse().ok(),
        source: take("source"),
        service: take("service"),
        stream: take("stream"),
        position: take("_position").parse().unwrap_or(0),
        fields: BTreeMap::new(),
    };
    fields.retain(|name, _| !RESERVED.contains(&name.as_str()));
    line.fields = fields;
    Ok(Row { at_ns, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"_msg":"a","_time":"2026-01-15T10:00:00.001000002Z","_stream":"{}","_stream_id":"0","attempt":"3","job_id":"job-1","user":"7"}"#;

    #[test]
    fn lines_are_read_however_they_are_cut() {
        let answer = format!("{ONE}\n{}\n", ONE.replace(":\"a\"", ":\"ä\"")).into_bytes();
        for size in [1, 7, 1_000] {
            let mut rows = Rows::default();
            for chunk in answer.chunks(size) {
                assert!(!rows.take(chunk).unwrap());
            }
            let rows = rows.end(true).unwrap();
            assert_eq!((rows.len(), rows[0].at_ns % 1_000_000_000), (2, 1_000_002));
            let line = &rows[1].line;
            assert_eq!(
                (line.message.as_str(), line.attempt, line.job_id.as_str()),
                ("ä", Some(3), "job-1")
            );
            assert_eq!(line.fields, BTreeMap::from([("user".to_owned(), "7".to_owned())]));
        }
    }

    #[test]
    fn what_is_no_line_is_told_in_its_words() {
        let mut rows = Rows::default();
        rows.take(ONE.as_bytes()).unwrap();
        let error = rows.take(b"\ncannot execute the query\n").unwrap_err().to_string();
        assert!(error.contains("cannot execute the query"), "{error}");
        let mut cut = Rows::default();
        cut.take(&ONE.as_bytes()[..40]).unwrap();
        assert!(matches!(cut.end(true), Err(StoreError::Unavailable(_))));
        let mut long = Rows::default();
        assert!(long.take(&vec![b'x'; LINE_BYTES + 1]).is_err());
    }

    #[test]
    fn a_page_of_long_lines_ends_early() {
        let line = format!(
            "{}\n",
            ONE.replace(":\"a\"", &format!(":\"{}\"", "x".repeat(1024 * 1024)))
        );
        let mut rows = Rows::default();
        let count = (1..100).find(|_| rows.take(line.as_bytes()).unwrap());
        assert_eq!(count, Some(32));
        assert_eq!(rows.finish(true).unwrap().len(), 32);
    }
}
