//! Processes: how the parts are put together for `grid standalone`, `grid jobmaster` and `grid worker`, and how they
//! are taken apart again.
//!
//! Must stay true: what depends on a part ends before it: workers drain first, then shards close, then the API stops,
//! then the log and the database.

mod access;
mod archive;
mod core;
mod database;
mod endpoint;
mod follow;
mod lost_topics;
mod measure;
mod recent_lines;
mod republish;
mod restore;
mod roles;
mod signals;
mod stores;
mod tailing;
mod tokens;
mod verify;
mod vitals;

pub use archive::{archive, verify_archive, verify_archive_alone};
pub use republish::{Republished, republish};
pub use restore::restore;
pub use roles::{jobmaster, run, standalone, worker};
pub use stores::{Formats, MigrateWishes, migrate, open_log, service_url};
pub use tokens::{create_token, list_tokens, revoke_token};
pub use verify::{rebuild, verify};
