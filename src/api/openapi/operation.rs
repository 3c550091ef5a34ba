//! One operation: what it takes and everything that it can answer.
//!
//! What all operations of a kind have in common is said once, here: who adds a parameter or a command gets the problems
//! that come with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::forms::{self, Cursor, Named, WorkerId, named, schema_of};
use super::jobs::pair;
use super::parameter::{Parameter, one_of, time, whole};
use crate::api::as_of::AsOf;
use crate::api::page::List;
use crate::api::problem::ProblemView;
use crate::api::view::EventView;
use crate::api::{Access, Role};
use crate::domain::{Event, JobId, TaskId};
use crate::projection::{PositionToken, SortField};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// What any request can be answered by what stands before the handlers.
const AT_THE_GATE: [(u16, &str); 9] = [
    (400, "INVALID_HOST"),
    (401, "UNAUTHENTICATED"),
    (403, "ORIGIN_NOT_ALLOWED"),
    (413, "TOO_LARGE"),
    (421, "HOST_NOT_ALLOWED"),
    (429, "RATE_LIMITED"),
    (500, "INTERNAL"),
    (503, "UNAVAILABLE"),
    (504, "REQUEST_TIMEOUT"),
];

/// A group of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Jobs,
    Tasks,
    Workers,
    Logs,
    Tokens,
    System,
    Internal,
}

impl Tag {
    pub const ALL: [Self; 7] = [
        Self::Jobs,
        Self::Tasks,
        Self::Workers,
        Self::Logs,
        Self::Tokens,
        Self::System,
        Self::Internal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Tasks => "tasks",
            Self::Workers => "workers",
            Self::Logs => "logs",
            Self::Tokens => "tokens",
            Self::System => "system",
            Self::Internal => "internal",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Self::Jobs => "Sets of tasks that were submitted together.",
            Self::Tasks => "What a job is made of, and their retries.",
            Self::Workers => "The processes that run tasks.",
            Self::Logs => "What tasks wrote.",
            Self::Tokens => "Who may use the API. Made with access to the database: `grid token create`.",
            Self::System => "What the cluster says of itself.",
            Self::Internal => "What workers ask: not for others, and free to change.",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Answer {
    about: String,
    content: BTreeMap<String, Value>,
    headers: BTreeMap<String, Value>,
    links: BTreeMap<String, Value>,
    codes: BTreeSet<String>,
}

/// An operation of the API.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: &'static str,
    /// As in the table of routes.
    pub path: &'static str,
    pub id: &'static str,
    tag: Tag,
    summary: &'static str,
    about: String,
    parameters: Vec<Parameter>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
    /// The schemas that it refers to.
    pub schemas: Vec<(String, Value)>,
}

pub fn get(path: &'static str, id: &'static str, tag: Tag, summary: &'static str) -> Operation {
    Operation::new("GET", path, id, tag, summary)
}

pub fn post(path: &'static str, id: &'static str, tag: Tag, summary: &'static str) -> Operation {
    Operation::new("POST", path, id, tag, summary)
}

pub fn delete(path: &'static str, id: &'static str, tag: Tag, summary: &'static str) -> Operation {
    Operation::new("DELETE", path, id, tag, summary)
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &'static str, tag: Tag, summary: &'static str) -> Self {
        let operation = Self {
            method,
            path,
            id,
            tag,
            summary,
            about: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            schemas: Vec::new(),
        };
        let operation = operation.uses::<ProblemView<'_>>();
        if path.starts_with("/api/") {
            operation.problem(400, &["UNKNOWN_PARAMETER", "INVALID_PARAMETER"])
        } else {
            operation
        }
    }

