//! The forms of texts and wrappers that views are made of, for the description of the API.
//!
//! What is said here holds of answers; parameters that take more forms than are given say so themselves.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, Array, KnownFormat, Object, ObjectBuilder, Ref, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::Role;
use crate::api::as_of::AsOf;
use crate::api::explain::explanation::Explanation;
use crate::api::explain::{JobExplanation, TaskExplanation};
use crate::api::feed::FeedItem;
use crate::api::page::List;
use crate::api::view::{At, EventView};
use crate::domain::event::{FailureReason, TaskState};
use crate::domain::{JobId, JobStatus, TaskId, Timestamp};
use crate::projection::PositionToken;

/// Hyphenated, as part of a pattern.
const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
pub const EXAMPLE_JOB: &str = "job-019a0000-0000-7000-8000-000000000001";
pub const EXAMPLE_TASK: &str = "task-019a0000-0000-7000-8000-000000000001-1";
pub const EXAMPLE_WORKER: &str = "worker-a";

pub type Named = (String, RefOr<Schema>);

fn text(about: &str, pattern: String, example: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(about))
        .pattern(Some(pattern))
        .examples([json!(example)]);
    RefOr::T(schema.into())
}

fn one_of(about: &str, names: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(about))
        .enum_values(Some(names));
    RefOr::T(schema.into())
}

/// Declares the form of a type whose JSON is a text.
macro_rules! forms {
    ($($type:ident as $name:literal: $schema:expr;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )+};
}

/// A worker's id in an answer.
pub struct WorkerId;
/// What a worker's heartbeats say of it.
pub struct WorkerState;
/// What a caller may do.
pub struct RoleName;
/// Where the next page begins.
pub struct Cursor;
/// Names and values that clients chose.
pub struct LabelSet;

forms! {
    JobId as "JobId": text(
        "A job. The prefix may be left out in a request.", format!("^(job-)?{UUID}$"), EXAMPLE_JOB);
    TaskId as "TaskId": text(
        "A task: its job's uuid and its number, from 1. The prefix may be left out in a request.",
        format!("^(task-)?{UUID}-[1-9][0-9]{{0,6}}$"), EXAMPLE_TASK);
    WorkerId as "WorkerId": text(
        "A worker: its name. The prefix may be left out in a request.",
        "^(worker-)?[A-Za-z0-9._-]{1,100}$".to_owned(), EXAMPLE_WORKER);
    PositionToken as "Position": text(
        "A place in the log: handed back as minPosition, an answer is at least as new. Opaque.",
        "^[A-Za-z0-9_-]+$".to_owned(), "AQGaAAAAAHAAgAAAAAAAAAEDKg");
    Cursor as "Cursor": text(
        "Names the page after the one that it came with; good for the same filter and order. Opaque.",
        "^[A-Za-z0-9_-]+$".to_owned(), "agAAAAAAAAAAAAAAAQ");
    JobStatus as "JobStatus": one_of(
        "EMPTY: it has no tasks. RUNNING: some are unfinished. COMPLETED: all completed. TIMEOUT: every failed task ran out \
         of time. FAILED: no failed task ran out of time, and some failed by themselves or none completed. MIXED: \
         anything else.",
        JobStatus::ALL.map(JobStatus::name));
    TaskState as "TaskState": one_of(
        "A failed task whose nextRetryAt is set will be ready again.", TaskState::ALL.map(state_name));
    FailureReason as "FailureReason": one_of(
        "Why an attempt failed; retryable says whether it may be tried again.",
        FailureReason::ALL.map(FailureReason::name));
    RoleName as "Role": one_of(
        "Viewer, operator and admin each include the ones before; a worker may use only what is for workers.",
        Role::ALL.map(Role::name));
    WorkerState as "WorkerState": one_of(
        "ACTIVE: heard of lately. INACTIVE: silent, or gone. PENDING: not heard of yet.",
        ["ACTIVE", "INACTIVE", "PENDING"]);
}

fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Ready => "READY",
        TaskState::Scheduled => "SCHEDULED",
        TaskState::Running => "RUNNING",
        TaskState::Completed => "COMPLETED",
        TaskState::Failed => "FAILED",
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, in UTC, with milliseconds."))
            .pattern(Some(
                r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
            ))
            .examples([json!("2026-01-31T10:00:00.000Z")]);
        RefOr::T(schema.into())
    }
}

impl ToSchema for Timestamp {}

