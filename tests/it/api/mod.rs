//! The REST API over real shards and a real Postgres; the bus is the one inside the process.

mod access;
mod conditional;
mod durability;
mod errors;
mod feed;
pub mod fixture;
mod history;
mod idempotency;
mod jobs;
mod lists;
mod speed;

pub use fixture::{Fixture, Options, SHARDS, text};