    /// What the summary leaves open, in whole sentences.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    #[must_use]
    pub fn takes(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// `{id}` of a job.
    #[must_use]
    pub fn of_job(self) -> Self {
        self.uses::<JobId>()
            .takes(Parameter::path::<JobId>("id", "The job.").example(forms::EXAMPLE_JOB))
            .problem(400, &["INVALID_ID"])
            .problem(404, &["NOT_FOUND"])
            .problem(410, &["GONE"])
    }

    /// `{id}` of a task.
    #[must_use]
    pub fn of_task(self) -> Self {
        self.uses::<TaskId>()
            .takes(Parameter::path::<TaskId>("id", "The task.").example(forms::EXAMPLE_TASK))
            .problem(400, &["INVALID_ID"])
            .problem(404, &["NOT_FOUND"])
            .problem(410, &["GONE"])
    }

    /// `{id}` of a worker.
    #[must_use]
    pub fn of_worker(self) -> Self {
        self.uses::<WorkerId>()
            .takes(Parameter::path::<WorkerId>("id", "The worker.").example(forms::EXAMPLE_WORKER))
            .problem(400, &["INVALID_ID"])
            .problem(404, &["NOT_FOUND"])
    }

    /// `minPosition`.
    #[must_use]
    pub fn at_least_as_new(self) -> Self {
        let about = "Waits until the answer is at least as new as this position, taken from an earlier answer.";
        self.uses::<PositionToken>()
            .takes(Parameter::query("minPosition", schema_of::<PositionToken>(), about))
            .problem(503, &["READ_MODEL_BEHIND"])
    }

    /// `asOf`, answered with the view as it was.
    #[must_use]
    pub fn or_as_it_was<T: ToSchema>(self) -> Self {
        let schema = json!({"anyOf": [schema_of::<T>(), schema_of::<AsOf<T>>()]});
        self.uses::<T>()
            .uses::<AsOf<T>>()
            .takes(Parameter::query(
                "asOf",
                time(),
                "As it was at this time, in the log's times.",
            ))
            .answers_with(200, "As it is; or as it was, when asked so.", JSON, schema)
            .problem(422, &["AS_OF_TOO_LONG"])
            .problem(429, &["OVERLOADED"])
            .problem(500, &["QUARANTINED"])
    }

    /// A page of a history, and the filters of one.
    #[must_use]
    pub fn history(self) -> Self {
        let mut order = one_of(["asc", "desc"]);
        order["default"] = json!("desc");
        let types = one_of(Event::TYPE_NAMES);
        self.paged(50)
            .takes(Parameter::query("order", order, "asc: the oldest first."))
            .takes(Parameter::repeated("type", &types, "Events of one of these types."))
            .takes(Parameter::query("from", time(), "Events of then or later."))
            .takes(Parameter::query("to", time(), "Events before."))
            .answers::<List<EventView>>(200, "A page of the history.")
    }

    /// `sort`.
    #[must_use]
    pub fn sorted<S: SortField>(self) -> Self {
        let orders = |name: &str| [name.to_owned(), format!("{name},asc"), format!("{name},desc")];
        let orders: Vec<String> = S::FIELDS.iter().flat_map(|(name, _)| orders(name)).collect();
        let schema = one_of(orders.iter().map(String::as_str));
        self.takes(Parameter::query(
            "sort",
            schema,
            "By what, and whether the least or the greatest comes first.",
        ))
    }

    /// `label`. `what`: which there are then.
    #[must_use]
    pub fn labelled(self, what: &str) -> Self {
        let about = format!(
            "{what}, as name=value or name:value. Of several with one name any suffices; every name must be met."
        );
        self.takes(Parameter::repeated("label", &pair(), &about).example(json!(["team=seismology"])))
    }

    /// `createdFrom` and `createdTo`. `what`: which there are then, up to the time.
    #[must_use]
    pub fn created(self, what: &str) -> Self {
        self.takes(Parameter::query(
            "createdFrom",
            time(),
            &format!("{what} then or later."),
        ))
        .takes(Parameter::query("createdTo", time(), &format!("{what} before.")))
    }

    /// The parameters of every list. `size`: how many items a page has when the client does not say.
    #[must_use]
    pub fn paged(self, size: u32) -> Self {
        let page = whole(0, u32::MAX, 0);
        self.uses::<Cursor>()
            .takes(Parameter::query("page", page, "The number of the page. Not together with cursor.").example(0))
            .takes(Parameter::query("size", whole(1, 500, size), "How many items a page has.").example(size))
            .takes(Parameter::query(
                "cursor",
                schema_of::<Cursor>(),
                "nextCursor of the page before, asked with the same filter and order. As quick on deep pages as on the \
                 first.",
            ))
            .at_least_as_new()
    }

    /// What every command can come to, besides its own refusals.
    #[must_use]
    pub fn commands(self) -> Self {
        self.problem(429, &["OVERLOADED"])
            .problem(500, &["QUARANTINED"])
            .problem(504, &["OUTCOME_UNKNOWN", "EXPIRED"])
    }

    /// A command that has its effect once under its key.
    #[must_use]
    pub fn once(self) -> Self {
        let key = json!({"type": "string", "pattern": "^([!#-~][!-~]{0,254}|\"[!#-\\[\\]-~]{1,255}\")$"});
        let about = "Of the client's choice, best a random uuid, good for a day: the same call sent again under it has its \
                     effect once and the same answer.";
        self.takes(Parameter::header("Idempotency-Key", key, about))
            .problem(400, &["INVALID_IDEMPOTENCY_KEY"])
            .problem(409, &["IDEMPOTENCY_KEY_IN_FLIGHT"])
            .problem(422, &["IDEMPOTENCY_KEY_REUSED"])
            .commands()
    }

    /// The types that a body can have, and its schema.
    #[must_use]
    pub fn body(mut self, about: &str, content: Value) -> Self {
        self.body = Some(json!({"description": about, "required": true, "content": content}));
        self
    }

    /// As [`Operation::body`], which may be left out.
    #[must_use]
    pub fn optional_body(mut self, about: &str, content: Value) -> Self {
        self.body = Some(json!({"description": about, "required": false, "content": content}));
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn json_body<T: ToSchema>(self, about: &str) -> Self {
        let content = json!({JSON: {"schema": schema_of::<T>()}});
        self.uses::<T>().body(about, content)
    }

    /// Names a schema that something refers to.
    #[must_use]
    pub fn uses<T: ToSchema>(mut self) -> Self {
        let mut found: Vec<Named> = Vec::new();
        named::<T>(&mut found);
        let found = found.into_iter();
        self.schemas
            .extend(found.map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())));
        self
    }

