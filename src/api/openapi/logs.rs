//! Lines of tasks: how they are searched, and how workers hand them over.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::forms::{EXAMPLE_JOB, EXAMPLE_TASK, EXAMPLE_WORKER, Named, named, reference, schema_of};
use super::operation::{Operation, Tag, get, post};
use super::parameter::{Parameter, flag, text, text_like, whole};
use crate::api::logs::{Found, MOST_EARLIER, MOST_LINES};
use crate::api::problem::ProblemView;
use crate::domain::Timestamp;
use crate::logs::Line;
use crate::logs::capture::level_words;

const NDJSON: &str = "application/x-ndjson";

pub fn operations() -> Vec<Operation> {
    vec![download(), tail(), search(), intake()]
}

fn search() -> Operation {
    let limit = whole(1, MOST_LINES, 100);
    wanted(get(
        "/api/v1/logs/search",
        "searchLogs",
        Tag::Logs,
        "Find lines that tasks wrote",
    ))
    .about(
        "Newest first. There is no index on words: name a job, a task, a worker or a short time. What takes too long is \
         ended and says so.",
    )
    .takes(from())
    .takes(to())
    .takes(Parameter::query("limit", limit, "How many lines at most.").example(100))
    .takes(Parameter::query("cursor", text(), "nextCursor of the answer before, asked with the same filters."))
    .answers::<Found>(200, "The lines.")
    .problem(422, &["SEARCH_TOO_LONG"])
}

fn download() -> Operation {
    wanted(get(
        "/api/v1/logs/download",
        "downloadLogs",
        Tag::Logs,
        "Fetch all lines that a filter finds",
    ))
    .about("The oldest first, however many there are. A transfer that breaks off ends without its last chunk.")
    .takes(from())
    .takes(to())
    .uses::<Line>()
    .answers_with(200, "A line of JSON for each line.", NDJSON, schema_of::<Line>())
    .problem(422, &["SEARCH_TOO_LONG"])
}

fn tail() -> Operation {
    let id = json!({"type": "string"});
    let earlier = whole(0, MOST_EARLIER, 0);
    wanted(get("/api/v1/logs/tail", "tailLogs", Tag::Logs, "Follow lines as they come"))
        .about(
            "Events of the server: each has a line as its data and as its id the token after it. One without data says how \
             far the stream is. `event: problem` has a problem document, and is the last; `event: notice` has a `message` on how \
             lines of a worker come from now on. Who goes on after an id gets every later line once.",
        )
        .takes(Parameter::query("after", text(), "Go on after this id; else from now on."))
        .takes(Parameter::header("Last-Event-ID", id, "As after, which it comes before."))
        .takes(Parameter::query("lines", earlier, "Begin with so many lines of the last day; not when going on.").example(10))
        .uses::<Line>()
        .answers_with(200, "The lines, until the client leaves.", "text/event-stream", line_event())
        .problem(422, &["SEARCH_TOO_LONG"])
}

/// What one event of the stream is, as its fields are read by who follows it.
fn line_event() -> Value {
    let notice = json!({"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}});
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": {
                "description": "A line; how lines of a worker come from now on; or the problem that ends the stream.",
                "enum": ["message", "notice", "problem"],
            },
            "id": {"description": "Go on after this.", "type": "string"},
            "retry": {"description": "Milliseconds after which to come again.", "type": "integer"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [schema_of::<Line>(), schema_of::<ProblemView>(), notice]},
            },
        },
    })
}

fn from() -> Parameter {
    period("from", "Lines of then or later; a day ago when it is not given.")
}

fn to() -> Parameter {
    period("to", "Lines up to then; now when it is not given.")
}

