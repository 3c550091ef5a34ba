//! What can be asked of workers.

use super::forms::{WorkerState, schema_of};
use super::operation::{Operation, Tag, get, post};
use super::parameter::Parameter;
use crate::api::page::List;
use crate::api::view::{At, WorkerView};
use crate::projection::WorkerSort;

pub fn operations() -> Vec<Operation> {
    vec![
        get("/api/v1/workers", "listWorkers", Tag::Workers, "List workers")
            .uses::<WorkerState>()
            .sorted::<WorkerSort>()
            .takes(Parameter::repeated(
                "state",
                &schema_of::<WorkerState>(),
                "Workers in one of these states.",
            ))
            .labelled("Workers with this label")
            .created("Workers that came first")
            .paged(50)
            .answers::<List<WorkerView>>(200, "A page of workers."),
        get("/api/v1/workers/{id}", "getWorker", Tag::Workers, "Look at a worker")
            .of_worker()
            .at_least_as_new()
            .answers::<WorkerView>(200, "The worker."),
        get(
            "/api/v1/workers/{id}/events",
            "listWorkerEvents",
            Tag::Workers,
            "List what happened to a worker",
        )
        .about("Of all processes that have borne the name.")
        .of_worker()
        .history(),
        steering(post(
            "/api/v1/workers/{id}/cordon",
            "cordonWorker",
            Tag::Workers,
            "Give a worker no new work",
        ))
        .about("Nor later processes of its name. What it runs goes on."),
        steering(post(
            "/api/v1/workers/{id}/uncordon",
            "uncordonWorker",
            Tag::Workers,
            "Give a worker work again",
        )),
        steering(post(
            "/api/v1/workers/{id}/drain",
            "drainWorker",
            Tag::Workers,
            "Let a worker finish and leave",
        ))
        .about("It gets no new work, finishes what it runs, hands back what it has not begun, and leaves."),
    ]
}

/// A command to a worker, answered with the worker as it is then.
fn steering(operation: Operation) -> Operation {
    operation
        .of_worker()
        .commands()
        .problem(409, &["WORKER_LEFT", "SUPERSEDED", "UPGRADE_UNFINISHED"])
        .problem(410, &["GONE"])
        .answers::<At<WorkerView>>(200, "The worker as it is then.")
}
