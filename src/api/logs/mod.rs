//! Lines of tasks: `GET /api/v1/logs/search`, and what workers hand over.
//!
//! Must stay true: a query goes to the store as a filter, never as text; what an answer holds is bounded.

mod intake;
mod period;
mod search;

pub use intake::take;
pub use search::{Found, MOST_LINES, search};