/// The filters of lines.
fn wanted(operation: Operation) -> Operation {
    let example = format!("job_id:\"{EXAMPLE_JOB}\" AND level:\"ERROR\"");
    let ids = [
        ("job_id", EXAMPLE_JOB, "Lines of one of these jobs."),
        ("task_id", EXAMPLE_TASK, "Lines of one of these tasks."),
        ("worker_id", EXAMPLE_WORKER, "Lines of tasks on one of these workers."),
        (
            "level",
            "ERROR",
            "Lines of one of these levels, in any case: TRACE, DEBUG, INFO, WARN, ERROR, FATAL; or by another word for one.",
        ),
    ];
    let about = "A filter in LogsQL (https://docs.victoriametrics.com/victorialogs/logsql/), without pipes. What cannot be \
                 answered as VictoriaLogs answers it is refused.";
    let query = Parameter::query("query", text(), about).example(example);
    ids.into_iter()
        .fold(operation.takes(query), |operation, (name, example, about)| {
            let one = if name == "level" { level() } else { text() };
            operation.takes(Parameter::repeated(name, &one, about).example(json!([example])))
        })
        .problem(400, &["INVALID_QUERY", "QUERY_HAS_PIPES", "UNSUPPORTED_QUERY"])
}

/// A word for a level, in any case.
fn level() -> Value {
    let any_case = |word: &str| -> String {
        let letters = word.chars();
        letters
            .flat_map(|letter| ['[', letter, letter.to_ascii_lowercase(), ']'])
            .collect()
    };
    let words: Vec<String> = level_words().map(any_case).collect();
    text_like(&format!("^({})$", words.join("|")))
}

/// A time that may be relative to now.
fn period(name: &str, about: &str) -> Parameter {
    let schema = json!({
        "description": "RFC 3339, a day, now, or relative to now.",
        "type": "string",
        "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2}.*|now([+-].+)?|-.+|\\+.+)$",
        "examples": ["2026-01-31T10:00:00Z", "2026-01-31", "-1h", "now-90s"],
    });
    Parameter::query(name, schema, about).example("-1h")
}

fn intake() -> Operation {
    let incarnation = json!({"type": "string", "format": "uuid"});
    let number = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    let content = json!({NDJSON: {"schema": {"type": "string"}}});
    post(
        "/api/v1/internal/logs/{incarnation}/{number}",
        "addLogs",
        Tag::Internal,
        "Hand over lines of tasks",
    )
    .about("A batch that was taken before is answered alike and not kept again.")
    .takes(Parameter::path_of("incarnation", incarnation, "The worker process."))
    .takes(Parameter::path_of(
        "number",
        number,
        "Of the batch: rises with each of the process.",
    ))
    .takes(Parameter::query(
        "vector",
        flag(),
        "A Vector gets the same lines: a VictoriaLogs has them from there.",
    ))
    .body(
        "One JSON object a line, of at most 2 MiB. Read as such whatever type it declares.",
        content,
    )
    .answers_nothing(204, "They are kept.")
    .problem(400, &["BROKEN_BODY", "INVALID_ID", "INVALID_LINES"])
    .problem(408, &["BODY_TIMEOUT"])
}

fn written(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(about))
}

impl PartialSchema for Line {
    fn schema() -> RefOr<Schema> {
        let others: Schema = ObjectBuilder::new().schema_type(Type::String).build().into();
        let attempt = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .description(Some("The number of the attempt that wrote it."));
        let object = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "A line that a task wrote; beside these fields those that it brought as JSON, with their paths as names, and \
                 stack_trace.",
            ))
            .property("@timestamp", reference::<Timestamp>())
            .property("message", written("What was written, without its end and colours."))
            .property("level", written("TRACE, DEBUG, INFO, WARN, ERROR or FATAL."))
            .property("logger_name", written("As the line has it, else the stream."))
            .property("job_id", written("The job."))
            .property("task_id", written("The task."))
            .property("worker_id", written("The worker that ran it."))
            .property("attempt", attempt)
            .property("source", written("task: what the task wrote; worker: what the worker says of its output."))
            .property("service", written("grid."))
            .property("stream", written("stdout or stderr."))
            .required("@timestamp")
            .required("message")
            .required("level")
            .required("logger_name")
            .required("job_id")
            .required("task_id")
            .required("worker_id")
            .required("source")
            .required("service")
            .required("stream")
            .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(others))));
        RefOr::T(object.into())
    }
}

impl ToSchema for Line {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("LogLine")
    }

    fn schemas(schemas: &mut Vec<Named>) {
        named::<Timestamp>(schemas);
    }
}
