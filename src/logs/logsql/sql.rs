//! A filter as a condition over the table of lines.
//!
//! Must stay true: every value and every field's name is bound, and a condition is never NULL.

use sqlx::{Postgres, QueryBuilder};

use super::QueryError;
use super::filter::{Field, Filter, Matcher, Range};
use super::pattern::Pattern;
use crate::domain::{JobId, TaskId};

/// Names in LogsQL and columns. All others are keys of the column `fields`.
const COLUMNS: [(&str, &str); 11] = [
    ("_msg", "message"),
    ("message", "message"),
    ("level", "level"),
    ("logger_name", "logger_name"),
    ("job_id", "job_id"),
    ("task_id", "task_id"),
    ("worker_id", "worker_id"),
    ("attempt", "attempt"),
    ("source", "source"),
    ("service", "service"),
    ("stream", "stream"),
];

/// What counts as a number.
const NUMBER: &str = r"^-?[0-9]{1,200}(\.[0-9]{1,200})?$";

impl Filter {
    /// Whether it asks only for fields that can be asked for.
    ///
    /// # Errors
    /// Names the first that cannot.
    pub fn check(&self) -> Result<(), QueryError> {
        self.push(&mut QueryBuilder::new(""))
    }

    /// Appends the condition.
    ///
    /// # Errors
    /// When it asks for a field that cannot be asked for.
    pub fn push(&self, query: &mut QueryBuilder<Postgres>) -> Result<(), QueryError> {
        match self {
            Self::All => {
                query.push("true");
            }
            Self::And(filters) => return joined(query, filters, " AND "),
            Self::Or(filters) => return joined(query, filters, " OR "),
            Self::Not(filter) => {
                query.push("NOT (");
                filter.push(query)?;
                query.push(")");
            }
            Self::Time { from_ms, to_ms } => {
                query.push("(at >= ").push_bind(from_ms.unwrap_or(i64::MIN));
                query.push(" AND at <= ").push_bind(to_ms.unwrap_or(i64::MAX)).push(")");
            }
            Self::SameFields(one, other) => {
                column(query, one)?;
                query.push(" = ");
                column(query, other)?;
            }
            Self::Field(field, matcher) => return matcher.push(query, field),
        }
        Ok(())
    }
}

fn joined(query: &mut QueryBuilder<Postgres>, filters: &[Filter], operator: &str) -> Result<(), QueryError> {
    if filters.is_empty() {
        query.push(if operator == " OR " { "false" } else { "true" });
        return Ok(());
    }
    for (index, filter) in filters.iter().enumerate() {
        query.push(if index == 0 { "(" } else { operator });
        filter.push(query)?;
    }
    query.push(")");
    Ok(())
}

/// The value of a field, empty where a line has none.
fn column(query: &mut QueryBuilder<Postgres>, Field(name): &Field) -> Result<(), QueryError> {
    if let Some((_, column)) = COLUMNS.iter().find(|(known, _)| known == name) {
        query.push(column);
        return Ok(());
    }
    if name == "_time" || name == "@timestamp" || name == "_stream" || name == "_stream_id" {
        return Err(QueryError::Unsupported(format!("a search for texts in {name}")));
    }
    query.push("coalesce(fields ->> ").push_bind(name.clone()).push(", '')");
    Ok(())
}

