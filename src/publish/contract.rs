//! What readers of `grid.events` are promised, made from the code: a JSON Schema of each type's data and of the headers,
//! and an AsyncAPI document of the topic. The files in schema/ are these, byte for byte; tests compare them.
//!
//! Must stay true: a schema comes from the very type that is written, so no field can be forgotten; within a version only
//! optional fields are added (schema/released/ has what readers already count on).

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::domain::Timestamp;
use crate::domain::event::{
    AttemptEnded, FanOutAdvanced, JobDeadlineReached, JobFinished, JobKillRequested, JobRetryRequested,
    JobStopRequested, JobSubmitted, RetryCancelled, RetryScheduled, TaskCompleted, TaskFailed, TaskReady,
    TaskScheduled, TaskStarted, WorkerCordoned, WorkerDrainRequested, WorkerLeft, WorkerRegistered, WorkerUncordoned,
};
use crate::event::EVENT_VERSION;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// A type of event as it is written today.
#[derive(Clone, Copy)]
pub struct EventType {
    pub name: &'static str,
    pub version: u16,
    data: fn() -> Value,
}

impl EventType {
    /// `<Type>.v<version>`.
    pub fn versioned(&self) -> String {
        format!("{}.v{}", self.name, self.version)
    }
}

const fn of<T: JsonSchema>(name: &'static str) -> EventType {
    EventType {
        name,
        version: EVENT_VERSION,
        data: data::<T>,
    }
}

/// Every type that is written.
pub const TYPES: [EventType; 20] = [
    of::<JobSubmitted>("JobSubmitted"),
    of::<JobKillRequested>("JobKillRequested"),
    of::<JobStopRequested>("JobStopRequested"),
    of::<JobRetryRequested>("JobRetryRequested"),
    of::<JobDeadlineReached>("JobDeadlineReached"),
    of::<FanOutAdvanced>("FanOutAdvanced"),
    of::<JobFinished>("JobFinished"),
    of::<TaskReady>("TaskReady"),
    of::<TaskScheduled>("TaskScheduled"),
    of::<TaskStarted>("TaskStarted"),
    of::<TaskCompleted>("TaskCompleted"),
    of::<TaskFailed>("TaskFailed"),
    of::<RetryScheduled>("RetryScheduled"),
    of::<RetryCancelled>("RetryCancelled"),
    of::<AttemptEnded>("AttemptEnded"),
    of::<WorkerRegistered>("WorkerRegistered"),
    of::<WorkerLeft>("WorkerLeft"),
    of::<WorkerCordoned>("WorkerCordoned"),
    of::<WorkerUncordoned>("WorkerUncordoned"),
    of::<WorkerDrainRequested>("WorkerDrainRequested"),
];

/// A header of every message, or of some.
struct Header {
    name: &'static str,
    required: bool,
    description: &'static str,
    form: Form,
}

