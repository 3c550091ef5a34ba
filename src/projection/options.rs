//! Options of the read models.

use std::time::Duration;

use crate::options;

options! {
    /// Options of the projector.
    pub struct ProjectionOptions {
        /// Events that may wait while rows are being written; what is more is read from the log later.
        max_gathered_events: u32 = 100_000,
        /// Commits of shards that may wait to be taken in; what is more is read from the log later.
        mailbox: u32 = 1_024,
        /// Under load, how long events are gathered before their rows are written: what happens to a task meanwhile is
        /// one write. Nothing is gathered while few rows wait, or somebody waits for them.
        gather: Duration = Duration::from_millis(100),
        /// Fewer rows than that are written at once.
        few_rows: u32 = 256,
        /// Rows are written without waiting for the disk. So long after a write it must have got there (three times
        /// Postgres's wal_writer_delay); then it is looked at once more, in case that a crash took it back.
        durable_after: Duration = Duration::from_secs(2),
        /// Events in a page of the log, for a shard that is behind.
        page_events: u32 = 4_000,
        /// Pause after a write or a read that failed; doubled each time up to `max_pause`.
        min_pause: Duration = Duration::from_millis(100),
        /// The longest pause.
        max_pause: Duration = Duration::from_secs(10),
    }
}
