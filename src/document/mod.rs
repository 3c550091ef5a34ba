//! The job document: what a client submits, as JSON or YAML, read into types with every mistake placed.
//!
//! Must stay true:
//! - A document is refused whole, with all of its mistakes at once, each with pointer (RFC 6901), line and column.
//! - JSON is read as JSON exactly (RFC 8259), never as the YAML that happens to look like it.
//! - The normalised form is itself a document, reading it gives the same job, and its hash is the job's address; it names
//!   secrets and never holds one.
//! - Everything is bounded before it is built: bytes, depth, what aliases expand to, tasks, mistakes listed.

mod dag;
mod error;
mod job;
mod json;
mod node;
mod normal;
mod read;
mod replay;
mod rules;
mod schema;
mod spot;
mod yaml;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use error::{DocumentError, ErrorCode};
pub use job::{EnvValue, JobDocument, Limits, TaskKind, TaskSpec};
pub use normal::{NormalisedDocument, normalise, to_spec};
pub use replay::{FailedAt, REPLAY_LABEL, Replay, ReplayError, replay};
pub use rules::{MAX_DOCUMENT_BYTES, is_secret_name};
pub use schema::schema;

use error::Errors;
use node::{Node, Place};
use spot::Spot;

/// How the bytes of a document are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

impl Format {
    /// The format that a media type or a file's name tells, else what the first character looks like: a document that
    /// opens with `{` is JSON.
    pub fn guess(hint: Option<&str>, bytes: &[u8]) -> Self {
        let hint = hint
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if hint.ends_with("json") {
            return Self::Json;
        }
        if hint.ends_with("yaml") || hint.ends_with("yml") {
            return Self::Yaml;
        }
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Reads and checks a submitted document of at most [`MAX_DOCUMENT_BYTES`].
///
/// `content_type_hint` is a media type (`application/json`, `application/yaml`) or a file's name; without one that tells,
/// the text decides. Takes as long as compiling the document's programs does: call it off the async threads.
pub fn parse(bytes: &[u8], content_type_hint: Option<&str>) -> Result<JobDocument, Vec<DocumentError>> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let message = format!(
            "the document has {} bytes; at most {MAX_DOCUMENT_BYTES} are accepted",
            bytes.len()
        );
        return Err(vec![DocumentError::at(
            Place::START,
            String::new(),
            ErrorCode::TooLarge,
            message,
        )]);
    }
    let errors = Errors::default();
    let root = load(bytes, Format::guess(content_type_hint, bytes), &errors);
    let job = root.and_then(|root| read::job(&Spot::root(&root, &errors), Some(dag::Checker::default())));
    errors.into_result(job)
}

/// The tree of the text, or `None` with the reason among the errors.
fn load(bytes: &[u8], format: Format, errors: &Errors) -> Option<Node> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let message = format!("the document is not UTF-8 at byte {}", error.valid_up_to());
            errors.push(DocumentError::at(
                Place::after(&valid),
                String::new(),
                ErrorCode::Syntax,
                message,
            ));
            return None;
        }
    };
    let loaded = match format {
        Format::Json => json::load(text),
        Format::Yaml => yaml::load(text),
    };
    match loaded {
        Ok(root) => {
            spot::report_duplicate_keys(&root, errors);
            Some(root)
        }
        Err(error) => {
            errors.push(*error);
            None
        }
    }
}
