//! Integration tests on real parts: one binary, so that one broker and one database serve all of them.
//!
//! How to write one: a module here, and in it
//!
//! ```ignore
//! use crate::support::{Kafka, Postgres};
//!
//! #[tokio::test]
//! async fn something_holds() {
//!     let database = Postgres::shared().fresh_database(); // a URL; the database is empty and nobody else's
//!     let kafka = Kafka::shared();                        // brokers(); isolate with kafka.fresh_prefix()
//!     // A test that kills or stops its server starts one of its own, which ends on drop:
//!     let own = Kafka::start();
//!     own.kill(); own.restart();
//! }
//! ```
//!
//! All of `support` is synchronous and may be called from any runtime. Whatever a test process started is ended and its
//! folder removed when that process is gone, however it ended (see `support::guardian`).

mod support;

mod api;
mod archive;
mod bus;
mod cli;
mod docs;
mod events;
mod faults;
mod graphql;
mod letters;
mod log;
mod logs;
mod metrics;
mod parts;
mod pipelines;
mod projection;
mod publisher;
mod shard;
mod ui;
