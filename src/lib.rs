//! Grid: an event-sourced, actor-based control plane for distributed data pipelines.
//!
//! The codemap is in ARCHITECTURE.md. Imports point one way: `domain` knows nobody; `event` knows `domain`; `log` and
//! `bus` know `event`; `shard`, `publish`, `projection` and `worker` know those; `api`, `cli` and `node` know all.

pub mod api;
pub mod bench;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod document;
pub mod domain;
pub mod embedded;
pub mod event;
pub mod log;
pub mod node;
pub mod projection;
pub mod publish;
pub mod shard;
pub mod task;
pub mod telemetry;
pub mod worker;