    fn answer(&mut self, status: u16) -> &mut Answer {
        self.answers.entry(status).or_default()
    }

    /// An answer in JSON.
    #[must_use]
    pub fn answers<T: ToSchema>(self, status: u16, about: &str) -> Self {
        self.uses::<T>().answers_with(status, about, JSON, schema_of::<T>())
    }

    /// An answer of any type.
    #[must_use]
    pub fn answers_with(mut self, status: u16, about: &str, media_type: &str, schema: Value) -> Self {
        let answer = self.answer(status);
        about.clone_into(&mut answer.about);
        answer.content.insert(media_type.to_owned(), json!({"schema": schema}));
        self
    }

    /// An answer without a body.
    #[must_use]
    pub fn answers_nothing(mut self, status: u16, about: &str) -> Self {
        about.clone_into(&mut self.answer(status).about);
        self
    }

    /// A header that the answer of this status always has.
    #[must_use]
    pub fn with_header(mut self, status: u16, name: &str, schema: &Value, about: &str) -> Self {
        let header = json!({"description": about, "schema": schema, "required": true});
        self.answer(status).headers.insert(name.to_owned(), header);
        self
    }

    /// A header that the answer of this status may have.
    #[must_use]
    pub fn may_have_header(mut self, status: u16, name: &str, schema: &Value, about: &str) -> Self {
        let header = json!({"description": about, "schema": schema});
        self.answer(status).headers.insert(name.to_owned(), header);
        self
    }

    /// The answer says whether it is that of an earlier call under the same key.
    #[must_use]
    pub fn may_be_replayed(self, status: u16) -> Self {
        let about = "An earlier call under the same key had the effect.";
        self.may_have_header(status, "Idempotency-Replayed", &json!({"const": "true"}), about)
    }

