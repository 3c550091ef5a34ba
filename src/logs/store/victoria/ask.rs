//! Calls of VictoriaLogs' HTTP API.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde_json::json;
use tokio::time::Instant;

use super::rows::{Row, Rows};
use super::{STREAM_FIELDS, StoreError, authorization, refused};
use crate::causes::chain;
use crate::config::Secret;
use crate::logs::logsql;
use crate::logs::nanos::NS_PER_MS;
use crate::logs::options::VictoriaOptions;
use crate::logs::question::Question;

/// How much longer than the search itself its answer may take: VictoriaLogs says by itself when it gives up.
const GRACE: Duration = Duration::from_secs(1);
/// Of a refusal as much is read.
const MOST_SAID_BYTES: usize = 64 * 1024;

/// Times that are looked at, inclusive, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from_ns: i64,
    pub to_ns: i64,
    /// Only lines behind this position.
    pub behind: Option<i64>,
}

impl Range {
    /// Whole milliseconds.
    pub fn of_ms(from_ms: i64, to_ms: i64) -> Self {
        Self {
            from_ns: from_ms.max(0).saturating_mul(NS_PER_MS),
            to_ns: to_ms.saturating_mul(NS_PER_MS).saturating_add(NS_PER_MS - 1),
            behind: None,
        }
    }

    /// As a filter; to the nanosecond, which VictoriaLogs takes as it stands.
    fn filter(self) -> String {
        let text = |ns| DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Nanos, true);
        let time = format!("_time:[{}, {}]", text(self.from_ns), text(self.to_ns));
        match self.behind {
            Some(position) => format!("{time} _position:>{position}"),
            None => time,
        }
    }
}

/// Which lines come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    NewestFirst,
    OldestFirst,
    /// By the positions that workers give.
    ByPosition,
    /// Of lines of one time, without the first ones.
    WithinTime {
        skip: usize,
    },
}

/// The way to a VictoriaLogs.
pub struct Client {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    pub(super) token: Option<Secret>,
    pub(super) timeout: Duration,
}

impl Client {
    pub fn new(url: &str, options: &VictoriaOptions, timeout: Duration) -> Result<Self, StoreError> {
        let http = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .build();
        Ok(Self {
            http: http.map_err(|error| unavailable(&error))?,
            url: url.trim_end_matches('/').to_owned(),
            token: options.token.clone(),
            timeout,
        })
    }

    /// Lines in that order, at most `limit`, and whether they were cut off because they are long.
    ///
    /// # Errors
    /// Of the query, or when VictoriaLogs does not answer in time or as it should.
    pub async fn rows(
        &self,
        question: &Question,
        range: Range,
        sort: Sort,
        limit: u32,
    ) -> Result<(Vec<Row>, bool), StoreError> {
        let form = form(question, range, sort, limit, self.timeout)?;
        let by_time = matches!(sort, Sort::NewestFirst | Sort::OldestFirst);
        let deadline = Instant::now() + self.timeout + GRACE;
        let asked = async {
            let request = self.http.post(format!("{}/select/logsql/query", self.url)).form(&form);
            let request = authorization(request, self.token.as_ref());
            let mut answer = self
                .success(request.send().await.map_err(|error| unavailable(&error))?)
                .await?;
            let mut rows = Rows::default();
            while let Some(chunk) = answer.chunk().await.map_err(|error| unavailable(&error))? {
                if rows.take(&chunk)? {
                    // Dropping the answer closes its connection, and that ends the search.
                    return Ok((rows.finish(by_time)?, true));
                }
            }
            Ok((rows.end(by_time)?, false))
        };
        let begun = Instant::now();
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Err(StoreError::Unavailable(_))) if begun.elapsed() >= self.timeout => {
                Err(StoreError::TooLong(self.timeout))
            }
            Ok(answer) => answer,
            Err(_) => Err(StoreError::TooLong(self.timeout)),
        }
    }

    /// Gives it lines, a JSON object each.
    ///
    /// # Errors
    /// When it does not take them.
    pub async fn insert(&self, lines: Vec<u8>) -> Result<(), StoreError> {
        let fields = [
            ("_stream_fields", STREAM_FIELDS),
            ("_msg_field", "message"),
            ("_time_field", "@timestamp"),
        ];
        let request = self
            .http
            .post(format!("{}/insert/jsonline", self.url))
            .query(&fields)
            .header("content-type", "application/stream+json")
            .timeout(self.timeout)
            .body(lines);
        let request = authorization(request, self.token.as_ref());
        let answer = request.send().await.map_err(|error| unavailable(&error))?;
        self.success(answer).await.map(drop)
    }

    pub(super) async fn success(&self, mut answer: reqwest::Response) -> Result<reqwest::Response, StoreError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let mut said = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            said.extend_from_slice(&chunk);
            if said.len() > MOST_SAID_BYTES {
                break;
            }
        }
        Err(refused(answer.status(), &String::from_utf8_lossy(&said)))
    }
}

