//! Lines of tasks: `GET /api/v1/logs/search`, `…/tail` and `…/download`, and what workers hand over.
//!
//! Must stay true: a query goes to the store as a filter, never as text; what an answer holds is bounded.

mod download;
mod intake;
mod period;
mod search;
mod tail;
mod wanted;
mod workers;

pub use download::download;
pub use intake::take;
pub use search::{Bounds, Found, MOST_LINES, search};
pub use tail::{LogTail, MOST_EARLIER, tail};
pub use wanted::Wanted;
pub use workers::{HeardWorkers, Tailing, WayToLines};
