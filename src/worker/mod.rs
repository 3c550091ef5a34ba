//! (see ARCHITECTURE.md)

pub mod executor;
pub mod pipeline;
