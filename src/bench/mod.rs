//! (see ARCHITECTURE.md)

pub mod pipeline;
