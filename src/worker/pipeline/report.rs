//! How a run ended.

use std::error::Error;

use serde::Serialize;

use super::counters::NodeCounts;
use super::dag::DagError;

/// A completed run: every sink's file is in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineReport {
    /// In the order of the dag.
    pub nodes: Vec<NodeCounts>,
    /// Records that failed, but for those that the dead letter sink could not take.
    pub dead_letters: u64,
    /// For each node at which records failed, what the first of them failed of.
    pub first_errors: Vec<NodeError>,
    /// The sources were ended by a stop before their own end.
    pub stopped: bool,
    /// The attempt from whose checkpoint the run went on; its counts are only of what came after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u32>,
}

/// A record's error at a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeError {
    pub node: String,
    pub message: String,
}

/// What kind of failure it is, as the task's state machine understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PipelineFailureReason {
    /// Trying again may help: a missing file, a full disk.
    Error,
    /// This worker refuses the graph; trying again does not help.
    InvalidDag,
    /// A server does not take the credentials, or not for this; the same ones would be refused again.
    Authentication,
    /// A record failed at a node with `failOnError`, or a server refused what was sent; it would again.
    Unrecoverable,
    /// The run was cancelled from outside.
    Cancelled,
}

/// A run that ended without a result: earlier files are untouched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}{message}", node.as_deref().map(|id| format!("node `{id}`: ")).unwrap_or_default())]
pub struct PipelineFailure {
    pub reason: PipelineFailureReason,
    pub message: String,
    /// What led to it, the nearest cause first.
    pub causes: Vec<String>,
    pub node: Option<String>,
}

impl PipelineFailure {
    pub(super) fn new(reason: PipelineFailureReason, node: &str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            causes: Vec::new(),
            node: Some(node.to_owned()),
        }
    }

    pub(super) fn error(node: &str, message: impl Into<String>, cause: &dyn Error) -> Self {
        let mut failure = Self::new(PipelineFailureReason::Error, node, message);
        let mut next = Some(cause);
        while let Some(cause) = next {
            failure.causes.push(cause.to_string());
            next = cause.source();
        }
        failure
    }

    /// Whether another attempt may come to another end.
    pub fn may_pass(&self) -> bool {
        match self.reason {
            // A run that took too long is cancelled, and tried again.
            PipelineFailureReason::Error | PipelineFailureReason::Cancelled => true,
            PipelineFailureReason::InvalidDag
            | PipelineFailureReason::Authentication
            | PipelineFailureReason::Unrecoverable => false,
        }
    }

    pub(super) fn cancelled() -> Self {
        Self {
            reason: PipelineFailureReason::Cancelled,
            message: "the run was cancelled".to_owned(),
            causes: Vec::new(),
            node: None,
        }
    }
}

/// A graph that this worker refuses.
impl From<Vec<DagError>> for PipelineFailure {
    fn from(errors: Vec<DagError>) -> Self {
        let mut told = errors.iter().map(ToString::to_string);
        Self {
            reason: PipelineFailureReason::InvalidDag,
            message: told.next().unwrap_or_else(|| "the dag is not valid".to_owned()),
            causes: told.collect(),
            node: errors.first().and_then(|error| error.node.clone()),
        }
    }
}
