//! Whether a filter wants a line that is here, in no store.
//!
//! Must stay true: it wants the very lines that the store in Postgres finds (`sql`); the same answers of VictoriaLogs are
//! held against both.

use std::borrow::Cow;

use super::QueryError;
use super::filter::{Field, Filter, Matcher, Range};
use super::lexer::is_word_char;
use crate::domain::{JobId, TaskId};
use crate::logs::line::Line;

impl Filter {
    /// Whether it wants the line.
    ///
    /// # Errors
    /// When it asks for a field that cannot be asked for.
    pub fn wants(&self, line: &Line) -> Result<bool, QueryError> {
        match self {
            Self::All => Ok(true),
            Self::And(filters) => {
                for filter in filters {
                    if !filter.wants(line)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(filters) => {
                for filter in filters {
                    if filter.wants(line)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(filter) => Ok(!filter.wants(line)?),
            Self::Time { from_ms, to_ms } => {
                let at = line.at.as_ms();
                Ok(from_ms.is_none_or(|from| at >= from) && to_ms.is_none_or(|to| at <= to))
            }
            Self::SameFields(one, other) => Ok(value(line, one)? == value(line, other)?),
            Self::Field(field, matcher) => matcher.wants(field, &value(line, field)?),
        }
    }
}

/// The value of a field, empty where the line has none.
fn value<'a>(line: &'a Line, Field(name): &Field) -> Result<Cow<'a, str>, QueryError> {
    Ok(Cow::Borrowed(match name.as_str() {
        "_msg" | "message" => &line.message,
        "level" => &line.level,
        "logger_name" => &line.logger_name,
        "job_id" => &line.job_id,
        "task_id" => &line.task_id,
        "worker_id" => &line.worker_id,
        "attempt" => {
            return Ok(line
                .attempt
                .map(|attempt| attempt.to_string())
                .unwrap_or_default()
                .into());
        }
        "source" => &line.source,
        "service" => &line.service,
        "stream" => &line.stream,
        "_time" | "@timestamp" | "_stream" | "_stream_id" => {
            return Err(QueryError::Unsupported(format!("a search for texts in {name}")));
        }
        _ => line.fields.get(name).map_or("", String::as_str),
    }))
}

impl Matcher {
    fn wants(&self, Field(name): &Field, value: &str) -> Result<bool, QueryError> {
        let is_message = matches!(name.as_str(), "_msg" | "message");
        Ok(match self {
            // As in `sql`.
            Self::Any => is_message || !value.is_empty(),
            Self::Empty => !is_message && value.is_empty(),
            Self::Exact(text) => value == text,
            Self::ExactPrefix(text) => value.starts_with(text),
            Self::Phrase(text) => match whole_id(name, text) {
                Some(id) => value == id,
                None => phrase(value, text, false).is_some(),
            },
            Self::Prefix(text) => phrase(value, text, true).is_some(),
            Self::AnyCase { text, prefix } => any_case(value, text, *prefix)?,
            Self::Pattern(pattern) => pattern.here.is_match(value),
            Self::In(texts) => texts.iter().any(|text| text == value),
            Self::ContainsAll(texts) => texts.iter().all(|text| contains(is_message, value, text)),
            Self::ContainsAny(texts) => texts.iter().any(|text| contains(is_message, value, text)),
            Self::Sequence(texts) => sequence(value, texts),
            Self::Number(range) => number(value).is_some_and(|number| range.holds(number)),
            Self::Texts(from, to) => value >= from.as_str() && value < to.as_str(),
            Self::Length(from, to) => (*from..=*to).contains(&(value.chars().count() as u64)),
        })
    }
}

/// A phrase that is the whole id of a job or task is found in no other id.
fn whole_id(name: &str, text: &str) -> Option<String> {
    match name {
        "job_id" => text.parse::<JobId>().ok().map(|id| id.to_string()),
        "task_id" => text.parse::<TaskId>().ok().map(|id| id.to_string()),
        _ => None,
    }
}

/// Where the first occurrence ends that is no part of a longer word at either end; a prefix may go on.
fn phrase(value: &str, text: &str, prefix: bool) -> Option<usize> {
    occurrences(value, text).find(|end| stands_alone(value, end - text.len(), *end, text, prefix))
}

/// Where each occurrence ends, those that overlap too.
fn occurrences<'a>(value: &'a str, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let begin = from?;
        let at = begin + value.get(begin..)?.find(text)?;
        from = value[at..].chars().next().map(|sign| at + sign.len_utf8());
        Some(at + text.len())
    })
}

