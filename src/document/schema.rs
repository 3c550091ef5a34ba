//! The JSON Schema (draft 2020-12) of the job document, from the same limits and forms that the reader uses. Committed as
//! schema/job.schema.json; a test fails when that file is stale.
//!
//! It cannot say everything: that names are unique, that replicas sum to a million, what a duration or a pipeline means.

use serde_json::{Value, json};

use super::rules::{self, Form};
use crate::domain::{MAX_TASKS_PER_JOB, RetryPolicy};

/// The schema, for editors and other programs.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Grid job",
        "description": "A job: a set of tasks that run side by side. As JSON or YAML, at most 1 MiB.",
        "type": "object",
        "additionalProperties": false,
        "required": ["tasks"],
        "properties": {
            "externalId": form(&rules::NAME, "The client's name of the job; need not be unique."),
            "labels": labels("Labels of the job."),
            "retry": retry("How failed tasks are retried."),
            "timeouts": timeouts("Time limits of each attempt at a task."),
            "deadline": duration("From the submission to the end of the whole job."),
            "maxParallel": whole(&(1..=u64::from(MAX_TASKS_PER_JOB)), "How many tasks run at a time."),
            "tasks": {
                "description": "The tasks; none: the job is EMPTY. Their replicas sum to at most 1,000,000.",
                "type": "array",
                "items": {"$ref": "#/$defs/task"},
            },
        },
        "$defs": {"task": task(), "node": node(), "duration": duration_form()},
    })
}

fn task() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["externalId"],
        "oneOf": [{"required": ["dag"]}, {"required": ["command"]}, {"required": ["executor"]}],
        "dependentRequired": {"env": ["command"], "limits": ["command"]},
        "properties": {
            "externalId": form(&rules::NAME, "Unique within the job; with several replicas they are called <externalId>-0, <externalId>-1, …"),
            "replicas": with_default(whole(&(0..=u64::from(MAX_TASKS_PER_JOB)), "How many tasks of this kind."), json!(1)),
            "requires": labels("Labels that the worker must have."),
            "retry": retry("Put over the job's, field by field."),
            "timeouts": timeouts("Put over the job's, field by field; null lifts a limit of the job's."),
            "env": env(),
            "limits": limits(),
            "dag": {"description": "A pipeline.", "type": "array", "minItems": 1, "items": {"$ref": "#/$defs/node"}},
            "command": {
                "description": "A program and its arguments; no shell is between.",
                "type": "array", "minItems": 1, "maxItems": rules::MAX_ARGUMENTS, "items": argument(),
                "prefixItems": [{"type": "string", "minLength": 1}],
            },
            "executor": {"description": "A task that does nothing and completes.", "const": "noop"},
        },
    })
}

fn node() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "commandName"],
        "properties": {
            "id": {"description": "Unique within the pipeline.", "type": "string", "minLength": 1},
            "commandName": {"description": "What the node does: filesource, filter, eval, filesink, …", "type": "string"},
            "config": {"description": "What the command wants to know.", "type": "object", "default": {}},
            "outputs": {
                "description": "Ids of the nodes that get its records.",
                "type": "array", "items": {"type": "string"}, "default": [],
            },
        },
    })
}

fn form(form: &Form, description: &str) -> Value {
    json!({"description": description, "type": "string", "pattern": form.pattern})
}

fn whole(range: &std::ops::RangeInclusive<u64>, description: &str) -> Value {
    json!({"description": description, "type": "integer", "minimum": range.start(), "maximum": range.end()})
}

fn number(range: &std::ops::RangeInclusive<f64>, description: &str) -> Value {
    json!({"description": description, "type": "number", "minimum": range.start(), "maximum": range.end()})
}

fn with_default(mut schema: Value, default: Value) -> Value {
    schema["default"] = default;
    schema
}

fn duration_form() -> Value {
    json!({
        "type": "string",
        "examples": ["500ms", "90s", "5m", "1h 30m", "2days"],
        "pattern": r"^\s*([0-9]+\s*[a-zA-Zµ]+\s*)+$",
    })
}

fn duration(description: &str) -> Value {
    json!({"description": description, "$ref": "#/$defs/duration"})
}

fn labels(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "maxProperties": rules::MAX_LABELS,
        "propertyNames": {"pattern": rules::LABEL_NAME.pattern},
        "additionalProperties": {"type": "string", "pattern": rules::LABEL_VALUE.pattern},
    })
}

fn retry(description: &str) -> Value {
    let defaults = RetryPolicy::default();
    let seconds = |ms: u64| json!(ms / 1_000);
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "maxRetries": with_default(whole(&rules::MAX_RETRIES, "Retries after the first attempt."), json!(defaults.max_retries)),
            "baseSeconds": with_default(number(&rules::BASE_SECONDS, "The delay before the first retry."), seconds(defaults.base_ms)),
            "factor": with_default(number(&rules::FACTOR, "What each further delay is multiplied with."), json!(defaults.factor)),
            "maxDelaySeconds": with_default(number(&rules::MAX_DELAY_SECONDS, "No delay is longer."), seconds(defaults.max_delay_ms)),
            "jitter": {"description": "Draw each delay between zero and the computed one.", "type": "boolean", "default": defaults.jitter},
        },
    })
}

fn timeouts(description: &str) -> Value {
    let limit = |description: &str| json!({"description": description, "anyOf": [{"$ref": "#/$defs/duration"}, {"type": "null"}]});
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": {"start": limit("From SCHEDULED to RUNNING."), "run": limit("From RUNNING to the end.")},
    })
}

fn argument() -> Value {
    json!({"type": "string", "pattern": r"^[^\x00]*$", "maxLength": rules::MAX_ARGUMENT_BYTES})
}

fn env() -> Value {
    let reserved = format!("^({}|{}.*)$", rules::RESERVED_ENV.join("|"), rules::RESERVED_ENV_PREFIX);
    json!({
        "description": "Environment variables; a secret is named and read on the worker.",
        "type": "object",
        "propertyNames": {"pattern": rules::ENV_NAME.pattern, "not": {"pattern": reserved}},
        "additionalProperties": {"oneOf": [
            argument(),
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["secret"],
                "properties": {"secret": form(&rules::SECRET_NAME, "The secret's name.")},
            },
        ]},
    })
}

fn limits() -> Value {
    json!({
        "description": "What the command, or each of its processes, may use.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "memoryMiB": whole(&rules::MEMORY_MIB, "Memory in MiB: of the whole command where its worker has a cgroup, else the address space of each process."),
            "cpus": whole(&rules::CPUS, "Processors that all processes of the command together may run on."),
            "cpuSeconds": whole(&rules::CPU_SECONDS, "Processor time, in seconds."),
            "openFiles": whole(&rules::OPEN_FILES, "Files open at a time."),
            "processes": whole(&rules::PROCESSES, "Processes and threads of the whole command, where its worker has a cgroup."),
        },
    })
}
