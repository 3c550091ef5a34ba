//! What the cluster says of itself, and what only workers ask.

use serde_json::json;

use super::forms::schema_of;
use super::operation::{Operation, Tag, get};
use super::parameter::{Parameter, text_like, whole};
use crate::api::feed::{FeedView, LONGEST_WAIT_SECONDS, MOST_EVENTS};
use crate::api::page::List;
use crate::api::schema::FilesView;
use crate::api::system::{InfoView, LiveView, ReadyView, SetupView};
use crate::api::view::QuarantinedView;
use crate::domain::JobId;
use crate::projection::PositionToken;

pub fn operations() -> Vec<Operation> {
    let text = json!({"type": "string"});
    let mut all = vec![
        events(),
        get("/api/v1/info", "getInfo", Tag::System, "What this cluster is")
            .answers::<InfoView>(200, "The server, its version, and its log."),
        get(
            "/api/v1/quarantine",
            "listQuarantine",
            Tag::System,
            "List what could not be processed",
        )
        .about("Commands, reports and events that failed again and again and were put aside.")
        .paged(50)
        .answers::<List<QuarantinedView>>(200, "A page of what is in quarantine."),
        get(
            "/api/v1/schema",
            "listSchemas",
            Tag::System,
            "List the files that describe Grid",
        )
        .about("Of its events, its messages and its documents.")
        .tagged()
        .answers::<FilesView>(200, "The files."),
        schema_file(),
        get("/health/live", "getLive", Tag::System, "Whether the process runs").answers::<LiveView>(200, "It does."),
        get(
            "/health/ready",
            "getReady",
            Tag::System,
            "Whether the process can serve",
        )
        .answers::<ReadyView>(200, "It can.")
        .answers::<ReadyView>(503, "It waits for something.")
        .with_header(503, "Retry-After", &json!({"type": "integer"}), "Seconds to wait."),
        get("/metrics", "getMetrics", Tag::System, "Metrics of the process")
            .about("In Prometheus' text format.")
            .answers_with(200, "The metrics.", "text/plain", text.clone()),
        get("/api/openapi.json", "getDescription", Tag::System, "This description")
            .tagged()
            .answers_with(200, "OpenAPI 3.1.", "application/json", json!({"type": "object"})),
        get("/api/docs", "getDocs", Tag::System, "This description, to browse").answers_with(
            200,
            "A page that loads nothing from elsewhere.",
            "text/html",
            text,
        ),
    ];
    all.extend(internal());
    all
}

fn events() -> Operation {
    let after = json!({
        "description": "A position, end, or nothing for the beginning.",
        "anyOf": [schema_of::<PositionToken>(), {"const": "end"}],
    });
    get("/api/v1/events", "followEvents", Tag::System, "Read the whole log, or follow it")
        .about(
            "Events of all histories, or of one job and its tasks. Reading on after the `after` of any event gives each later \
             one once. With `wait`, an answer without events comes only after so many seconds.",
        )
        .uses::<JobId>()
        .takes(Parameter::query("after", after, "Events after this place."))
        .takes(Parameter::query("jobId", schema_of::<JobId>(), "Only events of this job and its tasks."))
        .takes(Parameter::query("limit", whole(1, MOST_EVENTS, 500), "How many events at most.").example(100))
        .takes(Parameter::query("wait", whole(0, LONGEST_WAIT_SECONDS, 0), "Seconds to wait for events.").example(0))
        .answers::<FeedView>(200, "The next events.")
        .problem(400, &["INVALID_ID"])
        .problem(404, &["NOT_FOUND"])
        .problem(410, &["GONE"])
}

fn schema_file() -> Operation {
    let text = json!({"type": "string"});
    let name = Parameter::path_of(
        "name",
        text_like("^.+$"),
        "The file's name, as in the list; it may have slashes.",
    );
    get(
        "/api/v1/schema/{name:.+}",
        "getSchema",
        Tag::System,
        "Fetch a file that describes Grid",
    )
    .takes(name.example("job.schema.json"))
    .tagged()
    .answers_with(200, "The file.", "application/schema+json", json!({"type": "object"}))
    .answers_with(200, "The file.", "application/json", json!({"type": "object"}))
    .answers_with(200, "The file.", "application/yaml", json!({}))
    .answers_with(200, "The file.", "text/markdown", text.clone())
    .answers_with(200, "The file.", "text/plain", text)
    .problem(404, &["NOT_FOUND"])
}

fn internal() -> [Operation; 2] {
    let hash = text_like("^[0-9a-f]{64}$");
    let document = json!({"type": "object", "description": "A job document with its defaults filled in."});
    [
        get(
            "/api/v1/internal/setup",
            "getSetup",
            Tag::Internal,
            "What a worker has to know of the log",
        )
        .answers::<SetupView>(200, "Which log, and in how many shards."),
        get(
            "/api/v1/internal/documents/{hash}",
            "getNormalisedDocument",
            Tag::Internal,
            "Fetch a document by its hash",
        )
        .takes(Parameter::path_of(
            "hash",
            hash,
            "SHA-256 of the normalised document, in hexadecimal digits.",
        ))
        .answers_with(200, "The normalised document.", "application/json", document)
        .problem(400, &["INVALID_ID"])
        .problem(404, &["NOT_FOUND"]),
    ]
}
