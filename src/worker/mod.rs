//! Workers: they take assignments against credits they granted, run attempts, and report until it is in the log.
//!
//! Must stay true: an attempt is kept until its end is acknowledged, and what was said of it is repeated until then;
//! a worker that is cut off has ended its attempts before anybody may place them again; a rebuilt worker is a new
//! incarnation and knows nothing of the one before.
//!
//! [`machine`] decides; the actor around it moves messages; a [`task_actor`] drives one attempt through its
//! [`executor`]; [`service`] makes one incarnation after the other.

mod actor;
mod addresses;
mod checkpoints;
mod documents;
mod dropped;
pub mod executor;
mod gauges;
mod letters;
mod load;
mod log_feed;
mod log_shipper;
pub mod machine;
mod options;
pub mod pipeline;
mod pump;
mod reported;
mod samples;
mod service;
mod steady;
mod task_actor;
#[cfg(test)]
mod tests;
mod together;
mod trust;

pub use actor::WorkerState;
pub use addresses::api_urls;
pub use checkpoints::{CheckpointError, CheckpointUrl, Checkpoints, StoredCheckpoint};
pub use letters::LetterPost;
pub use options::{InvalidWorkerOptions, WorkerOptions};
pub use reported::{Reported, Reporting};
pub use service::{Worker, WorkerEnded, WorkerError, WorkerHandle, WorkerSetup};
pub use trust::{TrustError, trust};