fn stands_alone(value: &str, begin: usize, end: usize, text: &str, prefix: bool) -> bool {
    let is_word = |sign: Option<char>| sign.is_some_and(is_word_char);
    let before = is_word(text.chars().next()) && is_word(value[..begin].chars().next_back());
    let after = !prefix && is_word(text.chars().next_back()) && is_word(value[end..].chars().next());
    !before && !after
}

fn any_case(value: &str, text: &str, prefix: bool) -> Result<bool, QueryError> {
    let folded = regex::RegexBuilder::new(&regex::escape(text))
        .case_insensitive(true)
        .build();
    let folded = folded.map_err(|error| QueryError::Unsupported(error.to_string()))?;
    let mut from = 0;
    while let Some(found) = folded.find_at(value, from) {
        if stands_alone(value, found.start(), found.end(), text, prefix) {
            return Ok(true);
        }
        let Some(sign) = value[found.start()..].chars().next() else {
            break;
        };
        from = found.start() + sign.len_utf8();
    }
    Ok(false)
}

fn contains(is_message: bool, value: &str, text: &str) -> bool {
    if text.is_empty() {
        return !is_message && value.is_empty();
    }
    phrase(value, text, false).is_some()
}

fn sequence(value: &str, texts: &[String]) -> bool {
    let mut from = 0;
    texts.iter().filter(|text| !text.is_empty()).all(|text| {
        let ends = occurrences(&value[from..], text).map(|end| from + end);
        let found = ends
            .into_iter()
            .find(|end| stands_alone(value, end - text.len(), *end, text, false));
        from = found.unwrap_or(from);
        found.is_some()
    })
}

/// What counts as a number: digits, and perhaps a fraction.
fn number(value: &str) -> Option<f64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole) && are_digits(fraction)).then(|| value.parse().ok())?
}

impl Range {
    fn holds(self, number: f64) -> bool {
        let from = if self.from_included {
            number >= self.from
        } else {
            number > self.from
        };
        let to = if self.to_included {
            number <= self.to
        } else {
            number < self.to
        };
        from && to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::logs::logsql;

    fn line(message: &str) -> Line {
        Line {
            at: Timestamp::from_ms(1_700_000_000_000),
            message: message.to_owned(),
            level: "INFO".to_owned(),
            job_id: "job-1".to_owned(),
            attempt: Some(2),
            fields: [("user".to_owned(), "7".to_owned())].into(),
            ..Line::default()
        }
    }

    #[test]
    fn words_are_whole_wherever_they_stand() {
        for (query, message, wanted) in [
            ("foo", "xfoo foo", true),
            ("foo", "xfoo foox", false),
            ("foo*", "xfoo foox", true),
            ("i(FÖO)", "a föo", true),
            ("i(FÖO)", "a föox", false),
            ("\"aba\"", "ababa aba", true),
            ("seq(b, a)", "a b a", true),
            ("seq(b, a)", "a b", false),
            ("~\"o+$\"", "foo", true),
            ("user:>6.5 attempt:2", "", true),
            ("user:range(7, 8)", "", false),
            ("len_range(2, 3)", "äö", true),
            ("nothing:\"\" !user:\"\"", "", true),
            ("_time:<2020-01-01Z", "", false),
        ] {
            let filter = logsql::parse(query, Timestamp::from_ms(1_700_000_000_000)).unwrap();
            assert_eq!(filter.wants(&line(message)), Ok(wanted), "{query} of {message}");
        }
    }
}
