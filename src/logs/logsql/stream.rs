//! Stream selectors: `{job_id="…", worker_id!="…" or task_id=~"…"}`.

use super::QueryError;
use super::filter::{Field, Filter, Matcher};
use super::parser::Parser;
use super::pattern::Expression;

/// What a stream is known by.
pub const STREAM_FIELDS: [&str; 3] = ["job_id", "task_id", "worker_id"];

/// A whole selector; the next token is its brace.
pub fn selector(parser: &mut Parser) -> Result<Filter, QueryError> {
    parser.expect("{")?;
    if parser.take("}") {
        return Ok(Filter::All);
    }
    let mut choices = Vec::new();
    loop {
        let mut conditions = vec![condition(parser)?];
        while parser.take(",") {
            // A comma may end the list.
            if parser.is_sign("}") {
                break;
            }
            conditions.push(condition(parser)?);
        }
        choices.push(Filter::And(conditions));
        if parser.is_word("or") {
            parser.advance();
            continue;
        }
        parser.expect("}")?;
        return Ok(Filter::Or(choices));
    }
}

fn condition(parser: &mut Parser) -> Result<Filter, QueryError> {
    let name = parser.text(true)?;
    if !STREAM_FIELDS.contains(&name.as_str()) {
        let fields = STREAM_FIELDS.join(", ");
        return Err(QueryError::Unsupported(format!(
            "{name:?} in a stream selector; streams have {fields}"
        )));
    }
    let field = Field(name);
    for (sign, negated, is_pattern) in [
        ("=~", false, true),
        ("!~", true, true),
        ("=", false, false),
        ("!=", true, false),
    ] {
        if !parser.take(sign) {
            continue;
        }
        let value = parser.text(false)?;
        let matcher = match is_pattern {
            true => Matcher::Pattern(Expression::whole(&value)?),
            false => Matcher::Exact(value),
        };
        return Ok(signed(negated, Filter::Field(field, matcher)));
    }
    for (word, negated) in [("in", false), ("not_in", true)] {
        if parser.is_word(word) {
            parser.advance();
            let values = parser.arguments()?;
            return Ok(signed(negated, Filter::Field(field, Matcher::In(values))));
        }
    }
    Err(parser.wrong("expected one of `=`, `!=`, `=~`, `!~`, `in`, `not_in`"))
}

fn signed(negated: bool, filter: Filter) -> Filter {
    if negated { Filter::negated(filter) } else { filter }
}
