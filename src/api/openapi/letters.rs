//! Dead letters.

use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::forms::{Named, object_of, schema_of};
use super::jobs::schema_of_document;
use super::operation::{Operation, Tag, get, post};
use super::parameter::{Parameter, text};
use crate::api::letters::{DeadLetterList, DeadLetterView, ReplayView};
use crate::api::view::{At, JobView};
use crate::domain::TaskId;

const NDJSON: &str = "application/x-ndjson";

pub fn operations() -> Vec<Operation> {
    vec![
        sought(get(
            "/api/v1/jobs/{id}/dead-letters",
            "listDeadLetters",
            Tag::Jobs,
            "List records that failed",
        ))
        .about(
            "Records that the job's pipelines could not process, by task and in the order in which they failed. So many are \
             kept of a job, and so many bytes (api.dead_letters_per_job); what failed beyond them is only counted.",
        )
        .paged(50)
        .answers::<DeadLetterList>(200, "A page of dead letters, and what the whole job has."),
        sought(get(
            "/api/v1/jobs/{id}/dead-letters/export",
            "exportDeadLetters",
            Tag::Jobs,
            "Records that failed, as a file",
        ))
        .about("A JSON object a line, in the order of the list. One that breaks off ends without its last chunk.")
        .uses::<DeadLetterView>()
        .answers_with(200, "The dead letters.", NDJSON, json!({"type": "string"}))
        .with_header(200, "Content-Disposition", &json!({"type": "string"}), "The name of the file."),
        replay(),
        intake(),
        records(),
    ]
}

fn sought(operation: Operation) -> Operation {
    let task = Parameter::query("task", schema_of::<TaskId>(), "Only those of this task of the job.");
    operation
        .of_job()
        .uses::<TaskId>()
        .takes(task)
        .takes(Parameter::query("node", text(), "Only those that failed at the node of this id.").example("strong"))
}

fn replay() -> Operation {
    let document = schema_of_document();
    let content = json!({"application/json": {"schema": document}, "application/yaml": {"schema": document}});
    sought(post(
        "/api/v1/jobs/{id}/dead-letters/replay",
        "replayDeadLetters",
        Tag::Jobs,
        "Replay records that failed",
    ))
    .about(
        "Submits a new job, whose pipelines begin at the nodes at which the records failed, with exactly these records. Its \
         document is that of the job, or the one in the body: the same, with its mistake mended. Files are written beside those \
         of the first run, with .replay-<number> in their names; its sink of dead letters is left out: what fails again is \
         a dead letter of the new job.",
    )
    .optional_body("A mended document, in which pipelines and nodes have the names that they had.", content)
    .once()
    .answers::<At<ReplayView>>(201, "The job that replays them.")
    .may_be_replayed(201)
    .with_header(201, "Location", &json!({"type": "string", "format": "uri-reference"}), "Of the job.")
    .takes_document()
    .problem(409, &["NOTHING_TO_REPLAY"])
    .problem(422, &["DOCUMENT_DOES_NOT_FIT"])
}

fn intake() -> Operation {
    let content = json!({NDJSON: {"schema": {"type": "string"}}});
    post(
        "/api/v1/internal/dead-letters",
        "addDeadLetters",
        Tag::Internal,
        "Hand over records that failed",
    )
    .about("What was taken before is answered alike and not kept again.")
    .body(
        "One JSON object a line, of at most 2 MiB. Read as such whatever type it declares.",
        content,
    )
    .answers_nothing(204, "They are kept, or counted.")
    .problem(400, &["BROKEN_BODY", "INVALID_LETTERS"])
    .problem(408, &["BODY_TIMEOUT"])
}

fn records() -> Operation {
    let number = |minimum: u32, maximum: i64| json!({"type": "integer", "minimum": minimum, "maximum": maximum});
    let task = number(0, i64::from(i32::MAX));
    get(
        "/api/v1/internal/dead-letters/{id}",
        "readDeadLetters",
        Tag::Internal,
        "What a replay reads",
    )
    .about("The whole records, one a line.")
    .of_job()
    .takes(Parameter::query("node", text(), "Of the node of this id."))
    .takes(Parameter::query(
        "firstTask",
        task.clone(),
        "Of tasks from this number.",
    ))
    .takes(Parameter::query("lastTask", task, "Of tasks up to this number."))
    .takes(Parameter::query(
        "upTo",
        number(0, i64::MAX),
        "Of those kept up to this id.",
    ))
    .takes(Parameter::query("count", number(0, i64::MAX), "There must be so many."))
    .takes(Parameter::query(
        "raw",
        json!({"type": "boolean", "default": false}),
        "Only texts that could not be read, as they were.",
    ))
    .answers_with(200, "The records.", NDJSON, json!({"type": "string"}))
    .problem(409, &["DEAD_LETTERS_CHANGED"])
}

fn count(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .description(Some(about))
}

impl PartialSchema for ReplayView {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::from(object_of::<JobView>())
            .property("replayed", count("Records that it reads."))
            .property(
                "leftOut",
                count("Letters that cannot be replayed: cut ones, and rows of csv files that could not be read."),
            );
        RefOr::T(object.into())
    }
}

impl ToSchema for ReplayView {
    fn name() -> std::borrow::Cow<'static, str> {
        "Replay".into()
    }

    fn schemas(schemas: &mut Vec<Named>) {
        JobView::schemas(schemas);
    }
}
