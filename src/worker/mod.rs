//! Workers: they take assignments against credits they granted, run attempts, and report until it is in the log.
//!
//! Must stay true: an attempt is kept until its end is acknowledged, and what was said of it is repeated until then;
//! a worker that is cut off has ended its attempts before anybody may place them again; a rebuilt worker is a new
//! incarnation and knows nothing of the one before.

pub mod executor;
pub mod machine;
mod options;
pub mod pipeline;

pub use options::{InvalidWorkerOptions, WorkerOptions};