impl Matcher {
    fn push(&self, query: &mut QueryBuilder<Postgres>, field: &Field) -> Result<(), QueryError> {
        if let Some(id) = self.whole_id(field) {
            return Self::Exact(id).push(query, field);
        }
        // A line without a message is one with a message elsewhere: VictoriaLogs keeps no empty ones.
        if matches!(field.0.as_str(), "_msg" | "message") && matches!(self, Self::Any | Self::Empty) {
            query.push(if *self == Self::Any { "true" } else { "false" });
            return Ok(());
        }
        match self {
            Self::Any => compare(query, field, " <> ", ""),
            Self::Empty => compare(query, field, " = ", ""),
            Self::Exact(text) => compare(query, field, " = ", text),
            Self::ExactPrefix(text) => {
                query.push("starts_with(");
                column(query, field)?;
                query.push(", ").push_bind(text.clone()).push(")");
                Ok(())
            }
            Self::Phrase(text) => phrase(query, field, text, false),
            Self::Prefix(text) => phrase(query, field, text, true),
            Self::AnyCase { text, prefix } => pattern(query, field, &Pattern::phrases(&[text], true, *prefix)?),
            Self::Pattern(wanted) => pattern(query, field, &wanted.postgres),
            Self::In(texts) => {
                column(query, field)?;
                query.push(" = ANY(").push_bind(texts.clone()).push(")");
                Ok(())
            }
            Self::ContainsAll(texts) => phrases(query, field, texts, " AND "),
            Self::ContainsAny(texts) => phrases(query, field, texts, " OR "),
            Self::Sequence(texts) => {
                let texts: Vec<&str> = texts
                    .iter()
                    .map(String::as_str)
                    .filter(|text| !text.is_empty())
                    .collect();
                if texts.is_empty() {
                    query.push("true");
                    return Ok(());
                }
                pattern(query, field, &Pattern::phrases(&texts, false, false)?)
            }
            Self::Number(range) => number(query, field, *range),
            Self::Texts(from, to) => {
                query.push("(");
                column(query, field)?;
                query.push(" COLLATE \"C\" >= ").push_bind(from.clone()).push(" AND ");
                column(query, field)?;
                query.push(" COLLATE \"C\" < ").push_bind(to.clone()).push(")");
                Ok(())
            }
            Self::Length(from, to) => {
                query.push("char_length(");
                column(query, field)?;
                let bound = |length: u64| i64::try_from(length).unwrap_or(i64::MAX);
                query
                    .push(") BETWEEN ")
                    .push_bind(bound(*from))
                    .push(" AND ")
                    .push_bind(bound(*to));
                Ok(())
            }
        }
    }

    /// A phrase that is the whole id of a job or task is found in no other id; so their indexes can be used.
    fn whole_id(&self, Field(name): &Field) -> Option<String> {
        let Self::Phrase(text) = self else { return None };
        match name.as_str() {
            "job_id" => text.parse::<JobId>().ok().map(|id| id.to_string()),
            "task_id" => text.parse::<TaskId>().ok().map(|id| id.to_string()),
            _ => None,
        }
    }
}

fn compare(
    query: &mut QueryBuilder<Postgres>,
    field: &Field,
    operator: &'static str,
    text: &str,
) -> Result<(), QueryError> {
    column(query, field)?;
    query.push(operator).push_bind(text.to_owned());
    Ok(())
}

fn pattern(query: &mut QueryBuilder<Postgres>, field: &Field, Pattern(text): &Pattern) -> Result<(), QueryError> {
    column(query, field)?;
    query.push(" ~ ").push_bind(text.clone());
    Ok(())
}

/// Most lines do not have the text at all, which is found out faster than where words end.
fn phrase(query: &mut QueryBuilder<Postgres>, field: &Field, text: &str, prefix: bool) -> Result<(), QueryError> {
    query.push("(strpos(");
    column(query, field)?;
    query.push(", ").push_bind(text.to_owned()).push(") > 0 AND ");
    pattern(query, field, &Pattern::phrases(&[text], false, prefix)?)?;
    query.push(")");
    Ok(())
}

fn phrases(
    query: &mut QueryBuilder<Postgres>,
    field: &Field,
    texts: &[String],
    operator: &str,
) -> Result<(), QueryError> {
    let filters: Vec<Filter> = texts
        .iter()
        .map(|text| match text.is_empty() {
            true => Filter::Field(field.clone(), Matcher::Empty),
            false => Filter::Field(field.clone(), Matcher::Phrase(text.clone())),
        })
        .collect();
    joined(query, &filters, operator)
}

/// What is no number is in no range.
fn number(query: &mut QueryBuilder<Postgres>, field: &Field, range: Range) -> Result<(), QueryError> {
    query.push("CASE WHEN ");
    column(query, field)?;
    query.push(" ~ ").push_bind(NUMBER).push(" THEN (");
    column(query, field)?;
    query.push(if range.from_included {
        ")::float8 >= "
    } else {
        ")::float8 > "
    });
    query.push_bind(range.from).push(" AND (");
    column(query, field)?;
    query.push(if range.to_included {
        ")::float8 <= "
    } else {
        ")::float8 < "
    });
    query.push_bind(range.to).push(" ELSE false END");
    Ok(())
}
