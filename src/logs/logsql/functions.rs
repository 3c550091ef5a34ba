//! Filters that are written like calls of functions, and comparisons.

use super::QueryError;
use super::filter::{Field, Filter, Matcher, Range};
use super::parser::{Parser, matching, numbers};
use super::pattern::Expression;

/// Of VictoriaLogs, but not of this store.
const UNSUPPORTED: [&str; 12] = [
    "ipv4_range",
    "value_type",
    "contains_common_case",
    "equals_common_case",
    "pattern_match",
    "pattern_match_full",
    "le_field",
    "lt_field",
    "options",
    "day_range",
    "week_range",
    "json_array_contains_any",
];

/// A call; the next tokens are the name and the opening parenthesis.
pub fn call(parser: &mut Parser, name: &str, field: Option<&Field>) -> Result<Filter, QueryError> {
    let lower = name.to_ascii_lowercase();
    if UNSUPPORTED.contains(&lower.as_str()) {
        return Err(QueryError::Unsupported(format!("{lower}()")));
    }
    let known = [
        "i",
        "exact",
        "re",
        "in",
        "contains_all",
        "contains_any",
        "seq",
        "eq_field",
        "len_range",
        "string_range",
    ];
    if !known.contains(&lower.as_str()) {
        return Err(parser.wrong(format!("a space is missing after {name:?}, which is no function")));
    }
    parser.advance();
    if let "i" | "exact" = lower.as_str() {
        return with_prefix(parser, &lower, field);
    }
    let arguments = parser.arguments()?;
    let matcher = match (lower.as_str(), arguments.as_slice()) {
        ("in", _) => Matcher::In(arguments),
        ("contains_all", _) => Matcher::ContainsAll(arguments),
        ("contains_any", _) => Matcher::ContainsAny(arguments),
        ("seq", _) => Matcher::Sequence(arguments),
        ("re", [pattern]) => Matcher::Pattern(Expression::anywhere(pattern)?),
        ("string_range", [from, to]) => Matcher::Texts(from.clone(), to.clone()),
        ("len_range", [from, to]) => Matcher::Length(length(from)?, length(to)?),
        ("eq_field", [other]) => {
            let field = field.cloned().unwrap_or_else(Field::message);
            return Ok(Filter::SameFields(field, Field(other.clone())));
        }
        _ => return Err(parser.wrong(format!("{lower}() has another number of arguments"))),
    };
    Ok(matching(field, matcher))
}

/// `i(text)`, `i(text*)`, `exact(text)`, `exact(text*)`.
fn with_prefix(parser: &mut Parser, name: &str, field: Option<&Field>) -> Result<Filter, QueryError> {
    parser.expect("(")?;
    let text = if parser.is_sign("*") {
        String::new()
    } else {
        parser.text(false)?
    };
    let prefix = parser.take("*");
    parser.expect(")")?;
    let matcher = match (name, prefix) {
        ("exact", false) => Matcher::Exact(text),
        ("exact", true) => Matcher::ExactPrefix(text),
        (_, true) if text.is_empty() => Matcher::Any,
        (_, false) if text.is_empty() => Matcher::Empty,
        (_, prefix) => Matcher::AnyCase { text, prefix },
    };
    Ok(matching(field, matcher))
}

fn length(text: &str) -> Result<u64, QueryError> {
    if text.eq_ignore_ascii_case("inf") {
        return Ok(u64::MAX);
    }
    text.parse()
        .map_err(|_| QueryError::Unsupported(format!("the length {text:?}")))
}

/// `range(1, 2]`; the word is read already.
pub fn number_range(parser: &mut Parser, field: Option<&Field>) -> Result<Filter, QueryError> {
    let from_included = parser.take("[");
    if !from_included {
        parser.expect("(")?;
    }
    let from = parser.number()?;
    parser.expect(",")?;
    let to = parser.number()?;
    let to_included = parser.take("]");
    if !to_included {
        parser.expect(")")?;
    }
    let range = Range {
        from,
        from_included,
        to,
        to_included,
    };
    Ok(numbers(field, range))
}

/// `>5` or `<=5`; the first sign is read already.
pub fn comparison(parser: &mut Parser, sign: &str, field: Option<&Field>) -> Result<Filter, QueryError> {
    let included = parser.take("=");
    let number = parser.number()?;
    let range = match sign {
        ">" => Range {
            from: number,
            from_included: included,
            ..Range::ALL
        },
        _ => Range {
            to: number,
            to_included: included,
            ..Range::ALL
        },
    };
    Ok(numbers(field, range))
}
