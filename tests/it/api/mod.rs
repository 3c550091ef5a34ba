//! The REST API over real shards and a real Postgres; the bus is the one inside the process.

mod access;
mod bulk;
mod checkpoints;
mod conditional;
mod contract;
mod docs;
mod durability;
mod errors;
mod explain;
mod feed;
pub mod fixture;
mod history;
mod idempotency;
mod jobs;
mod limits;
mod lists;
mod plans;
mod probe;
mod purge;
mod retries;
mod search;
mod seed;
mod speed;
mod task_lists;
mod tls;
pub mod workers;

pub use fixture::{Fixture, Options, SHARDS, text};
