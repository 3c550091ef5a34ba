//! What a query asks of a line.

use super::pattern::Expression;

/// A field of a line, by its name in LogsQL: `_msg` is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(pub String);

impl Field {
    pub fn message() -> Self {
        Self("_msg".to_owned())
    }
}

/// A filter. Times are inclusive milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    All,
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Time { from_ms: Option<i64>, to_ms: Option<i64> },
    Field(Field, Matcher),
    SameFields(Field, Field),
}

/// What is asked of one value. A field that a line does not have is empty.
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher {
    /// Not empty.
    Any,
    Empty,
    /// Occurs, and is not a part of a longer word at either end.
    Phrase(String),
    /// As a phrase that may go on within its last word.
    Prefix(String),
    Exact(String),
    ExactPrefix(String),
    /// A phrase or a prefix in any case.
    AnyCase {
        text: String,
        prefix: bool,
    },
    Pattern(Expression),
    /// One of them.
    In(Vec<String>),
    ContainsAll(Vec<String>),
    ContainsAny(Vec<String>),
    /// These phrases in this order.
    Sequence(Vec<String>),
    Number(Range),
    /// From the first, below the second, by bytes.
    Texts(String, String),
    /// In characters, inclusive.
    Length(u64, u64),
}

/// Of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub from: f64,
    pub from_included: bool,
    pub to: f64,
    pub to_included: bool,
}

impl Range {
    pub const ALL: Self = Self {
        from: f64::NEG_INFINITY,
        from_included: true,
        to: f64::INFINITY,
        to_included: true,
    };
}

impl Filter {
    pub fn negated(filter: Self) -> Self {
        match filter {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Both; what asks for nothing is left out.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::And(mut many), other) => {
                many.push(other);
                Self::And(many)
            }
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// One of the values, exactly; none: asks for nothing.
    pub fn one_of(field: &str, values: Vec<String>) -> Self {
        if values.is_empty() {
            return Self::All;
        }
        Self::Field(Field(field.to_owned()), Matcher::In(values))
    }
}