type Form = Vec<(&'static str, String)>;

fn form(question: &Question, range: Range, sort: Sort, limit: u32, timeout: Duration) -> Result<Form, StoreError> {
    let asked = match &question.query {
        // The line ends a comment.
        Some(query) => {
            logsql::without_pipes(query)?;
            format!("({query}\n)")
        }
        None => "*".to_owned(),
    };
    let sorted = match sort {
        Sort::NewestFirst => "sort by (_time desc)".to_owned(),
        Sort::OldestFirst => "sort by (_time)".to_owned(),
        Sort::ByPosition => "sort by (_position)".to_owned(),
        Sort::WithinTime { skip } => format!("sort by (_stream_id, _msg, level, logger_name) offset {skip}"),
    };
    let mut form = vec![
        ("query", format!("{asked} | {sorted} limit {limit}")),
        ("time", question.now.to_string()),
        ("timeout", format!("{}ms", timeout.as_millis())),
        ("extra_filters", range.filter()),
    ];
    if !question.named.is_empty() {
        let named: serde_json::Map<_, _> = question
            .named
            .iter()
            .map(|(field, values)| (field.clone(), json!(values)))
            .collect();
        form.push(("extra_filters", serde_json::Value::from(named).to_string()));
    }
    Ok(form)
}

/// With its causes.
pub(super) fn unavailable(error: &reqwest::Error) -> StoreError {
    StoreError::Unavailable(chain(error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(query: &str) -> Result<Form, StoreError> {
        let question = Question {
            named: vec![("job_id".to_owned(), vec!["a\"b".to_owned(), "c) | d".to_owned()])],
            ..Question::of(query, crate::domain::Timestamp::from_ms(1_700_000_000_000))
        };
        form(
            &question,
            Range::of_ms(1, 2),
            Sort::NewestFirst,
            11,
            Duration::from_secs(3),
        )
    }

    #[test]
    fn a_question_is_a_form() {
        let form = asked("error # or so").unwrap();
        let expected = [
            ("query", "(error # or so\n) | sort by (_time desc) limit 11"),
            ("time", "2023-11-14T22:13:20.000Z"),
            ("timeout", "3000ms"),
            (
                "extra_filters",
                "_time:[1970-01-01T00:00:00.001000000Z, 1970-01-01T00:00:00.002999999Z]",
            ),
            ("extra_filters", r#"{"job_id":["a\"b","c) | d"]}"#),
        ];
        assert_eq!(form, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(matches!(
            asked("a | stats count()"),
            Err(StoreError::Query(logsql::QueryError::Pipes))
        ));
        assert!(matches!(asked("a:in(b | fields c)"), Err(StoreError::Query(_))));
        assert!(matches!(asked("\"a"), Err(StoreError::Query(_))));
    }

    proptest! {
        #[test]
        fn no_query_changes_what_is_named(query in "([\"'`\\\\|(){}#:\\n]|\\PC){0,30}") {
            if let Ok(form) = asked(&query) {
                let plain = asked("a").unwrap();
                prop_assert_eq!(&form[1..], &plain[1..]);
                let asked = format!("({query}\n) | sort by (_time desc) limit 11");
                prop_assert_eq!(&form[0].1, &asked);
            }
        }
    }
}