/// Headers are text; this is what it looks like.
enum Form {
    Exactly(&'static str),
    Pattern(&'static str),
    Time,
    /// `{}` stands for a uuid.
    Uuids(&'static str),
    Text,
}

const fn header(name: &'static str, required: bool, form: Form, description: &'static str) -> Header {
    Header {
        name,
        required,
        description,
        form,
    }
}

const HEADERS: [Header; 15] = [
    header("ce_specversion", true, Form::Exactly("1.0"), "Version of CloudEvents."),
    header(
        "ce_id",
        true,
        Form::Pattern("^[0-9]+-[1-9][0-9]*$"),
        "<shard>-<position>: unique within its source.",
    ),
    header(
        "ce_type",
        true,
        Form::Pattern("^grid\\.[A-Za-z]+\\.v[1-9][0-9]*$"),
        "grid.<Type>.v<version>, such as grid.TaskCompleted.v1.",
    ),
    header(
        "ce_source",
        true,
        Form::Uuids("^/grid/{}$"),
        "/grid/<timeline>: the log; another one after a restore from a backup.",
    ),
    header(
        "ce_subject",
        true,
        Form::Uuids("^(job-{}|task-{}-[1-9][0-9]*|worker-[A-Za-z0-9._-]{1,100})$"),
        "Whose history it belongs to: a job, a task or a worker.",
    ),
    header(
        "ce_time",
        true,
        Form::Time,
        "When it was decided: RFC 3339, UTC, milliseconds; never runs backwards within a partition.",
    ),
    header("content-type", true, Form::Exactly("application/json"), "Of the value."),
    header(
        "ce_position",
        true,
        Form::Pattern("^[1-9][0-9]*$"),
        "Its place in the shard, rising from 1.",
    ),
    header(
        "ce_prevposition",
        true,
        Form::Pattern("^(0|[1-9][0-9]*)$"),
        "The position published before it; 0: none.",
    ),
    header(
        "ce_epoch",
        true,
        Form::Pattern("^[1-9][0-9]*$"),
        "The ownership of the shard in which it was published.",
    ),
    header(
        "ce_streamversion",
        true,
        Form::Pattern("^[1-9][0-9]*$"),
        "Its place in the history of its subject (of a worker: of one of its processes), from 1, gapless.",
    ),
    header("ce_principal", true, Form::Text, "Who wished or reported it."),
    header(
        "ce_commandid",
        false,
        Form::Uuids("^{}$"),
        "The client's command, when one asked for exactly this.",
    ),
    header(
        "ce_causationid",
        false,
        Form::Uuids("^{}$"),
        "The command from which it follows.",
    ),
    header(
        "ce_traceparent",
        false,
        Form::Pattern("^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"),
        "W3C trace context.",
    ),
];

/// The schema of the headers, as an object of texts.
pub fn headers() -> Value {
    let mut properties = Map::new();
    for header in &HEADERS {
        let mut schema = match header.form {
            Form::Exactly(text) => json!({ "type": "string", "const": text }),
            Form::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
            Form::Uuids(pattern) => json!({ "type": "string", "pattern": pattern.replace("{}", UUID) }),
            Form::Time => plain::<Timestamp>(),
            Form::Text => json!({ "type": "string", "minLength": 1 }),
        };
        schema["description"] = header.description.into();
        properties.insert(header.name.to_owned(), schema);
    }
    let required: Vec<&str> = HEADERS.iter().filter(|it| it.required).map(|it| it.name).collect();
    json!({
        "$schema": DIALECT,
        "title": "Headers of a message of grid.events",
        "description": "A CloudEvent 1.0 in Kafka's binary mode. Unknown headers are to be ignored.",
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

fn plain<T: JsonSchema>() -> Value {
    let mut value = data::<T>();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, _| key != "$schema" && key != "title");
    }
    value
}

/// The schema of what is written of a type.
fn data<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(tidy);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Says numbers' ranges in the standard's own words, leaves out what is no promise, and `null`: what is not there is left
/// out.
fn tidy(schema: &mut Schema) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("default");
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    let range = match fields.get("format").and_then(Value::as_str) {
        Some("uint16") => Some((json!(0), json!(u16::MAX))),
        Some("uint32") => Some((json!(0), json!(u32::MAX))),
        Some("uint64") => Some((json!(0), json!(u64::MAX))),
        Some("int32") => Some((json!(i32::MIN), json!(i32::MAX))),
        _ => None,
    };
    if let Some((least, most)) = range {
        fields.remove("format");
        fields.insert("minimum".into(), least);
        fields.insert("maximum".into(), most);
    }
    if fields.get("format").is_some_and(|format| format == "double") {
        fields.remove("format");
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(mut choices)) = fields.remove("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        match &mut choices[..] {
            [Value::Object(only)] => fields.append(only),
            _ => drop(fields.insert("anyOf".into(), choices.into())),
        }
    }
    transform_subschemas(&mut tidy, schema);
}

/// Every file of the contract: its path under schema/, and its text. `older` are versions that are not written any more
/// but stand in the log, as `<Type>.v<version>`: their schemas are in `released/`.
pub fn files(older: &[String]) -> BTreeMap<String, String> {
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    let mut files = BTreeMap::new();
    files.insert("events/headers.json".to_owned(), text(&headers()));
    let mut messages = Vec::new();
    for event in TYPES {
        let mut schema = (event.data)();
        schema["title"] = format!("Data of grid.{}", event.versioned()).into();
        let path = format!("events/{}.json", event.versioned());
        let summary = schema.get("description").cloned().unwrap_or_default();
        messages.push((event.versioned(), path.clone(), summary));
        files.insert(path, text(&schema));
    }
    for versioned in older {
        let path = format!("released/{versioned}.json");
        messages.push((versioned.clone(), path, "Not written any more.".into()));
    }
    files.insert("asyncapi.json".to_owned(), text(&asyncapi(&messages)));
    files
}

/// The topic: (type and version, file of its schema, summary) of each message.
fn asyncapi(messages: &[(String, String, Value)]) -> Value {
    let refer = |(name, _, _): &(String, String, Value)| {
        let to = json!({ "$ref": format!("#/components/messages/{name}") });
        (name.clone(), to)
    };
    // Not a reference: the schema of AsyncAPI's Kafka bindings takes none.
    let key = json!({
        "description": "job-<uuid> or worker-<name>: all events of a job, those of its tasks included, have the same.",
        "type": "string",
        "pattern": format!("^(job-{UUID}|worker-[A-Za-z0-9._-]{{1,100}})$"),
    });
    let message = |(name, path, summary): &(String, String, Value)| {
        let message = json!({
            "name": format!("grid.{name}"),
            "summary": summary,
            "contentType": "application/json",
            "headers": { "$ref": "./events/headers.json" },
            "payload": { "$ref": format!("./{path}") },
            "bindings": { "kafka": { "key": key, "bindingVersion": "0.5.0" } },
        });
        (name.clone(), message)
    };
    let channel: Map<String, Value> = messages.iter().map(refer).collect();
    let components: Map<String, Value> = messages.iter().map(message).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Grid's events",
            "version": "1.0.0",
            "description": "Everything that happened to jobs, tasks and workers, in the order of the log. Each partition \
                            is one shard. The rule by which a reader applies every event exactly once is in events.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "grid.events",
                "description": "Partition = shard; key = id of the job, or of the worker. The prefix is configurable \
                                (kafka.topic_prefix).",
                "messages": channel,
            },
        },
        "operations": {
            "readEvents": { "action": "receive", "channel": { "$ref": "#/channels/events" } },
        },
        "components": { "messages": components },
    })
}
