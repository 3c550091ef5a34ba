//! The domain's tests.

mod given;
mod workers;
