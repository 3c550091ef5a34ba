//! GraphQL: queries and mutations over HTTP, subscriptions over WebSockets and as events of the server.
//!
//! Must stay true: whatever REST can, GraphQL can, through the same methods of the service and with the same codes of
//! errors; a subscription goes on from any token that it gave, without a gap and without a repeat; everything that a
//! client makes the server hold is bounded.
//!
//! The executor is async-graphql's; the transports are ours, since its own do not keep to the specifications.

mod bulk;
mod connection;
mod event;
mod fault;
mod filter;
mod guard;
mod http;
mod job;
mod letters;
mod limits;
mod list;
mod loaders;
mod logs;
mod mutation;
mod overview;
mod page;
mod past;
mod purge;
mod query;
mod request;
mod scalar;
mod search;
mod series;
mod socket;
mod sse;
mod subscription;
mod system;
mod task;
mod worker;

pub use connection::remember;
pub use limits::GraphqlOptions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::auth::Gate;
use super::problem::Problem;
use super::{Api, Caller, Role};
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

/// Everything that can be asked.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

pub mod handlers {
    //! What stands behind the paths.
    pub use super::http::handle as graphql;
    pub use super::page::file as page_file;
    pub use super::sse::handle as stream;
}

/// What the transports work with.
pub struct GraphqlState {
    schema: Schema,
    options: GraphqlOptions,
    body_timeout: Duration,
    /// Who is who.
    gate: Arc<Gate>,
    /// The server is told to end.
    ending: watch::Receiver<bool>,
}

impl GraphqlState {
    pub(super) fn new(api: Arc<Api>, gate: Arc<Gate>, ending: watch::Receiver<bool>) -> Self {
        let options = api.parts.graphql.clone();
        let body_timeout = api.parts.options.body_timeout;
        Self {
            schema: schema(&options, Some(api)),
            options,
            body_timeout,
            gate,
            ending,
        }
    }

    /// Tells when the server is told to end, to streams that have no end of their own.
    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.clone()
    }

    /// Who a client is that introduces himself, by a token (`Authorization` with or without `Bearer`, or `token`); without
    /// one he stays who he was by his request.
    async fn admit(
        &self,
        payload: &Map<String, Value>,
        caller: &Caller,
        peer: Option<SocketAddr>,
    ) -> Result<Caller, Problem> {
        let given = ["Authorization", "authorization", "token"]
            .into_iter()
            .find_map(|name| payload.get(name));
        let caller = match given {
            None => caller.clone(),
            Some(Value::String(token)) => {
                let token = token.strip_prefix("Bearer ").unwrap_or(token);
                let traceparent = caller.traceparent.clone();
                Caller {
                    traceparent,
                    ..self.gate.introduce(token, peer).await?
                }
            }
            Some(_) => return Err(Problem::unauthenticated("a token is a text")),
        };
        caller.may(Role::Viewer)?;
        Ok(caller)
    }
}

fn schema(options: &GraphqlOptions, api: Option<Arc<Api>>) -> Schema {
    let builder = Schema::build(Query, Mutation, Subscription)
        .limit_complexity(options.complexity as usize)
        .data(options.clone());
    match api {
        Some(api) => builder
            .data(overview::Overviews::new(&api))
            .data(loaders::loaders(&api))
            .data(api)
            .finish(),
        None => builder.finish(),
    }
}

/// The schema as text, in the order of names.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items();
    schema(&GraphqlOptions::default(), None).sdl_with_options(options)
}

#[cfg(test)]
mod tests {
    use crate::generated;

    #[test]
    fn the_committed_schema_is_the_one_that_is_served() {
        generated::check("schema.graphql", &super::sdl());
    }
}
