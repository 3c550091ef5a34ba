//! The mistakes of a document.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use super::node::Place;

/// More than this many are not listed: the reader has enough to do.
const MAX_ERRORS: usize = 100;

/// What kind of mistake it is; stable, for programs. Text form: `unknown_field`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON or YAML at all.
    Syntax,
    /// More bytes, deeper, or bigger once aliases are expanded, than is accepted.
    TooLarge,
    DuplicateKey,
    UnknownField,
    MissingField,
    WrongType,
    OutOfRange,
    /// Of the right type, but not in the form that is asked for.
    BadValue,
    BadDuration,
    DuplicateName,
    /// Fields that exclude each other, or none of several of which one is needed.
    Conflict,
    TooManyTasks,
    InvalidDag,
}

impl ErrorCode {
    pub const ALL: [Self; 13] = [
        Self::Syntax,
        Self::TooLarge,
        Self::DuplicateKey,
        Self::UnknownField,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::BadValue,
        Self::BadDuration,
        Self::DuplicateName,
        Self::Conflict,
        Self::TooManyTasks,
        Self::InvalidDag,
    ];
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One mistake in a document and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{line}:{column}: {message}{}", if pointer.is_empty() { String::new() } else { format!(" (at {pointer})") })]
pub struct DocumentError {
    /// RFC 6901; empty: the whole document.
    pub pointer: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub message: String,
    pub code: ErrorCode,
}

impl DocumentError {
    pub(super) fn at(place: Place, pointer: String, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            pointer,
            line: place.line,
            column: place.column,
            message: message.into(),
            code,
        }
    }
}

/// Gathers mistakes while a document is read; shared by everything that reads.
#[derive(Debug, Default)]
pub(super) struct Errors(RefCell<Vec<DocumentError>>);

impl Errors {
    pub fn push(&self, error: DocumentError) {
        let mut list = self.0.borrow_mut();
        if list.len() < MAX_ERRORS {
            list.push(error);
        }
    }

    pub fn is_full(&self) -> bool {
        self.0.borrow().len() >= MAX_ERRORS
    }

    /// What was read when there is no mistake, else the mistakes in the order of the text.
    pub fn into_result<T>(self, read: Option<T>) -> Result<T, Vec<DocumentError>> {
        let mut list = self.0.into_inner();
        match read {
            Some(read) if list.is_empty() => Ok(read),
            _ => {
                list.sort_by_key(|error| (error.line, error.column));
                Err(list)
            }
        }
    }
}
