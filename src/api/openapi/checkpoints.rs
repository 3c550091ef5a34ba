//! What attempts keep, by their CHECKPOINT_URL.

use serde_json::json;

use super::operation::{Operation, Tag, get, post};
use super::parameter::{Parameter, text_like, whole};
use crate::api::checkpoints::{Checkpoint, CheckpointKeyView, CheckpointView};
use crate::domain::TaskId;

const PATH: &str = "/api/v1/checkpoints/{task}/{attempt}/{secret}";

pub fn operations() -> Vec<Operation> {
    let incarnation = json!({"type": "string", "format": "uuid"});
    vec![
        at_url(get(PATH, "getCheckpoint", Tag::Tasks, "Read an attempt's checkpoint"))
            .about("Its own; before it has written one, that of the greatest earlier attempt that has.")
            .answers::<CheckpointView>(200, "The checkpoint.")
            .answers_nothing(204, "There is none yet."),
        at_url(post(PATH, "saveCheckpoint", Tag::Tasks, "Keep a checkpoint"))
            .about("In the place of the attempt's earlier one. Read as JSON whatever type it declares.")
            .json_body::<Checkpoint>("What to keep.")
            .answers_nothing(204, "It is kept.")
            .problem(400, &["BROKEN_BODY", "INVALID_CHECKPOINT", "SYNTAX"])
            .problem(408, &["BODY_TIMEOUT"])
            .problem(409, &["ATTEMPT_OVER", "TASK_FINISHED"]),
        get(
            "/api/v1/internal/checkpoint-key/{incarnation}",
            "getCheckpointKey",
            Tag::Internal,
            "From what a worker makes the secrets of its attempts",
        )
        .takes(Parameter::path_of("incarnation", incarnation, "The worker process."))
        .answers::<CheckpointKeyView>(200, "The key.")
        .problem(400, &["INVALID_ID"]),
    ]
}

/// The parts of a CHECKPOINT_URL.
fn at_url(operation: Operation) -> Operation {
    let mut attempt = whole(1, i32::MAX.unsigned_abs(), 1);
    if let Some(schema) = attempt.as_object_mut() {
        schema.remove("default");
    }
    let secret = text_like("^[0-9a-fA-F]{96}$");
    operation
        .uses::<TaskId>()
        .takes(Parameter::path::<TaskId>("task", "The task."))
        .takes(Parameter::path_of("attempt", attempt, "The number of the attempt."))
        .takes(Parameter::path_of("secret", secret, "The attempt's secret."))
        .problem(400, &["INVALID_ID"])
        .problem(403, &["FORBIDDEN"])
        .problem(404, &["NOT_FOUND"])
        .problem(410, &["GONE"])
}
