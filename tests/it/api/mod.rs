//! The REST API over real shards and a real Postgres; the bus is the one inside the process.

mod access;
mod checkpoints;
mod conditional;
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
mod retries;
mod speed;
mod tls;
pub mod workers;

pub use fixture::{Fixture, Options, SHARDS, text};
