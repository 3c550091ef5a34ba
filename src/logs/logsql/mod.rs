//! LogsQL filters, read from text and written as conditions of SQL.
//!
//! The language is that of VictoriaLogs (<https://docs.victoriametrics.com/victorialogs/logsql/>), of which this is the part
//! without pipes.
//!
//! Must stay true: a filter finds the very lines that VictoriaLogs finds, or is refused with what is not supported; it
//! never finds others. Whatever a client writes reaches the database as a bound parameter only.

mod duration;
mod filter;
mod functions;
mod lexer;
mod matches;
mod parser;
mod pattern;
mod sql;
mod stream;
#[cfg(test)]
mod tests;
mod time;

pub use duration::parse_duration_ns;
pub use filter::{Field, Filter, Matcher, Range};

use crate::domain::Timestamp;

/// Longer queries are refused.
pub const MAX_QUERY_BYTES: usize = 16 * 1024;

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is not LogsQL. `at`: from which byte.
    #[error("at byte {at}: {message}")]
    Syntax { at: usize, message: String },
    /// It may be LogsQL, but this store cannot answer it.
    #[error("not supported: {0}")]
    Unsupported(String),
    #[error("it has pipes (`|`); only filters are answered")]
    Pipes,
}

impl QueryError {
    fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }
}

/// Refuses a query that has pipes, wherever; what else it is, is for who answers it.
///
/// # Errors
/// When it has pipes, or quotes that do not end.
pub fn without_pipes(query: &str) -> Result<(), QueryError> {
    short_enough(query)?;
    let is_pipe = |token: &lexer::Token| token.kind == lexer::Kind::Sign("|");
    if lexer::tokens(query)?.iter().any(is_pipe) {
        return Err(QueryError::Pipes);
    }
    Ok(())
}

fn short_enough(query: &str) -> Result<(), QueryError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(QueryError::Unsupported(format!(
            "a query of more than {MAX_QUERY_BYTES} bytes"
        )));
    }
    Ok(())
}

/// Reads a filter. `now`: what relative times count from.
///
/// # Errors
/// When it is no LogsQL, has pipes, or uses what is not supported.
pub fn parse(query: &str, now: Timestamp) -> Result<Filter, QueryError> {
    short_enough(query)?;
    let tokens = lexer::tokens(query)?;
    let has_nul = |token: &lexer::Token| matches!(&token.kind, lexer::Kind::Quoted(text) if text.contains('\0'));
    if tokens.iter().any(has_nul) {
        // Postgres has no text with it.
        return Err(QueryError::unsupported("a NUL character"));
    }
    parser::Parser::new(tokens, query.len(), now).whole()
}
