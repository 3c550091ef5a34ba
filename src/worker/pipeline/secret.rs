//! Texts of a configuration that may be secrets of the worker.
//!
//! Must stay true: a secret is read when the run opens what it is for, goes there and nowhere else, and is in no message.

use std::fmt;
use std::sync::Arc;

use super::context::RunContext;
use super::report::{PipelineFailure, PipelineFailureReason};

/// As written in the document: the text itself, or `{"secret": "NAME"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Plain(String),
    Secret(String),
}

impl Text {
    /// The text itself, for whom it is meant.
    pub fn reveal(&self, id: &str, context: &RunContext) -> Result<String, PipelineFailure> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            // As for a process: another worker may have it.
            Self::Secret(name) => context
                .secrets
                .read(name)
                .map_err(|message| PipelineFailure::new(PipelineFailureReason::Error, id, message)),
        }
    }
}

type Read = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// Where a run finds secrets by their names.
#[derive(Clone)]
pub struct SecretReader(Arc<Read>);

impl SecretReader {
    /// `read` gives the secret, or says why there is none.
    pub fn new(read: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn read(&self, name: &str) -> Result<String, String> {
        (self.0)(name)
    }
}

/// There are none.
impl Default for SecretReader {
    fn default() -> Self {
        Self::new(|name| Err(format!("the secret {name:?} is needed, and there are no secrets here")))
    }
}

impl fmt::Debug for SecretReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}