    /// The answer has an ETag, and who has it already is told so.
    #[must_use]
    pub fn tagged(self) -> Self {
        let tag = json!({"type": "string"});
        let about = "Changes with everything that can be seen of it: hand it back as If-None-Match.";
        self.takes(Parameter::header(
            "If-None-Match",
            tag.clone(),
            "The ETag of an earlier answer, to be told when it is still true.",
        ))
        .answers_nothing(304, "The client has it already.")
        .with_header(200, "ETag", &tag, about)
        .with_header(304, "ETag", &tag, about)
    }

    /// An operation that takes something out of the answer of this status.
    #[must_use]
    pub fn leads_to(mut self, status: u16, operation: &str, parameters: Value) -> Self {
        let link = json!({"operationId": operation, "parameters": parameters});
        self.answer(status).links.insert(operation.to_owned(), link);
        self
    }

    /// Problems that it can answer with, besides those that come with its parameters.
    #[must_use]
    pub fn problem(mut self, status: u16, codes: &[&str]) -> Self {
        let answer = self.answer(status);
        answer.codes.extend(codes.iter().map(|code| (*code).to_owned()));
        self
    }

    /// As OpenAPI writes it, when the route lets in whom `access` says.
    pub fn written(&self, access: Access) -> Value {
        let mut whole = self.clone();
        for (status, code) in AT_THE_GATE {
            whole = whole.problem(status, &[code]);
        }
        if matches!(access, Access::Least(_)) {
            whole = whole.problem(403, &["FORBIDDEN"]);
        }
        let answers = whole.answers.iter();
        let answers: Map<String, Value> = answers
            .map(|(status, answer)| (status.to_string(), answer.written(*status)))
            .collect();
        let mut written = json!({
            "operationId": self.id,
            "tags": [self.tag.name()],
            "summary": self.summary,
            "responses": answers,
            "security": security(access),
            "x-grid-role": access.to_string(),
        });
        if !self.about.is_empty() {
            written["description"] = json!(self.about);
        }
        if !self.parameters.is_empty() {
            written["parameters"] = self.parameters.iter().map(|parameter| parameter.0.clone()).collect();
        }
        if let Some(body) = &self.body {
            written["requestBody"] = body.clone();
        }
        written
    }
}

impl Answer {
    fn written(&self, status: u16) -> Value {
        let mut content = self.content.clone();
        let mut headers = self.headers.clone();
        let mut about = self.about.clone();
        if !self.codes.is_empty() {
            let codes: Vec<&String> = self.codes.iter().collect();
            let schema = json!({
                "allOf": [
                    schema_of::<ProblemView<'_>>(),
                    {"properties": {"code": {"enum": codes}, "status": {"const": status}}},
                ],
            });
            content.insert(PROBLEM.to_owned(), json!({"schema": schema}));
            if about.is_empty() {
                about = reason(status).to_owned();
            }
            headers.extend(headers_of_problem(status));
        }
        let mut written = json!({"description": about});
        let parts = [
            ("content", content),
            ("headers", headers),
            ("links", self.links.clone()),
        ];
        for (name, part) in parts {
            if !part.is_empty() {
                written[name] = part.into_iter().collect();
            }
        }
        written
    }
}

fn reason(status: u16) -> &'static str {
    let status = actix_web::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Problem")
}

fn headers_of_problem(status: u16) -> Option<(String, Value)> {
    match status {
        401 => Some(("WWW-Authenticate", "string", "How to show a token.", true)),
        429 => Some(("Retry-After", "integer", "Seconds to wait.", true)),
        409 | 503 | 504 => Some(("Retry-After", "integer", "Seconds to wait.", false)),
        _ => None,
    }
    .map(|(name, kind, about, required)| {
        let header = json!({"description": about, "required": required, "schema": {"type": kind}});
        (name.to_owned(), header)
    })
}

fn security(access: Access) -> Value {
    match access {
        Access::Open | Access::Secret => json!([]),
        Access::Least(Role::Viewer | Role::Operator | Role::Admin | Role::Worker) => json!([{"token": []}]),
    }
}
