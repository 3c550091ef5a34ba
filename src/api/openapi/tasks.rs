//! What can be done with tasks.

use super::forms::{WorkerId, schema_of};
use super::operation::{Operation, Tag, delete, get, post};
use super::parameter::{Parameter, text};
use crate::api::explain::TaskExplanation;
use crate::api::page::List;
use crate::api::view::{At, TaskView};
use crate::domain::JobId;
use crate::domain::event::TaskState;
use crate::projection::TaskSort;

pub fn operations() -> Vec<Operation> {
    vec![
        filters(get(
            "/api/v1/jobs/{id}/tasks",
            "listTasks",
            Tag::Tasks,
            "List the tasks of a job",
        ))
        .about("By number, the order of the document, unless sorted otherwise.")
        .of_job()
        .sorted::<TaskSort>()
        .paged(50)
        .answers::<List<TaskView>>(200, "A page of tasks.")
        .problem(400, &["FILTER_TOO_BROAD"]),
        filters(get(
            "/api/v1/tasks",
            "listAllTasks",
            Tag::Tasks,
            "List the tasks of all jobs",
        ))
        .about("Those of the newest job first. By number only those of one job.")
        .takes(Parameter::query("jobId", schema_of::<JobId>(), "Tasks of this job."))
        .uses::<JobId>()
        .labelled("Tasks of jobs with this label")
        .created("Tasks submitted")
        .sorted::<TaskSort>()
        .paged(50)
        .answers::<List<TaskView>>(200, "A page of tasks.")
        .problem(400, &["FILTER_TOO_BROAD"]),
        get("/api/v1/tasks/{id}", "getTask", Tag::Tasks, "Look at a task")
            .of_task()
            .at_least_as_new()
            .tagged()
            .or_as_it_was::<TaskView>(),
        get(
            "/api/v1/tasks/{id}/events",
            "listTaskEvents",
            Tag::Tasks,
            "List what happened to a task",
        )
        .of_task()
        .history(),
        get(
            "/api/v1/tasks/{id}/explain",
            "explainTask",
            Tag::Tasks,
            "Why a task is in its state",
        )
        .about("And what would change it.")
        .of_task()
        .at_least_as_new()
        .answers::<TaskExplanation>(200, "The explanation.")
        .problem(500, &["QUARANTINED"]),
        waiting(get(
            "/api/v1/retries",
            "listRetries",
            Tag::Tasks,
            "List scheduled retries",
        ))
        .takes(Parameter::query("jobId", schema_of::<JobId>(), "Those of this job."))
        .uses::<JobId>()
        .problem(404, &["NOT_FOUND"])
        .problem(410, &["GONE"]),
        waiting(get(
            "/api/v1/jobs/{id}/retries",
            "listJobRetries",
            Tag::Tasks,
            "List a job's scheduled retries",
        ))
        .of_job(),
        changing(post(
            "/api/v1/tasks/{id}/retry",
            "bringRetryForward",
            Tag::Tasks,
            "Retry now",
        ))
        .about("A scheduled retry is due at once."),
        changing(delete(
            "/api/v1/tasks/{id}/retry",
            "cancelRetry",
            Tag::Tasks,
            "Cancel a scheduled retry",
        ))
        .about("The failure is final."),
    ]
}

/// The filters of tasks.
fn filters(operation: Operation) -> Operation {
    operation
        .uses::<TaskState>()
        .uses::<WorkerId>()
        .takes(Parameter::repeated(
            "state",
            &schema_of::<TaskState>(),
            "Tasks in one of these states.",
        ))
        .takes(Parameter::repeated(
            "worker",
            &schema_of::<WorkerId>(),
            "Tasks on one of these workers.",
        ))
        .takes(Parameter::repeated(
            "externalId",
            &text(),
            "Tasks with one of these names.",
        ))
}

/// Tasks that wait for their retry.
fn waiting(operation: Operation) -> Operation {
    operation
        .about("The next due first. One is cancelled or brought forward at its task.")
        .paged(50)
        .answers::<List<TaskView>>(200, "A page of tasks that wait.")
}

/// A command to a task, answered with the task as it is then.
fn changing(operation: Operation) -> Operation {
    operation
        .of_task()
        .once()
        .problem(409, &["NO_RETRY_PENDING", "BEING_ENDED", "SUPERSEDED"])
        .answers::<At<TaskView>>(200, "The task as it is then.")
        .may_be_replayed(200)
}
