//! Grid: an event-sourced, actor-based control plane for distributed data pipelines.
//!
//! The codemap is in ARCHITECTURE.md. Imports point one way: `domain` knows nobody; `event` knows `domain`; `log` and
//! `bus` know `event`; `shard`, `publish`, `projection` and `worker` know those; `api`, `cli` and `node` know all.

/// Whether a bug that the simulation puts in on purpose is present: never, outside of tests.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(test)]
        {
            crate::sim::mutant::is(crate::sim::mutant::Mutant::$name)
        }
        #[cfg(not(test))]
        {
            false
        }
    }};
}

pub mod api;
pub mod archive;
pub mod bench;
pub mod bus;
pub mod causes;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod config;
pub mod document;
pub mod domain;
pub mod embedded;
pub mod event;
#[doc(hidden)]
pub mod failpoint;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod imports;
pub mod letters;
pub mod log;
pub mod logs;
pub mod metrics;
pub mod node;
mod process_end;
pub mod projection;
pub mod publish;
pub mod shard;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sources;
mod spill;
pub mod task;
pub mod telemetry;
pub mod ui;
pub mod worker;
