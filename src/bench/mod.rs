//! Measurements: `grid bench`. Each prints what it measured and under which conditions, as a table or JSON.
//!
//! They measure the real thing: a standalone that is started for the purpose, in a process of its own, with its private
//! Postgres (fsync on); or a jobmaster and a worker, each in its process, over a Kafka that is named; or a server that is
//! named.

pub mod api;
mod beside;
pub mod fanout;
mod fill;
pub mod latency;
pub mod list;
pub mod logs;
pub mod metrics;
pub mod overhead;
pub mod pipeline;
pub mod server;
pub mod start;
pub mod subscriptions;
pub mod tasks;
