//! The description of the REST API (OpenAPI 3.1), for people and programs: committed as schema/openapi.json, served at
//! `/api/openapi.json`, browsable at `/api/docs`.
//!
//! Each route is described in the file of its group, in the order of the table in `api/routes.rs`; who may use it is
//! taken from that table. Must stay true: every route is described, or stands in [`UNDESCRIBED`] with the reason; nothing
//! is described that is not served; whatever a route can answer is described.

mod assemble;
mod bulk;
mod checkpoints;
mod forms;
mod guide;
mod jobs;
mod letters;
mod logs;
mod metrics;
mod operation;
mod page;
mod parameter;
mod system;
mod tasks;
mod tokens;
mod workers;

#[cfg(test)]
mod tests;

pub use forms::{Cursor, LabelSet, RoleName, WorkerId, WorkerState};
pub use page::{description, file, page};

use operation::Operation;

/// Paths that are served and not described, and why.
const UNDESCRIBED: &[(&str, &str)] = &[
    ("/api/docs/{file}", "parts of the page at /api/docs, and pages of docs/"),
    ("/graphql", "described by schema/schema.graphql"),
    ("/graphql/stream", "described by schema/schema.graphql"),
    ("/", "a view of the web page"),
    ("/jobs", "a view of the web page"),
    ("/jobs/{id}", "a view of the web page"),
    ("/tasks/{id}", "a view of the web page"),
    ("/workers", "a view of the web page"),
    ("/workers/{id}", "a view of the web page"),
    ("/logs", "a view of the web page"),
    ("/submit", "a view of the web page"),
    ("/assets/{name}", "parts of the web page"),
    ("/graphql/page/{name}", "parts of the page at /graphql"),
];

fn operations() -> Vec<Operation> {
    [
        jobs::operations(),
        bulk::operations(),
        tasks::operations(),
        workers::operations(),
        letters::operations(),
        logs::operations(),
        tokens::operations(),
        checkpoints::operations(),
        metrics::operations(),
        system::operations(),
    ]
    .concat()
}
