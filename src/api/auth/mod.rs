//! Who asks, and what they may do.
//!
//! Must stay true: a route cannot be added without saying who may use it; what is not allowed is refused before its
//! handler runs; a credential that is wrong is refused everywhere, also where none is needed.

mod caller;
mod gate;
mod role;

pub use caller::Caller;
pub(super) use gate::{admit, identify};
pub use role::{Access, Role};
