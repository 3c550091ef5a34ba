//! The log: the truth of the system, in Postgres.
//!
//! Must stay true: events are only ever added, each shard by its one fenced writer, gapless in `seq`; what is read back
//! is what was committed, byte for byte; a chain of hashes over every commit proves it; a load claims a new epoch first
//! and only then reads.
//!
//! [`Log`] is the way in to everything but appending, which goes through the [`JournalHandle`].

pub mod archive;
mod as_of;
mod batch;
mod chain;
mod claim;
mod closing;
mod commit;
mod connect;
mod cursors;
mod error;
mod feed;
mod fold;
mod format;
mod gather;
mod histories;
mod history;
mod jobmasters;
mod journal;
mod load;
mod migrate;
mod migrations;
mod quarantine;
mod reach;
mod reader;
mod restore;
mod retention;
mod selected;
mod snapshot;
mod stored;
mod traces;
mod upgrade;
pub mod verify;

pub use as_of::{JobAsOf, JobAt, JobStory, TaskAsOf, TasksAsOf};
pub use batch::{CommitOutcome, Committed, Cursor, ShardBatch};
pub use chain::{Hash, Part};
pub use claim::Claimed;
pub use closing::Holders;
pub use connect::{Log, Options};
pub use cursors::{CursorReset, Publication, REPUBLISHER, StoredCursor, reset_cursor, stored_cursors};
pub use error::Error;
pub use feed::{FeedPage, Places};
pub use format::Format;
pub use histories::HistoryPart;
pub use history::{HistoryFilter, HistoryOf, HistoryPage, HistoryQuery};
pub use jobmasters::{Beats, Jobmaster};
pub use journal::{Journal, JournalHandle, JournalOptions, JournalState};
pub use load::{LoadedShard, UnreadableJob};
pub use migrate::{Migrated, Setup, migrate};
pub use quarantine::{Poison, QuarantineSource, Quarantined};
pub use reach::{NO_ROOM, Place, has_no_room, reachable};
pub use reader::{Head, ShardPage, StreamPage};
pub use restore::{Ends, Restored, holds_log, look, restore};
pub use retention::{ONE_AT_A_TIME, Retention, Standing};
pub use selected::Selection;
pub use snapshot::SnapshotRow;
pub use stored::StoredEvent;
pub use upgrade::{Finished, Others, finish_upgrade};
pub use verify::{Difference, DifferenceKind, VerifyOptions, VerifyReport, Witness};
