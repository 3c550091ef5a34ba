//! What the process says of itself, and what was set aside.

use async_graphql::{ID, SimpleObject};

use super::scalar::DateTime;
use crate::api::view::QuarantinedView;
use crate::api::{Api, Caller, Role};
use crate::clock;

/// The process that answers.
#[derive(SimpleObject)]
pub struct Info {
    name: &'static str,
    version: &'static str,
    api_version: &'static str,
    /// Of the log: another one after a restore from a backup.
    timeline: ID,
    shards: u32,
    /// This process.
    node: ID,
    node_name: String,
    /// Where others reach it.
    url: Option<String>,
    time: DateTime,
}

impl Info {
    pub fn of(api: &Api) -> Self {
        Self {
            name: "grid",
            version: env!("CARGO_PKG_VERSION"),
            api_version: "v1",
            timeline: ID(api.parts.timeline.to_string()),
            shards: u32::from(api.shards),
            node: ID(api.parts.node.0.to_string()),
            node_name: api.parts.node_name.clone(),
            url: api.parts.server.public_url.clone(),
            time: clock::now().into(),
        }
    }
}

/// Who asks.
#[derive(SimpleObject)]
pub struct You {
    /// Stands in every event that follows from what they ask for.
    principal: String,
    /// `viewer`, `operator` or `admin`: each may do what the ones before may.
    role: Option<&'static str>,
    /// Showed no token.
    anonymous: bool,
}

impl From<&Caller> for You {
    fn from(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.to_string(),
            role: caller.role.map(Role::name),
            anonymous: caller.anonymous,
        }
    }
}

/// A message or an event that could not be taken, and was passed over.
#[derive(SimpleObject)]
pub struct Quarantined {
    shard: u32,
    /// `command`, `report` or `event`.
    source: &'static str,
    /// Offset of the message, or sequence number of the event, in its shard.
    place: String,
    reason: String,
    attempts: u32,
    principal: String,
    first_at: DateTime,
    quarantined_at: DateTime,
    /// As far as it is text, at most 4 KiB of it.
    payload: String,
}

impl From<QuarantinedView> for Quarantined {
    fn from(view: QuarantinedView) -> Self {
        Self {
            shard: u32::from(view.shard),
            source: view.source,
            place: view.place.to_string(),
            reason: view.reason,
            attempts: view.attempts,
            principal: view.principal,
            first_at: view.first_at.into(),
            quarantined_at: view.quarantined_at.into(),
            payload: view.payload,
        }
    }
}