impl PartialSchema for LabelSet {
    fn schema() -> RefOr<Schema> {
        let value = ObjectBuilder::new().schema_type(Type::String).build();
        let schema = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("Names and values that clients chose."))
            .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(value.into()))))
            .examples([json!({"team": "seismology"})]);
        RefOr::T(schema.into())
    }
}

impl ToSchema for LabelSet {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Labels")
    }
}

pub fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// A schema and all that it refers to, by name.
pub fn named<T: ToSchema>(schemas: &mut Vec<Named>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

pub fn object_of<T: PartialSchema>() -> Object {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        RefOr::T(_) | RefOr::Ref(_) => Object::default(),
    }
}

impl<T: ToSchema> PartialSchema for At<T> {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::from(object_of::<T>()).property("position", reference::<PositionToken>());
        RefOr::T(object.into())
    }
}

impl<T: ToSchema> ToSchema for At<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}AtPosition", T::name()))
    }

    fn schemas(schemas: &mut Vec<Named>) {
        named::<PositionToken>(schemas);
        T::schemas(schemas);
    }
}

impl PartialSchema for FeedItem {
    fn schema() -> RefOr<Schema> {
        let subject = ObjectBuilder::new().schema_type(Type::String).description(Some(
            "Whose history it belongs to: the id of a job, a task or a worker.",
        ));
        let command = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .format(Some(SchemaFormat::Custom("uuid".to_owned())))
            .description(Some("The command that caused it."));
        let object = ObjectBuilder::from(object_of::<EventView>())
            .description(Some("An event of any history."))
            .property("after", reference::<PositionToken>())
            .property("subject", subject)
            .property("commandId", command);
        RefOr::T(object.into())
    }
}

impl ToSchema for FeedItem {
    fn schemas(schemas: &mut Vec<Named>) {
        named::<PositionToken>(schemas);
        EventView::schemas(schemas);
    }
}

/// A view with a time that it is of.
impl<T: ToSchema> PartialSchema for AsOf<T> {
    fn schema() -> RefOr<Schema> {
        let provisional = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some("What happened then may not all be written yet."));
        let object = ObjectBuilder::from(object_of::<T>())
            .property("asOf", reference::<Timestamp>())
            .property("provisional", provisional);
        RefOr::T(object.into())
    }
}

impl<T: ToSchema> ToSchema for AsOf<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}AsOf", T::name()))
    }

    fn schemas(schemas: &mut Vec<Named>) {
        named::<Timestamp>(schemas);
        T::schemas(schemas);
    }
}

impl PartialSchema for TaskExplanation {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::from(object_of::<Explanation>())
            .description(Some("Why a task is in its state."))
            .property("taskId", reference::<TaskId>())
            .property("jobId", reference::<JobId>())
            .property("state", reference::<TaskState>());
        RefOr::T(object.into())
    }
}

impl ToSchema for TaskExplanation {
    fn schemas(schemas: &mut Vec<Named>) {
        named::<TaskId>(schemas);
        named::<JobId>(schemas);
        named::<TaskState>(schemas);
        Explanation::schemas(schemas);
    }
}

impl PartialSchema for JobExplanation {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::from(object_of::<Explanation>())
            .description(Some(
                "Why a job is not further; some of its tasks stand for the others.",
            ))
            .property("jobId", reference::<JobId>())
            .property("state", reference::<JobStatus>())
            .property("tasks", Array::new(reference::<TaskExplanation>()));
        RefOr::T(object.into())
    }
}

impl ToSchema for JobExplanation {
    fn schemas(schemas: &mut Vec<Named>) {
        named::<JobStatus>(schemas);
        named::<TaskExplanation>(schemas);
        Explanation::schemas(schemas);
    }
}

fn whole(minimum: u32, about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(minimum))
        .description(Some(about))
}

impl<T: ToSchema> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        let cursor = utoipa::openapi::OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .item(reference::<Cursor>())
            .description(Some("Of the next page; null: this is the last."));
        let object = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("items", Array::new(reference::<T>()))
            .property("page", whole(0, "The number of this page, from 0."))
            .property(
                "size",
                whole(1, "How many items a page has at most.").maximum(Some(500)),
            )
            .property("total", whole(0, "How many items the list has."))
            .property("nextCursor", cursor);
        RefOr::T(object.into())
    }
}

impl<T: ToSchema> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}List", T::name()))
    }

    fn schemas(schemas: &mut Vec<Named>) {
        named::<Cursor>(schemas);
        named::<T>(schemas);
    }
}

/// A schema by its name.
pub fn schema_of<T: ToSchema>() -> Value {
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}
