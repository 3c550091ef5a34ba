//! What can be done with jobs.

use serde_json::{Value, json};

use super::operation::{Operation, Tag, delete, get, post};
use super::parameter::{Parameter, flag, one_of, text, text_like};
use crate::api::explain::JobExplanation;
use crate::api::page::List;
use crate::api::purge::PurgeView;
use crate::api::submit::DryRunView;
use crate::api::view::{At, JobView};
use crate::document::ErrorCode;
use crate::domain::JobStatus;
use crate::projection::JobSort;

/// The component that holds the schema of the job document.
pub const DOCUMENT: &str = "JobDocument";

const EXAMPLE_YAML: &str = "externalId: two-greetings\ntasks:\n  - externalId: hello\n    command: [echo, hello]\n    \
                            replicas: 2\n";

pub fn operations() -> Vec<Operation> {
    vec![
        filters(get("/api/v1/jobs", "listJobs", Tag::Jobs, "List jobs"))
            .sorted::<JobSort>()
            .about("Newest first unless sorted otherwise; the id breaks ties.")
            .paged(20)
            .answers::<List<JobView>>(200, "A page of jobs."),
        submit(),
        changing(delete("/api/v1/jobs/kill/{id}", "killJob", Tag::Jobs, "Kill a job")).about(
            "Ends every task that is unfinished; a running program is killed. A job that has finished is answered as it is.",
        ),
        get("/api/v1/jobs/{id}", "getJob", Tag::Jobs, "Look at a job")
            .of_job()
            .at_least_as_new()
            .tagged()
            .or_as_it_was::<JobView>(),
        document(),
        get("/api/v1/jobs/{id}/events", "listJobEvents", Tag::Jobs, "List what happened to a job")
            .about("Its own events; those of its tasks are with them.")
            .of_job()
            .history(),
        get("/api/v1/jobs/{id}/explain", "explainJob", Tag::Jobs, "Why a job is not further")
            .about("And what would change it.")
            .of_job()
            .at_least_as_new()
            .answers::<JobExplanation>(200, "The explanation.")
            .problem(500, &["QUARANTINED"]),
        purge(),
        changing(post("/api/v1/jobs/{id}/retry", "retryJob", Tag::Jobs, "Retry what failed"))
            .about("Every failed task of the job is ready again.")
            .problem(409, &["NOTHING_FAILED", "BEING_ENDED", "JOB_PURGED"]),
        changing(post("/api/v1/jobs/{id}/stop", "stopJob", Tag::Jobs, "Stop a job")).about(
            "A running pipeline ends its sources, flushes and completes; a program is asked to end (SIGTERM) and completes \
             with exit 0; other unfinished tasks fail as KILLED. A job that has finished is answered as it is.",
        ),
    ]
}

/// A command to a job, answered with the job as it is then.
fn changing(operation: Operation) -> Operation {
    operation
        .of_job()
        .once()
        .answers::<At<JobView>>(200, "The job as it is then.")
        .may_be_replayed(200)
}

/// A label and its value.
pub fn pair() -> Value {
    text_like("^[^=:\\x00]+[=:][^\\x00]*$")
}

/// The filters of jobs.
pub fn filters(operation: Operation) -> Operation {
    let statuses = one_of(JobStatus::ALL.map(JobStatus::name));
    operation
        .takes(Parameter::repeated(
            "status",
            &statuses,
            "Jobs with one of these statuses.",
        ))
        .takes(Parameter::repeated(
            "externalId",
            &text(),
            "Jobs with one of these names.",
        ))
        .labelled("Jobs with this label")
        .created("Jobs submitted")
}

fn submit() -> Operation {
    let document = schema_of_document();
    let content = json!({
        "application/json": {"schema": document, "example": {
            "externalId": "two-greetings",
            "tasks": [{"externalId": "hello", "command": ["echo", "hello"], "replicas": 2}],
        }},
        "application/yaml": {"schema": document, "example": EXAMPLE_YAML},
    });
    post("/api/v1/jobs", "submitJob", Tag::Jobs, "Submit a job")
        .about(
            "The document says what is to run. What is wrong with it is told whole, each mistake with its place. Besides what \
             the schema says, names are unique and pipelines valid.",
        )
        .takes(Parameter::query("dryRun", flag(), "Only check the document; submit nothing."))
        .body("A document of at most 1 MiB, as JSON or YAML.", content)
        .once()
        .answers::<At<JobView>>(201, "The job was accepted.")
        .may_be_replayed(201)
        .with_header(201, "Location", &json!({"type": "string", "format": "uri-reference"}), "Of the job.")
        .leads_to(201, "getJob", json!({"id": "$response.body#/jobId", "minPosition": "$response.body#/position"}))
        .leads_to(201, "listTasks", json!({"id": "$response.body#/jobId"}))
        .leads_to(201, "getDocument", json!({"id": "$response.body#/jobId"}))
        .leads_to(201, "listJobEvents", json!({"id": "$response.body#/jobId"}))
        .leads_to(201, "stopJob", json!({"id": "$response.body#/jobId"}))
        .leads_to(201, "retryJob", json!({"id": "$response.body#/jobId"}))
        .leads_to(201, "killJob", json!({"id": "$response.body#/jobId"}))
        .answers::<DryRunView>(200, "dryRun: the document is good.")
        .takes_document()
}

impl Operation {
    /// What a document can be refused for.
    #[must_use]
    pub fn takes_document(self) -> Self {
        let mistakes: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| code.to_string().to_uppercase())
            .collect();
        let mistakes: Vec<&str> = mistakes.iter().map(String::as_str).collect();
        self.problem(400, &["INVALID_DOCUMENT", "BROKEN_BODY"])
            .problem(400, &mistakes)
            .problem(408, &["BODY_TIMEOUT"])
            .problem(409, &["ID_TAKEN"])
            .problem(413, &["TOO_LARGE"])
            .problem(415, &["UNSUPPORTED_MEDIA_TYPE"])
    }
}

fn document() -> Operation {
    let document = json!({"description": "The bytes as they were sent."});
    get(
        "/api/v1/jobs/{id}/document",
        "getDocument",
        Tag::Jobs,
        "Fetch a job's document",
    )
    .about("As it was submitted, byte by byte, in the type that it had.")
    .of_job()
    .problem(410, &["DOCUMENT_PURGED"])
    .at_least_as_new()
    .answers_with(200, "The document.", "application/json", schema_of_document())
    .answers_with(200, "The document.", "application/yaml", document)
}

fn purge() -> Operation {
    post("/api/v1/jobs/{id}/purge", "purgeJob", Tag::Jobs, "Erase what is known of a job beside the log")
        .about(
            "Lines, points of metrics, dead letters, checkpoints, and the document, where no other job has the same: for \
             ever. The log keeps the events and the document's hash, as `keeps` says. From then on the document is answered \
             with 410 and a retry with 409. Once more, it removes what came meanwhile.",
        )
        .of_job()
        .takes(Parameter::query("dryRun", flag(), "Only tell what would be removed."))
        .answers::<PurgeView>(200, "What was removed, or would be.")
        .problem(409, &["NOT_FINISHED", "CANNOT_ERASE"])
        .problem(503, &["READ_MODEL_BEHIND"])
}

/// Of a job document.
pub fn schema_of_document() -> Value {
    json!({"$ref": format!("#/components/schemas/{DOCUMENT}")})
}
