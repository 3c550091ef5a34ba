//! Many jobs at once, jobs as a file, and the search.

use serde_json::{Value, json};

use super::forms::schema_of;
use super::jobs::{filters, pair};
use super::operation::{Operation, Tag, get, post};
use super::parameter::{Parameter, flag, one_of, text, time, whole};
use crate::api::ApiOptions;
use crate::api::bulk::BulkView;
use crate::api::search::{Found, MOST_CHARS, MOST_HITS};
use crate::api::view::JobView;
use crate::domain::{JobId, JobStatus};

pub fn operations() -> Vec<Operation> {
    let texts = json!({"type": "string"});
    vec![
        post(
            "/api/v1/jobs/bulk",
            "actOnJobs",
            Tag::Jobs,
            "Kill, stop or retry many jobs",
        )
        .about(
            "Named one by one, or by a filter: those of it that were submitted last come first, and what is beyond the \
                 limit is reached by the cursor. Each job has its own outcome in the answer.",
        )
        .uses::<JobId>()
        .takes(Parameter::query("dryRun", flag(), "Only tell which jobs they are."))
        .body(
            "Which jobs, and what to do to each.",
            json!({"application/json": {"schema": asked()}}),
        )
        .answers::<BulkView>(200, "What has become of each.")
        .problem(
            400,
            &[
                "BROKEN_BODY",
                "INVALID_BODY",
                "INVALID_IDEMPOTENCY_KEY",
                "SYNTAX",
                "UNKNOWN_FIELD",
            ],
        )
        .problem(408, &["BODY_TIMEOUT"])
        .problem(415, &["UNSUPPORTED_MEDIA_TYPE"]),
        filters(get("/api/v1/jobs/export", "exportJobs", Tag::Jobs, "Jobs as a file"))
            .about("The newest first, as long as there are any. One that breaks off ends without its last chunk.")
            .takes(Parameter::query(
                "format",
                with_default(one_of(["json", "ndjson", "csv"]), "json"),
                "Of the file.",
            ))
            .at_least_as_new()
            .uses::<JobView>()
            .answers_with(
                200,
                "The jobs.",
                "application/json",
                json!({"type": "array", "items": schema_of::<JobView>()}),
            )
            .answers_with(200, "The jobs.", "application/x-ndjson", texts.clone())
            .answers_with(200, "The jobs.", "text/csv", texts)
            .with_header(
                200,
                "Content-Disposition",
                &json!({"type": "string"}),
                "The name of the file.",
            ),
        get("/api/v1/search", "search", Tag::System, "Find jobs, tasks and workers")
            .about("By the beginning of an id, a name or a label.")
            .takes(needed(
                Parameter::query("q", sought(), "How it begins.").example("strong"),
            ))
            .takes(Parameter::query("limit", whole(1, MOST_HITS, 20), "How many of each kind at most.").example(10))
            .at_least_as_new()
            .answers::<Found>(200, "What begins so."),
    ]
}

fn needed(mut parameter: Parameter) -> Parameter {
    parameter.0["required"] = json!(true);
    parameter
}

fn with_default(mut schema: Value, default: &str) -> Value {
    schema["default"] = json!(default);
    schema
}

/// No control character, and not blanks alone.
fn sought() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_CHARS,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    })
}

/// A body: jobs, or a filter, and never both.
fn asked() -> Value {
    let most = ApiOptions::default().bulk_jobs;
    let mut limit = whole(1, most, most);
    limit["type"] = json!(["integer", "null"]);
    let statuses = one_of(JobStatus::ALL.map(JobStatus::name));
    let some_time = json!({"anyOf": [time(), {"type": "null"}]});
    let many = |items: Value| json!({"type": "array", "items": items});
    json!({
        "type": "object",
        "required": ["action"],
        "additionalProperties": false,
        "properties": {
            "action": one_of(["kill", "stop", "retry"]),
            "jobIds": {
                "description": "Each once.",
                "type": ["array", "null"], "items": schema_of::<JobId>(), "minItems": 1, "maxItems": most,
            },
            "filter": {
                "description": "As the parameters of the list of jobs; at least one of them.",
                "type": ["object", "null"],
                "additionalProperties": false,
                "minProperties": 1,
                "properties": {
                    "status": many(statuses),
                    "externalId": many(text()),
                    "label": many(pair()),
                    "createdFrom": some_time,
                    "createdTo": some_time,
                },
            },
            "limit": limit,
            "cursor": {"description": "nextCursor of the answer before.", "type": ["string", "null"]},
        },
        "oneOf": [
            {"required": ["jobIds"], "properties": {
                "jobIds": {"type": "array"}, "filter": {"type": "null"}, "limit": {"type": "null"}, "cursor": {"type": "null"},
            }},
            {"required": ["filter"], "properties": {"filter": {"type": "object"}, "jobIds": {"type": "null"}}},
        ],
        "examples": [{"action": "kill", "filter": {"label": ["team=seismology"]}}],
    })
}
